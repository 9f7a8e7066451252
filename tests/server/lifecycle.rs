//! Startup, readiness and shutdown of the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Home, PASSWORD, Server, client, text, wait_until};

#[tokio::test]
async fn healthz_readyz_and_metrics_answer_on_the_admin_listener_only() {
    let home = Home::new();
    let server = home.start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let url = format!("http://{}{path}", server.admin);
        assert_eq!(client().get(&url).send().await.expect("a response").status(), 200);
        assert_eq!(client().head(&url).send().await.expect("a response").status(), 200);
        assert_eq!(server.get(path, "").await.verdict(), "404 not-found");
    }
    let status =
        client().get(format!("http://{}/auth/status", server.admin)).send().await.expect("a response").status();
    assert_eq!(status, 404);
}

/// A warning of a dependency would not help operators, because they cannot remove its cause.
#[tokio::test]
async fn no_dependency_logs_a_warning_at_the_start() {
    let home = Home::new();
    let server = home.start();
    for line in &server.startup_log {
        assert!(line["target"].as_str().is_some_and(|target| target.starts_with("sealjar")), "{line}");
    }
}

#[tokio::test]
async fn a_demo_redirects_its_start_page_to_the_session_view() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
    command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--set", "log.format=json"]);
    let server = Server::run(command);
    let response = server.get("/", "").await;
    assert_eq!((response.status, response.header("location")), (302, Some("/auth/status")));
    let page = server.get("/auth/login", "").await;
    assert!(page.body.contains("name=\"rd\" value=\"/auth/status\""), "{}", page.body);
}

#[tokio::test]
async fn without_an_active_key_readyz_and_logins_fail() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let kid = home.keys()[0]["kid"].as_str().expect("text").to_owned();
    // Edit the file, because the command refuses to revoke the only key.
    let path = home.path(&format!("keys/{kid}.key"));
    let revoked = std::fs::read_to_string(&path)
        .expect("reads")
        .replace("max_life", "revoked_at = 2026-01-01T00:00:00Z\nmax_life");
    std::fs::write(&path, revoked).expect("writes");
    server.until_status(&session, "401 invalid").await;
    let response = client().get(format!("http://{}/readyz", server.admin)).send().await.expect("a response");
    assert_eq!(response.status(), 503);
    assert!(response.text().await.expect("a body").contains("no key opens tokens"));
    let body = Server::login_body("alice", PASSWORD);
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("a response");
    assert_eq!(crate::harness::Response::of(response).await.verdict(), "503 no-active-key");
}

#[tokio::test]
async fn a_shutdown_finishes_current_requests_and_accepts_no_new_ones() {
    for signal in ["TERM", "INT"] {
        let home = Home::new();
        let mut server = home.start();
        let body = Server::login_body("alice", PASSWORD).to_string();
        let mut in_progress = TcpStream::connect(&server.public).expect("connects");
        let head = format!(
            "POST /auth/login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            server.public,
            body.len()
        );
        in_progress.write_all(head.as_bytes()).expect("writes");
        // A response on a later connection shows that the server has accepted the first one.
        assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
        server.signal(signal);
        server.wait_for("stopping");
        wait_until("new connections are refused", || TcpStream::connect(&server.public).is_err());
        in_progress.write_all(body.as_bytes()).expect("writes");
        let mut response = Vec::new();
        in_progress.read_to_end(&mut response).expect("reads to the end");
        assert!(text(&response).starts_with("HTTP/1.1 200 "), "{signal}: {}", text(&response));
        assert_eq!(server.exit_code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn is_not_ready_during_shutdown_and_exits_at_a_second_signal() {
    let home = Home::with_settings(&["http.shutdown_delay=1h"]);
    let mut server = home.start();
    let session = server.login("alice").await;
    server.signal("TERM");
    server.wait_for("stopping");
    let response = client().get(format!("http://{}/readyz", server.admin)).send().await.expect("a response");
    assert_eq!(response.status(), 503);
    assert_eq!(server.status(&session).await, "200", "requests are served during the shutdown delay");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn an_unfinished_request_does_not_delay_a_second_signal() {
    let home = Home::with_settings(&["http.shutdown_timeout=1h"]);
    let mut server = home.start();
    let mut slow = TcpStream::connect(&server.public).expect("connects");
    slow.write_all(b"GET /auth/status HTTP/1.1\r\n").expect("writes");
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
    server.signal("TERM");
    server.wait_for("stopping");
    assert_eq!(server.exit_code_after_signals("TERM"), Some(0));
}

#[tokio::test]
async fn silent_connections_do_not_delay_a_shutdown() {
    // Both timeouts are longer than the test waits.
    let home = Home::with_settings(&["http.shutdown_timeout=1h", "http.idle_timeout=1h"]);
    let mut server = home.start();
    let _silent: Vec<_> = [&server.public, &server.public, &server.admin]
        .map(|address| TcpStream::connect(address).expect("connects"))
        .into();
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
    server.signal("TERM");
    server.wait_for("stopped");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn serve_creates_nothing_and_names_the_command_that_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let serve = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sealjar"));
        command.current_dir(directory.path()).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        let output = command.output().expect("the binary runs");
        (output.status.code(), text(&output.stderr))
    };
    let (code, message) = serve();
    assert!(code == Some(74) && message.contains("sealjar keys init"), "{message}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("reads").count(), 0, "nothing was created");
    let init = std::process::Command::new(env!("CARGO_BIN_EXE_sealjar"))
        .current_dir(directory.path())
        .args(["keys", "init"])
        .output();
    assert!(init.expect("the binary runs").status.success());
    let (code, message) = serve();
    assert!(code == Some(74) && message.contains("sealjar users add"), "{message}");
}

#[tokio::test]
async fn a_flood_of_logins_gets_503_and_live_sessions_still_work() {
    let unlimited = "throttle.account_and_network_burst=0";
    let home = Home::with_settings(&[unlimited, "password.queue=1", "password.threads=1", "password.memory_kib=19456"]);
    let server = home.start();
    let session = server.login("alice").await;
    let body = Server::login_body("alice", "wrong password");
    let attempts: Vec<_> =
        (0..50).map(|_| tokio::spawn(client().post(server.url("/auth/login")).json(&body).send())).collect();
    let mut verdicts = Vec::new();
    for attempt in attempts {
        let response = attempt.await.expect("the task finishes").expect("a response");
        if response.status() == 503 {
            assert_eq!(response.headers()["retry-after"], "1");
        }
        verdicts.push(response.status().as_u16());
        assert_eq!(server.status(&session).await, "200");
    }
    assert!(verdicts.contains(&503) && verdicts.iter().all(|status| [401, 503].contains(status)), "{verdicts:?}");
}

#[tokio::test]
async fn a_stale_list_refuses_or_allows_sessions_as_configured() {
    for (choice, verdict) in [("refuse", "503 stale"), ("allow", "200")] {
        let home = Home::with_settings(&["revocation.max_staleness=1s", &format!("revocation.when_stale={choice}")]);
        let mut server = home.start();
        let session = server.login("alice").await;
        // Rename a table, so that the follower cannot read the store.
        let database = home.path("sealjar.db");
        let renaming = std::process::Command::new("python3")
            .args(["-c", "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute('ALTER TABLE state RENAME TO lost'); d.commit()"])
            .arg(&database)
            .status();
        assert!(renaming.expect("python3 runs").success());
        server.wait_for("cannot read the revocation log");
        while staleness(&server).await <= Duration::from_secs(1) {
            let status = server.status(&session).await;
            assert!(status == "200" || status == verdict, "{status}");
        }
        assert_eq!(server.status(&session).await, verdict);
        let everywhere = server.post("/auth/logout/all", &session.cookie()).await.verdict();
        assert_eq!(everywhere, "503 not-durable", "the logout is attempted, and fails because of the store");
        assert_eq!(
            server.logout(&session).await,
            "503 not-durable",
            "a stale list does not prevent the logout; it fails because of the store"
        );
        assert_eq!(server.status(&session).await, "401 revoked");
    }
}

/// Returns the age of the revocation list, as `/readyz` reports it.
async fn staleness(server: &Server<'_>) -> Duration {
    let response = client().get(format!("http://{}/readyz", server.admin)).send().await.expect("a response");
    let ready: serde_json::Value = response.json().await.expect("JSON");
    Duration::from_millis(ready["staleness_ms"].as_u64().expect("a number"))
}
