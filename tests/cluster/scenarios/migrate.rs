//! `sealjar migrate` to PostgreSQL, away from it, and from one of its databases to another: nobody is signed out by it, whoever was
//! signed out stays so, and `kill -9` in the middle changes nothing.

use std::process::Stdio;

use crate::database;
use crate::harness::{Home, Server, Session, text, until};
use crate::nodes::{readyz, until_all};
use crate::postgres::{Connection, Postgres};
use crate::turn;

const MANY: i64 = 100_000;
const SQLITE: &str = "sqlite://sealjar.db";

#[tokio::test]
async fn migrates_from_sqlite_to_three_nodes_despite_a_kill() {
    let _turn = turn().await;
    let postgres = Postgres::start();
    let store = postgres.url("sealjar", "sslmode=disable");
    let home = Home::new();
    home.add_user("bob");
    home.ok(&["revoke", "--everyone"]);
    let server = home.start();
    let (live, ended, bobs) = (server.login("alice").await, server.login("alice").await, server.login("bob").await);
    assert_eq!(server.logout(&ended).await, "200");
    home.ok(&["revoke", "--user", "bob"]);
    stop([server]);
    database::fill(&home, MANY - 2).await;
    let accounts = home.ok(&["users", "list", "--json"]);

    // It makes the tables.
    stop([home.start_with(&["--store", &store], &[])]);
    let mut watch = postgres.connection();
    for _ in 0..2 {
        kill_in_the_middle(&home, &store, &mut watch);
        let output = home.run(&["serve", "--store", &store]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(74) && said.contains("an unfinished migration from"), "{said}");
    }
    home.ok(&["migrate", "--from", SQLITE, "--to", &store]);
    assert_eq!(postgres.sql("SELECT count(*), count(DISTINCT sid), max(seq) FROM revocation"), "100000|99999|100000");
    assert_eq!(home.ok(&["users", "list", "--json", "--store", &store]), accounts);

    let nodes = [(); 3].map(|()| home.start_with(&["--store", &store], &[]));
    assert_eq!(readyz(&nodes[2]).await["revocations"], MANY - 1);
    until_all(&nodes, &live, "200").await;
    for session in [&ended, &bobs] {
        until_all(&nodes, session, "401 revoked").await;
    }
    let next = nodes[0].login("bob").await;
    assert_eq!(nodes[1].logout(&next).await, "200");
    until_all(&nodes, &next, "401 revoked").await;
}

fn kill_in_the_middle(home: &Home, store: &str, watch: &mut Connection) {
    let mut last_seq = || watch.run("SELECT last_seq FROM migration;")[0].parse::<i64>().expect("a number");
    let before = last_seq();
    let mut command = home.command(&["migrate", "--from", SQLITE, "--to", store]);
    let mut migrating = command.stderr(Stdio::null()).spawn().expect("the binary runs");
    while last_seq() <= before {
        assert!(migrating.try_wait().expect("it was started").is_none(), "it ended before it came further");
    }
    migrating.kill().expect("it runs");
    migrating.wait().expect("it ends");
    let reached = last_seq();
    println!("killed at {reached}");
    assert!(reached < MANY, "{reached} is in the middle");
}

#[tokio::test]
async fn from_postgresql_to_another_database_and_back_to_a_file() {
    let postgres = Postgres::start();
    postgres.create_database("second");
    let [first, second] = ["sealjar", "second"].map(|name| postgres.url(name, "sslmode=disable"));
    let home = Home::with_settings(&[&format!("store={first}")]);
    let nodes = [home.start(), home.start()];
    let (live, ended) = (nodes[0].login("alice").await, nodes[0].login("alice").await);
    assert_eq!(nodes[1].logout(&ended).await, "200");
    until("both nodes report", || postgres.sql("SELECT count(*) FROM node") == "2");
    let in_use = home.run(&["migrate", "--from", &first, "--to", &second]);
    assert!(in_use.status.code() == Some(1) && text(&in_use.stderr).contains("is in use by"));
    stop(nodes);
    for (from, to) in [(first.as_str(), second.as_str()), (&second, "sqlite://back.db")] {
        home.ok(&["migrate", "--from", from, "--to", to]);
        // The home's own store is a setting, and so is this one, which wins.
        let [old, new] = [from, to].map(|url| format!("store={url}"));
        let server = home.start_with(&["--set", &new], &[]);
        server.until_status(&live, "200").await;
        server.until_status(&ended, "401 revoked").await;
        let next: Session = server.login("alice").await;
        assert_eq!(server.logout(&next).await, "200");
        stop([server]);
        let left = home.run(&["serve", "--set", &old]);
        let said = text(&left.stderr);
        assert!(
            left.status.code() == Some(74) && said.contains("the contents of this database were moved to"),
            "{said}"
        );
        assert!(!said.contains("sealjar:sealjar"), "no password: {said}");
    }
}

fn stop<const N: usize>(servers: [Server<'_>; N]) {
    for mut server in servers {
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
    }
}
