//! What was answered is on PostgreSQL's disk, whatever its own settings are, and also where a pooler stands in between.

use crate::harness::{Server, Session, text, until};
use crate::nodes;
use crate::postgres::{Postgres, Special};
use crate::turn;

#[tokio::test]
async fn a_sign_out_survives_a_server_that_commits_asynchronously() {
    let _turn = turn().await;
    let lazy = ["synchronous_commit=off", "wal_writer_delay=10s"].map(str::to_owned);
    let mut database = Postgres::start_special(&Special { settings: &|_| lazy.to_vec(), ..Special::default() });
    let home = nodes::home(&database, &[]);
    let nodes = nodes::three(&home, &[]);
    for _ in 0..3 {
        let ended = sign_out_on_each(&nodes).await;
        database.kill();
        database.restart();
        let knows_only_what_is_on_disk = home.start();
        for session in &ended {
            assert_eq!(knows_only_what_is_on_disk.status(session).await, "401 revoked");
        }
    }
}

#[tokio::test]
async fn nodes_work_through_a_pooler_as_well_as_without() {
    let _turn = turn().await;
    let mut database = Postgres::start();
    let pooler = database.pooler("session");
    let mut home = nodes::home(&database, &[]);
    home.use_store(&pooler.url);
    let reaches = || home.run(&["users", "list"]).status.success();
    until("the pooler is there", reaches);
    let nodes = nodes::three(&home, &[]);
    for _ in 0..2 {
        for session in sign_out_on_each(&nodes).await {
            nodes::until_all(&nodes, &session, "401 revoked").await;
        }
        database.kill();
        database.restart();
        // The pooler refuses everybody for a while after it could not reach the server.
        until("the pooler reaches the database again", reaches);
    }
    sign_out_on_each(&nodes).await;
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_named_as_the_fault() {
    let _turn = turn().await;
    let database = Postgres::start();
    let pooler = database.pooler("transaction");
    let mut home = nodes::home(&database, &[]);
    home.use_store(&pooler.url);
    let run = |arguments: &[&str]| {
        let output = home.run(arguments);
        (output.status.code(), [output.stdout, output.stderr].map(|bytes| text(&bytes)).concat())
    };
    until("the pooler is there", || !run(&["users", "list"]).1.contains("Connection refused"));
    for arguments in [&["users", "list"] as &[_], &["users", "disable", "alice"], &["serve"]] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(74), "{arguments:?}: {said}");
        assert!(said.contains("pool_mode = session"), "{arguments:?}: {said}");
    }
    let (_, said) = run(&["doctor"]);
    let found = said.lines().find(|line| line.contains("store.open")).expect("it is checked");
    assert!(found.starts_with("problem") && found.contains("pool_mode = session"), "{found}");
    assert!(!said.contains("store restored"), "that would end every session: {said}");
}

#[tokio::test]
async fn a_node_that_stops_delivers_its_sign_outs_if_it_still_can() {
    let _turn = turn().await;
    let mut database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let mut node = home.start();
    let session = node.login("alice").await;
    database.kill();
    assert_eq!(node.logout(&session).await, "503 not-durable");
    node.signal("TERM");
    node.wait_for("stopping");
    database.restart();
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(home.start().status(&session).await, "401 revoked");
}

/// Begins a session on each node, and ends each on another.
async fn sign_out_on_each(nodes: &[Server<'_>; 3]) -> Vec<Session> {
    let mut sessions = Vec::new();
    for node in nodes {
        nodes::until_ready(node).await;
        sessions.push(node.login("alice").await);
    }
    for (node, session) in nodes.iter().rev().zip(&sessions) {
        assert_eq!(node.logout(session).await, "200");
    }
    sessions
}
