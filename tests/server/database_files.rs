//! A database file that is replaced or removed under the server: no sign-out is answered that a restart would undo.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client, text, until};

const REPLACED: &str = "sealjar_degraded{what=\"database-replaced\"}";
/// Moves a file away, and may put another in its place.
type Damage = fn(&Path, &Path);

async fn degraded(server: &Server<'_>) -> String {
    let (status, body) = server.readiness().await;
    assert_eq!(status, 200, "{body}");
    body["degraded"].to_string()
}

/// Moves a database that nobody has open. A command that ended in good order has left no log beside it.
pub(crate) fn move_database(home: &Home, directory: &str) {
    for file in ["sealjar.db", "sealjar.db-wal", "sealjar.db-shm"] {
        if home.path(file).exists() {
            fs::rename(home.path(file), home.path(directory).join(file)).expect("renames");
        }
    }
}

/// A sign-out that cannot be stored, of which the server tells its operator, while it goes on verifying `other`.
async fn refuses_to_store(server: &Server<'_>, ended: &Session, other: &Session, what: &str) {
    for _ in 0..2 {
        assert_eq!(server.logout(ended).await, "503 not-durable", "{what}");
    }
    assert_eq!(server.status(ended).await, "401 revoked", "{what}: dead in this process at once");
    assert_eq!(server.status(other).await, "200", "{what}");
    assert!(degraded(server).await.contains("database file was replaced or removed"), "{what}");
    assert_eq!(server.metric(REPLACED).await, 1.0, "{what}");
}

#[tokio::test]
async fn no_sign_out_succeeds_on_a_replaced_or_removed_file() {
    let damages: [(&str, &str, Damage); 6] = [
        ("removed", "sealjar.db", |file, away| fs::rename(file, away).expect("renames")),
        ("replaced by a copy", "sealjar.db", |file, away| {
            fs::rename(file, away).expect("renames");
            fs::copy(away, file).expect("copies");
        }),
        ("its log's index removed", "sealjar.db-shm", |file, away| fs::rename(file, away).expect("renames")),
        ("its log's index replaced", "sealjar.db-shm", |file, away| {
            fs::rename(file, away).expect("renames");
            fs::write(file, "").expect("writes");
        }),
        ("its log removed", "sealjar.db-wal", |file, away| fs::rename(file, away).expect("renames")),
        ("its log replaced", "sealjar.db-wal", |file, away| {
            fs::rename(file, away).expect("renames");
            fs::write(file, "").expect("writes");
        }),
    ];
    for (what, name, damage) in damages {
        // A list that is never stale, so that only what is stored is looked at.
        let home = Home::with_settings(&["revocation.max_staleness=1h"]);
        let server = home.start();
        let [ended, other, late] =
            [server.login("alice").await, server.login("alice").await, server.login("alice").await];
        assert_eq!(server.logout(&late).await, "200", "{what}");
        assert_eq!(degraded(&server).await, "[]", "{what}");
        let away = home.path("away");
        damage(&home.path(name), &away);
        refuses_to_store(&server, &ended, &other, what).await;

        fs::rename(&away, home.path(name)).expect("puts the same file back");
        assert_eq!(server.logout(&ended).await, "200", "{what}: put back");
        assert_eq!(degraded(&server).await, "[]", "{what}");
        assert_eq!(server.metric(REPLACED).await, 0.0, "{what}");
        server.kill();
        let server = home.start();
        for session in [&ended, &late] {
            assert_eq!(server.status(session).await, "401 revoked", "{what}: after a restart");
        }
        assert_eq!(server.status(&other).await, "200", "{what}");
    }
}

#[tokio::test]
async fn a_linked_database_is_looked_at_where_it_is() {
    let home = Home::with_settings(&["revocation.max_staleness=1h"]);
    fs::create_dir(home.path("data")).expect("makes");
    move_database(&home, "data");
    std::os::unix::fs::symlink("data/sealjar.db", home.path("sealjar.db")).expect("links");
    let server = home.start();
    let [first, second, other] =
        [server.login("alice").await, server.login("alice").await, server.login("alice").await];
    assert_eq!(server.logout(&first).await, "200");
    home.add_user("bob");
    let doctor = home.run(&["doctor", "--json"]);
    let said = text(&doctor.stdout);
    assert!(said.contains("2 accounts"), "what is in the log only is seen: {said}");
    fs::rename(home.path("data/sealjar.db-wal"), home.path("away")).expect("renames");
    refuses_to_store(&server, &second, &other, "behind a link").await;
    fs::rename(home.path("away"), home.path("data/sealjar.db-wal")).expect("renames");
    assert_eq!(server.logout(&second).await, "200");
    fs::remove_file(home.path("sealjar.db")).expect("removes");
    fs::copy(home.path("data/sealjar.db"), home.path("other.db")).expect("copies");
    std::os::unix::fs::symlink("other.db", home.path("sealjar.db")).expect("links");
    assert_eq!(server.logout(&other).await, "503 not-durable", "the link leads to another database");
    assert!(degraded(&server).await.contains("database file was replaced"));
}

#[tokio::test]
async fn nothing_is_read_from_another_database_nor_after_it_is_gone() {
    let home = Home::with_settings(&["revocation.max_staleness=1h"]);
    let server = home.start();
    let session = server.login("alice").await;
    let files = ["sealjar.db", "sealjar.db-wal", "sealjar.db-shm"];
    for file in files {
        fs::copy(home.path(file), home.path(&format!("{file}.other"))).expect("copies");
    }
    for file in files {
        fs::rename(home.path(file), home.path(&format!("{file}.away"))).expect("renames");
        fs::rename(home.path(&format!("{file}.other")), home.path(file)).expect("renames");
    }
    let body = Server::login_body("alice", PASSWORD);
    let tries: Vec<_> =
        (0..8).map(|_| tokio::spawn(client().post(server.url("/auth/login")).json(&body).send())).collect();
    for attempt in tries {
        let answer = Answer::of(attempt.await.expect("it ran").expect("an answer")).await;
        assert_eq!(answer.verdict(), "503 store", "nobody is signed in by another database");
    }
    for file in files {
        fs::rename(home.path(&format!("{file}.away")), home.path(file)).expect("renames");
    }
    while degraded(&server).await != "[]" {}
    for _ in 0..8 {
        server.login("alice").await;
    }
    let open = Path::new("/proc").join(server.pid().to_string()).join("fd");
    let open = fs::read_dir(open).expect("reads").filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let gone: Vec<_> = open.filter(|path| path.to_string_lossy().ends_with("(deleted)")).collect();
    assert!(gone.is_empty(), "connections to the other database are kept: {gone:?}");
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(degraded(&server).await, "[]");
}

#[tokio::test]
async fn on_another_database_nobody_is_vouched_for() {
    let home = Home::with_settings(&["revocation.max_staleness=1s"]);
    let server = home.start();
    let session = server.login("alice").await;
    fs::rename(home.path("sealjar.db"), home.path("away")).expect("renames");
    // What a restored backup looks like. Commands write to it, and the server would never hear of them.
    fs::copy(home.path("away"), home.path("sealjar.db")).expect("copies");
    let found = server.until_status(&session, "503 stale").await;
    let (status, body) = server.readiness().await;
    assert_eq!(status, 503, "after {found:?}: {body}");
    assert!(body["degraded"].to_string().contains("database file was replaced"), "{body}");
}

#[tokio::test]
async fn sign_outs_that_are_not_stored_for_5_s_are_told() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("fail");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    let mut told = String::new();
    while told.is_empty() || told == "[]" {
        told = degraded(&server).await;
    }
    assert!(told.contains("sign-outs have not been stored since"), "{told}");
    assert_eq!(server.metric("sealjar_degraded{what=\"sign-outs-not-stored\"}").await, 1.0);
    home.set_disk("works");
    while degraded(&server).await != "[]" {}
}

/// A shell command, with `$0` and `$@` for the server, that sees `lower` through an overlay at `merged`.
const OVERLAY: &str =
    "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && exec \"$0\" \"$@\"";

#[tokio::test]
async fn a_replaced_file_is_noticed_on_a_mounted_overlay() {
    let home = Home::with_settings(&["revocation.max_staleness=1h"]);
    for directory in ["lower", "upper", "work", "merged"] {
        fs::create_dir(home.path(directory)).expect("makes");
    }
    move_database(&home, "lower");
    let mounting = |serve: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", OVERLAY]).arg(serve.get_program()).args(serve.get_args());
        command.current_dir(home.path("."));
        command
    };
    let server = home.start_by(mounting, &["--store", "sqlite://merged/sealjar.db"]);
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(server.login("alice").await);
    }
    for session in &sessions[..3] {
        assert_eq!(server.logout(session).await, "200", "the file was copied up by its first change");
    }
    // The mount is seen by the server alone.
    let merged = Path::new("/proc")
        .join(server.pid().to_string())
        .join("root")
        .join(home.path("merged").strip_prefix("/").expect("absolute"));
    until("the overlay is mounted", || merged.join("sealjar.db").exists());
    fs::rename(merged.join("sealjar.db"), merged.join("away")).expect("renames");
    fs::copy(merged.join("away"), merged.join("sealjar.db")).expect("copies");
    refuses_to_store(&server, &sessions[3], &sessions[4], "on an overlay").await;
}
