//! The log's order: a row that commits late with a smaller number is not missed, nor is one that takes the number of a row that
//! was lost. And a row that a node has only read may have been committed too late, so it is not durable there.

use std::fmt::Write;

use sealjar::id::Sid;

use crate::harness::Server;
use crate::mint::Mint;
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;

/// What whoever writes to the log does first: takes a number, and the lock that goes with it to the commit.
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
    let nodes = nodes::three(&home, &[]);
    let mint = Mint::new(&home, &database);
    let ((late, sid), (meanwhile, _)) = (mint.session(), mint.session());
    let mut writer = database.connection();
    writer.run(&format!("BEGIN; {TAKE_NUMBER}; {};", insert(sid)));
    let sign_out = tokio::join!(nodes[0].logout(&meanwhile), async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND wait_event_type = 'Lock'";
        while database.sql(waiting) == "0" {
            tokio::task::yield_now().await;
        }
        for node in &nodes {
            assert_eq!(node.status(&late).await, "200", "not committed yet");
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
    let nodes = nodes::three(&home, &[]);
    let mint = Mint::new(&home, &database);
    let ((late, sid), (meanwhile, _)) = (mint.session(), mint.session());
    let mut writer = database.connection();
    writer.run(&format!("BEGIN; {TAKE_NUMBER}; {};", insert(sid)));
    assert_eq!(nodes[0].logout(&meanwhile).await, "503 not-durable");
    assert_eq!(nodes[1].status(&meanwhile).await, "200", "it is not in the log, so nobody else can know");
    writer.run("COMMIT;");
    for session in [&late, &meanwhile] {
        until_all(&nodes, session, "401 revoked").await;
    }
}

#[tokio::test]
async fn rows_that_take_the_numbers_of_lost_ones_are_not_missed() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::three(&home, &[]);
    let mint = Mint::new(&home, &database);
    // As after a failover to a standby that lagged: the last five are lost, and fewer, as many, or more come in their place.
    for refilled in [2, 5, 7] {
        sign_out_five(&nodes, &mint).await;
        let (sessions, sids): (Vec<_>, Vec<_>) = (0..refilled).map(|_| mint.session()).unzip();
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
        // The same by way of a node.
        sign_out_five(&nodes, &mint).await;
        database.sql(&format!("BEGIN; {lost} COMMIT;"));
        for number in 0..refilled {
            let (session, _) = mint.session();
            assert_eq!(nodes[number % 3].logout(&session).await, "200");
            until_all(&nodes, &session, "401 revoked").await;
        }
    }
}

#[tokio::test]
async fn a_logout_commits_what_its_node_has_only_read_once() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::three(&home, &[]);
    let (session, sid) = Mint::new(&home, &database).session();
    // As another node whose commit took too long, and which has not repeated it yet.
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

async fn sign_out_five(nodes: &[Server<'_>; 3], mint: &Mint) {
    for _ in 0..5 {
        let (session, _) = mint.session();
        assert_eq!(nodes[0].logout(&session).await, "200");
        until_all(nodes, &session, "401 revoked").await;
    }
}
