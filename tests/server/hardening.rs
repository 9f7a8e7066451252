//! Process hardening: other processes of the same user cannot read the memory, and the server can change only its own
//! directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Home, Response, Server, client, text};
use crate::keys::owner::{SERVER, as_server, chown_recursively, start_as_server};
use crate::protocol::raw;

/// Returns the owner of `/proc/PID/mem`. It is root if the process is not dumpable.
fn owner_of_memory(pid: u32) -> u32 {
    fs::metadata(format!("/proc/{pid}/mem")).expect("the process runs").uid()
}

#[tokio::test]
async fn the_active_hardening_is_in_the_log_and_in_readyz() {
    let home = Home::new();
    for (settings, dumpable) in [(&[][..], false), (&["--set", "process.dumpable=true"], true)] {
        let server = home.start_with(settings, &[]);
        let line =
            server.startup_log.iter().find(|line| line["message"] == "hardening of the process").expect("a line");
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
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
    command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--set", "log.format=json"]).env("TMPDIR", directory.path());
    let mut server = Server::run(command);
    let entries = || fs::read_dir(directory.path()).expect("reads").count();
    assert_eq!(entries(), 1);
    server.signal("INT");
    assert_eq!((server.exit_code(), entries()), (Some(0), 0));
}

#[test]
fn unix_sockets_are_created_replaced_and_removed() {
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
async fn the_admin_listener_accepts_only_local_or_listed_host_names() {
    let home = Home::new();
    let configure = |names: &str| {
        fs::write(home.path("sealjar.toml"), format!("[http]\nadmin_authorities = [{names}]\n")).expect("writes");
    };
    configure("\"sealjar.example\"");
    let mut server = home.start_with(&["--config", "sealjar.toml"], &[]);
    let admin = server.admin.clone();
    let get = async |path: &str, host: &str| {
        let request = client().get(format!("http://{admin}{path}")).header("host", host);
        Response::of(request.send().await.expect("a response")).await
    };
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        for host in ["127.0.0.1", "localhost:1", "sealjar:8081", "sealjar.example", "sealjar.example:8081"] {
            assert_eq!(get(path, host).await.status, 200, "{path} {host}");
        }
        assert_eq!(get(path, "evil.example").await.verdict(), "421 misdirected", "{path}");
    }
    let refused = get("/metrics", "evil.example").await;
    assert!(refused.body.contains("http.admin_authorities") && !refused.body.contains("sealjar_"), "{}", refused.body);
    assert_eq!(get("/nowhere", "evil.example").await.status, 421);
    let line =
        server.wait_for("refused a request to the admin listener with 421: its host is not in http.admin_authorities");
    assert_eq!(line["host"], "evil.example", "{line}");

    configure("\"other.example:9\"");
    server.wait_for("the configuration changed");
    assert_eq!(get("/healthz", "sealjar.example").await.status, 421);
    assert_eq!(get("/healthz", "other.example").await.status, 421);
    assert_eq!(get("/healthz", "other.example:9").await.status, 200);
}

#[test]
fn the_admin_listener_requires_one_host_except_in_http_1_0() {
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
        let response = raw(&server.admin, request.as_bytes());
        assert_eq!(response.split(' ').nth(1), Some(status), "{request}{response}");
    }
}

/// Tests that run processes as another user. `tests/run` skips them without root or `setpriv`.
mod as_another_user {
    use super::*;

    #[tokio::test]
    async fn other_processes_of_the_user_cannot_read_a_servers_memory() {
        let home = Home::new();
        let server = start_as_server(&home, &[]);
        assert_eq!(owner_of_memory(server.pid()), 0);
        let environment = format!("/proc/{}/environ", server.pid());
        let mut read = Command::new("setpriv");
        read.args([&format!("--reuid={SERVER}"), "--clear-groups", "cat", &environment]);
        let read = read.output().expect("setpriv runs");
        assert!(!read.status.success() && text(&read.stderr).contains("Permission denied"), "{}", text(&read.stderr));
        // The server works although it cannot read these files itself.
        let session = server.login("alice").await;
        assert_eq!(server.status(&session).await, "200");
        assert!(server.metric("sealjar_ready").await > 0.0);
        assert_eq!(server.logout(&session).await, "200");
        drop(server);
        let server = start_as_server(&home, &["--set", "process.dumpable=true"]);
        assert_eq!(owner_of_memory(server.pid()), SERVER);
    }

    #[test]
    fn other_processes_of_the_user_cannot_read_a_commands_memory() {
        let home = Home::new();
        chown_recursively(&home.path("."), SERVER, SERVER);
        for (setting, owner) in [("process.dumpable=false", 0), ("process.dumpable=true", SERVER)] {
            let mut add = as_server(&home, &home.command(&["users", "add", "bob", "--set", setting]));
            add.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            // The command waits for the password on standard input.
            let mut child = add.spawn().expect("setpriv runs");
            let program = home.path("sealjar");
            let runs_program =
                |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| is_same_file(&exe, &program));
            crate::harness::wait_until("setpriv has executed the program", || runs_program(child.id()));
            crate::harness::wait_until("the memory has the expected owner", || owner_of_memory(child.id()) == owner);
            child.kill().expect("the process runs");
            child.wait().expect("the process exits");
        }
    }

    fn is_same_file(one: &Path, other: &Path) -> bool {
        let inode = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
        inode(one) == inode(other)
    }
}
