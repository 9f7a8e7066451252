//! Helpers for several nodes on one database. The nodes share a home directory, and therefore use the same keys and settings.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Home, Server, Session};
use crate::postgres::Postgres;

/// Settings for fewer log lines, for tests that send thousands of requests.
pub(crate) const QUIET: [&str; 2] = ["--set", "log.level=sealjar=info,sealjar::audit=off"];

/// Metric that reports whether a node found its store rolled back.
pub(crate) const ROLLED_BACK: &str = "sealjar_degraded{what=\"store-rolled-back\"}";

/// Creates a home directory whose store is the database `sealjar`, with the account `alice`.
pub(crate) fn home(database: &Postgres, settings: &[&str]) -> Home {
    Home::with_settings(&[&[database.store().as_str()], settings].concat())
}

/// Starts three nodes with the same arguments.
pub(crate) fn start_three<'h>(home: &'h Home, arguments: &[&str]) -> [Server<'h>; 3] {
    [(); 3].map(|()| home.start_with(arguments, &[]))
}

/// Returns the body of `/readyz`, whether or not the node is ready.
pub(crate) async fn readyz(node: &Server<'_>) -> Value {
    let response = reqwest::get(format!("http://{}/readyz", node.admin)).await.expect("a response");
    serde_json::from_str(&response.text().await.expect("a body")).expect("JSON")
}

/// Waits until the node is ready.
pub(crate) async fn until_ready(node: &Server<'_>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while readyz(node).await["status"] != "ready" {
        assert!(Instant::now() < deadline, "the node is not ready");
    }
}

/// Writes `count` revocations of unused session ids into the log, directly in the database. The ids are
/// computed from the numbers after `first`.
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

/// Waits until each node returns this verdict for the session.
pub(crate) async fn until_all(nodes: &[Server<'_>], session: &Session, verdict: &str) {
    for node in nodes {
        node.until_status(session, verdict).await;
    }
}

/// Returns the resident memory of a process in KiB.
pub(crate) fn resident_kib(node: &Server<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line with the resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
