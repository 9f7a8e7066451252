//! Copy detection: if two clients use one cookie, the session ends for both, permanently. The tests move the wall clock.
//!
//! `lone_client.rs` tests that a single browser never loses its session.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::clock_file::every_clock;
use crate::faketime::{faketime, set_clock};
use crate::harness::{Home, Server, Session, client};

/// A browser with one cookie.
pub(crate) struct Jar(pub(crate) Session);

impl Jar {
    /// Requests the session status, and keeps the cookie that the response sets. Returns the verdict.
    pub(crate) async fn request_status(&mut self, server: &Server<'_>) -> String {
        let response = server.get("/auth/status", &self.0.cookie()).await;
        let verdict = response.verdict();
        self.0 = response.session.unwrap_or_else(|| self.0.clone());
        verdict
    }
}

/// The wall clock of a home's servers.
pub(crate) struct Clock<'h> {
    home: &'h Home,
    minutes: u32,
}

impl<'h> Clock<'h> {
    pub(crate) const fn of(home: &'h Home) -> Self {
        Self { home, minutes: 0 }
    }

    pub(crate) const fn minutes(&self) -> u32 {
        self.minutes
    }

    pub(crate) fn advance(&mut self, minutes: u32) {
        self.minutes += minutes;
        set_clock(self.home, &format!("+{}m", self.minutes));
    }
}

pub(crate) fn start(home: &Home) -> Server<'_> {
    home.start_with(&[], &faketime("+0s", home))
}

/// Returns two clients with the same cookie: the owner, and a thief who copied it.
async fn owner_and_thief(server: &Server<'_>) -> [Jar; 2] {
    let session = server.login("alice").await;
    [Jar(session.clone()), Jar(session)]
}

/// Lets both clients use the session, one after the other, each time that a renewal is due. Returns all verdicts.
async fn renew_in_turn(
    renewals: usize,
    server: &Server<'_>,
    clock: &mut Clock<'_>,
    holders: &mut [Jar; 2],
) -> Vec<String> {
    let mut verdicts = Vec::new();
    for _ in 0..renewals {
        clock.advance(5);
        for holder in holders.iter_mut() {
            verdicts.push(holder.request_status(server).await);
        }
    }
    verdicts
}

fn is_copy_event(line: &Value) -> bool {
    line["target"] == "sealjar::audit" && line["event"] == "session-copied"
}

#[tokio::test]
async fn a_copy_permanently_ends_the_session_for_both_clients() {
    let home = Home::new();
    let [mut server, other] = [(); 2].map(|()| start(&home));
    let mut clock = Clock::of(&home);
    let mut holders = owner_and_thief(&server).await;
    let session = server.get("/auth/status", &holders[0].0.cookie()).await.json();
    assert_eq!(renew_in_turn(2, &server, &mut clock, &mut holders).await, ["200"; 4]);
    assert_eq!(renew_in_turn(1, &server, &mut clock, &mut holders).await, ["401 revoked"; 2], "the third renewal");
    for holder in &mut holders {
        other.until_status(&holder.0, "401 revoked").await;
        assert_eq!(holder.request_status(&server).await, "401 revoked", "the session stays revoked");
    }
    assert_eq!(server.metric("sealjar_copied_sessions_total").await, 1.0);
    assert_eq!(
        other.metric("sealjar_copied_sessions_total").await,
        0.0,
        "the other server only followed the revocation"
    );
    server.signal("TERM");
    let lines = server.lines_until("stopped");
    let [event] = lines.iter().filter(|line| is_copy_event(line)).collect::<Vec<_>>()[..] else { panic!("{lines:?}") };
    assert_eq!((&event["sub"], &event["sid"]), (&session["sub"], &session["sid"]));
    assert_eq!(event["client"], "127.0.0.0/24");
    drop((server, other));
    let server = home.start_with(&[], &faketime("+15m", &home));
    for holder in &mut holders {
        assert_eq!(holder.request_status(&server).await, "401 revoked", "after a restart");
    }
    assert_eq!(server.status(&server.login("alice").await).await, "200");
}

#[tokio::test]
async fn a_thief_who_renews_before_the_owner_is_detected() {
    let home = Home::new();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let [mut owner, mut thief] = owner_and_thief(&server).await;
    for _ in 0..2 {
        clock.advance(5);
        assert_eq!(thief.request_status(&server).await, "200");
    }
    clock.advance(5);
    assert_eq!(thief.request_status(&server).await, "200");
    assert_eq!(
        owner.request_status(&server).await,
        "401 revoked",
        "the owner's token is older than the parent of the newest token"
    );
    assert_eq!(thief.request_status(&server).await, "401 revoked");
}

/// Moves every clock, because the boot clock measures how long a request may have been in transit.
#[tokio::test]
async fn an_older_token_is_accepted_only_until_90_s_after_the_renewal() {
    let home = Home::with_settings(&["http.idle_timeout=1000h", "session.idle=1h"]);
    let set = |seconds: u32| set_clock(&home, &format!("+{seconds}s"));
    set(0);
    let server = home.start_with(&[], &every_clock(&home.path("clock")));
    let first = server.login("alice").await;
    // The revocation list is stale for a moment after each clock step.
    let status_at = async |seconds, session: &Session| {
        set(seconds);
        loop {
            let response = server.get("/auth/status", &session.cookie()).await;
            if response.verdict() != "503 stale" {
                return response;
            }
        }
    };
    let child = status_at(300, &first).await.session.expect("renewed");
    assert!(status_at(600, &child).await.session.is_some(), "the session is renewed again");
    let late = status_at(660, &first).await;
    assert_eq!(
        (late.verdict().as_str(), late.session),
        ("200", None),
        "a minute later, the request may have been in transit"
    );
    assert_eq!(
        status_at(720, &first).await.verdict(),
        "401 revoked",
        "two minutes later, the older token counts as a copy"
    );
    assert_eq!(status_at(720, &child).await.verdict(), "401 revoked");
}

/// Starts a server whose clock and disk the test controls.
fn start_on_faulty_disk(home: &Home) -> Server<'_> {
    let fault = home.path("disk-fault");
    let mut variables = faketime("+0s", home).to_vec();
    // Preload both libraries.
    let mut libraries = OsString::from(Home::disk_fault_library());
    libraries.push(":");
    libraries.push(variables[0].1);
    variables[0].1 = OsStr::from_bytes(libraries.as_bytes());
    variables.push(("DISK_FAULT", fault.as_os_str()));
    home.start_with(&[], &variables)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_refused_immediately_while_the_store_hangs() {
    let home = Home::new();
    let mut server = start_on_faulty_disk(&home);
    let node = start(&home);
    let mut clock = Clock::of(&home);
    let mut holders = owner_and_thief(&server).await;
    let other = server.login("alice").await;
    renew_in_turn(2, &server, &mut clock, &mut holders).await;
    home.set_disk("hang");
    let logout = client().post(server.url("/auth/logout")).header("cookie", other.cookie());
    let logout = tokio::spawn(logout.send());
    server.wait_for("signing out");
    assert_eq!(renew_in_turn(1, &server, &mut clock, &mut holders).await, ["401 revoked"; 2]);
    assert!(!logout.is_finished(), "the logout waits for the disk, and the refusals did not");
    assert_eq!(node.status(&holders[0].0).await, "200", "the store does not have the revocation yet");
    home.set_disk("works");
    node.until_status(&holders[0].0, "401 revoked").await;
    assert_eq!(node.metric("sealjar_copied_sessions_total").await, 0.0, "this node did not detect the copy");
    server.kill();
    let server = home.start_with(&[], &faketime("+15m", &home));
    assert_eq!(server.status(&holders[1].0).await, "401 revoked");
}

#[tokio::test]
async fn a_copy_detection_lost_by_kill_9_is_repeated_at_the_next_use() {
    let home = Home::new();
    let server = start_on_faulty_disk(&home);
    let mut clock = Clock::of(&home);
    let mut holders = owner_and_thief(&server).await;
    renew_in_turn(2, &server, &mut clock, &mut holders).await;
    // Nothing is written to the write-ahead log, so the revocation is lost with the process.
    home.set_disk("full");
    assert_eq!(renew_in_turn(1, &server, &mut clock, &mut holders).await, ["401 revoked"; 2]);
    server.kill();
    let server = home.start_with(&[], &faketime("+15m", &home));
    let [owner, thief] = &mut holders;
    let verdicts =
        [owner.request_status(&server).await, thief.request_status(&server).await, owner.request_status(&server).await];
    assert_eq!(verdicts, ["200", "401 revoked", "401 revoked"], "detected when this process has received both tokens");
}

#[tokio::test]
async fn a_reload_turns_detection_off_and_on_again() {
    let home = Home::new();
    let write = |copy_detection: bool| {
        let text = format!("[session]\ncopy_detection = {copy_detection}\n");
        std::fs::write(home.path("sealjar.toml"), text).expect("writes");
    };
    let wait_for_reload = |server: &mut Server<'_>| {
        assert_eq!(server.wait_for("the configuration changed")["settings"], "session.copy_detection");
    };
    write(false);
    let mut server = home.start_with(&["--config", "sealjar.toml"], &faketime("+0s", &home));
    let mut clock = Clock::of(&home);
    let mut holders = owner_and_thief(&server).await;
    assert_eq!(renew_in_turn(5, &server, &mut clock, &mut holders).await, ["200"; 10]);
    write(true);
    wait_for_reload(&mut server);
    let verdicts = renew_in_turn(1, &server, &mut clock, &mut holders).await;
    assert_eq!(verdicts, ["200", "401 revoked"], "several renewals are between their tokens");
    assert_eq!(server.status(&holders[0].0).await, "401 revoked");
    let mut holders = owner_and_thief(&server).await;
    assert_eq!(renew_in_turn(2, &server, &mut clock, &mut holders).await, ["200"; 4]);
    write(false);
    wait_for_reload(&mut server);
    assert_eq!(renew_in_turn(5, &server, &mut clock, &mut holders).await, ["200"; 10]);
}

#[tokio::test]
async fn an_idle_timeout_under_18m_disables_detection_with_a_warning() {
    let home = Home::with_settings(&["session.idle=10m"]);
    let server = home.start_with(&[], &faketime("+0s", &home));
    let is_warning =
        |line: &&Value| line["message"].as_str().is_some_and(|text| text.contains("copy detection is off"));
    let [warning] = server.startup_log.iter().filter(is_warning).collect::<Vec<_>>()[..] else {
        panic!("{:?}", server.startup_log)
    };
    assert_eq!((&warning["level"], &warning["setting"]), (&"WARN".into(), &"session.idle".into()));
    assert_eq!(
        warning["message"],
        "copy detection is off for these sessions: it needs session.idle of 18m or more, and less than the absolute timeout"
    );
    let mut clock = Clock::of(&home);
    let mut holders = owner_and_thief(&server).await;
    assert_eq!(renew_in_turn(5, &server, &mut clock, &mut holders).await, ["200"; 10]);
}
