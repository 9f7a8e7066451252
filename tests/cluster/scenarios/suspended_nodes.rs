//! Nodes that start late, or that were suspended. Such a node accepts no session before it has read the whole list.
//!
//! Requests are sent while the node is suspended, so that the node processes them first when it is resumed.

use std::net::TcpListener;
use std::time::Duration;

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Server, Session};
use crate::postgres::Postgres;
use crate::wire::Wire;
use crate::{load_permit, nodes, reduced_or_stated};

/// Number of connections whose requests wait for the suspended node.
const WAITING: usize = 8;

#[tokio::test]
async fn a_node_suspended_past_max_staleness_accepts_no_ended_session() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["revocation.max_staleness=1s"]);
    let [running, suspended, _] = &nodes::start_three(&home, &[]);
    for _ in 0..reduced_or_stated(3, 20) {
        // This is the duration of the suspension. It does not wait for a result.
        let sleep = || std::thread::sleep(Duration::from_millis(1200));
        assert_accepts_no_ended_session(running, suspended, sleep).await;
    }
}

#[tokio::test]
async fn a_node_suspended_for_an_hour_accepts_no_ended_session() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["session.idle=200h", "session.absolute=400h", "http.idle_timeout=1000h"]);
    let clock = home.path("clock");
    write_clock(&clock, "+0s");
    // Both nodes use the same clock file, so the clocks of both advance.
    let [running, suspended] = [(); 2].map(|()| home.start_with(&[], &every_clock(&clock)));
    for hours in 1..=reduced_or_stated(3, 20) {
        let sleep = || write_clock(&clock, &format!("+{hours}h"));
        assert_accepts_no_ended_session(&running, &suspended, sleep).await;
    }
}

/// Suspends a node, and logs a session out on the other node meanwhile. Asserts that the resumed node refuses the session.
async fn assert_accepts_no_ended_session(running: &Server<'_>, suspended: &Server<'_>, sleep: impl FnOnce()) {
    nodes::until_ready(running).await;
    let ended = running.login("alice").await;
    let live = running.login("alice").await;
    suspended.until_status(&live, "200").await;
    assert_eq!(suspended.status(&ended).await, "200");
    let mut connections: Vec<Wire> = (0..WAITING).map(|_| Wire::to(&suspended.public)).collect();
    suspended.signal("STOP");
    assert_eq!(running.logout(&ended).await, "200");
    sleep();
    connections.iter_mut().for_each(|wire| wire.send("/auth/status", &ended.cookie()));
    suspended.signal("CONT");
    let mut verdicts: Vec<String> = connections.iter_mut().map(|wire| wire.receive().verdict()).collect();
    // The node accepts the live session again after a while. It never accepts the logged-out session.
    let mut wire = Wire::to(&suspended.public);
    loop {
        let of_live = wire.get("/auth/status", &live.cookie()).verdict();
        verdicts.push(wire.get("/auth/status", &ended.cookie()).verdict());
        match of_live.as_str() {
            "200" => break,
            other => assert_eq!(other, "503 stale", "the session is live"),
        }
    }
    assert!(verdicts.iter().all(|verdict| ["503 stale", "401 revoked"].contains(&verdict.as_str())), "{verdicts:?}");
    assert_eq!(verdicts.last().expect("at least one"), "401 revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loads_a_long_list_accepts_no_ended_session() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let first = home.start();
    let live = first.login("alice").await;
    let ended = first.login("alice").await;
    nodes::fill(&database, 0, 30_000);
    assert_eq!(first.logout(&ended).await, "200");
    // More rows after the logout, so that its row is in the middle of the list.
    nodes::fill(&database, 30_000, 30_000);
    for _ in 0..reduced_or_stated(2, 10) {
        let address = free_address();
        let requests = std::thread::scope(|scope| {
            let client = scope.spawn(|| request_from_the_start(&address, &live, &ended));
            let node = home.start_with(&["--listen", &address], &[]);
            let requests = client.join().expect("no assertion of the client failed");
            node.kill();
            requests
        });
        println!("{requests} requests to a node that loads 60,000 revocations, until it accepted a live session");
    }
}

/// Sends requests until the node accepts the live session. The first requests are sent before the node listens. Returns the
/// number of attempts.
fn request_from_the_start(address: &str, live: &Session, ended: &Session) -> usize {
    for attempts in 1.. {
        let Some(mut wire) = Wire::try_to(address) else {
            std::thread::yield_now();
            continue;
        };
        let of_live = wire.get("/auth/status", &live.cookie()).verdict();
        let of_ended = wire.get("/auth/status", &ended.cookie()).verdict();
        assert!(["503 stale", "401 revoked"].contains(&of_ended.as_str()), "the session was logged out: {of_ended}");
        if of_live == "200" {
            assert_eq!(of_ended, "401 revoked");
            return attempts;
        }
        assert_eq!(of_live, "503 stale", "the session is live");
    }
    unreachable!("the loop has no end")
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string()
}
