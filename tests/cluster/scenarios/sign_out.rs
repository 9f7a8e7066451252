//! Propagation of logouts: all nodes refuse a session within a second after its logout on one node, while PostgreSQL is
//! available.

use std::time::Duration;

use crate::harness::{Server, Session};
use crate::postgres::Postgres;
use crate::{load_permit, nodes, reduced_or_stated};

const BOUND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_sign_out_is_in_force_on_all_nodes_within_a_second() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let [a, b, c] = &nodes;
    let mut lags = Vec::new();
    for _ in 0..reduced_or_stated(60, 500) {
        let session = a.login("alice").await;
        for node in [b, c] {
            assert_eq!(node.status(&session).await, "200");
        }
        assert_eq!(a.logout(&session).await, "200");
        let (on_b, on_c) =
            tokio::join!(b.until_status(&session, "401 revoked"), c.until_status(&session, "401 revoked"));
        lags.extend([on_b, on_c]);
    }
    lags.sort();
    let median = lags[lags.len() / 2];
    let worst = lags[lags.len() - 1];
    println!("signed out on one node, refused on two others: median {median:?}, worst of {} {worst:?}", lags.len());
    assert!(worst < BOUND, "{worst:?}");
}

#[tokio::test]
async fn every_other_end_is_in_force_on_all_nodes_within_a_second() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    for command in [
        &["revoke", "--user", "alice"][..],
        &["users", "roles", "alice", "staff", "admin"],
        &["users", "disable", "alice"],
        &["revoke", "--everyone"],
    ] {
        home.run_ok(&["users", "enable", "alice"]);
        let session = nodes[0].login("alice").await;
        home.run_ok(command);
        assert_revoked_within_a_second(&nodes, &session, &command.join(" ")).await;
    }
    home.run_ok(&["users", "enable", "alice"]);
    let session = nodes[0].login("alice").await;
    let other = nodes[1].login("alice").await;
    let status = nodes[2].get("/auth/status", &session.cookie()).await.json();
    home.run_ok(&["revoke", "--session", status["sid"].as_str().expect("a sid")]);
    assert_revoked_within_a_second(&nodes, &session, "revoke --session").await;
    assert_eq!(nodes[2].post("/auth/logout/all", &other.cookie()).await.verdict(), "200");
    assert_revoked_within_a_second(&nodes, &other, "sign out everywhere").await;
}

async fn assert_revoked_within_a_second(nodes: &[Server<'_>; 3], session: &Session, ended_by: &str) {
    let [a, b, c] = nodes.each_ref().map(|node| node.until_status(session, "401 revoked"));
    let (a, b, c) = tokio::join!(a, b, c);
    let worst = a.max(b).max(c);
    assert!(worst < BOUND, "{ended_by}: {worst:?}");
}
