//! Direct access of the tests to a home's SQLite database, without a server.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::harness::Home;

pub(crate) async fn open(home: &Home, name: &str) -> SqliteConnection {
    SqliteConnectOptions::new().filename(home.path(name)).connect().await.expect("opens")
}

pub(crate) async fn run(database: &mut SqliteConnection, statement: &str) {
    database.execute(AssertSqlSafe(statement)).await.expect("runs");
}

/// Inserts `count` revocations of random session ids, which no session has.
pub(crate) async fn insert_revocations(home: &Home, count: i64) {
    let statement = format!(
        "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})
         INSERT INTO revocation (sid, expires_at) SELECT randomblob(16), unixepoch() + 3600 FROM number"
    );
    run(&mut open(home, "sealjar.db").await, &statement).await;
}
