//! What nodes report of their keys, and a rotation that waits for them. Nodes share a database and have each its own copy of the
//! keys, or all the same directory.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{active, copied_keys, deliver, kid_of, sealed_with, until_active};
use crate::database;
use crate::harness::{Home, PATIENCE, Server, text};

/// A server of this name over this key directory.
pub(super) fn start<'h>(home: &'h Home, name: &str, keys: &str) -> Server<'h> {
    home.start_with(&["--keys", keys, "--set", &format!("node.name={name}")], &[])
}

/// `keys status --json`: the exit code, the nodes, and what is said.
fn status(home: &Home) -> (Option<i32>, Vec<Value>, String) {
    let output = home.run(&["keys", "status", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), value["nodes"].as_array().expect("a list").clone(), text(&output.stderr))
}

/// Asks for the status until it is as wanted.
pub(super) fn until_status(home: &Home, wanted: impl Fn(Option<i32>, &[Value], &str) -> bool) -> (Vec<Value>, String) {
    let started = Instant::now();
    loop {
        let (code, nodes, said) = status(home);
        if wanted(code, &nodes, &said) {
            return (nodes, said);
        }
        assert!(started.elapsed() < PATIENCE, "{code:?} {nodes:?} {said}");
    }
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes.iter().map(|node| node["name"].as_str().expect("a name")).collect()
}

/// A rotation that waits, under way.
struct Waiting {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Waiting {
    fn start(home: &Home, timeout: &str) -> Self {
        let mut command = home.command(&["keys", "rotate", "--wait", "--timeout", timeout]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let said = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, said }
    }

    /// Reads on to a line with this text.
    fn until_said(&mut self, wanted: &str) -> String {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(self.said.read_line(&mut line).expect("text") > 0, "it ended and never said {wanted:?}");
        }
        line
    }

    fn end(self) -> Output {
        self.child.wait_with_output().expect("it ends")
    }
}

#[tokio::test]
async fn every_node_reports_its_keys_and_stops_to_when_it_is_stopped() {
    let home = Home::new();
    let (code, nodes, said) = status(&home);
    assert_eq!((code, nodes.len()), (Some(1), 0));
    assert!(said.contains("no server has reported to this store within 30 s"), "{said}");
    assert!(said.contains("\nhint: start a server"), "{said}");

    let (mut one, mut other) = (start(&home, "one", "keys"), start(&home, "other", "keys"));
    let first = active(&home.keys());
    let (nodes, said) = until_status(&home, |_, nodes, _| nodes.len() == 2);
    assert_eq!(names(&nodes), ["one", "other"]);
    assert!(said.contains("2 of 2 live nodes use the keys of this directory"), "{said}");
    for node in &nodes {
        assert_eq!((&node["active"], &node["live"]), (&Value::from(&*first), &Value::from(true)));
        assert_eq!(node["kids"], serde_json::json!([first]));
    }
    // A change is reported at once: by the rounds alone, each of these would take five seconds.
    let started = Instant::now();
    let mut kid = String::new();
    for _ in 0..4 {
        kid = home.ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
        until_status(&home, |code, nodes, _| code == Some(0) && nodes.iter().all(|node| node["active"] == *kid));
    }
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());

    let table = home.ok(&["keys", "status"]);
    for (key, here, there) in [(&first, "retired", "opens"), (&kid, "active", "seals")] {
        let row = |line: &&str| line.starts_with("other ") && line.contains(key) && line.contains(here);
        assert!(table.lines().find(row).is_some_and(|line| line.ends_with(there)), "{table}");
    }

    other.signal("TERM");
    assert_eq!(other.exit_code(), Some(0));
    assert_eq!(names(&status(&home).1), ["one"]);
    // One that is killed can take nothing back, and counts until it has been silent for half a minute.
    one.signal("KILL");
    one.exit_code();
    assert_eq!(names(&status(&home).1), ["one"]);
}

#[tokio::test]
async fn a_node_without_a_name_is_called_like_its_host() {
    let home = Home::new();
    let server = home.start();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has it");
    let (nodes, _) = until_status(&home, |_, nodes, _| !nodes.is_empty());
    assert_eq!(names(&nodes), [host.trim()]);
    drop(server);
}

#[tokio::test]
async fn status_names_nodes_that_lack_a_key_or_open_a_revoked_one() {
    let home = Home::new();
    let first = active(&home.keys());
    let other_keys = copied_keys(&home);
    let (_one, _other) = (start(&home, "one", "keys"), start(&home, "other", &other_keys));
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);

    let kid = home.ok(&["keys", "rotate"]).trim().to_owned();
    let fault = format!("not every live node uses the keys of this directory: other lacks {kid}\n");
    let (nodes, said) =
        until_status(&home, |code, nodes, _| code == Some(1) && nodes[0]["lacks"] == Value::Array(vec![]));
    assert!(said.contains(&fault) && said.contains("hint: "), "{said}");
    assert_eq!(nodes[1]["lacks"], serde_json::json!([kid]));
    deliver(&home, &kid, &other_keys);
    until_status(&home, |code, _, _| code == Some(0));

    // Only in the files: what the store refuses, every node does.
    let output = home.run(&["keys", "revoke", &first, "--replace", "--store", "sqlite://elsewhere.db"]);
    assert!(text(&output.stderr).contains("is revoked in keys alone"), "{}", text(&output.stderr));
    for key in home.keys() {
        if key["kid"] != *first {
            deliver(&home, key["kid"].as_str().expect("text"), &other_keys);
        }
    }
    let fault =
        format!("not every live node uses the keys of this directory: other still opens with the revoked {first}\n");
    until_status(&home, |code, _, said| code == Some(1) && said.contains(&fault));
    deliver(&home, &first, &other_keys);
    until_status(&home, |code, _, _| code == Some(0));
}

#[tokio::test]
async fn a_rotation_that_waits_activates_when_every_live_node_has_it() {
    let home = Home::new();
    let first = active(&home.keys());
    let other_keys = copied_keys(&home);
    let (one, other) = (start(&home, "one", "keys"), start(&home, "other", &other_keys));
    until_status(&home, |_, nodes, _| nodes.len() == 2);

    let mut waiting = Waiting::start(&home, "10m");
    waiting.until_said("1 of 2 live nodes have the key, missing at other");
    assert_eq!(active(&home.keys()), first);
    assert_eq!(kid_of(&one.login("alice").await), first, "published and not active");
    // A node that appears meanwhile counts, too.
    let late = start(&home, "late", &other_keys);
    waiting.until_said("1 of 3 live nodes have the key, missing at late, other");
    let published = home.keys().into_iter().find(|key| key["state"] == "published").expect("it is there");
    let kid = published["kid"].as_str().expect("text").to_owned();
    assert_eq!(published["activates_at"], Value::Null);
    deliver(&home, &kid, &other_keys);
    waiting.until_said("3 of 3 live nodes have the key");
    let output = waiting.end();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).trim(), kid);
    until_active(&home, &kid);
    // What one seals with it opens everywhere, although the others have not heard of the activation.
    let session = sealed_with(&one, &kid).await;
    for server in [&one, &other, &late] {
        assert_eq!(server.status(&session).await, "200");
    }
    // Their copies do not say yet that it is active.
    let fault = format!("late seals with {first} and not with {kid}; other seals with {first} and not with {kid}\n");
    until_status(&home, |code, _, said| code == Some(1) && said.contains(&fault));
    // Seen from there, it is the node with the newer copy that is ahead.
    let keys = home.path(&other_keys);
    let output = home.run(&["--keys", keys.to_str().expect("UTF-8"), "keys", "status"]);
    let fault =
        format!("not every live node uses the keys of this directory: one seals with {kid} and not with {first}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&fault), "{}", text(&output.stderr));
    deliver(&home, &kid, &other_keys);
    until_status(&home, |code, _, _| code == Some(0));
}

#[tokio::test]
async fn a_rotation_that_waited_in_vain_leaves_its_key_to_the_next() {
    let home = Home::new();
    let first = active(&home.keys());
    let other_keys = copied_keys(&home);
    let (_one, _other) = (start(&home, "one", "keys"), start(&home, "other", &other_keys));
    until_status(&home, |_, nodes, _| nodes.len() == 2);
    for try_number in 1..=2 {
        let output = home.run(&["keys", "rotate", "--wait", "--timeout", "1s"]);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{said}");
        assert!(said.contains("missing at other") && said.contains("hint: the key stays published"), "{said}");
        assert_eq!(said.contains("continuing with"), try_number == 2, "{said}");
        assert_eq!((home.keys().len(), active(&home.keys())), (2, first.clone()));
    }
    let kid = home.keys().iter().map(|key| key["kid"].as_str().expect("text").to_owned()).find(|kid| *kid != first);
    let kid = kid.expect("two keys");
    deliver(&home, &kid, &other_keys);
    assert_eq!(home.ok(&["keys", "rotate", "--wait"]).trim(), kid);
    until_active(&home, &kid);
    assert_eq!(home.keys().len(), 2);
}

#[tokio::test]
async fn a_rotation_that_waits_for_a_key_revoked_meanwhile_fails() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let _server = start(&home, "other", &other_keys);
    until_status(&home, |_, nodes, _| nodes.len() == 1);
    let mut waiting = Waiting::start(&home, "10m");
    let line = waiting.until_said("published ");
    let kid = line["published ".len()..].split(',').next().expect("an id");
    waiting.until_said("missing at other");
    // The node gets it as it was before it was revoked here.
    std::fs::create_dir(home.path("aside")).expect("makes");
    deliver(&home, kid, "aside");
    home.ok(&["keys", "revoke", kid]);
    let name = format!("{kid}.key");
    std::fs::rename(home.path("aside").join(&name), home.path(&other_keys).join(&name)).expect("renames");
    waiting.until_said("was revoked: it never seals again");
    assert_eq!(waiting.end().status.code(), Some(1));
}

#[tokio::test]
async fn a_rotation_that_waits_activates_at_once_if_no_node_is_live() {
    let home = Home::new();
    let output = home.run(&["keys", "rotate", "--wait"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no node has reported within 30 s, so there is none to wait for"));
    until_active(&home, text(&output.stdout).trim());
}

#[tokio::test]
async fn a_rotation_that_waits_gives_silent_nodes_time_to_report() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let _other = start(&home, "other", &other_keys);
    let gone = start(&home, "gone", &other_keys);
    until_status(&home, |_, nodes, _| nodes.len() == 2);
    gone.kill();
    // As if the store had been away for a minute.
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "UPDATE node SET reported_at = reported_at - 60000").await;
    let mut waiting = Waiting::start(&home, "10m");
    let line = waiting.until_said("published ");
    let kid = line["published ".len()..].split(',').next().expect("an id");
    waiting.until_said("0 of 1 live nodes have the key, missing at other; no recent report: gone");
    deliver(&home, kid, &other_keys);
    waiting.until_said("1 of 1 live nodes have the key; no recent report: gone");
    assert!(waiting.end().status.success(), "one that does not come back is not waited for any longer");
    until_active(&home, kid);
}

#[tokio::test]
async fn a_rotation_that_waits_makes_no_key_if_no_store_opens() {
    let home = Home::new();
    let output = home.run(&["keys", "rotate", "--wait", "--store", "sqlite://elsewhere.db"]);
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(home.keys().len(), 1);
}
