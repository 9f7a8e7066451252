//! Failover from the primary to a standby. If commits wait for the standby, no confirmed logout is lost. Otherwise
//! commits may be lost, and `sealjar store restored` ends the affected sessions. No node is restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Session, client, wait_until};
use crate::load_permit;
use crate::nodes::{self, ROLLED_BACK, until_all};
use crate::postgres::Postgres;
use crate::session_factory::SessionFactory;

#[tokio::test]
async fn a_sign_out_survives_the_primary_if_a_standby_confirms_it() {
    const SESSIONS: usize = 200;
    let _permit = load_permit().await;
    let mut primary = Postgres::start();
    let home = nodes::home(&primary, &[]);
    let mut standby = primary.standby();
    primary.wait_for_standbys();
    let mut nodes = Vec::from(nodes::start_three(&home, &[]));
    let factory = SessionFactory::new(&home, &primary);
    let sessions: Vec<Session> = (0..SESSIONS).map(|_| factory.session().0).collect();
    let succeeded = Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = sessions
        .chunks(SESSIONS / 10)
        .zip(nodes.iter().cycle())
        .map(|(sessions, node)| {
            let sessions = sessions.to_vec();
            let url = node.url("/auth/logout");
            let succeeded = succeeded.clone();
            tokio::spawn(async move {
                let mut ended = Vec::new();
                for session in sessions {
                    let request = client().post(&url).header("cookie", session.cookie());
                    if request.send().await.expect("an answer").status() != 200 {
                        break;
                    }
                    succeeded.fetch_add(1, Ordering::Relaxed);
                    ended.push(session);
                }
                ended
            })
        })
        .collect();
    while succeeded.load(Ordering::Relaxed) < SESSIONS / 10 {
        tokio::task::yield_now().await;
    }
    primary.kill();
    standby.take_over(&primary);
    let mut ended = Vec::new();
    for request in requests {
        ended.extend(request.await.expect("the task does not panic"));
    }
    println!("{} of {SESSIONS} sign-outs were answered", ended.len());
    nodes.push(home.start());
    for session in &ended {
        assert_eq!(nodes[3].status(session).await, "401 revoked", "the new node has only the data of the store");
        until_all(&nodes, session, "401 revoked").await;
    }
    let next = nodes[0].login("alice").await;
    assert_eq!(nodes[1].logout(&next).await, "200");
    until_all(&nodes, &next, "401 revoked").await;
}

#[tokio::test]
async fn no_sign_out_succeeds_while_no_standby_confirms_it() {
    let _permit = load_permit().await;
    let primary = Postgres::start();
    let home = nodes::home(&primary, &[]);
    let standby = primary.standby();
    primary.wait_for_standbys();
    let nodes = nodes::start_three(&home, &[]);
    let session = nodes[0].login("alice").await;
    standby.pause();
    for _ in 0..2 {
        assert_eq!(nodes[0].logout(&session).await, "503 not-durable");
        assert_eq!(
            nodes[0].status(&session).await,
            "401 revoked",
            "the revocation is in force on the node of the logout"
        );
    }
    standby.resume();
    until_all(&nodes, &session, "401 revoked").await;
    assert_eq!(nodes[0].logout(&session).await, "200");
}

#[tokio::test]
async fn store_restored_ends_sessions_of_commits_lost_in_a_failover() {
    let _permit = load_permit().await;
    let mut primary = Postgres::start();
    let home = nodes::home(&primary, &[]);
    let mut standby = primary.standby();
    let mut nodes = Vec::from(nodes::start_three(&home, &[]));
    let live = nodes[0].login("alice").await;
    let ended = nodes[1].login("alice").await;
    until_all(&nodes, &ended, "200").await;
    let written = primary.sql("SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    wait_until("the standby has all data", || standby.sql(&replayed) == "t");
    standby.kill();
    assert_eq!(nodes[1].logout(&ended).await, "200");
    until_all(&nodes, &ended, "401 revoked").await;
    primary.kill();
    standby.restart();
    standby.take_over(&primary);
    for node in &mut nodes {
        node.wait_for("the store was rolled back");
        assert_eq!(node.metric(ROLLED_BACK).await, 1.0);
    }
    nodes.push(home.start());
    nodes[3].until_status(&ended, "200").await;
    home.run_ok(&["store", "restored"]);
    for session in [&live, &ended] {
        until_all(&nodes, session, "401 revoked").await;
    }
    for node in &nodes {
        assert_eq!(node.metric(ROLLED_BACK).await, 0.0);
    }
    until_all(&nodes, &nodes[0].login("alice").await, "200").await;
}
