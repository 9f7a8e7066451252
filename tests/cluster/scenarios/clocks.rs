//! Nodes whose wall clocks differ by almost a minute, which is the maximum that is allowed. The clocks of two nodes are
//! half a minute behind and ahead of PostgreSQL's clock. No live session is refused because of the difference. A revoked
//! session is never accepted again, even after the node with the fast clock has pruned the revocation.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Home, Server, Session, text};
use crate::nodes::{self, until_all, until_ready};
use crate::postgres::{Postgres, ServerOptions};
use crate::{load_permit, reduced_or_stated};

/// Offsets of the nodes' clocks from the true time, in seconds.
const OFFSETS: [i32; 3] = [-29, 0, 29];
/// Offset of PostgreSQL's clock from the true time, in seconds.
const OFFSET: i32 = 0;
/// Maximum time from a logout to the refusal on every node.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn clocks_a_minute_apart_change_no_verdict() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = start(&home);
    let mut longest = Duration::ZERO;
    for (login_node, logout_node) in std::iter::repeat_n(pairs(), reduced_or_stated(2, 20)).flatten() {
        let session = nodes[login_node].login("alice").await;
        for node in &nodes {
            assert_eq!(node.status(&session).await, "200", "sealed by node {login_node}");
        }
        assert_eq!(nodes[logout_node].logout(&session).await, "200");
        let [a, b, c] = nodes.each_ref().map(|node| node.until_status(&session, "401 revoked"));
        let (a, b, c) = tokio::join!(a, b, c);
        longest = longest.max(a).max(b).max(c);
    }
    println!("clocks a minute apart: signed out on one node, refused on all within {longest:?} at worst");
    assert!(longest < BOUND, "{longest:?}");
}

#[tokio::test]
async fn no_session_outlives_a_refusal_that_a_fast_node_prunes() {
    let _permit = load_permit().await;
    let clock = |directory: &Path| directory.join("clock");
    let environment = |directory: &Path| {
        write_clock(&clock(directory), &format!("{OFFSET:+}s"));
        [&every_clock(&clock(directory))[..], &[("DONT_FAKE_MONOTONIC", OsStr::new("1"))]].concat()
    };
    let database =
        Postgres::start_with_options(&ServerOptions { environment: &environment, ..ServerOptions::default() });
    let home = nodes::home(&database, &["session.idle=2m", "http.idle_timeout=1h"]);
    let nodes = start(&home);
    let live = nodes[2].login("alice").await;
    let mut ended = Vec::new();
    for (login_node, logout_node) in pairs() {
        let session = nodes[login_node].login("alice").await;
        assert_eq!(nodes[logout_node].logout(&session).await, "200");
        until_all(&nodes, &session, "401 revoked").await;
        ended.push(session);
    }
    let pass = async |passed| {
        set_clocks(&home, passed);
        write_clock(&database.path("clock"), &format!("{:+}s", OFFSET + passed));
        for node in &nodes {
            until_ready(node).await;
        }
    };
    let mut accepted_at = Vec::new();
    let step = reduced_or_stated(20, 2);
    for passed in (0..=400).step_by(step) {
        pass(passed).await;
        for (number, node) in nodes.iter().enumerate() {
            for session in &ended {
                let verdict = settled(node, session).await;
                let is_refused = ["401 revoked", "401 expired"].contains(&verdict.as_str());
                assert!(is_refused, "after {passed} s node {number} returns {verdict}");
            }
        }
        if settled(&nodes[0], &live).await == "200" {
            accepted_at.push(passed);
        }
    }
    // The live session expires after two minutes at most, although it was sealed with a fast clock: on all nodes, the time is
    // never earlier than `pruned_through` of the fast node.
    assert!(accepted_at.contains(&40) && !accepted_at.contains(&200), "{accepted_at:?}");
    // Entries that expired after the last pruning are removed by a later pruning. Nodes prune once a minute.
    let mut passed = 400;
    while database.sql("SELECT count(*) FROM revocation") != "0" {
        assert!(passed < 4_000, "some entries are never removed");
        passed += 100;
        pass(passed).await;
    }
}

#[tokio::test]
async fn a_node_whose_clock_is_further_off_does_not_start() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    for offset in [-35, 35] {
        write_clock(&home.path("clock"), &format!("{offset:+}s"));
        let mut command = home.command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let output = command.envs(every_clock(&home.path("clock"))).output().expect("the binary runs");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{offset} s: {stderr}");
        assert!(stderr.contains("clock shows") && stderr.contains("synchronise both with NTP"), "{offset} s: {stderr}");
    }
}

/// Returns the verdict of a node after it has polled the store since the clocks were set.
async fn settled(node: &Server<'_>, session: &Session) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let verdict = node.status(session).await;
        if verdict != "503 stale" {
            return verdict;
        }
        assert!(Instant::now() < deadline, "the node is still stale");
    }
}

/// Returns all pairs of the node of the login and the node of the logout.
fn pairs() -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..3).flat_map(|login_node| (0..3).map(move |logout_node| (login_node, logout_node)))
}

fn start(home: &Home) -> [Server<'_>; 3] {
    set_clocks(home, 0);
    [0, 1, 2].map(|node| home.start_with(&[], &every_clock(&home.path(&format!("clock{node}")))))
}

/// Sets the nodes' clocks to `passed` seconds after the start.
fn set_clocks(home: &Home, passed: i32) {
    for (node, offset) in OFFSETS.iter().enumerate() {
        write_clock(&home.path(&format!("clock{node}")), &format!("{:+}s", offset + passed));
    }
}
