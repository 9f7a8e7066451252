//! Log readers that stop reading standard error. The server still responds to requests, counts the lines that it drops, and drops
//! audit events last.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Home, LogReader, Server, text, wait_until};
use crate::log_flood::{request, send_many};

/// Flags for a log line per request.
const ACCESS: [&str; 2] = ["--set", "log.level=info,sealjar::access=debug"];
/// Number of requests whose log lines, of more than 600 bytes each, exceed the capacity of the pipe and the queue.
const REQUESTS: usize = 4_000;

fn long_request(server: &Server<'_>) -> String {
    request(server, &format!("GET /auth/verify/envoy/-/{}", "x".repeat(256)), "", "")
}

/// Sends requests until log lines are dropped. Returns the number of dropped lines.
async fn flood(server: &Server<'_>) -> f64 {
    assert_eq!(send_many(server, &long_request(server), REQUESTS), REQUESTS);
    let dropped = server.metric("sealjar_log_lines_dropped_total{kind=\"other\"}").await;
    assert!(dropped > 0.0, "the queue must overflow");
    dropped
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_log_delays_no_request() {
    let home = Home::new();
    let mut server = home.start_with(&ACCESS, &[]);
    server.set_log_reader(LogReader::Paused);
    flood(&server).await;
    let mut sids = Vec::new();
    for _ in 0..20 {
        let session = server.login("alice").await;
        sids.push(server.get("/auth/status", &session.cookie()).await.json()["sid"].clone());
    }
    let dropped = server.metric("sealjar_log_lines_dropped_total{kind=\"other\"}").await;
    assert_eq!(server.metric("sealjar_log_lines_dropped_total{kind=\"audit\"}").await, 0.0);
    server.set_log_reader(LogReader::Active);
    // Now the queue has capacity again, so no line of the shutdown is dropped.
    let mut lines = server.lines_until("log lines were dropped");
    server.signal("TERM");
    lines.extend(server.lines_until("stopped"));
    let reports = lines.iter().filter(|line| line["target"] == "sealjar::log");
    let reports: Vec<_> = reports.map(|line| (line["left_out"].as_u64(), line["audit"].as_u64())).collect();
    assert_eq!(reports.iter().map(|(left_out, _)| left_out.expect("a number")).sum::<u64>() as f64, dropped);
    assert!(reports.iter().all(|(_, audit)| *audit == Some(0)), "{reports:?}");
    let logged_sids: Vec<_> =
        lines.iter().filter(|line| line["event"] == "sign-in").map(|line| line["sid"].clone()).collect();
    assert_eq!(logged_sids, sids);
    assert!(lines.iter().all(|line| line.get("level").is_some()), "no line is split");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_forever_for_the_log_reader() {
    let home = Home::new();
    let mut server = home.start_with(&ACCESS, &[]);
    server.set_log_reader(LogReader::Paused);
    flood(&server).await;
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_a_closed_log_are_counted_and_the_server_runs_on() {
    let home = Home::new();
    let mut server = home.start_with(&ACCESS, &[]);
    server.set_log_reader(LogReader::Closed);
    // The reader thread closes the pipe after the next line.
    let send_ten = || assert_eq!(send_many(&server, &long_request(&server), 10), 10);
    send_ten();
    let mut dropped = 0.0;
    while dropped == 0.0 {
        send_ten();
        dropped = server.metric("sealjar_log_lines_dropped_total{kind=\"other\"}").await;
    }
    let session = server.login("alice").await;
    assert_eq!(server.logout(&session).await, "200");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn the_reason_of_a_failed_start_is_the_last_log_line() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (format, level) in [("json", "info"), ("json", "off"), ("text", "info"), ("text", "off")] {
        let format = format!("log.format={format}");
        let level = format!("log.level={level}");
        let output = home.run(&["serve", "--listen", &address, "--set", &format, "--set", &level]);
        assert_eq!(output.status.code(), Some(74));
        let text = text(&output.stderr);
        let last = text.lines().last().expect("a line");
        assert!(last.contains("the server ended with an error"), "{format} {level}: {text}");
        assert!(last.contains(&format!("cannot listen on {address}")), "{format} {level}: {text}");
        if format.ends_with("json") {
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let last = lines.last().expect("a line");
            assert_eq!((&last["target"], &last["exit_code"]), (&json!("sealjar::exit"), &json!(74)));
            assert!(last["hint"].as_str().is_some_and(|hint| hint.contains("--listen")), "{last}");
        }
    }
}

#[test]
fn full_output_or_error_streams_do_not_block_the_demo() {
    let home = Home::new();
    let full_pipe = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut filling = writer.try_clone().expect("a second handle");
        std::thread::spawn(move || while filling.write_all(&[b'x'; 4096]).is_ok() {});
        (reader, Stdio::from(OwnedFd::from(writer)))
    };
    let (_stdout, out) = full_pipe();
    let (_stderr, err) = full_pipe();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let arguments = ["serve", "--demo", "--listen", &port.to_string(), "--admin-listen", "127.0.0.1:0"];
    let mut child = home.command(&arguments).stdout(out).stderr(err).spawn().expect("the binary runs");
    wait_until("the server handles SIGTERM", || catches_sigterm(child.id()));
    let killed = std::process::Command::new("sh").arg("-c").arg(format!("kill {}", child.id())).status();
    assert!(killed.expect("sh runs").success());
    let mut status = None;
    wait_until("the server exits", || {
        status = child.try_wait().expect("our own child");
        status.is_some()
    });
    assert_eq!(status.expect("the process has exited").code(), Some(0));
}

/// Returns whether the process has a handler for SIGTERM, which is installed when the server is ready.
fn catches_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line with the signals");
    u64::from_str_radix(mask.trim(), 16).expect("a mask") & (1 << 14) != 0
}
