//! `sealjar migrate`: live sessions stay live, ended sessions stay ended, and a migration can be repeated after a `kill -9`.

use std::process::{Child, Command, Stdio};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};

use crate::database;
use crate::harness::{Home, Server, WAIT_TIMEOUT, text};

/// Number of revocations that makes a migration long enough to be interrupted.
const MANY: i64 = 100_000;
const ARGUMENTS: [&str; 5] = ["migrate", "--from", "sqlite://sealjar.db", "--to", "sqlite://new.db"];

/// Asserts that the new database has the same content as the old one.
async fn assert_migrated(home: &Home) {
    let mut new = database::open(home, "new.db").await;
    database::run(&mut new, &format!("ATTACH DATABASE '{}' AS old", home.path("sealjar.db").display())).await;
    for (table, columns) in [
        ("account", "*"),
        ("lifetime_in_use", "*"),
        ("state", "global_generation, pruned_through, clock_reached"),
        ("revocation", "hex(sid), sub, below, expires_at"),
    ] {
        let old_rows = format!("SELECT {columns} FROM old.{table}");
        let new_rows = format!("SELECT {columns} FROM main.{table}");
        let query = format!(
            "SELECT (SELECT count(*) FROM ({old_rows})) - (SELECT count(*) FROM ({new_rows})),
                    (SELECT count(*) FROM ({old_rows} EXCEPT {new_rows}))"
        );
        let row = new.fetch_one(AssertSqlSafe(query)).await.expect("compares");
        assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (0, 0), "{table}");
    }
}

/// Returns the number of the last log entry that was copied, or `None` if copying has not begun.
async fn last_seq(home: &Home) -> Option<i64> {
    let options = SqliteConnectOptions::new().filename(home.path("new.db"));
    let mut new = options.connect().await.ok()?;
    new.fetch_one("SELECT last_seq FROM migration").await.ok()?.try_get(0).ok()
}

/// Runs the migration, and kills it as soon as it has copied more of the log than before.
async fn kill_in_the_middle(home: &Home) {
    let before = last_seq(home).await.unwrap_or(0);
    let mut command: Command = home.command(&ARGUMENTS);
    let mut migration_process: Child = command.stderr(Stdio::null()).spawn().expect("the binary runs");
    while last_seq(home).await.unwrap_or(0) <= before {
        assert!(
            migration_process.try_wait().expect("the process was started").is_none(),
            "the migration ended before it copied more"
        );
    }
    migration_process.kill().expect("the process runs");
    migration_process.wait().expect("the process exits");
    let reached = last_seq(home).await.expect("the migration has begun");
    println!("killed at {reached}");
    assert!(before < reached && reached < MANY, "{reached} is in the middle");
}

/// Asserts that a command fails with this code, this message and a hint.
fn assert_refused(home: &Home, arguments: &[&str], code: i32, message: &str) {
    let output = home.run(arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    // The server prints the hint in a JSON log line.
    let hint = if arguments[0] == "serve" { "\"hint\":" } else { "hint: " };
    assert!(stderr.contains(message) && stderr.contains(hint), "{arguments:?}: {stderr}");
}

/// Waits for the first report of a server, which it writes shortly after it listens.
async fn until_reported(home: &Home, name: &str) {
    let mut database = database::open(home, name).await;
    let started = tokio::time::Instant::now();
    while database.fetch_optional("SELECT 1 FROM node").await.expect("reads").is_none() {
        assert!(started.elapsed() < WAIT_TIMEOUT, "the server has not written a report");
    }
}

fn stop(mut server: Server<'_>) {
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn live_sessions_stay_live_and_ended_sessions_stay_ended() {
    let home = Home::new();
    home.add_user("bob");
    home.run_ok(&["revoke", "--everyone"]);
    let server = home.start();
    let live = server.login("alice").await;
    let ended = server.login("alice").await;
    let bob = server.login("bob").await;
    assert_eq!(server.logout(&ended).await, "200");
    home.run_ok(&["revoke", "--user", "bob"]);
    server.until_status(&bob, "401 revoked").await;
    let bob_later = server.login("bob").await;
    stop(server);
    let accounts = home.run_ok(&["users", "list", "--json"]);

    home.run_ok(&ARGUMENTS);
    assert_migrated(&home).await;
    let new = ["--store", "sqlite://new.db"];
    assert_eq!(home.run_ok(&[&["users", "list", "--json"], &new[..]].concat()), accounts);
    let server = home.start_with(&new, &[]);
    for (session, verdict) in [(&live, "200"), (&ended, "401 revoked"), (&bob, "401 revoked"), (&bob_later, "200")] {
        assert_eq!(server.status(session).await, verdict);
    }
    for login in ["alice", "bob"] {
        assert_eq!(server.status(&server.login(login).await).await, "200");
    }
}

#[tokio::test]
async fn a_migration_killed_three_times_ends_with_the_same_data() {
    let home = Home::new();
    database::insert_revocations(&home, MANY).await;
    for _ in 0..3 {
        kill_in_the_middle(&home).await;
        for command in [&["serve"][..], &["users", "list"], &["store", "restored"]] {
            let arguments = [command, &["--store", "sqlite://new.db"]].concat();
            assert_refused(&home, &arguments, 74, "an unfinished migration from sqlite://sealjar.db");
        }
    }
    home.run_ok(&ARGUMENTS);
    assert_migrated(&home).await;
}

#[tokio::test]
async fn restarts_if_the_source_was_changed_in_between() {
    let home = Home::new();
    database::insert_revocations(&home, MANY).await;
    kill_in_the_middle(&home).await;
    let server = home.start();
    let session = server.login("alice").await;
    assert_eq!(server.logout(&session).await, "200");
    stop(server);
    home.run_ok(&["users", "delete", "alice"]);
    home.add_user("alice");
    kill_in_the_middle(&home).await;
    home.run_ok(&["users", "disable", "alice"]);
    home.run_ok(&["users", "enable", "alice"]);
    home.run_ok(&ARGUMENTS);
    assert_migrated(&home).await;
}

#[tokio::test]
async fn refuses_a_used_target_and_invalid_pairs_of_stores() {
    let home = Home::new();
    let add = |store: &str| {
        let arguments = ["users", "add", "alice", "--store", store];
        assert!(home.run_with_input(&arguments, "correct horse battery\n").status.success());
    };
    add("sqlite://new.db");
    assert_refused(&home, &ARGUMENTS, 1, "sqlite://new.db has accounts or revocations already");
    home.run_ok(&["users", "delete", "alice", "--store", "sqlite://new.db"]);
    assert_refused(&home, &ARGUMENTS, 1, "sqlite://new.db has accounts or revocations already");

    let to = |name: &'static str| [&ARGUMENTS[..4], &[name]].concat();
    assert_refused(&home, &to("sqlite://sealjar.db"), 1, "both are the same database");
    let nowhere = home.run(&to("nowhere"));
    assert!(nowhere.status.code() == Some(2) && text(&nowhere.stderr).contains("--to: it must be sqlite://"));
    assert_refused(
        &home,
        &["migrate", "--from", "sqlite://nothing.db", "--to", "sqlite://other.db"],
        74,
        "no database at",
    );
    assert!(!home.path("other.db").exists() && !home.path("nothing.db").exists());

    home.run_ok(&to("sqlite://empty.db"));
    assert!(
        text(&home.run(&to("sqlite://empty.db")).stderr).contains("nothing was changed"),
        "the second run must change nothing"
    );
    assert_refused(&home, &to("sqlite://third.db"), 74, "were moved to sqlite://empty.db");
}

#[tokio::test]
async fn an_unfinished_migration_continues_only_from_its_own_source() {
    let home = Home::new();
    database::insert_revocations(&home, MANY).await;
    kill_in_the_middle(&home).await;
    let other = ["users", "add", "alice", "--store", "sqlite://other.db"];
    assert!(home.run_with_input(&other, "correct horse battery\n").status.success());
    let from_other = ["migrate", "--from", "sqlite://other.db", "--to", "sqlite://new.db"];
    assert_refused(&home, &from_other, 1, "an unfinished migration from another database, sqlite://sealjar.db");
    let from_unfinished = ["migrate", "--from", "sqlite://new.db", "--to", "sqlite://third.db"];
    assert_refused(&home, &from_unfinished, 74, "an unfinished migration from sqlite://sealjar.db");
    home.run_ok(&ARGUMENTS);
    assert_migrated(&home).await;
}

#[tokio::test]
async fn refuses_while_a_server_uses_the_source_or_the_target() {
    let home = Home::new();
    let server = home.start();
    until_reported(&home, "sealjar.db").await;
    assert_refused(&home, &ARGUMENTS, 1, "sqlite://sealjar.db is in use by");
    stop(server);
    home.run_ok(&["users", "list"]);
    assert!(
        home.run(&["users", "list", "--store", "sqlite://new.db"]).status.success(),
        "the command creates the tables"
    );
    let server = home.start_with(&["--store", "sqlite://new.db"], &[]);
    until_reported(&home, "new.db").await;
    assert_refused(&home, &ARGUMENTS, 1, "sqlite://new.db is in use by");
    stop(server);
    home.run_ok(&ARGUMENTS);
}

#[tokio::test]
async fn the_source_is_locked_during_and_unusable_after_a_migration() {
    let home = Home::with_settings(&["revocation.max_staleness=4s"]);
    database::insert_revocations(&home, MANY).await;
    // Simulate a server that was paused until its report was deleted.
    let server = home.start();
    let session = server.login("alice").await;
    until_reported(&home, "sealjar.db").await;
    server.signal("STOP");
    database::run(&mut database::open(&home, "sealjar.db").await, "DELETE FROM node").await;
    let mut migration_process = home.command(&ARGUMENTS).stderr(Stdio::null()).spawn().expect("the binary runs");
    while last_seq(&home).await.unwrap_or(0) == 0 {
        assert!(
            migration_process.try_wait().expect("the process was started").is_none(),
            "the migration ended before it copied anything"
        );
    }
    // This command waits for the end of the migration, and then fails because the data was moved.
    assert_eq!(home.run(&["users", "disable", "alice"]).status.code(), Some(74));
    assert!(migration_process.wait().expect("the process exits").success());
    assert_migrated(&home).await;
    for command in [&["serve"][..], &["users", "list"], &["revoke", "--everyone"]] {
        assert_refused(&home, command, 74, "the contents of this database were moved to sqlite://new.db");
    }
    server.signal("CONT");
    server.until_status(&session, "503 stale").await;
    // On a loaded machine, each server may be stale for a moment.
    let new = home.start_with(&["--store", "sqlite://new.db"], &[]);
    new.until_status(&session, "200").await;

    home.run_ok(&["store", "restored"]);
    server.until_status(&session, "401 revoked").await;
    new.until_status(&session, "200").await;
}
