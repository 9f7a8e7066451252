//! A restored backup, and `sealjar store restored`, which ends the sessions that the backup would revive.

use std::fs;

use crate::database;
use crate::harness::{Home, PASSWORD, Response, Server, client};

/// Metric that is 1 while the store is rolled back.
const ROLLED_BACK: &str = "sealjar_degraded{what=\"store-rolled-back\"}";
/// Text in the log message about the rollback.
const ROLLBACK_MESSAGE: &str = "the store was rolled back";

/// Copies the database to `copy.db`, like `.backup` of the SQLite shell.
async fn back_up(home: &Home) {
    let copy = format!("VACUUM INTO '{}'", home.path("copy.db").display());
    database::run(&mut database::open(home, "sealjar.db").await, &copy).await;
}

/// Restores the copy, with the steps of `docs/backup.md`.
fn restore_copy(home: &Home) {
    fs::rename(home.path("copy.db"), home.path("sealjar.db")).expect("the copy can be renamed");
    for file in ["sealjar.db-wal", "sealjar.db-shm"] {
        let _ = fs::remove_file(home.path(file));
    }
}

#[tokio::test]
async fn sessions_revived_by_a_backup_end_and_accounts_can_log_in() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let live = server.login("alice").await;
    let ended = server.login("alice").await;
    let bob = server.login("bob").await;
    back_up(&home).await;
    assert_eq!(server.logout(&ended).await, "200");
    home.run_ok(&["revoke", "--user", "bob"]);
    server.until_status(&bob, "401 revoked").await;
    let bob_later = server.login("bob").await;
    home.run_ok(&["revoke", "--everyone"]);
    server.until_status(&bob_later, "401 revoked").await;
    let last = server.login("alice").await;
    server.kill();

    restore_copy(&home);
    let server = home.start();
    let sessions = [live, ended, bob, bob_later, last];
    for session in &sessions {
        assert_eq!(server.status(session).await, "200", "the session is valid with the restored database");
    }
    home.run_ok(&["store", "restored"]);
    for session in &sessions {
        server.until_status(session, "401 revoked").await;
    }
    for login in ["alice", "bob"] {
        assert_eq!(server.status(&server.login(login).await).await, "200");
    }
}

/// Waits until the server reports the rollback, and until the report ends after `sealjar store restored`.
async fn reports_rollback_until_restored(home: &Home, mut server: Server<'_>) {
    assert_eq!(server.wait_for(ROLLBACK_MESSAGE)["level"], "ERROR");
    let (status, body) = server.readiness().await;
    assert_eq!(status, 200, "{body}");
    assert!(body["degraded"].to_string().contains("run: sealjar store restored"), "{body}");
    assert_eq!(server.metric(ROLLED_BACK).await, 1.0);
    home.run_ok(&["store", "restored"]);
    server.wait_for("the store is no longer rolled back");
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0);
    assert_eq!(server.readiness().await.1["degraded"].to_string(), "[]");
}

#[tokio::test]
async fn a_token_of_a_later_generation_reveals_the_rollback() {
    let home = Home::new();
    let server = home.start();
    let first = server.login("alice").await;
    back_up(&home).await;
    home.run_ok(&["revoke", "--everyone"]);
    server.until_status(&first, "401 revoked").await;
    let last = server.login("alice").await;
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0);
    server.kill();
    restore_copy(&home);
    let server = home.start();
    assert_eq!(server.status(&first).await, "200", "the restored database has no revocation of this session");
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0, "no token has revealed the rollback yet");
    assert_eq!(server.status(&last).await, "200");
    reports_rollback_until_restored(&home, server).await;
}

#[tokio::test]
async fn a_login_with_a_later_session_reveals_the_rollback() {
    let home = Home::new();
    let server = home.start();
    back_up(&home).await;
    home.run_ok(&["revoke", "--user", "alice"]);
    let last = server.login("alice").await;
    server.kill();
    restore_copy(&home);
    let server = home.start();
    assert_eq!(server.status(&last).await, "200");
    assert_eq!(server.metric(ROLLED_BACK).await, 0.0, "a check does not read the account");
    let login = Server::login_body("alice", PASSWORD);
    let login = client().post(server.url("/auth/login")).header("cookie", last.cookie()).json(&login);
    assert_eq!(Response::of(login.send().await.expect("a response")).await.verdict(), "200");
    reports_rollback_until_restored(&home, server).await;
}

#[tokio::test]
async fn a_running_server_detects_that_its_store_was_rolled_back() {
    for rollback_statement in [
        "UPDATE state SET global_generation = global_generation - 1",
        "DELETE FROM revocation WHERE seq = (SELECT max(seq) FROM revocation)",
    ] {
        let home = Home::new();
        let mut server = home.start();
        home.run_ok(&["revoke", "--user", "alice"]);
        server.wait_for("all sessions of an account were ended");
        database::run(&mut database::open(&home, "sealjar.db").await, rollback_statement).await;
        reports_rollback_until_restored(&home, server).await;
    }
}

#[tokio::test]
async fn store_restored_ends_the_newer_sessions_each_time_it_is_run() {
    let home = Home::new();
    let server = home.start();
    for _ in 0..2 {
        let session = server.login("alice").await;
        assert_eq!(server.status(&session).await, "200");
        home.run_ok(&["store", "restored"]);
        server.until_status(&session, "401 revoked").await;
    }
}
