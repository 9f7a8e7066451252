//! A wall clock that is set two hours forward and back, by libfaketime. No revoked or expired session becomes valid again.

use std::process::Command;
use std::time::Duration;

use crate::faketime::{faketime, set_clock};
use crate::harness::{Home, Server, text};

fn start_with_clock(home: &Home) -> Server<'_> {
    home.start_with(&[], &faketime("+0s", home))
}

#[tokio::test]
async fn clock_steps_of_two_hours_revive_no_revoked_session() {
    let home = Home::with_settings(&["session.absolute=12h", "session.idle=6h"]);
    let server = start_with_clock(&home);
    let ended = server.login("alice").await;
    let live = server.login("alice").await;
    assert_eq!(server.logout(&ended).await, "200");
    // After the clock is set back, the token was sealed in the future. `Sessions::check` tests that before the revocation.
    for (offset, verdict) in
        [("-2h", "401 invalid"), ("+2h", "401 revoked"), ("-2h", "401 invalid"), ("+0s", "401 revoked")]
    {
        set_clock(&home, offset);
        assert_eq!(server.status(&ended).await, verdict, "{offset}");
    }
    assert_eq!(server.status(&live).await, "200", "other sessions are not affected");
    set_clock(&home, "-2h");
    assert_eq!(
        server.status(&live).await,
        "401 invalid",
        "sealed two hours in the future, so refused while the clock is wrong"
    );
    set_clock(&home, "+2h");
    server.kill();
    let server = home.start_with(&[], &faketime("+2h", &home));
    assert_eq!(server.status(&ended).await, "401 revoked", "after a restart with the wrong clock");
    set_clock(&home, "+0s");
    assert_eq!(server.status(&ended).await, "401 revoked");
}

#[tokio::test]
async fn a_session_pruned_under_a_wrong_clock_stays_refused() {
    let home = Home::with_settings(&["session.idle=10m", "session.absolute=20m"]);
    let server = start_with_clock(&home);
    let ended = server.login("alice").await;
    assert_eq!(server.logout(&ended).await, "200");
    server.kill();
    // A server that starts with a clock two hours fast prunes after a minute, because it cannot detect that the clock is wrong.
    let mut server = home.start_with(&[], &faketime("+2h", &home));
    assert_eq!(server.status(&ended).await, "401 expired");
    server.wait_for("pruned");
    let readyz = reqwest::get(format!("http://{}/readyz", server.admin)).await.expect("a response");
    let readyz: serde_json::Value = serde_json::from_str(&readyz.text().await.expect("a body")).expect("JSON");
    assert_eq!(readyz["revocations"], 0, "the entry was pruned");
    set_clock(&home, "+0s");
    assert_eq!(server.status(&ended).await, "401 expired");
    server.kill();
    let server = home.start();
    assert_eq!(server.status(&ended).await, "401 expired", "also after a restart with a correct clock");
    let live = server.login("alice").await;
    assert_eq!(server.status(&live).await, "200", "new sessions can begin");

    // The procedure in docs/troubleshooting.md, which sets the recorded times back.
    server.kill();
    home.run_ok(&["revoke", "--everyone"]);
    sql(&home, "UPDATE state SET pruned_through = 0, clock_reached = 0");
    let server = home.start();
    assert_eq!(server.status(&ended).await, "401 revoked", "the clock is correct, and all sessions were ended");
    assert_eq!(server.status(&live).await, "401 invalid", "the session was sealed in the future");
    assert_eq!(server.status(&server.login("alice").await).await, "200");
}

#[tokio::test]
async fn a_session_from_a_fast_clock_stays_revoked_until_it_expires() {
    let home = Home::with_settings(&["session.idle=10m", "session.absolute=20m"]);
    let mut server = start_with_clock(&home);
    set_clock(&home, "+2h");
    server.wait_for("the clock was set");
    let ended = server.login("alice").await;
    set_clock(&home, "+0s");
    server.wait_for("the clock was set");
    assert_eq!(server.logout(&ended).await, "200");
    server.kill();
    // Two hours have really passed. The token is valid for five more minutes, and the server that starts now prunes its list.
    let mut server = home.start_with(&[], &faketime("+125m", &home));
    assert_eq!(server.status(&ended).await, "401 revoked");
    server.wait_for("pruned");
    assert_eq!(server.status(&ended).await, "401 revoked");
}

#[tokio::test]
async fn a_clock_step_during_a_store_outage_is_recorded_afterwards() {
    let home = Home::new();
    let mut server = start_with_clock(&home);
    rename_table(&home, "state", "renamed");
    server.wait_for("cannot read the revocation log");
    for offset in ["+2h", "+0s"] {
        set_clock(&home, offset);
        server.wait_for("the clock was set");
    }
    let now = sealjar::clock::Now::read().wall.0;
    rename_table(&home, "renamed", "state");
    server.wait_for("the revocation log can be read again");
    let reached = || sql(&home, "SELECT clock_reached FROM state").trim().parse::<u64>().expect("an instant");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while reached() <= now + 7000 {
        assert!(tokio::time::Instant::now() < deadline, "{} is not two hours after {now}", reached());
    }
}

fn rename_table(home: &Home, from: &str, to: &str) {
    sql(home, &format!("ALTER TABLE {from} RENAME TO {to}"));
}

/// Runs a statement on the database in another process, and returns the first value of the result.
fn sql(home: &Home, statement: &str) -> String {
    const PROGRAM: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print((database.execute(sys.argv[2]).fetchone() or [''])[0])
database.commit()";
    let mut python = Command::new("python3");
    let output =
        python.args(["-c", PROGRAM]).arg(home.path("sealjar.db")).arg(statement).output().expect("python3 runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn deadlines_follow_the_wall_clock() {
    let home = Home::with_settings(&["session.idle=10m", "session.absolute=20m"]);
    let server = start_with_clock(&home);
    let session = server.login("alice").await;
    set_clock(&home, "+9m");
    let renewed = server.get("/auth/status", &session.cookie()).await.session.expect("renewed");
    set_clock(&home, "+11m");
    assert_eq!(server.status(&session).await, "401 expired", "the old token's idle deadline has passed");
    assert_eq!(server.status(&renewed).await, "200", "a renewal extends the idle deadline");
    let last = server.get("/auth/status", &renewed.cookie()).await.session.unwrap_or(renewed);
    set_clock(&home, "+19m");
    let last = server.get("/auth/status", &last.cookie()).await.session.unwrap_or(last);
    set_clock(&home, "+21m");
    assert_eq!(server.status(&last).await, "401 expired", "the absolute deadline never moves");
}
