//! The default number of connections, all in use, and limits of open files that are lower than the connection limit.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::time::Instant;

use super::{MAX_CONNECTIONS, Peer, home_with, new_client};
use crate::harness::{Home, Server};

/// Raises the limit of open files of the test process to its hard limit, and returns it.
pub(super) fn raise_open_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit is allowed");
    limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).expect("a number of files"))
}

/// Returns the resident memory of the server.
pub(super) fn resident_kib(server: &Server<'_>) -> usize {
    memory_kib(server, "VmRSS:")
}

/// Returns the peak of the resident memory of the server.
pub(super) fn peak_kib(server: &Server<'_>) -> usize {
    memory_kib(server, "VmHWM:")
}

/// Returns a field of `/proc/PID/status` in KiB.
fn memory_kib(server: &Server<'_>, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux reports this field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn ten_thousand_idle_connections_block_no_new_client() {
    let count = raise_open_file_limit().saturating_sub(512).min(10_000);
    assert!(count >= 2000, "this machine allows too few open files for this test");
    let home = Home::new();
    let server = home.start();
    new_client(&server.public);
    let before = resident_kib(&server);
    let mut held: Vec<_> = (0..count).map(|_| Peer::connect(&server.public)).collect();
    let started = Instant::now();
    new_client(&server.public);
    let elapsed = started.elapsed();
    let silent = resident_kib(&server);
    for peer in &mut held {
        // The first connections were evicted if there are more connections than the limit allows.
        let _ = peer.send("GET /auth/status HTTP/1.1\r\nHost: ");
    }
    let started = Instant::now();
    new_client(&server.public);
    let verdict = server.get("/auth/status", "").await.verdict();
    assert_eq!(verdict, "401 missing");
    let bytes = |now: usize| now.saturating_sub(before) * 1024 / count;
    println!(
        "with {count} silent connections a new client gets a response in {elapsed:?}, at {} bytes of memory each; with {count} unfinished heads in {:?}, at {} bytes",
        bytes(silent),
        started.elapsed(),
        bytes(resident_kib(&server)),
    );
}

#[tokio::test]
async fn a_low_open_file_limit_lowers_the_connection_limit() {
    let home = Home::new();
    // The server reserves 64 files for other uses. Each of the two listeners gets half of the rest.
    let mut server = home.start_with_ulimit(&format!("-n {}", 64 + 2 * MAX_CONNECTIONS));
    let mut held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| new_client(&server.public)).collect();
    assert!(held.iter_mut().all(Peer::request), "the limit allows these connections");
    new_client(&server.public);
    server.wait_for("closing the connections that have waited longest");
    assert_eq!(held.iter_mut().filter_map(|peer| peer.request().then_some(())).count(), MAX_CONNECTIONS - 1);
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
}

#[tokio::test]
async fn a_soft_limit_of_open_files_is_raised() {
    let home = Home::new();
    let server = home.start_with_ulimit(&format!("-S -n {}", 64 + 2 * MAX_CONNECTIONS));
    let mut held: Vec<_> = (0..4 * MAX_CONNECTIONS).map(|_| new_client(&server.public)).collect();
    assert!(held.iter_mut().all(Peer::request));
}

#[tokio::test]
async fn idle_connections_are_evicted_if_file_descriptors_run_out() {
    let home = home_with(1000, &[]);
    let mut server = home.start();
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the process runs").count() as u64;
    let lower_limit = Rlimit { current: Some(open + 4), maximum: Some(open + 4) };
    let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a pid"));
    prlimit(pid, Resource::Nofile, lower_limit).expect("a child's limit may be lowered");
    let mut held: Vec<_> = (0..20).map(|_| Peer::connect(&server.public)).collect();
    let _new_clients: Vec<_> = (0..20).map(|_| new_client(&server.public)).collect();
    assert!(held.iter_mut().all(Peer::is_closed));
    server.signal("TERM");
    let messages = server.messages_until("stopping");
    let count = messages.iter().filter(|message| message.contains("cannot accept a connection")).count();
    assert_eq!(count, 1, "{messages:#?}");
}
