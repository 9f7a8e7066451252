//! Revocation of a key on one node while the key files of the other nodes do not change: the other nodes read the
//! revocation from the log. If that is not possible, the command reports this.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Home, Server, text};
use crate::load_permit;
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;

/// Starts nodes with the same keys. All nodes except the first have their own key directories.
fn start_with_own_keys<'h>(home: &'h Home, names: &[&str]) -> Vec<Server<'h>> {
    let start = |name: &&str| {
        copy(&home.path("keys"), &home.path(name));
        home.start_with(&["--keys", name, "--set", &format!("node.name={name}")], &[])
    };
    let others: Vec<_> = names.iter().map(start).collect();
    [home.start_with(&["--set", "node.name=first"], &[])].into_iter().chain(others).collect()
}

/// Copies a key directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new directory");
    for file in fs::read_dir(from).expect("reads") {
        let file = file.expect("reads");
        fs::copy(file.path(), to.join(file.file_name())).expect("copies");
    }
}

/// Returns the id of the active key.
fn kid(home: &Home) -> String {
    let active = home.keys().into_iter().find(|key| key["state"] == "active").expect("one key is active");
    active["kid"].as_str().expect("text").to_owned()
}

/// Waits until the store has `wanted` reports of nodes, and returns them.
fn reports(home: &Home, wanted: usize) -> Vec<Value> {
    loop {
        let status: Value = serde_json::from_slice(&home.run(&["keys", "status", "--json"]).stdout).expect("JSON");
        let nodes = status["nodes"].as_array().expect("a list");
        if nodes.len() == wanted {
            return nodes.clone();
        }
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_nodes_whose_files_do_not_change() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = start_with_own_keys(&home, &["second", "third"]);
    reports(&home, 3);
    let kid = kid(&home);
    let session = nodes[1].login("alice").await;
    let output = home.run(&["keys", "revoke", &kid, "--replace"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success() && stderr.contains("3 of 3 nodes refuse the key"), "{stderr}");
    for node in &nodes {
        assert_eq!(node.status(&session).await, "401 invalid");
        assert_eq!(node.logout(&session).await, "200", "no node can open the token");
    }
    for report in reports(&home, 3) {
        assert!(!report["kids"].as_array().expect("a list").contains(&Value::from(&*kid)), "{report}");
    }
    // A node that starts later with the old files also refuses the key.
    copy(&home.path("second"), &home.path("late"));
    let late = home.start_with(&["--keys", "late"], &[]);
    assert_eq!(late.status(&session).await, "401 invalid");
}

#[tokio::test]
async fn a_revocation_fails_without_the_store_and_holds_when_repeated() {
    let _permit = load_permit().await;
    let mut database = Postgres::start();
    let home = nodes::home(&database, &["revocation.max_staleness=1h"]);
    let nodes = start_with_own_keys(&home, &["second"]);
    reports(&home, 2);
    let kid = kid(&home);
    let session = nodes[1].login("alice").await;
    database.kill();
    let output = home.run(&["keys", "revoke", &kid, "--replace"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("{kid} is revoked in keys, but not in the store: ")), "{stderr}");
    until_all(&nodes[..1], &session, "401 invalid").await;
    assert_eq!(nodes[1].status(&session).await, "200", "the key files of the second node do not change");
    // Without the store, the node cannot determine whether another node accepts the session.
    assert_eq!(nodes[0].logout(&session).await, "503 store");

    database.restart();
    let output = home.run(&["keys", "revoke", &kid, "--replace"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success() && stderr.contains("2 of 2 nodes refuse the key"), "{stderr}");
    assert_eq!(nodes[1].status(&session).await, "401 invalid");
    assert_eq!(nodes[0].logout(&session).await, "200");
}

#[tokio::test]
async fn revoke_names_a_suspended_and_a_killed_node() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let mut nodes = start_with_own_keys(&home, &["stopped", "killed"]);
    reports(&home, 3);
    nodes.pop().expect("three nodes").kill();
    nodes[1].signal("STOP");
    let output = home.run(&["keys", "revoke", &kid(&home), "--replace"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("1 of 3 refuse it; no report since it was revoked: killed (last report "), "{stderr}");
    assert!(stderr.contains(", stopped (last report "), "{stderr}");
    nodes[1].signal("CONT");
}
