//! Keys that are rotated, revoked or damaged while a server runs.

mod nodes;
pub(crate) mod owner;
mod read_only;
mod revoked;
pub(crate) mod unknown;
mod unreadable;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use tokio::time::Instant;

use crate::harness::{Home, Server, Session, WAIT_TIMEOUT, client, text, wait_until};

/// Returns the id of the only active key.
fn active(keys: &[Value]) -> String {
    let mut active = keys.iter().filter(|key| key["state"] == "active");
    let kid = active.next().expect("one is active")["kid"].as_str().expect("text").to_owned();
    assert!(active.next().is_none(), "at most one key is active");
    kid
}

/// Returns the key id of a token: bytes 1 to 8 after base64url decoding.
fn kid_of(session: &Session) -> String {
    let digits = session.0[..12].bytes().map(|byte| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    });
    let bits: Vec<u8> = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1)).collect();
    let bytes: Vec<u8> = bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect();
    bytes[1..9].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Creates a key that is active immediately, and returns its id.
fn rotate_at_once(home: &Home) -> String {
    let kid = home.run_ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
    wait_until_active(home, &kid);
    kid
}

/// Waits until the key is active. That can take a second, because two keys never become active within the same second.
fn wait_until_active(home: &Home, kid: &str) {
    wait_until("the key is active", || active(&home.keys()) == kid);
}

/// Logs in until the server seals with this key, and returns the last session.
async fn login_sealed_with(server: &Server<'_>, kid: &str) -> Session {
    let started = Instant::now();
    loop {
        let fresh = server.login("alice").await;
        if kid_of(&fresh) == kid {
            return fresh;
        }
        assert!(started.elapsed() < WAIT_TIMEOUT, "the server does not seal with {kid}");
    }
}

/// Copies the key directory for another node, and returns its name. Later changes reach that node only through [`deliver`].
fn copy_keys(home: &Home) -> String {
    std::fs::create_dir(home.path("other-keys")).expect("creates the directory");
    for key in home.keys() {
        deliver(home, key["kid"].as_str().expect("text"), "other-keys");
    }
    "other-keys".to_owned()
}

/// Copies the current file of a key to another directory, atomically.
fn deliver(home: &Home, kid: &str, directory: &str) {
    let name = format!("{kid}.key");
    let new = home.path(directory).join(".new");
    std::fs::copy(home.path("keys").join(&name), &new).expect("copies");
    std::fs::rename(&new, home.path(directory).join(name)).expect("renames");
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_key_rotations_under_load_refuse_no_valid_session() {
    const ROTATIONS: usize = 30;
    let home = Home::with_settings(&["session.idle=10s", "session.absolute=1h"]);
    let server = home.start();
    let stop = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicUsize::new(0));
    let mut users = Vec::new();
    for _ in 0..4 {
        let stop = stop.clone();
        let requests = requests.clone();
        let url = server.url("/auth/status");
        let mut session = server.login("alice").await;
        users.push(tokio::spawn(async move {
            while !stop.load(Ordering::Acquire) {
                let response = client().get(&url).header("cookie", session.cookie()).send().await.expect("a response");
                assert_eq!(response.status(), 200, "a rotation logged the user out");
                requests.fetch_add(1, Ordering::AcqRel);
                session = Session::of(response.headers()).unwrap_or(session);
            }
            session
        }));
    }
    let mut new_kids = Vec::new();
    for rotation in 0..ROTATIONS {
        let kid = rotate_at_once(&home);
        let fresh = login_sealed_with(&server, &kid).await;
        assert_eq!(server.status(&fresh).await, "200", "rotation {rotation}");
        new_kids.push(kid);
    }
    stop.store(true, Ordering::Release);
    for user in users {
        let last = user.await.expect("no request was refused");
        assert!(new_kids.contains(&kid_of(&last)), "a renewal must move the session to a newer key");
    }
    assert_eq!(home.keys().len(), ROTATIONS + 1);
    println!("{} requests during {ROTATIONS} rotations, none refused", requests.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_revoked_key_ends_its_sessions_and_no_others() {
    let home = Home::new();
    let server = home.start();
    let old = server.login("alice").await;
    let first = active(&home.keys());
    let refused = home.run(&["keys", "revoke", &first]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--replace"), "{}", text(&refused.stderr));
    let replacement = home.run_ok(&["keys", "revoke", &first, "--replace"]).trim().to_owned();
    let elapsed = server.until_status(&old, "401 invalid").await;
    println!("the server followed after {elapsed:?}");
    let fresh = server.login("alice").await;
    assert_eq!(kid_of(&fresh), replacement);
    assert_eq!(server.status(&fresh).await, "200");
}

#[tokio::test]
async fn an_unreadable_ring_keeps_the_old_one_and_prevents_a_start() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    let content = std::fs::read_to_string(&key).expect("reads");
    let chmod = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("changes the mode");
    let copy = home.path("keys/copy.key");
    let start_fails_with = |reason: &str| {
        let output = home.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(74));
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    };

    chmod(0o644);
    server.wait_for("the key ring cannot be read");
    start_fails_with("its mode is 0644");
    chmod(0o600);
    server.wait_for("can be read again");

    std::fs::write(&key, &content[..content.len() / 2]).expect("writes");
    server.wait_for("the key ring cannot be read");
    start_fails_with(".key: line");
    std::fs::write(&key, &content).expect("writes");
    server.wait_for("can be read again");

    std::fs::copy(&key, &copy).expect("copies");
    server.wait_for("the key ring cannot be read");
    start_fails_with("copy.key: its secret belongs to");
    std::fs::remove_file(&copy).expect("removes");
    server.wait_for("can be read again");

    std::fs::rename(&key, home.path("hidden")).expect("renames");
    server.wait_for("the key ring cannot be read");
    start_fails_with("sealjar keys init");
    assert_eq!(home.run(&["keys", "rotate"]).status.code(), Some(74), "a failed read never creates a key");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.status(&server.login("alice").await).await, "200");
}

#[tokio::test]
async fn scheduled_rotation_publishes_a_key_when_the_latest_is_old() {
    let home = Home::with_settings(&["keys.rotate_every=1s", "keys.activate_after=0s"]);
    let first = active(&home.keys());
    // The clock of this server is an hour ahead, so the key is due for rotation.
    let mut server = home.start_with(&[], &crate::faketime::faketime("+1h", &home));
    let changed = server.wait_for("the key ring changed");
    assert!(
        changed["keys"].as_str().is_some_and(|keys| keys.contains(&first)),
        "tokens can still be opened with the old key"
    );
    assert_eq!(home.keys().len(), 2);
}
