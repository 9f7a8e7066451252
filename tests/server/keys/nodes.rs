//! Reports of nodes about their keys, and `keys rotate --wait`, which waits for these reports.
//!
//! The nodes share a database. Each has its own copy of the key directory, or all use the same directory.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{active, copy_keys, deliver, kid_of, login_sealed_with, wait_until_active};
use crate::database;
use crate::harness::{Home, Server, WAIT_TIMEOUT, text};

/// Starts a node with this name and this key directory.
pub(super) fn start<'h>(home: &'h Home, name: &str, keys: &str) -> Server<'h> {
    home.start_with(&["--keys", keys, "--set", &format!("node.name={name}")], &[])
}

/// Runs `keys status --json`. Returns the exit code, the nodes, and the standard error.
fn status(home: &Home) -> (Option<i32>, Vec<Value>, String) {
    let output = home.run(&["keys", "status", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), value["nodes"].as_array().expect("a list").clone(), text(&output.stderr))
}

/// Polls the status until `is_wanted` accepts it. Returns the nodes and the standard error.
pub(super) fn wait_for_status(
    home: &Home,
    is_wanted: impl Fn(Option<i32>, &[Value], &str) -> bool,
) -> (Vec<Value>, String) {
    let started = Instant::now();
    loop {
        let (code, nodes, stderr) = status(home);
        if is_wanted(code, &nodes, &stderr) {
            return (nodes, stderr);
        }
        assert!(started.elapsed() < WAIT_TIMEOUT, "{code:?} {nodes:?} {stderr}");
    }
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes.iter().map(|node| node["name"].as_str().expect("a name")).collect()
}

/// A running `keys rotate --wait`.
struct WaitingRotation {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl WaitingRotation {
    fn start(home: &Home, timeout: &str) -> Self {
        let mut command = home.command(&["keys", "rotate", "--wait", "--timeout", timeout]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, stderr }
    }

    /// Reads standard error up to a line that contains `wanted`, and returns this line.
    fn wait_for_line(&mut self, wanted: &str) -> String {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(
                self.stderr.read_line(&mut line).expect("text") > 0,
                "the command ended without printing {wanted:?}"
            );
        }
        line
    }

    fn wait(self) -> Output {
        self.child.wait_with_output().expect("the command ends")
    }
}

#[tokio::test]
async fn every_node_reports_its_keys_until_it_is_stopped() {
    let home = Home::new();
    let (code, nodes, stderr) = status(&home);
    assert_eq!((code, nodes.len()), (Some(1), 0));
    assert!(stderr.contains("no server has reported to this store within 30 s"), "{stderr}");
    assert!(stderr.contains("\nhint: start a server"), "{stderr}");

    let mut one = start(&home, "one", "keys");
    let mut other = start(&home, "other", "keys");
    let first = active(&home.keys());
    let (nodes, stderr) = wait_for_status(&home, |_, nodes, _| nodes.len() == 2);
    assert_eq!(names(&nodes), ["one", "other"]);
    assert!(stderr.contains("2 of 2 live nodes use the keys of this directory"), "{stderr}");
    for node in &nodes {
        assert_eq!((&node["active"], &node["live"]), (&Value::from(&*first), &Value::from(true)));
        assert_eq!(node["kids"], serde_json::json!([first]));
    }
    // Nodes report a change at once. With the regular reports alone, each of these rotations would take five seconds.
    let started = Instant::now();
    let mut kid = String::new();
    for _ in 0..4 {
        kid = home.run_ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
        wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.iter().all(|node| node["active"] == *kid));
    }
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());

    let table = home.run_ok(&["keys", "status"]);
    for (key, state, at_node) in [(&first, "retired", "opens"), (&kid, "active", "seals")] {
        let is_row = |line: &&str| line.starts_with("other ") && line.contains(key) && line.contains(state);
        assert!(table.lines().find(is_row).is_some_and(|line| line.ends_with(at_node)), "{table}");
    }

    other.signal("TERM");
    assert_eq!(other.exit_code(), Some(0));
    assert_eq!(names(&status(&home).1), ["one"]);
    // A killed node cannot delete its report. It counts as live until it has not reported for 30 s.
    one.signal("KILL");
    one.exit_code();
    assert_eq!(names(&status(&home).1), ["one"]);
}

#[tokio::test]
async fn a_node_without_a_name_has_the_name_of_its_host() {
    let home = Home::new();
    let server = home.start();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the file exists on Linux");
    let (nodes, _) = wait_for_status(&home, |_, nodes, _| !nodes.is_empty());
    assert_eq!(names(&nodes), [host.trim()]);
    drop(server);
}

#[tokio::test]
async fn status_names_nodes_that_lack_a_key_or_open_a_revoked_one() {
    let home = Home::new();
    let first = active(&home.keys());
    let other_keys = copy_keys(&home);
    let _one = start(&home, "one", "keys");
    let _other = start(&home, "other", &other_keys);
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);

    let kid = home.run_ok(&["keys", "rotate"]).trim().to_owned();
    let message = format!("not every live node uses the keys of this directory: other lacks {kid}\n");
    let (nodes, stderr) =
        wait_for_status(&home, |code, nodes, _| code == Some(1) && nodes[0]["lacks"] == Value::Array(vec![]));
    assert!(stderr.contains(&message) && stderr.contains("hint: "), "{stderr}");
    assert_eq!(nodes[1]["lacks"], serde_json::json!([kid]));
    deliver(&home, &kid, &other_keys);
    wait_for_status(&home, |code, _, _| code == Some(0));

    // Revoke the key in the files only. A key that is revoked in the store is refused by every node.
    let output = home.run(&["keys", "revoke", &first, "--replace", "--store", "sqlite://elsewhere.db"]);
    assert!(text(&output.stderr).contains("is revoked only in keys"), "{}", text(&output.stderr));
    for key in home.keys() {
        if key["kid"] != *first {
            deliver(&home, key["kid"].as_str().expect("text"), &other_keys);
        }
    }
    let message =
        format!("not every live node uses the keys of this directory: other still opens with the revoked {first}\n");
    wait_for_status(&home, |code, _, stderr| code == Some(1) && stderr.contains(&message));
    deliver(&home, &first, &other_keys);
    wait_for_status(&home, |code, _, _| code == Some(0));
}

#[tokio::test]
async fn a_rotation_that_waits_activates_when_every_live_node_has_it() {
    let home = Home::new();
    let first = active(&home.keys());
    let other_keys = copy_keys(&home);
    let one = start(&home, "one", "keys");
    let other = start(&home, "other", &other_keys);
    wait_for_status(&home, |_, nodes, _| nodes.len() == 2);

    let mut rotation = WaitingRotation::start(&home, "10m");
    rotation.wait_for_line("1 of 2 live nodes have the key, missing at other");
    assert_eq!(active(&home.keys()), first);
    assert_eq!(kid_of(&one.login("alice").await), first, "the new key is published but not active");
    // The command also waits for a node that starts in the meantime.
    let late = start(&home, "late", &other_keys);
    rotation.wait_for_line("1 of 3 live nodes have the key, missing at late, other");
    let published = home.keys().into_iter().find(|key| key["state"] == "published").expect("a published key");
    let kid = published["kid"].as_str().expect("text").to_owned();
    assert_eq!(published["activates_at"], Value::Null);
    deliver(&home, &kid, &other_keys);
    rotation.wait_for_line("3 of 3 live nodes have the key");
    let output = rotation.wait();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).trim(), kid);
    wait_until_active(&home, &kid);
    // A session that one node seals with the new key opens on every node, although the others have no activation time for the
    // key.
    let session = login_sealed_with(&one, &kid).await;
    for server in [&one, &other, &late] {
        assert_eq!(server.status(&session).await, "200");
    }
    // The copies of the other nodes do not have the activation time yet.
    let message = format!("late seals with {first} and not with {kid}; other seals with {first} and not with {kid}\n");
    wait_for_status(&home, |code, _, stderr| code == Some(1) && stderr.contains(&message));
    // If the command reads the older copy of the keys, it reports the node with the newer copy as different.
    let keys = home.path(&other_keys);
    let output = home.run(&["--keys", keys.to_str().expect("UTF-8"), "keys", "status"]);
    let message =
        format!("not every live node uses the keys of this directory: one seals with {kid} and not with {first}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&message), "{}", text(&output.stderr));
    deliver(&home, &kid, &other_keys);
    wait_for_status(&home, |code, _, _| code == Some(0));
}

#[tokio::test]
async fn a_rotation_that_timed_out_leaves_its_key_for_the_next_one() {
    let home = Home::new();
    let first = active(&home.keys());
    let other_keys = copy_keys(&home);
    let _one = start(&home, "one", "keys");
    let _other = start(&home, "other", &other_keys);
    wait_for_status(&home, |_, nodes, _| nodes.len() == 2);
    for attempt in 1..=2 {
        let output = home.run(&["keys", "rotate", "--wait", "--timeout", "1s"]);
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{stderr}");
        assert!(stderr.contains("missing at other") && stderr.contains("hint: the key stays published"), "{stderr}");
        assert_eq!(stderr.contains("continuing with"), attempt == 2, "{stderr}");
        assert_eq!((home.keys().len(), active(&home.keys())), (2, first.clone()));
    }
    let kid = home.keys().iter().map(|key| key["kid"].as_str().expect("text").to_owned()).find(|kid| *kid != first);
    let kid = kid.expect("two keys");
    deliver(&home, &kid, &other_keys);
    assert_eq!(home.run_ok(&["keys", "rotate", "--wait"]).trim(), kid);
    wait_until_active(&home, &kid);
    assert_eq!(home.keys().len(), 2);
}

#[tokio::test]
async fn a_rotation_that_waits_for_a_key_revoked_meanwhile_fails() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let _server = start(&home, "other", &other_keys);
    wait_for_status(&home, |_, nodes, _| nodes.len() == 1);
    let mut rotation = WaitingRotation::start(&home, "10m");
    let line = rotation.wait_for_line("published ");
    let kid = line["published ".len()..].split(',').next().expect("an id");
    rotation.wait_for_line("missing at other");
    // The node gets the key file as it was before the revocation.
    std::fs::create_dir(home.path("copies")).expect("creates the directory");
    deliver(&home, kid, "copies");
    home.run_ok(&["keys", "revoke", kid]);
    let name = format!("{kid}.key");
    std::fs::rename(home.path("copies").join(&name), home.path(&other_keys).join(&name)).expect("renames");
    rotation.wait_for_line("is revoked: it can never seal again");
    assert_eq!(rotation.wait().status.code(), Some(1));
}

#[tokio::test]
async fn a_rotation_that_waits_activates_at_once_if_no_node_is_live() {
    let home = Home::new();
    let output = home.run(&["keys", "rotate", "--wait"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no node has reported within 30 s, so there is no node to wait for"));
    wait_until_active(&home, text(&output.stdout).trim());
}

#[tokio::test]
async fn a_rotation_that_waits_gives_silent_nodes_time_to_report() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let _other = start(&home, "other", &other_keys);
    let killed = start(&home, "killed", &other_keys);
    wait_for_status(&home, |_, nodes, _| nodes.len() == 2);
    killed.kill();
    // Change the times of the reports, as if the store had been unavailable for a minute.
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "UPDATE node SET reported_at = reported_at - 60000").await;
    let mut rotation = WaitingRotation::start(&home, "10m");
    let line = rotation.wait_for_line("published ");
    let kid = line["published ".len()..].split(',').next().expect("an id");
    rotation.wait_for_line("0 of 1 live nodes have the key, missing at other; no recent report: killed");
    deliver(&home, kid, &other_keys);
    rotation.wait_for_line("1 of 1 live nodes have the key; no recent report: killed");
    assert!(rotation.wait().status.success(), "the command stops waiting for a node that stays silent");
    wait_until_active(&home, kid);
}

#[tokio::test]
async fn a_rotation_that_waits_creates_no_key_without_a_store() {
    let home = Home::new();
    let output = home.run(&["keys", "rotate", "--wait", "--store", "sqlite://elsewhere.db"]);
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(home.keys().len(), 1);
}
