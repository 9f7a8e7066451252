//! `sealjar migrate`: nobody is signed out by it, whoever was signed out stays so, and `kill -9` in the middle changes nothing.

use std::process::{Child, Command, Stdio};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};

use crate::database;
use crate::harness::{Home, PATIENCE, Server, text};

const MANY: i64 = 100_000;
const ARGUMENTS: [&str; 5] = ["migrate", "--from", "sqlite://sealjar.db", "--to", "sqlite://new.db"];

/// That the new database holds what the old one does, and nothing else.
async fn assert_moved(home: &Home) {
    let mut new = database::open(home, "new.db").await;
    database::run(&mut new, &format!("ATTACH DATABASE '{}' AS old", home.path("sealjar.db").display())).await;
    for (table, columns) in [
        ("account", "*"),
        ("lifetime_in_use", "*"),
        ("state", "global_generation, pruned_through, clock_reached"),
        ("revocation", "hex(sid), sub, below, expires_at"),
    ] {
        let (old, new_rows) =
            (format!("SELECT {columns} FROM old.{table}"), format!("SELECT {columns} FROM main.{table}"));
        let query = format!(
            "SELECT (SELECT count(*) FROM ({old})) - (SELECT count(*) FROM ({new_rows})),
                    (SELECT count(*) FROM ({old} EXCEPT {new_rows}))"
        );
        let row = new.fetch_one(AssertSqlSafe(query)).await.expect("compares");
        assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (0, 0), "{table}");
    }
}

/// How far the copy of the log has come, or nothing if it has not begun.
async fn last_seq(home: &Home) -> Option<i64> {
    let options = SqliteConnectOptions::new().filename(home.path("new.db"));
    let mut new = options.connect().await.ok()?;
    new.fetch_one("SELECT last_seq FROM migration").await.ok()?.try_get(0).ok()
}

/// Runs it, and kills it when the copy of the log has come further.
async fn kill_in_the_middle(home: &Home) {
    let before = last_seq(home).await.unwrap_or(0);
    let mut command: Command = home.command(&ARGUMENTS);
    let mut migrating: Child = command.stderr(Stdio::null()).spawn().expect("the binary runs");
    while last_seq(home).await.unwrap_or(0) <= before {
        assert!(migrating.try_wait().expect("it was started").is_none(), "it ended before it came further");
    }
    migrating.kill().expect("it runs");
    migrating.wait().expect("it ends");
    let reached = last_seq(home).await.expect("it began");
    println!("killed at {reached}");
    assert!(before < reached && reached < MANY, "{reached} is in the middle");
}

fn refused(home: &Home, arguments: &[&str], code: i32, message: &str) {
    let output = home.run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    // The server says it in a line of its log.
    let hint = if arguments[0] == "serve" { "\"hint\":" } else { "hint: " };
    assert!(said.contains(message) && said.contains(hint), "{arguments:?}: {said}");
}

/// A server reports for the first time just after it listens.
async fn until_reported(home: &Home, name: &str) {
    let mut database = database::open(home, name).await;
    let started = tokio::time::Instant::now();
    while database.fetch_optional("SELECT 1 FROM node").await.expect("reads").is_none() {
        assert!(started.elapsed() < PATIENCE, "no report");
    }
}

fn stop(mut server: Server<'_>) {
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn sessions_stay_live_and_sign_outs_stay_in_force() {
    let home = Home::new();
    home.add_user("bob");
    home.ok(&["revoke", "--everyone"]);
    let server = home.start();
    let (live, ended, bobs) = (server.login("alice").await, server.login("alice").await, server.login("bob").await);
    assert_eq!(server.logout(&ended).await, "200");
    home.ok(&["revoke", "--user", "bob"]);
    server.until_status(&bobs, "401 revoked").await;
    let bobs_next = server.login("bob").await;
    stop(server);
    let accounts = home.ok(&["users", "list", "--json"]);

    home.ok(&ARGUMENTS);
    assert_moved(&home).await;
    let new = ["--store", "sqlite://new.db"];
    assert_eq!(home.ok(&[&["users", "list", "--json"], &new[..]].concat()), accounts);
    let server = home.start_with(&new, &[]);
    for (session, verdict) in [(&live, "200"), (&ended, "401 revoked"), (&bobs, "401 revoked"), (&bobs_next, "200")] {
        assert_eq!(server.status(session).await, verdict);
    }
    for login in ["alice", "bob"] {
        assert_eq!(server.status(&server.login(login).await).await, "200");
    }
}

#[tokio::test]
async fn killed_in_the_middle_again_and_again_it_ends_with_the_same() {
    let home = Home::new();
    database::fill(&home, MANY).await;
    for _ in 0..3 {
        kill_in_the_middle(&home).await;
        for command in [&["serve"][..], &["users", "list"], &["store", "restored"]] {
            let arguments = [command, &["--store", "sqlite://new.db"]].concat();
            refused(&home, &arguments, 74, "an unfinished migration from sqlite://sealjar.db");
        }
    }
    home.ok(&ARGUMENTS);
    assert_moved(&home).await;
}

#[tokio::test]
async fn begins_again_if_the_source_was_used_in_between() {
    let home = Home::new();
    database::fill(&home, MANY).await;
    kill_in_the_middle(&home).await;
    let server = home.start();
    let session = server.login("alice").await;
    assert_eq!(server.logout(&session).await, "200");
    stop(server);
    home.ok(&["users", "delete", "alice"]);
    home.add_user("alice");
    kill_in_the_middle(&home).await;
    home.ok(&["users", "disable", "alice"]);
    home.ok(&["users", "enable", "alice"]);
    home.ok(&ARGUMENTS);
    assert_moved(&home).await;
}

#[tokio::test]
async fn refuses_to_overwrite_and_anything_but_one_store_to_another() {
    let home = Home::new();
    let add = |store: &str| {
        let arguments = ["users", "add", "alice", "--store", store];
        assert!(home.run_with_input(&arguments, "correct horse battery\n").status.success());
    };
    add("sqlite://new.db");
    refused(&home, &ARGUMENTS, 1, "sqlite://new.db has accounts or revocations already");
    home.ok(&["users", "delete", "alice", "--store", "sqlite://new.db"]);
    refused(&home, &ARGUMENTS, 1, "sqlite://new.db has accounts or revocations already");

    let to = |name: &'static str| [&ARGUMENTS[..4], &[name]].concat();
    refused(&home, &to("sqlite://sealjar.db"), 1, "both are the same database");
    let nowhere = home.run(&to("nowhere"));
    assert!(nowhere.status.code() == Some(2) && text(&nowhere.stderr).contains("--to: it must be sqlite://"));
    refused(&home, &["migrate", "--from", "sqlite://nothing.db", "--to", "sqlite://other.db"], 74, "no database at");
    assert!(!home.path("other.db").exists() && !home.path("nothing.db").exists());

    home.ok(&to("sqlite://empty.db"));
    assert!(text(&home.run(&to("sqlite://empty.db")).stderr).contains("nothing was done"), "a second time");
    refused(&home, &to("sqlite://third.db"), 74, "was moved to sqlite://empty.db");
}

#[tokio::test]
async fn what_is_unfinished_is_gone_on_with_from_its_own_source_alone() {
    let home = Home::new();
    database::fill(&home, MANY).await;
    kill_in_the_middle(&home).await;
    let other = ["users", "add", "alice", "--store", "sqlite://other.db"];
    assert!(home.run_with_input(&other, "correct horse battery\n").status.success());
    let from_other = ["migrate", "--from", "sqlite://other.db", "--to", "sqlite://new.db"];
    refused(&home, &from_other, 1, "an unfinished migration from another database, sqlite://sealjar.db");
    let onwards = ["migrate", "--from", "sqlite://new.db", "--to", "sqlite://third.db"];
    refused(&home, &onwards, 74, "an unfinished migration from sqlite://sealjar.db");
    home.ok(&ARGUMENTS);
    assert_moved(&home).await;
}

#[tokio::test]
async fn refuses_while_a_server_uses_either() {
    let home = Home::new();
    let server = home.start();
    until_reported(&home, "sealjar.db").await;
    refused(&home, &ARGUMENTS, 1, "sqlite://sealjar.db is in use by");
    stop(server);
    home.ok(&["users", "list"]);
    assert!(home.run(&["users", "list", "--store", "sqlite://new.db"]).status.success(), "it has its tables");
    let server = home.start_with(&["--store", "sqlite://new.db"], &[]);
    until_reported(&home, "new.db").await;
    refused(&home, &ARGUMENTS, 1, "sqlite://new.db is in use by");
    stop(server);
    home.ok(&ARGUMENTS);
}

#[tokio::test]
async fn nothing_writes_to_the_source_meanwhile_or_serves_it_after() {
    let home = Home::with_settings(&["revocation.max_staleness=4s"]);
    database::fill(&home, MANY).await;
    // A server that sleeps for so long that its report is forgotten.
    let server = home.start();
    let session = server.login("alice").await;
    until_reported(&home, "sealjar.db").await;
    server.signal("STOP");
    database::run(&mut database::open(&home, "sealjar.db").await, "DELETE FROM node").await;
    let mut migrating = home.command(&ARGUMENTS).stderr(Stdio::null()).spawn().expect("the binary runs");
    while last_seq(&home).await.unwrap_or(0) == 0 {
        assert!(migrating.try_wait().expect("it was started").is_none(), "it ended before it began");
    }
    // It waits for the end of the move, and is told then where everything is.
    assert_eq!(home.run(&["users", "disable", "alice"]).status.code(), Some(74));
    assert!(migrating.wait().expect("it ends").success());
    assert_moved(&home).await;
    for command in [&["serve"][..], &["users", "list"], &["revoke", "--everyone"]] {
        refused(&home, command, 74, "the contents of this database were moved to sqlite://new.db");
    }
    server.signal("CONT");
    server.until_status(&session, "503 stale").await;
    // Each may be stale for a moment where the machine is loaded.
    let new = home.start_with(&["--store", "sqlite://new.db"], &[]);
    new.until_status(&session, "200").await;

    home.ok(&["store", "restored"]);
    server.until_status(&session, "401 revoked").await;
    new.until_status(&session, "200").await;
}
