//! Findings of `sealjar doctor` about PostgreSQL, with and without problems.

use serde_json::Value;

use crate::faketime::faketime;
use crate::harness::{Home, wait_until};
use crate::nodes;
use crate::postgres::Postgres;

/// Returns the levels of the findings of a check, and their remedies.
fn findings(home: &Home, check: &str, arguments: &[&str], offset: &str) -> (Vec<String>, String) {
    let mut doctor = home.command(&[&["doctor", "--json"], arguments].concat());
    let output = doctor.envs(faketime(offset, home)).output().expect("runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = report["findings"].as_array().expect("a list");
    let of_check = all.iter().filter(|finding| finding["check"] == check);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_check.map(|finding| (text(&finding["level"]), text(&finding["remedy"]))).unzip()
}

fn set(database: &Postgres, setting: &str, value: &str) {
    database.sql(&format!("ALTER SYSTEM SET {setting} = {value}"));
    database.sql("SELECT pg_reload_conf()");
    wait_until("the server has read it", || database.sql(&format!("SHOW {setting}")) == value);
}

#[test]
fn finds_a_database_that_may_lose_sign_outs_or_is_unusable() {
    let mut database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let assert_finding = |check: &str, arguments: &[&str], expected: &[&str], remedy: &str| {
        let (levels, remedies) = findings(&home, check, arguments, "+0");
        assert!(levels == expected && remedies.contains(remedy), "{check} {arguments:?}: {levels:?} {remedies}");
    };
    for check in ["store.tls", "store.open", "store.nodes", "store.server", "clock.store"] {
        assert_finding(check, &[], &["ok"], "");
    }
    let unreachable = ["--set", "store=postgres://sealjar@192.0.2.1/sealjar?sslmode=disable"];
    let short_timeout = ["--set", "postgres.connect_timeout=1s"];
    assert_finding("store.tls", &[unreachable, short_timeout].concat(), &["problem"], "sslmode");
    assert_finding("store.open", &[unreachable, short_timeout].concat(), &["problem"], "the database server must run");
    assert_finding(
        "store.server",
        &["--set", "postgres.max_connections=500"],
        &["warning"],
        "postgres.max_connections",
    );
    let (levels, remedies) = findings(&home, "clock.store", &[], "-2h");
    assert!(levels.contains(&"problem".to_owned()) && remedies.contains("NTP"), "{levels:?} {remedies}");
    for (offset, level) in [("-40", "problem"), ("+40", "problem"), ("+20", "warning")] {
        let (levels, remedies) = findings(&home, "clock.store", &[], offset);
        assert!(levels == [level] && remedies.contains("NTP"), "{offset}: {levels:?} {remedies}");
    }

    for setting in ["fsync", "full_page_writes"] {
        set(&database, setting, "off");
        assert_finding("store.server", &[], &["problem"], &format!("ALTER SYSTEM SET {setting} = on"));
        set(&database, setting, "on");
    }
    let standby = database.standby();
    wait_until("the standby follows", || database.sql("SELECT count(*) FROM pg_stat_replication") == "1");
    assert_finding("store.server", &[], &["warning"], "synchronous_standby_names");
    assert_finding("store.open", &["--set", &standby.store()], &["problem"], "name the primary");
    database.wait_for_standbys();
    assert_finding("store.server", &[], &["ok"], "");
    database.kill();
    assert_finding("store.open", &[], &["problem"], "the database server must run");
}
