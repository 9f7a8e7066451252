//! A key directory that other users can change, or that cannot be read. The server keeps its present key ring, and logs an error.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::active;
use crate::harness::{Home, Server, WAIT_TIMEOUT, text};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changes the mode");
}

fn assert_error(line: &Value, reason: &str) {
    assert!(line["error"].as_str().is_some_and(|error| error.contains(reason)), "{line}");
}

#[tokio::test]
async fn the_ring_is_not_reloaded_from_a_directory_others_can_write() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    fs::remove_file(home.path("keys/.lock")).expect("removes");
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        chmod(&home.path("keys"), mode);
        let reason = format!(
            "the key directory keys has mode {mode:04o}, so others could put keys there; run: chmod go-w {}",
            home.path("keys").display()
        );
        assert_error(&server.wait_for("the key ring cannot be read; the old one stays in use"), &reason);
        assert_eq!(server.status(&session).await, "200");
        for command in [&["keys", "rotate"][..], &["keys", "init"], &["keys", "list"]] {
            let refused = home.run(command);
            assert_eq!(refused.status.code(), Some(74), "{command:?}");
            assert!(text(&refused.stderr).contains(&reason), "{}", text(&refused.stderr));
        }
        assert!(!home.path("keys/.lock").exists(), "nothing was changed");
        chmod(&home.path("keys"), 0o755);
        server.wait_for("the key ring can be read again");
    }
}

#[tokio::test]
async fn the_ring_is_not_reloaded_through_a_link_others_can_replace() {
    let home = Home::new();
    let mut server = home.start();
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    fs::create_dir(home.path("keys/..data")).expect("creates the directory");
    fs::rename(&key, home.path("keys/..data/real")).expect("renames");
    symlink("..data/real", &key).expect("links");
    chmod(&home.path("keys/..data"), 0o1777);
    assert_error(&server.wait_for("the key ring cannot be read"), "so others could replace the key; run: chmod go-w");
    chmod(&home.path("keys/..data"), 0o755);
    server.wait_for("the key ring can be read again");
    // A link to the key in a directory that others can write, and a link to the directory of the key.
    for (target, rest) in [("../keys/..data/real", ""), ("../keys/..data", "/real")] {
        fs::create_dir(home.path("others")).expect("creates the directory");
        symlink(target, home.path("others/link")).expect("links");
        fs::remove_file(&key).expect("removes");
        symlink(format!("../others/link{rest}"), &key).expect("links");
        chmod(&home.path("others"), 0o777);
        assert_error(
            &server.wait_for("the key ring cannot be read"),
            "so others could replace the key; run: chmod go-w",
        );
        chmod(&home.path("others"), 0o755);
        server.wait_for("the key ring can be read again");
        fs::remove_dir_all(home.path("others")).expect("removes");
        server.wait_for("the key ring cannot be read");
        fs::remove_file(&key).expect("removes");
        symlink("..data/real", &key).expect("links");
        server.wait_for("the key ring can be read again");
    }
}

#[tokio::test]
async fn a_pipe_or_device_instead_of_a_key_does_not_block_the_server() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    fs::rename(&key, home.path("moved")).expect("renames");
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
    let device = |path: &Path| symlink("/dev/zero", path).expect("links");
    for create in [&fifo as &dyn Fn(&Path), &device] {
        create(&key);
        assert_error(&server.wait_for("the key ring cannot be read"), "not a regular file");
        assert_eq!(server.status(&session).await, "200");
        fs::remove_file(&key).expect("removes");
        fs::hard_link(home.path("moved"), &key).expect("links");
        server.wait_for("the key ring can be read again");
        fs::remove_file(&key).expect("removes");
    }
}

#[tokio::test]
async fn an_unreadable_ring_is_reported_as_degraded_until_readable() {
    const DEGRADED: &str = "sealjar_degraded{what=\"key-ring-unreadable\"}";
    let home = Home::new();
    let server = home.start();
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    assert_eq!(server.metric(DEGRADED).await, 0.0);
    chmod(&key, 0o644);
    let degraded = wait_for_degraded(&server, true).await;
    assert!(degraded.starts_with("the key ring has been unreadable since 20"), "{degraded}");
    assert!(degraded.contains("sealjar doctor"), "it has a hint: {degraded}");
    assert_eq!(server.metric(DEGRADED).await, 1.0);
    assert!(server.metric("sealjar_key_ring_age_seconds").await > 5.0);
    chmod(&key, 0o600);
    wait_for_degraded(&server, false).await;
    assert_eq!(server.metric(DEGRADED).await, 0.0);
}

/// Polls `/readyz` until the server is degraded, or, if `is_degraded` is false, until it is not. The status must stay 200.
/// Returns the first entry of the member `degraded`.
async fn wait_for_degraded(server: &Server<'_>, is_degraded: bool) -> String {
    let started = tokio::time::Instant::now();
    loop {
        let (status, body) = server.readiness().await;
        assert_eq!(status, 200, "{body}");
        let degraded = body["degraded"][0].as_str().unwrap_or_default();
        if degraded.is_empty() != is_degraded {
            return degraded.to_owned();
        }
        assert!(started.elapsed() < WAIT_TIMEOUT, "{body}");
    }
}
