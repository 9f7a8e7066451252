//! `sealjar migrate` to PostgreSQL, from PostgreSQL, and between two PostgreSQL databases. Live sessions stay live,
//! revoked sessions stay revoked, and a migration that was stopped with `kill -9` can be repeated.

use std::process::Stdio;

use crate::database;
use crate::harness::{Home, Server, Session, text, wait_until};
use crate::load_permit;
use crate::nodes::{readyz, until_all};
use crate::postgres::{Connection, Postgres};

const MANY: i64 = 100_000;
const SQLITE: &str = "sqlite://sealjar.db";

#[tokio::test]
async fn migrates_from_sqlite_to_three_nodes_despite_a_kill() {
    let _permit = load_permit().await;
    let postgres = Postgres::start();
    let store = postgres.url("sealjar", "sslmode=disable");
    let home = Home::new();
    home.add_user("bob");
    home.run_ok(&["revoke", "--everyone"]);
    let server = home.start();
    let live = server.login("alice").await;
    let ended = server.login("alice").await;
    let bobs_session = server.login("bob").await;
    assert_eq!(server.logout(&ended).await, "200");
    home.run_ok(&["revoke", "--user", "bob"]);
    stop([server]);
    database::insert_revocations(&home, MANY - 2).await;
    let accounts = home.run_ok(&["users", "list", "--json"]);

    // The server creates the tables.
    stop([home.start_with(&["--store", &store], &[])]);
    let mut watch = postgres.connection();
    for _ in 0..2 {
        kill_in_the_middle(&home, &store, &mut watch);
        let output = home.run(&["serve", "--store", &store]);
        let stderr = text(&output.stderr);
        assert!(output.status.code() == Some(74) && stderr.contains("an unfinished migration from"), "{stderr}");
    }
    home.run_ok(&["migrate", "--from", SQLITE, "--to", &store]);
    assert_eq!(postgres.sql("SELECT count(*), count(DISTINCT sid), max(seq) FROM revocation"), "100000|99999|100000");
    assert_eq!(home.run_ok(&["users", "list", "--json", "--store", &store]), accounts);

    let nodes = [(); 3].map(|()| home.start_with(&["--store", &store], &[]));
    assert_eq!(readyz(&nodes[2]).await["revocations"], MANY - 1);
    until_all(&nodes, &live, "200").await;
    for session in [&ended, &bobs_session] {
        until_all(&nodes, session, "401 revoked").await;
    }
    let next = nodes[0].login("bob").await;
    assert_eq!(nodes[1].logout(&next).await, "200");
    until_all(&nodes, &next, "401 revoked").await;
}

/// Kills a migration after it has made progress, and before it is complete.
fn kill_in_the_middle(home: &Home, store: &str, watch: &mut Connection) {
    let mut last_seq = || watch.run("SELECT last_seq FROM migration;")[0].parse::<i64>().expect("a number");
    let start_seq = last_seq();
    let mut command = home.command(&["migrate", "--from", SQLITE, "--to", store]);
    let mut migration = command.stderr(Stdio::null()).spawn().expect("the binary runs");
    while last_seq() <= start_seq {
        assert!(
            migration.try_wait().expect("the migration was started").is_none(),
            "the migration ended without progress"
        );
    }
    migration.kill().expect("the migration runs");
    migration.wait().expect("the migration ends");
    let reached_seq = last_seq();
    println!("killed at {reached_seq}");
    assert!(reached_seq < MANY, "the migration was complete when it was killed, at {reached_seq}");
}

#[tokio::test]
async fn migrates_to_another_database_and_back_to_a_file() {
    let postgres = Postgres::start();
    postgres.create_database("second");
    let [first, second] = ["sealjar", "second"].map(|name| postgres.url(name, "sslmode=disable"));
    let home = Home::with_settings(&[&format!("store={first}")]);
    let nodes = [home.start(), home.start()];
    let live = nodes[0].login("alice").await;
    let ended = nodes[0].login("alice").await;
    assert_eq!(nodes[1].logout(&ended).await, "200");
    wait_until("both nodes report", || postgres.sql("SELECT count(*) FROM node") == "2");
    let in_use = home.run(&["migrate", "--from", &first, "--to", &second]);
    assert!(in_use.status.code() == Some(1) && text(&in_use.stderr).contains("is in use by"));
    stop(nodes);
    for (from, to) in [(first.as_str(), second.as_str()), (&second, "sqlite://back.db")] {
        home.run_ok(&["migrate", "--from", from, "--to", to]);
        // `--set` overrides the store in the configuration of the home directory.
        let [old, new] = [from, to].map(|url| format!("store={url}"));
        let server = home.start_with(&["--set", &new], &[]);
        server.until_status(&live, "200").await;
        server.until_status(&ended, "401 revoked").await;
        let next: Session = server.login("alice").await;
        assert_eq!(server.logout(&next).await, "200");
        stop([server]);
        let left = home.run(&["serve", "--set", &old]);
        let stderr = text(&left.stderr);
        assert!(
            left.status.code() == Some(74) && stderr.contains("the contents of this database were moved to"),
            "{stderr}"
        );
        assert!(!stderr.contains("sealjar:sealjar"), "no password: {stderr}");
    }
}

fn stop<const N: usize>(servers: [Server<'_>; N]) {
    for mut server in servers {
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
    }
}
