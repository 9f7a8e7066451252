//! Tables of a newer program version. Older servers run and start with them, until the tables require the newer version.

use crate::database;
use crate::harness::{Home, Server, text};

#[tokio::test]
async fn an_older_server_runs_on_newer_tables_until_they_forbid_it() {
    let home = Home::new();
    let server = home.start();
    // The server's database connections stay open, and have cached the definitions of the present tables.
    log_in_and_out(&server).await;
    let mut tables = database::open(&home, "sealjar.db").await;
    for statement in [
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1000, 'of a newer version', TRUE, x'00', 0)",
        "ALTER TABLE account ADD COLUMN hue TEXT",
        "ALTER TABLE state ADD COLUMN hue TEXT",
        "ALTER TABLE revocation ADD COLUMN hue TEXT",
    ] {
        database::run(&mut tables, statement).await;
    }
    for server in [&server, &home.start()] {
        log_in_and_out(server).await;
    }
    let session = server.login("alice").await;
    database::run(&mut tables, "UPDATE state SET needs = 1000").await;
    assert_eq!(server.logout(&session).await, "503 not-durable");
    let output = home.run(&["serve"]);
    let stderr = text(&output.stderr);
    assert!(output.status.code() == Some(74) && stderr.contains("need a newer Sealjar"), "{stderr}");
    assert!(stderr.contains("start the newer version"), "{stderr}");
}

async fn log_in_and_out(server: &Server<'_>) {
    let session = server.login("alice").await;
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.logout(&session).await, "200");
}
