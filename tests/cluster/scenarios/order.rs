//! Order of the log: no node misses a row that is committed late with a smaller number, or a row that has the number of a
//! lost row. A row that a node has only read is not durable for this node, because the
//! commit of the row may have been too late.

use std::fmt::Write;

use sealjar::id::Sid;

use crate::harness::Server;
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;
use crate::session_factory::SessionFactory;

/// First statement of every writer of the log: it assigns a number, and locks the row of `state` until the commit.
const TAKE_NUMBER: &str = "UPDATE state SET last_seq = last_seq + 1";

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
    let (meanwhile, _) = factory.session();
    let mut writer = database.connection();
    writer.run(&format!("BEGIN; {TAKE_NUMBER}; {};", insert(sid)));
    let sign_out = tokio::join!(nodes[0].logout(&meanwhile), async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND wait_event_type = 'Lock'";
        while database.sql(waiting) == "0" {
            tokio::task::yield_now().await;
        }
        for node in &nodes {
            assert_eq!(node.status(&late).await, "200", "the row is not committed yet");
        }
        writer.run("COMMIT;");
    });
    assert_eq!(sign_out.0, "200");
    for session in [&late, &meanwhile] {
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
    let (meanwhile, _) = factory.session();
    let mut writer = database.connection();
    writer.run(&format!("BEGIN; {TAKE_NUMBER}; {};", insert(sid)));
    assert_eq!(nodes[0].logout(&meanwhile).await, "503 not-durable");
    assert_eq!(nodes[1].status(&meanwhile).await, "200", "it is not in the log, so no other node can read it");
    writer.run("COMMIT;");
    for session in [&late, &meanwhile] {
        until_all(&nodes, session, "401 revoked").await;
    }
}

#[tokio::test]
async fn rows_that_take_the_numbers_of_lost_ones_are_not_missed() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let factory = SessionFactory::new(&home, &database);
    // As after a failover to a standby that lagged: the last five rows are lost, and two, five or seven new rows replace them.
    for refilled in [2, 5, 7] {
        sign_out_five(&nodes, &factory).await;
        let (sessions, sids): (Vec<_>, Vec<_>) = (0..refilled).map(|_| factory.session()).unzip();
        let lost = "DELETE FROM revocation WHERE seq > (SELECT last_seq - 5 FROM state);
                    UPDATE state SET last_seq = last_seq - 5;";
        let refill = sids.into_iter().fold(String::new(), |mut all, sid| {
            let _ = write!(all, "{TAKE_NUMBER}; {};", insert(sid));
            all
        });
        database.sql(&format!("BEGIN; {lost} {refill} COMMIT;"));
        for session in &sessions {
            until_all(&nodes, session, "401 revoked").await;
        }
        // This case loses rows in the same way, but the new rows are from logouts on the nodes.
        sign_out_five(&nodes, &factory).await;
        database.sql(&format!("BEGIN; {lost} COMMIT;"));
        for number in 0..refilled {
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
    // As if another node had committed the entry too late, and had not repeated the commit yet.
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

async fn sign_out_five(nodes: &[Server<'_>; 3], factory: &SessionFactory) {
    for _ in 0..5 {
        let (session, _) = factory.session();
        assert_eq!(nodes[0].logout(&session).await, "200");
        until_all(nodes, &session, "401 revoked").await;
    }
}
