//! A backup is put back, and `sealjar store restored` ends what it would have revived.

use std::fs;

use crate::database;
use crate::harness::Home;

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
