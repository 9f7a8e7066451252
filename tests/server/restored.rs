//! A backup is put back, and `sealjar store restored` ends what it would have revived.

use std::fs;

use crate::database;
use crate::harness::{Answer, Home, PASSWORD, Server, client};

const ROLLED_BACK: &str = "sealjar_degraded{what=\"store-rolled-back\"}";
const LACKS: &str = "the store was rolled back";

/// The database as it is now, beside it, as `.backup` of SQLite's own shell copies it.
async fn back_up(home: &Home) {
    let copy = format!("VACUUM INTO '{}'", home.path("copy.db").display());
    database::run(&mut database::open(home, "sealjar.db").await, &copy).await;
}

/// As `docs/backup.md` says.
fn put_back(home: &Home) {
    fs::rename(home.path("copy.db"), home.path("sealjar.db")).expect("renames");
    for rest in ["sealjar.db-wal", "sealjar.db-shm"] {
        let _ = fs::remove_file(home.path(rest));
    }
}

#[tokio::test]
async fn what_a_backup_revives_is_over_and_every_account_can_sign_in() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let (live, ended, bobs) = (server.login("alice").await, server.login("alice").await, server.login("bob").await);
    back_up(&home).await;
    assert_eq!(server.logout(&ended).await, "200");
    home.ok(&["revoke", "--user", "bob"]);
    server.until_status(&bobs, "401 revoked").await;
    let bobs_next = server.login("bob").await;
    home.ok(&["revoke", "--everyone"]);
    server.until_status(&bobs_next, "401 revoked").await;
    let last = server.login("alice").await;
    server.kill();

    put_back(&home);
    let server = home.start();
    let all = [live, ended, bobs, bobs_next, last];
    for session in &all {
        assert_eq!(server.status(session).await, "200", "which is what the command is for");
    }
    home.ok(&["store", "restored"]);
    for session in &all {
        server.until_status(session, "401 revoked").await;
    }
    for login in ["alice", "bob"] {
        assert_eq!(server.status(&server.login(login).await).await, "200");
    }
}

/// Waits for the alarm, and for its end after `sealjar store restored`.
async fn alarms_until_restored(home: &Home, mut server: Server<'_>) {
    assert_eq!(server.wait_for(LACKS)["level"], "ERROR");
    let (status, body) = server.readiness().await;
    assert_eq!(status, 200, "{body}");
    assert!(body["degraded"].to_string().contains("run: sealjar store restored"), "{body}");
    assert_eq!(server.metric(ROLLED_BACK).await, 1.0);
    home.ok(&["store", "restored"]);
    server.wait_for("the store is no longer rolled back");
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0);
    assert_eq!(server.readiness().await.1["degraded"].to_string(), "[]");
}

#[tokio::test]
async fn a_token_of_a_later_generation_shows_that_it_was_forgotten() {
    let home = Home::new();
    let server = home.start();
    let first = server.login("alice").await;
    back_up(&home).await;
    home.ok(&["revoke", "--everyone"]);
    server.until_status(&first, "401 revoked").await;
    let last = server.login("alice").await;
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0);
    server.kill();
    put_back(&home);
    let server = home.start();
    assert_eq!(server.status(&first).await, "200", "which is what the alarm is for");
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0, "nothing tells of it yet");
    assert_eq!(server.status(&last).await, "200");
    alarms_until_restored(&home, server).await;
}

#[tokio::test]
async fn a_login_with_a_later_session_of_the_account_shows_it() {
    let home = Home::new();
    let server = home.start();
    back_up(&home).await;
    home.ok(&["revoke", "--user", "alice"]);
    let last = server.login("alice").await;
    server.kill();
    put_back(&home);
    let server = home.start();
    assert_eq!(server.status(&last).await, "200");
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0, "a check does not read the account");
    let login = Server::login_body("alice", PASSWORD);
    let login = client().post(server.url("/auth/login")).header("cookie", last.cookie()).json(&login);
    assert_eq!(Answer::of(login.send().await.expect("an answer")).await.verdict(), "200");
    alarms_until_restored(&home, server).await;
}

#[tokio::test]
async fn a_running_server_sees_that_its_store_was_rolled_back() {
    for loss in [
        "UPDATE state SET global_generation = global_generation - 1",
        "DELETE FROM revocation WHERE seq = (SELECT max(seq) FROM revocation)",
    ] {
        let home = Home::new();
        let mut server = home.start();
        home.ok(&["revoke", "--user", "alice"]);
        server.wait_for("all sessions of an account were ended");
        database::run(&mut database::open(&home, "sealjar.db").await, loss).await;
        alarms_until_restored(&home, server).await;
    }
}

#[tokio::test]
async fn twice_does_no_harm_and_each_time_ends_the_sessions_since() {
    let home = Home::new();
    let server = home.start();
    for _ in 0..2 {
        let session = server.login("alice").await;
        assert_eq!(server.status(&session).await, "200");
        home.ok(&["store", "restored"]);
        server.until_status(&session, "401 revoked").await;
    }
}
