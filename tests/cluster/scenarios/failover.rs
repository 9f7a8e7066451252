//! The primary is lost and a standby takes its place: nothing that was answered is lost if the standby confirmed it, and what is
//! lost if it did not is made good by `sealjar store restored`. No node is restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Session, client, until};
use crate::mint::Mint;
use crate::nodes::{self, ROLLED_BACK, until_all};
use crate::postgres::Postgres;
use crate::turn;

#[tokio::test]
async fn a_sign_out_survives_the_primary_if_a_standby_confirms_it() {
    const SESSIONS: usize = 200;
    let _turn = turn().await;
    let mut primary = Postgres::start();
    let home = nodes::home(&primary, &[]);
    let mut standby = primary.standby();
    primary.wait_for_standbys();
    let mut nodes = Vec::from(nodes::three(&home, &[]));
    let mint = Mint::new(&home, &primary);
    let sessions: Vec<Session> = (0..SESSIONS).map(|_| mint.session().0).collect();
    let answered = Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = sessions
        .chunks(SESSIONS / 10)
        .zip(nodes.iter().cycle())
        .map(|(sessions, node)| {
            let (sessions, url, answered) = (sessions.to_vec(), node.url("/auth/logout"), answered.clone());
            tokio::spawn(async move {
                let mut ended = Vec::new();
                for session in sessions {
                    let request = client().post(&url).header("cookie", session.cookie());
                    if request.send().await.expect("an answer").status() != 200 {
                        break;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    ended.push(session);
                }
                ended
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < SESSIONS / 10 {
        tokio::task::yield_now().await;
    }
    primary.kill();
    standby.take_over(&primary);
    let mut ended = Vec::new();
    for request in requests {
        ended.extend(request.await.expect("it ran"));
    }
    println!("{} of {SESSIONS} sign-outs were answered", ended.len());
    nodes.push(home.start());
    for session in &ended {
        assert_eq!(nodes[3].status(session).await, "401 revoked", "a node that knows only what the store has");
        until_all(&nodes, session, "401 revoked").await;
    }
    let next = nodes[0].login("alice").await;
    assert_eq!(nodes[1].logout(&next).await, "200");
    until_all(&nodes, &next, "401 revoked").await;
}

#[tokio::test]
async fn no_sign_out_succeeds_while_no_standby_confirms_it() {
    let _turn = turn().await;
    let primary = Postgres::start();
    let home = nodes::home(&primary, &[]);
    let standby = primary.standby();
    primary.wait_for_standbys();
    let nodes = nodes::three(&home, &[]);
    let session = nodes[0].login("alice").await;
    standby.pause();
    for _ in 0..2 {
        assert_eq!(nodes[0].logout(&session).await, "503 not-durable");
        assert_eq!(nodes[0].status(&session).await, "401 revoked", "in force where it was asked for");
    }
    standby.resume();
    until_all(&nodes, &session, "401 revoked").await;
    assert_eq!(nodes[0].logout(&session).await, "200");
}

#[tokio::test]
async fn store_restored_makes_good_for_commits_that_a_failover_lost() {
    let _turn = turn().await;
    let mut primary = Postgres::start();
    let home = nodes::home(&primary, &[]);
    let mut standby = primary.standby();
    let mut nodes = Vec::from(nodes::three(&home, &[]));
    let (live, ended) = (nodes[0].login("alice").await, nodes[1].login("alice").await);
    until_all(&nodes, &ended, "200").await;
    let written = primary.sql("SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    until("the standby has what was written", || standby.sql(&replayed) == "t");
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
    home.ok(&["store", "restored"]);
    for session in [&live, &ended] {
        until_all(&nodes, session, "401 revoked").await;
    }
    for node in &nodes {
        assert_eq!(node.metric(ROLLED_BACK).await, 0.0);
    }
    until_all(&nodes, &nodes[0].login("alice").await, "200").await;
}
