//! Durability: a confirmed logout is on the disk of PostgreSQL with any settings of PostgreSQL, with and without
//! a pooler.

use crate::harness::{Server, Session, text, wait_until};
use crate::load_permit;
use crate::nodes;
use crate::postgres::{Postgres, ServerOptions};

#[tokio::test]
async fn a_sign_out_survives_a_server_that_commits_asynchronously() {
    let _permit = load_permit().await;
    let asynchronous = ["synchronous_commit=off", "wal_writer_delay=10s"].map(str::to_owned);
    let mut database = Postgres::start_with_options(&ServerOptions {
        settings: &|_| asynchronous.to_vec(),
        ..ServerOptions::default()
    });
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    for _ in 0..3 {
        let ended = sign_out_on_each(&nodes).await;
        database.kill();
        database.restart();
        // A new node has only the data on disk.
        let new_node = home.start();
        for session in &ended {
            assert_eq!(new_node.status(session).await, "401 revoked");
        }
    }
}

#[tokio::test]
async fn nodes_work_through_a_pooler_as_well_as_without() {
    let _permit = load_permit().await;
    let mut database = Postgres::start();
    let pooler = database.pooler("session");
    let mut home = nodes::home(&database, &[]);
    home.use_store(&pooler.url);
    let reaches = || home.run(&["users", "list"]).status.success();
    wait_until("the pooler is ready", reaches);
    let nodes = nodes::start_three(&home, &[]);
    for _ in 0..2 {
        for session in sign_out_on_each(&nodes).await {
            nodes::until_all(&nodes, &session, "401 revoked").await;
        }
        database.kill();
        database.restart();
        // After a failed connection to the server, the pooler refuses all clients for a while.
        wait_until("the pooler reaches the database again", reaches);
    }
    sign_out_on_each(&nodes).await;
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_reported() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let pooler = database.pooler("transaction");
    let mut home = nodes::home(&database, &[]);
    home.use_store(&pooler.url);
    let run = |arguments: &[&str]| {
        let output = home.run(arguments);
        (output.status.code(), [output.stdout, output.stderr].map(|bytes| text(&bytes)).concat())
    };
    wait_until("the pooler is ready", || !run(&["users", "list"]).1.contains("Connection refused"));
    for arguments in [&["users", "list"] as &[_], &["users", "disable", "alice"], &["serve"]] {
        let (code, output) = run(arguments);
        assert_eq!(code, Some(74), "{arguments:?}: {output}");
        assert!(output.contains("pool_mode = session"), "{arguments:?}: {output}");
    }
    let (_, output) = run(&["doctor"]);
    let found = output.lines().find(|line| line.contains("store.open")).expect("doctor checks whether the store opens");
    assert!(found.starts_with("problem") && found.contains("pool_mode = session"), "{found}");
    assert!(!output.contains("store restored"), "the command `store restored` would end every session: {output}");
}

#[tokio::test]
async fn a_node_that_stops_delivers_its_sign_outs_if_it_still_can() {
    let _permit = load_permit().await;
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

/// Begins a session on each node, and ends each session on another node.
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
