//! Commands that get the address of an empty database. They must refuse it, because it is not the database of the servers.

use std::fs;

use serde_json::Value;

use crate::harness::{Home, text};
use crate::nodes;
use crate::postgres::Postgres;

/// Returns commands that need existing data in the store.
fn commands(kid: &str, store: &str) -> Vec<Vec<String>> {
    let commands = [
        "users list",
        "users disable alice",
        "revoke --user alice",
        "revoke --everyone",
        "store restored",
        "keys status",
        &format!("keys revoke {kid} --replace"),
    ];
    let with_store = |command: &str| {
        let words = command.split(' ').chain(["--set", store]);
        words.map(str::to_owned).collect()
    };
    commands.map(with_store).into_iter().collect()
}

fn assert_refused(home: &Home, store: &str, kid: &str) {
    for command in commands(kid, store) {
        let output = home.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        let stderr = text(&output.stderr);
        assert!(!output.status.success(), "{command:?}: {stderr}");
        let reason = if command[1] == "revoke" && command[0] == "keys" {
            "there is no store at"
        } else {
            "none of Sealjar's tables"
        };
        assert!(stderr.contains(reason), "{command:?}: {stderr}");
    }
    let doctor = home.run(&["doctor", "--json", "--set", store]);
    let report: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let opened = findings
        .iter()
        .find(|finding| finding["check"] == "store.open")
        .expect("doctor checks whether the store opens");
    assert!(
        opened["level"] == "problem" && opened["found"].to_string().contains("none of Sealjar's tables"),
        "{opened}"
    );
}

#[test]
fn an_empty_database_is_not_taken_for_the_store_and_stays_empty() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let kid = home.keys()[0]["kid"].as_str().expect("text").to_owned();
    database.create_database("other");
    let other = database.url("other", "sslmode=disable");
    assert_refused(&home, &format!("store={other}"), &kid);
    let output = home.run(&["migrate", "--from", &other, "--to", "sqlite://new.db"]);
    assert!(text(&output.stderr).contains("none of Sealjar's tables"), "{}", text(&output.stderr));
    assert_eq!(database.sql_in("other", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");

    fs::write(home.path("empty.db"), "").expect("writes");
    assert_refused(&home, "store=sqlite://empty.db", &kid);
    // The target of a migration may be empty.
    assert!(
        home.run(&["migrate", "--from", &database.url("sealjar", "sslmode=disable"), "--to", &other]).status.success()
    );
}
