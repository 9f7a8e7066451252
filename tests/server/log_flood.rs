//! Sampling of the log. No client can fill the log, with or without a token: a thousand requests write at most ten lines a
//! second.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::database;
use crate::harness::{Home, PASSWORD, Server};

/// Number of requests that a test sends at once.
const REQUESTS: usize = 1_000;

/// Sends a request `count` times over one connection, without waiting for responses in between. Returns the number of responses.
pub(crate) fn send_many(server: &Server<'_>, request: &str, count: usize) -> usize {
    let mut stream = TcpStream::connect(&server.public).expect("connects");
    let mut writer = stream.try_clone().expect("a second handle");
    let last = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let requests = request.repeat(count - 1) + &last;
    let sent = std::thread::spawn(move || writer.write_all(requests.as_bytes()));
    let mut responses = Vec::new();
    stream.read_to_end(&mut responses).expect("all responses");
    sent.join().expect("no panic").expect("sent");
    String::from_utf8_lossy(&responses).matches("HTTP/1.1 ").count()
}

/// Returns the bytes of a request. `start` is the method and the target; a `Host` field is added unless `fields` has one.
pub(crate) fn request(server: &Server<'_>, start: &str, fields: &str, body: &str) -> String {
    let host = if fields.contains("Host: ") { String::new() } else { format!("Host: {}\r\n", server.public) };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{start} HTTP/1.1\r\n{host}{fields}{length}\r\n{body}")
}

/// Returns the log lines since the last call. A SIGHUP, which is logged after all earlier events, marks the end.
fn lines_so_far(server: &mut Server<'_>) -> Vec<Value> {
    server.signal("HUP");
    server.lines_until("SIGHUP: reading")
}

/// Returns the number of lines whose message or event is `what`, and the number of such lines that sampling left out.
fn count(lines: &[Value], what: &str) -> (usize, u64) {
    let matching: Vec<&Value> = lines.iter().filter(|line| line["message"] == what || line["event"] == what).collect();
    (matching.len(), matching.iter().filter_map(|line| line["left_out"].as_u64()).sum())
}

/// Asserts that each message was logged at most ten times a second. The seconds before and after `duration` count, too.
fn assert_sampled(lines: &[Value], duration: Duration, cause: &str) {
    let max = 10 * (duration.as_secs() as usize + 2);
    for line in lines {
        let message = line["message"].as_str().expect("a message");
        let (written, _) = count(lines, message);
        assert!(written <= max, "{cause}: {message}: {written} lines in {duration:?}");
    }
}

#[test]
fn a_thousand_requests_write_at_most_ten_lines_a_second() {
    let home = Home::with_settings(&[
        "http.trusted_proxies=127.0.0.1",
        "http.verify_authorities=verify.internal",
        "throttle.network_burst=5",
    ]);
    let mut server = home.start();
    let json = "Content-Type: application/json\r\n";
    let wrong_login = Server::login_body("alice", "not the password").to_string();
    let unlisted = "Host: verify.internal\r\n";
    let contradictory = "X-Forwarded-Method: GET\r\nX-Original-Method: POST\r\n";
    let garbage = "Cookie: __Host-sealjar=garbage\r\n";
    for (start, fields, body, what) in [
        (
            "GET /auth/verify?csrf=1",
            "",
            "",
            "verify request refused: the rule csrf needs the method, and no trusted proxy sent it",
        ),
        (
            "POST /auth/verify?csrf=1",
            "",
            "",
            "verify request refused: the rule csrf needs the method, and no trusted proxy sent it",
        ),
        ("GET /auth/verify", unlisted, "", "verify request refused: the host of the client request is not served"),
        (
            "GET /auth/verify",
            contradictory,
            "",
            "verify request refused: forwarded headers of a trusted proxy contradict each other",
        ),
        ("GET /auth/status", garbage, "", "token-refused"),
        ("GET /auth/verify", garbage, "", "token-refused"),
        ("GET /protected", garbage, "", "token-refused"),
        ("POST /auth/logout/all", garbage, "", "token-refused"),
        ("POST /auth/login", json, &wrong_login, "throttled"),
        ("POST /auth/password", json, "{\"old_password\":\"a\",\"new_password\":\"b\"}", ""),
        ("POST /auth/logout", garbage, "", ""),
        ("POST /auth/login", json, "{", ""),
        ("GET /auth/login", "Host: elsewhere.example\r\n", "", ""),
        ("POST /auth/login", "Sec-Fetch-Site: cross-site\r\n", "{}", ""),
    ] {
        lines_so_far(&mut server);
        let request = request(&server, start, fields, body);
        let mut found = Vec::new();
        let mut sent = 0;
        let started = tokio::time::Instant::now();
        // Repeat until a line is logged: lines of the previous case may have used up the limit of this second.
        while sent == 0 || !what.is_empty() && count(&found, what).0 == 0 {
            assert_eq!(send_many(&server, &request, REQUESTS), REQUESTS, "{start}");
            sent += REQUESTS;
            found.extend(lines_so_far(&mut server));
        }
        found.retain(|line| !line["message"].as_str().is_some_and(|message| message.starts_with("SIGHUP")));
        assert_sampled(&found, started.elapsed(), start);
        println!("{start}: {sent} requests, {} lines", found.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_logout_writes_no_second_event() {
    let home = Home::new();
    let mut server = home.start();
    for (path, event) in [("/auth/logout", "sign-out"), ("/auth/logout/all", "sign-out-everywhere")] {
        let session = server.login("alice").await;
        let start = format!("POST {path}");
        let request = request(&server, &start, &format!("Cookie: {}\r\n", session.cookie()), "");
        let started = tokio::time::Instant::now();
        assert_eq!(send_many(&server, &request, REQUESTS), REQUESTS, "{path}");
        let duration = started.elapsed();
        let lines = lines_so_far(&mut server);
        assert_eq!(count(&lines, event).0, 1, "{path}");
        assert_sampled(&lines, duration, path);
        assert_eq!(server.status(&session).await, "401 revoked");
    }
}

#[tokio::test]
async fn a_logout_repeated_during_a_disk_fault_writes_one_event() {
    let home = Home::new();
    let mut server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    let other = server.login("alice").await;
    home.set_disk("fail");
    for _ in 0..3 {
        assert_eq!(server.logout(&session).await, "503 not-durable");
    }
    home.set_disk("works");
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(count(&lines_so_far(&mut server), "sign-out").0, 1);
    let cookies = format!("{}; {}", session.cookie(), other.cookie());
    assert_eq!(server.post("/auth/logout", &cookies).await.verdict(), "200");
    assert_eq!(count(&lines_so_far(&mut server), "sign-out").0, 1, "one event, for the other session");
}

#[tokio::test]
async fn a_login_does_not_revoke_a_session_that_already_ended() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    assert_eq!(server.logout(&session).await, "200");
    let body = Server::login_body("alice", PASSWORD).to_string();
    let fields = format!("Content-Type: application/json\r\nCookie: {}\r\n", session.cookie());
    lines_so_far(&mut server);
    assert_eq!(send_many(&server, &request(&server, "POST /auth/login", &fields, &body), 3), 3);
    let lines = lines_so_far(&mut server);
    assert_eq!((count(&lines, "sign-in").0, count(&lines, "revocation").0), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_during_a_store_outage_write_ten_lines_a_second() {
    let home = Home::new();
    let mut server = home.start();
    let mut store = database::open(&home, "sealjar.db").await;
    database::run(&mut store, "ALTER TABLE account RENAME TO account_renamed").await;
    let body = Server::login_body("alice", PASSWORD).to_string();
    let request = request(&server, "POST /auth/login", "Content-Type: application/json\r\n", &body);
    lines_so_far(&mut server);
    let started = tokio::time::Instant::now();
    assert_eq!(send_many(&server, &request, REQUESTS), REQUESTS);
    let duration = started.elapsed();
    let lines = lines_so_far(&mut server);
    assert!(count(&lines, "account lookup or change failed: the store is unavailable").0 > 0);
    assert_sampled(&lines, duration, "store outage");
}

#[test]
fn log_lines_of_libraries_are_sampled_too() {
    let home = Home::new();
    let mut server = home.start_with(&["--set", "log.level=info,salvo_core=warn"], &[]);
    let mut stream = TcpStream::connect(&server.public).expect("connects");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // Acknowledges a ping that was never sent (RFC 9113 section 6.7).
    let pong = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
    let start = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    let started = tokio::time::Instant::now();
    stream.write_all(&[start, pong.repeat(REQUESTS), ping.to_vec()].concat()).expect("sent");
    // The server acknowledges the PING after it has processed all earlier frames.
    let mut response = Vec::new();
    while !response.windows(8).any(|bytes| *bytes == ping[9..]) {
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).expect("a response");
        assert!(length > 0, "the connection stays open");
        response.extend_from_slice(&bytes[..length]);
    }
    let duration = started.elapsed();
    let lines = lines_so_far(&mut server);
    let written =
        lines.iter().filter(|line| line["target"].as_str().is_some_and(|target| target.starts_with("h2"))).count();
    assert!(written > 0, "the library logs something");
    assert!(written <= 10 * (duration.as_secs() as usize + 2), "{written} lines in {duration:?}");
}
