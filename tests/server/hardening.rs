//! The process is protected from others of its user, and changes nothing but its own directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Answer, Home, Server, client, text};
use crate::keys::owner::{SERVER, as_server, give, start_as_server};
use crate::protocol::raw;

/// The owner of the files that show a process's memory.
fn owner_of_memory(pid: u32) -> u32 {
    fs::metadata(format!("/proc/{pid}/mem")).expect("it runs").uid()
}

#[tokio::test]
async fn the_server_says_what_is_in_force_in_its_log_and_readyz() {
    let home = Home::new();
    for (settings, dumpable) in [(&[][..], false), (&["--set", "process.dumpable=true"], true)] {
        let server = home.start_with(settings, &[]);
        let line = server.at_start.iter().find(|line| line["message"] == "hardening of the process").expect("a line");
        let (_, readiness) = server.readiness().await;
        assert_eq!((&line["dumpable"], &readiness["dumpable"]), (&dumpable.into(), &dumpable.into()));
        assert_eq!(line["landlock"], readiness["landlock"]);
        if line["landlock"] == "unsupported" {
            eprintln!("SKIPPED: this kernel does not have Landlock");
        } else {
            assert!(["full", "partial"].contains(&line["landlock"].as_str().expect("text")), "{line}");
        }
    }
    let server = home.start_with(&["--set", "process.landlock=false"], &[]);
    assert_eq!(server.readiness().await.1["landlock"], "off");
}

#[test]
fn a_demo_removes_its_directory_at_the_end() {
    let place = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
    command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--set", "log.format=json"]).env("TMPDIR", place.path());
    let mut server = Server::run(command);
    let found = || fs::read_dir(place.path()).expect("reads").count();
    assert_eq!(found(), 1);
    server.signal("INT");
    assert_eq!((server.exit_code(), found()), (Some(0), 0));
}

#[test]
fn unix_sockets_are_made_replaced_and_removed() {
    let home = Home::new();
    fs::create_dir(home.path("sockets")).expect("a directory");
    let flags = ["--listen", "unix:sockets/public", "--public-origin", "https://app.example.com"];
    for is_killed in [true, false] {
        let mut server = home.start_with(&flags, &[]);
        assert!(home.path("sockets/public").exists());
        if is_killed {
            server.kill();
        } else {
            server.signal("TERM");
            assert_eq!(server.exit_code(), Some(0));
        }
    }
    assert_eq!(fs::read_dir(home.path("sockets")).expect("reads").count(), 0);
}

#[tokio::test]
async fn the_admin_listener_is_asked_under_local_or_listed_names() {
    let home = Home::new();
    let file = |names: &str| {
        fs::write(home.path("sealjar.toml"), format!("[http]\nadmin_authorities = [{names}]\n")).expect("writes");
    };
    file("\"sealjar.example\"");
    let mut server = home.start_with(&["--config", "sealjar.toml"], &[]);
    let admin = server.admin.clone();
    let ask = async |path: &str, host: &str| {
        let request = client().get(format!("http://{admin}{path}")).header("host", host);
        Answer::of(request.send().await.expect("an answer")).await
    };
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        for host in ["127.0.0.1", "localhost:1", "sealjar:8081", "sealjar.example", "sealjar.example:8081"] {
            assert_eq!(ask(path, host).await.status, 200, "{path} {host}");
        }
        assert_eq!(ask(path, "evil.example").await.verdict(), "421 misdirected", "{path}");
    }
    let refused = ask("/metrics", "evil.example").await;
    assert!(refused.body.contains("http.admin_authorities") && !refused.body.contains("sealjar_"), "{}", refused.body);
    assert_eq!(ask("/nowhere", "evil.example").await.status, 421);
    let line =
        server.wait_for("refused a request to the admin listener with 421: its host is not in http.admin_authorities");
    assert_eq!(line["host"], "evil.example", "{line}");

    file("\"other.example:9\"");
    server.wait_for("the configuration changed");
    assert_eq!(ask("/healthz", "sealjar.example").await.status, 421);
    assert_eq!(ask("/healthz", "other.example").await.status, 421);
    assert_eq!(ask("/healthz", "other.example:9").await.status, 200);
}

#[test]
fn the_admin_listener_wants_one_host_but_in_http_1_0() {
    let home = Home::new();
    let server = home.start();
    for (request, status) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", "421"),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost.\r\nConnection: close\r\n\r\n", "421"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "400"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "200"),
    ] {
        let answer = raw(&server.admin, request.as_bytes());
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}{answer}");
    }
}

/// `tests/run` leaves this module out where there is no root or no `setpriv`.
mod others {
    use super::*;

    #[tokio::test]
    async fn nobody_of_the_same_user_reads_a_servers_memory() {
        let home = Home::new();
        let server = start_as_server(&home, &[]);
        assert_eq!(owner_of_memory(server.pid()), 0);
        let environment = format!("/proc/{}/environ", server.pid());
        let mut read = Command::new("setpriv");
        read.args([&format!("--reuid={SERVER}"), "--clear-groups", "cat", &environment]);
        let read = read.output().expect("setpriv runs");
        assert!(!read.status.success() && text(&read.stderr).contains("Permission denied"), "{}", text(&read.stderr));
        // It works as usual without these files.
        let session = server.login("alice").await;
        assert_eq!(server.status(&session).await, "200");
        assert!(server.metric("sealjar_ready").await > 0.0);
        assert_eq!(server.logout(&session).await, "200");
        drop(server);
        let server = start_as_server(&home, &["--set", "process.dumpable=true"]);
        assert_eq!(owner_of_memory(server.pid()), SERVER);
    }

    #[test]
    fn nobody_of_the_same_user_reads_a_commands_memory() {
        let home = Home::new();
        give(&home.path("."), SERVER, SERVER);
        for (setting, owner) in [("process.dumpable=false", 0), ("process.dumpable=true", SERVER)] {
            let mut add = as_server(&home, &home.command(&["users", "add", "bob", "--set", setting]));
            add.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            // It waits for the password.
            let mut child = add.spawn().expect("setpriv runs");
            let program = home.path("sealjar");
            let is_it = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| is_same(&exe, &program));
            crate::harness::until("setpriv became it", || is_it(child.id()));
            crate::harness::until("it is protected or not", || owner_of_memory(child.id()) == owner);
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    fn is_same(one: &Path, other: &Path) -> bool {
        let inode = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
        inode(one) == inode(other)
    }
}
