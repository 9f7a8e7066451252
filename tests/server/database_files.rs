//! A database file that is replaced or removed while the server runs. The server confirms no logout that a restart would undo.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Home, PASSWORD, Response, Server, Session, client, text, wait_until};

/// Metric of the degradation that a replaced database causes.
const REPLACED: &str = "sealjar_degraded{what=\"database-replaced\"}";
/// Damage to a database. Moves the file at the first path to the second path, and may create another file at the first path.
type Damage = fn(&Path, &Path);

/// Returns the member `degraded` of `/readyz`, whose status must be 200.
async fn degraded(server: &Server<'_>) -> String {
    let (status, body) = server.readiness().await;
    assert_eq!(status, 200, "{body}");
    body["degraded"].to_string()
}

/// Moves the files of a database that no process has open. After a regular exit of the last process only the main file exists.
pub(crate) fn move_database(home: &Home, directory: &str) {
    for file in ["sealjar.db", "sealjar.db-wal", "sealjar.db-shm"] {
        if home.path(file).exists() {
            fs::rename(home.path(file), home.path(directory).join(file)).expect("renames");
        }
    }
}

/// Asserts that a logout fails, that the server reports this as degraded, and that `other` is still accepted.
async fn assert_logout_not_stored(server: &Server<'_>, ended: &Session, other: &Session, case: &str) {
    for _ in 0..2 {
        assert_eq!(server.logout(ended).await, "503 not-durable", "{case}");
    }
    assert_eq!(server.status(ended).await, "401 revoked", "{case}: this process refuses it at once");
    assert_eq!(server.status(other).await, "200", "{case}");
    assert!(degraded(server).await.contains("database file was replaced or removed"), "{case}");
    assert_eq!(server.metric(REPLACED).await, 1.0, "{case}");
}

#[tokio::test]
async fn no_logout_succeeds_on_a_replaced_or_removed_file() {
    let damages: [(&str, &str, Damage); 6] = [
        ("removed", "sealjar.db", |file, moved| fs::rename(file, moved).expect("renames")),
        ("replaced by a copy", "sealjar.db", |file, moved| {
            fs::rename(file, moved).expect("renames");
            fs::copy(moved, file).expect("copies");
        }),
        ("index of the write-ahead log removed", "sealjar.db-shm", |file, moved| {
            fs::rename(file, moved).expect("renames")
        }),
        ("index of the write-ahead log replaced", "sealjar.db-shm", |file, moved| {
            fs::rename(file, moved).expect("renames");
            fs::write(file, "").expect("writes");
        }),
        ("write-ahead log removed", "sealjar.db-wal", |file, moved| fs::rename(file, moved).expect("renames")),
        ("write-ahead log replaced", "sealjar.db-wal", |file, moved| {
            fs::rename(file, moved).expect("renames");
            fs::write(file, "").expect("writes");
        }),
    ];
    for (case, name, damage) in damages {
        // The list does not become stale, so this tests the writes only.
        let home = Home::with_settings(&["revocation.max_staleness=1h"]);
        let server = home.start();
        let [ended, other, logged_out] =
            [server.login("alice").await, server.login("alice").await, server.login("alice").await];
        assert_eq!(server.logout(&logged_out).await, "200", "{case}");
        assert_eq!(degraded(&server).await, "[]", "{case}");
        let moved = home.path("moved");
        damage(&home.path(name), &moved);
        assert_logout_not_stored(&server, &ended, &other, case).await;

        fs::rename(&moved, home.path(name)).expect("moves the file back");
        assert_eq!(server.logout(&ended).await, "200", "{case}: after the file was moved back");
        assert_eq!(degraded(&server).await, "[]", "{case}");
        assert_eq!(server.metric(REPLACED).await, 0.0, "{case}");
        server.kill();
        let server = home.start();
        for session in [&ended, &logged_out] {
            assert_eq!(server.status(session).await, "401 revoked", "{case}: after a restart");
        }
        assert_eq!(server.status(&other).await, "200", "{case}");
    }
}

#[tokio::test]
async fn a_symlinked_database_is_watched_at_its_target() {
    let home = Home::with_settings(&["revocation.max_staleness=1h"]);
    fs::create_dir(home.path("data")).expect("creates the directory");
    move_database(&home, "data");
    std::os::unix::fs::symlink("data/sealjar.db", home.path("sealjar.db")).expect("links");
    let server = home.start();
    let [first, second, other] =
        [server.login("alice").await, server.login("alice").await, server.login("alice").await];
    assert_eq!(server.logout(&first).await, "200");
    home.add_user("bob");
    let doctor = home.run(&["doctor", "--json"]);
    let report = text(&doctor.stdout);
    assert!(report.contains("2 accounts"), "the doctor reads the write-ahead log, too: {report}");
    fs::rename(home.path("data/sealjar.db-wal"), home.path("moved")).expect("renames");
    assert_logout_not_stored(&server, &second, &other, "behind a link").await;
    fs::rename(home.path("moved"), home.path("data/sealjar.db-wal")).expect("renames");
    assert_eq!(server.logout(&second).await, "200");
    fs::remove_file(home.path("sealjar.db")).expect("removes");
    fs::copy(home.path("data/sealjar.db"), home.path("other.db")).expect("copies");
    std::os::unix::fs::symlink("other.db", home.path("sealjar.db")).expect("links");
    assert_eq!(server.logout(&other).await, "503 not-durable", "the link points to another database");
    assert!(degraded(&server).await.contains("database file was replaced"));
}

#[tokio::test]
async fn accounts_are_never_read_from_a_database_put_in_its_place() {
    let home = Home::with_settings(&["revocation.max_staleness=1h"]);
    let server = home.start();
    let session = server.login("alice").await;
    let files = ["sealjar.db", "sealjar.db-wal", "sealjar.db-shm"];
    for file in files {
        fs::copy(home.path(file), home.path(&format!("{file}.other"))).expect("copies");
    }
    for file in files {
        fs::rename(home.path(file), home.path(&format!("{file}.moved"))).expect("renames");
        fs::rename(home.path(&format!("{file}.other")), home.path(file)).expect("renames");
    }
    let body = Server::login_body("alice", PASSWORD);
    let attempts: Vec<_> =
        (0..8).map(|_| tokio::spawn(client().post(server.url("/auth/login")).json(&body).send())).collect();
    for attempt in attempts {
        let response = Response::of(attempt.await.expect("the task finishes").expect("a response")).await;
        assert_eq!(response.verdict(), "503 store", "no login uses another database");
    }
    for file in files {
        fs::rename(home.path(&format!("{file}.moved")), home.path(file)).expect("renames");
    }
    while degraded(&server).await != "[]" {}
    for _ in 0..8 {
        server.login("alice").await;
    }
    let descriptors = Path::new("/proc").join(server.pid().to_string()).join("fd");
    let open_files =
        fs::read_dir(descriptors).expect("reads").filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let deleted: Vec<_> = open_files.filter(|path| path.to_string_lossy().ends_with("(deleted)")).collect();
    assert!(deleted.is_empty(), "connections to the other database are still open: {deleted:?}");
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(degraded(&server).await, "[]");
}

#[tokio::test]
async fn sessions_become_stale_on_a_replaced_database() {
    let home = Home::with_settings(&["revocation.max_staleness=1s"]);
    let server = home.start();
    let session = server.login("alice").await;
    fs::rename(home.path("sealjar.db"), home.path("moved")).expect("renames");
    // Restoring a backup has the same effect. Commands write to the new file, and the server would never read their changes.
    fs::copy(home.path("moved"), home.path("sealjar.db")).expect("copies");
    let elapsed = server.until_status(&session, "503 stale").await;
    let (status, body) = server.readiness().await;
    assert_eq!(status, 503, "after {elapsed:?}: {body}");
    assert!(body["degraded"].to_string().contains("database file was replaced"), "{body}");
}

#[tokio::test]
async fn logouts_not_stored_for_5_s_are_reported_as_degraded() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("fail");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    let mut reported = String::new();
    while reported.is_empty() || reported == "[]" {
        reported = degraded(&server).await;
    }
    assert!(reported.contains("logouts have not been stored since"), "{reported}");
    assert_eq!(server.metric("sealjar_degraded{what=\"sign-outs-not-stored\"}").await, 1.0);
    home.set_disk("works");
    while degraded(&server).await != "[]" {}
}

/// Shell script that mounts an overlay of `lower` at `merged`, and then runs the server, which is `$0` and `$@`.
const OVERLAY: &str =
    "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && exec \"$0\" \"$@\"";

#[tokio::test]
async fn a_replaced_file_is_noticed_on_a_mounted_overlay() {
    let home = Home::with_settings(&["revocation.max_staleness=1h"]);
    for directory in ["lower", "upper", "work", "merged"] {
        fs::create_dir(home.path(directory)).expect("creates the directory");
    }
    move_database(&home, "lower");
    let with_overlay = |serve: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", OVERLAY]).arg(serve.get_program()).args(serve.get_args());
        command.current_dir(home.path("."));
        command
    };
    let server = home.start_through(with_overlay, &["--store", "sqlite://merged/sealjar.db"]);
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(server.login("alice").await);
    }
    for session in &sessions[..3] {
        assert_eq!(server.logout(session).await, "200", "the first change copied the file to the upper layer");
    }
    // Only the server's mount namespace has the mount.
    let merged = Path::new("/proc")
        .join(server.pid().to_string())
        .join("root")
        .join(home.path("merged").strip_prefix("/").expect("absolute"));
    wait_until("the overlay is mounted", || merged.join("sealjar.db").exists());
    fs::rename(merged.join("sealjar.db"), merged.join("moved")).expect("renames");
    fs::copy(merged.join("moved"), merged.join("sealjar.db")).expect("copies");
    assert_logout_not_stored(&server, &sessions[3], &sessions[4], "on an overlay").await;
}
