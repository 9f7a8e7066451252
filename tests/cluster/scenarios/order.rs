//! Order of the log: no node misses a row that is committed late with a smaller number, or a row that has the number of a
//! lost row. A node that has only read a row does not treat the row as durable, because its commit may have been too late.

use std::fmt::Write;

use sealjar::id::Sid;

use crate::harness::Server;
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;
use crate::session_factory::SessionFactory;

/// First statement of every writer of the log: it assigns a number, and locks the row of `state` until the commit.
const TAKE_NUMBER: &str = "UPDATE state SET last_seq = last_seq + 1";

/// Returns the statement that inserts the row of a revoked session with the last assigned number.
fn insert(sid: Sid) -> String {
    format!(
        "INSERT INTO revocation (seq, sid, expires_at)
         SELECT last_seq, '\\x{sid}', extract(epoch FROM now())::bigint + 3600 FROM state"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_late_with_a_smaller_number_is_not_missed() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let factory = SessionFactory::new(&home, &database);
    let (late, sid) = factory.session();
    let (concurrent, _) = factory.session();
    let mut writer = database.connection();
    writer.run(&format!("BEGIN; {TAKE_NUMBER}; {};", insert(sid)));
    let sign_out = tokio::join!(nodes[0].logout(&concurrent), async {
        let waiting_transactions =
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND wait_event_type = 'Lock'";
        while database.sql(waiting_transactions) == "0" {
            tokio::task::yield_now().await;
        }
        for node in &nodes {
            assert_eq!(node.status(&late).await, "200", "the row is not committed yet");
        }
        writer.run("COMMIT;");
    });
    assert_eq!(sign_out.0, "200");
    for session in [&late, &concurrent] {
        until_all(&nodes, session, "401 revoked").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_late_row_nor_a_failed_sign_out_is_missed() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let factory = SessionFactory::new(&home, &database);
    let (late, sid) = factory.session();
    let (concurrent, _) = factory.session();
    let mut writer = database.connection();
    writer.run(&format!("BEGIN; {TAKE_NUMBER}; {};", insert(sid)));
    assert_eq!(nodes[0].logout(&concurrent).await, "503 not-durable");
    assert_eq!(
        nodes[1].status(&concurrent).await,
        "200",
        "the revocation is not in the log, so no other node can read it"
    );
    writer.run("COMMIT;");
    for session in [&late, &concurrent] {
        until_all(&nodes, session, "401 revoked").await;
    }
}

#[tokio::test]
async fn rows_that_take_the_numbers_of_lost_ones_are_not_missed() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let factory = SessionFactory::new(&home, &database);
    // The database has the same content as after a failover to a standby that lagged: the last five rows are lost, and two,
    // five or seven new rows replace them.
    for new_rows in [2, 5, 7] {
        sign_out_five(&nodes, &factory).await;
        let (sessions, sids): (Vec<_>, Vec<_>) = (0..new_rows).map(|_| factory.session()).unzip();
        let lose_rows = "DELETE FROM revocation WHERE seq > (SELECT last_seq - 5 FROM state);
                    UPDATE state SET last_seq = last_seq - 5;";
        let refill = sids.into_iter().fold(String::new(), |mut all, sid| {
            let _ = write!(all, "{TAKE_NUMBER}; {};", insert(sid));
            all
        });
        database.sql(&format!("BEGIN; {lose_rows} {refill} COMMIT;"));
        for session in &sessions {
            until_all(&nodes, session, "401 revoked").await;
        }
        // This case loses rows in the same way, but the new rows are from logouts on the nodes.
        sign_out_five(&nodes, &factory).await;
        database.sql(&format!("BEGIN; {lose_rows} COMMIT;"));
        for number in 0..new_rows {
            let (session, _) = factory.session();
            assert_eq!(nodes[number % 3].logout(&session).await, "200");
            until_all(&nodes, &session, "401 revoked").await;
        }
    }
}

#[tokio::test]
async fn a_logout_commits_a_logged_entry_once_per_node() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let (session, sid) = SessionFactory::new(&home, &database).session();
    // Insert the row as if another node had committed the entry too late, and had not repeated the commit yet.
    database.sql(&format!("BEGIN; {TAKE_NUMBER}; {}; COMMIT;", insert(sid)));
    until_all(&nodes, &session, "401 revoked").await;
    for (number, node) in nodes.iter().enumerate() {
        for _ in 0..2 {
            assert_eq!(node.logout(&session).await, "200");
            let rows = database.sql("SELECT count(*) FROM revocation");
            assert_eq!(rows, (number + 2).to_string(), "node {number}");
        }
    }
}

/// Logs out five sessions on the first node, and waits until all nodes refuse them.
async fn sign_out_five(nodes: &[Server<'_>; 3], factory: &SessionFactory) {
    for _ in 0..5 {
        let (session, _) = factory.session();
        assert_eq!(nodes[0].logout(&session).await, "200");
        until_all(nodes, &session, "401 revoked").await;
    }
}
