//! Several nodes on one database, and one home: the same keys, the same settings.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Home, Server, Session};
use crate::postgres::Postgres;

/// Nodes with little to say, where thousands of requests are sent.
pub(crate) const QUIET: [&str; 2] = ["--set", "log.level=sealjar=info,sealjar::audit=off"];

/// The metric that says whether a node found its store rolled back.
pub(crate) const ROLLED_BACK: &str = "sealjar_degraded{what=\"store-rolled-back\"}";

/// A home whose store is the database `sealjar`, with the account `alice`.
pub(crate) fn home(database: &Postgres, settings: &[&str]) -> Home {
    Home::with_settings(&[&[database.store().as_str()], settings].concat())
}

pub(crate) fn three<'h>(home: &'h Home, arguments: &[&str]) -> [Server<'h>; 3] {
    [(); 3].map(|()| home.start_with(arguments, &[]))
}

/// What the node says of itself, ready or not.
pub(crate) async fn readyz(node: &Server<'_>) -> Value {
    let answer = reqwest::get(format!("http://{}/readyz", node.admin)).await.expect("an answer");
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

/// Asks until the node is ready.
pub(crate) async fn until_ready(node: &Server<'_>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while readyz(node).await["status"] != "ready" {
        assert!(Instant::now() < deadline, "the node is not ready");
    }
}

/// Writes so many revocations of nobody into the log, past any node. They are numbered from `first` on.
pub(crate) fn fill(database: &Postgres, first: u32, count: u32) {
    database.sql(&format!(
        "BEGIN;
         UPDATE state SET last_seq = last_seq + {count};
         INSERT INTO revocation (seq, sid, expires_at)
         SELECT last_seq - {count} + number, decode(md5(({first} + number)::text), 'hex'),
                extract(epoch FROM now())::bigint + 3600
         FROM state, generate_series(1, {count}) AS number;
         COMMIT;"
    ));
}

/// Asks all nodes until each gives the session this verdict.
pub(crate) async fn until_all(nodes: &[Server<'_>], session: &Session, verdict: &str) {
    for node in nodes {
        node.until_status(session, verdict).await;
    }
}

/// The memory that a process has resident, in KiB.
pub(crate) fn resident_kib(node: &Server<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
