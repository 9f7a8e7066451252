//! A node that comes late, or back from sleep, vouches for nobody before it holds the whole list.
//!
//! Questions are put to it while it cannot run, so that they are the first thing it finds when it can.

use std::net::TcpListener;
use std::time::Duration;

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Server, Session};
use crate::postgres::Postgres;
use crate::wire::Wire;
use crate::{nodes, reduced_or_stated, turn};

/// Connections that wait for the node to wake.
const WAITING: usize = 8;

#[tokio::test]
async fn a_node_that_was_stopped_for_longer_than_max_staleness() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["revocation.max_staleness=1s"]);
    let [awake, asleep, _] = &nodes::three(&home, &[]);
    for _ in 0..reduced_or_stated(3, 20) {
        // The sleep, and nothing that is waited for.
        let sleep = || std::thread::sleep(Duration::from_millis(1200));
        vouches_for_nobody_who_was_signed_out_meanwhile(awake, asleep, sleep).await;
    }
}

#[tokio::test]
async fn a_node_that_slept_for_an_hour() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["session.idle=200h", "session.absolute=400h", "http.idle_timeout=1000h"]);
    let clock = home.path("clock");
    write_clock(&clock, "+0s");
    // Those that are awake see the hour pass, too.
    let [awake, asleep] = [(); 2].map(|()| home.start_with(&[], &every_clock(&clock)));
    for hours in 1..=reduced_or_stated(3, 20) {
        let sleep = || write_clock(&clock, &format!("+{hours}h"));
        vouches_for_nobody_who_was_signed_out_meanwhile(&awake, &asleep, sleep).await;
    }
}

async fn vouches_for_nobody_who_was_signed_out_meanwhile(
    awake: &Server<'_>,
    asleep: &Server<'_>,
    sleep: impl FnOnce(),
) {
    nodes::until_ready(awake).await;
    let (ended, live) = (awake.login("alice").await, awake.login("alice").await);
    asleep.until_status(&live, "200").await;
    assert_eq!(asleep.status(&ended).await, "200");
    let mut waiting: Vec<Wire> = (0..WAITING).map(|_| Wire::to(&asleep.public)).collect();
    asleep.signal("STOP");
    assert_eq!(awake.logout(&ended).await, "200");
    sleep();
    waiting.iter_mut().for_each(|wire| wire.ask("/auth/status", &ended.cookie()));
    asleep.signal("CONT");
    let mut verdicts: Vec<String> = waiting.iter_mut().map(|wire| wire.receive().verdict()).collect();
    // It vouches again for others before long; until then and from then on, not for this one.
    let mut wire = Wire::to(&asleep.public);
    loop {
        let vouches = wire.get("/auth/status", &live.cookie()).verdict();
        verdicts.push(wire.get("/auth/status", &ended.cookie()).verdict());
        match vouches.as_str() {
            "200" => break,
            other => assert_eq!(other, "503 stale", "a session that lives"),
        }
    }
    assert!(verdicts.iter().all(|verdict| ["503 stale", "401 revoked"].contains(&verdict.as_str())), "{verdicts:?}");
    assert_eq!(verdicts.last().expect("one at least"), "401 revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_started_on_a_long_list() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let first = home.start();
    let (live, ended) = (first.login("alice").await, first.login("alice").await);
    nodes::fill(&database, 0, 30_000);
    assert_eq!(first.logout(&ended).await, "200");
    // The last of the list; and no number but the last is missing.
    nodes::fill(&database, 30_000, 30_000);
    for _ in 0..reduced_or_stated(2, 10) {
        let address = free_address();
        let asked = std::thread::scope(|scope| {
            let client = scope.spawn(|| ask_from_the_start(&address, &live, &ended));
            let node = home.start_with(&["--listen", &address], &[]);
            let asked = client.join().expect("no answer was one that may never be");
            node.kill();
            asked
        });
        println!(
            "a node asked {asked} times while it starts on 60,000 revocations, until it vouched for a live session"
        );
    }
}

/// Asks from before the node listens until it vouches for the session that lives.
fn ask_from_the_start(address: &str, live: &Session, ended: &Session) -> usize {
    for asked in 1.. {
        let Some(mut wire) = Wire::try_to(address) else {
            std::thread::yield_now();
            continue;
        };
        let vouches = wire.get("/auth/status", &live.cookie()).verdict();
        let verdict = wire.get("/auth/status", &ended.cookie()).verdict();
        assert!(["503 stale", "401 revoked"].contains(&verdict.as_str()), "it was signed out: {verdict}");
        if vouches == "200" {
            assert_eq!(verdict, "401 revoked");
            return asked;
        }
        assert_eq!(vouches, "503 stale", "it lives");
    }
    unreachable!("asked for ever")
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string()
}
