//! As many connections as the default allows, and fewer file descriptors than are needed.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::time::Instant;

use super::{PLACES, Peer, home_with, newcomer};
use crate::harness::{Home, Server};

/// Raises this process's own limit of open files, and returns it.
pub(super) fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit is allowed");
    limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).expect("a number of files"))
}

pub(super) fn resident_kib(server: &Server<'_>) -> usize {
    memory_kib(server, "VmRSS:")
}

/// The most that were ever resident.
pub(super) fn peak_kib(server: &Server<'_>) -> usize {
    memory_kib(server, "VmHWM:")
}

fn memory_kib(server: &Server<'_>, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("on Linux");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let count = open_files().saturating_sub(512).min(10_000);
    assert!(count >= 2000, "this machine allows too few open files to prove anything");
    let home = Home::new();
    let server = home.start();
    newcomer(&server.public);
    let before = resident_kib(&server);
    let mut held: Vec<_> = (0..count).map(|_| Peer::connect(&server.public)).collect();
    let started = Instant::now();
    newcomer(&server.public);
    let elapsed = started.elapsed();
    let silent = resident_kib(&server);
    for peer in &mut held {
        // The first were closed for the last, if there were fewer places than connections.
        let _ = peer.send("GET /auth/status HTTP/1.1\r\nHost: ");
    }
    let started = Instant::now();
    newcomer(&server.public);
    let verdict = server.get("/auth/status", "").await.verdict();
    assert_eq!(verdict, "401 missing");
    let bytes = |now: usize| now.saturating_sub(before) * 1024 / count;
    println!(
        "with {count} silent connections a newcomer is answered in {elapsed:?}, at {} bytes of memory each; with {count} unfinished heads in {:?}, at {} bytes",
        bytes(silent),
        started.elapsed(),
        bytes(resident_kib(&server)),
    );
}

#[tokio::test]
async fn with_too_few_open_files_there_are_fewer_places() {
    let home = Home::new();
    // 64 for the rest, and half of what is left for each listener.
    let mut server = home.start_with_ulimit(&format!("-n {}", 64 + 2 * PLACES));
    let mut held: Vec<_> = (0..PLACES).map(|_| newcomer(&server.public)).collect();
    assert!(held.iter_mut().all(Peer::ask), "so many there are");
    newcomer(&server.public);
    server.wait_for("closing those that have waited longest");
    assert_eq!(held.iter_mut().filter_map(|peer| peer.ask().then_some(())).count(), PLACES - 1);
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
}

#[tokio::test]
async fn a_limit_of_open_files_that_may_be_raised_is_raised() {
    let home = Home::new();
    let server = home.start_with_ulimit(&format!("-S -n {}", 64 + 2 * PLACES));
    let mut held: Vec<_> = (0..4 * PLACES).map(|_| newcomer(&server.public)).collect();
    assert!(held.iter_mut().all(Peer::ask));
}

#[tokio::test]
async fn without_open_files_idle_connections_give_way_with_one_line() {
    let home = home_with(1000, &[]);
    let mut server = home.start();
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count() as u64;
    let few = Rlimit { current: Some(open + 4), maximum: Some(open + 4) };
    let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a pid"));
    prlimit(pid, Resource::Nofile, few).expect("a child's limit may be lowered");
    let mut held: Vec<_> = (0..20).map(|_| Peer::connect(&server.public)).collect();
    let _newcomers: Vec<_> = (0..20).map(|_| newcomer(&server.public)).collect();
    assert!(held.iter_mut().all(Peer::is_closed));
    server.signal("TERM");
    let said = server.messages_until("stopping");
    let times = said.iter().filter(|message| message.contains("cannot accept a connection")).count();
    assert_eq!(times, 1, "{said:#?}");
}
