//! A logout that got the response 200 is permanent, even after `kill -9`, a failing disk, a full disk or a second logout.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use crate::database;
use crate::harness::{Home, Server, Session, client, wait_until};

#[tokio::test]
async fn a_logout_survives_kill_9_right_after_its_response() {
    let home = Home::new();
    let server = home.start();
    let ended = server.login("alice").await;
    let live = server.login("alice").await;
    assert_eq!(server.logout(&ended).await, "200");
    server.kill();
    let server = home.start();
    assert_eq!(server.status(&ended).await, "401 revoked");
    assert_eq!(server.status(&live).await, "200", "other sessions stay valid after a restart");
}

async fn log_in_many(server: &Server<'_>, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(server.login("alice").await);
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_logouts_every_confirmed_one_survives_kill_9() {
    const SESSIONS: usize = 200;
    let home = Home::new();
    let server = home.start();
    let sessions = log_in_many(&server, SESSIONS).await;
    let confirmed = Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = sessions
        .iter()
        .map(|session| {
            let confirmed = confirmed.clone();
            let request = client().post(server.url("/auth/logout")).header("cookie", session.cookie());
            tokio::spawn(async move {
                let is_confirmed = request.send().await.is_ok_and(|response| response.status() == 200);
                confirmed.fetch_add(usize::from(is_confirmed), Ordering::AcqRel);
                is_confirmed
            })
        })
        .collect();
    while confirmed.load(Ordering::Acquire) < SESSIONS / 4 {
        tokio::task::yield_now().await;
    }
    server.kill();
    let mut ended = Vec::new();
    for (request, session) in requests.into_iter().zip(sessions) {
        if request.await.expect("the task finishes") {
            ended.push(session);
        }
    }
    let server = home.start();
    assert!(ended.len() >= SESSIONS / 4);
    println!("{} of {SESSIONS} logouts were confirmed before the kill", ended.len());
    for session in &ended {
        assert_eq!(server.status(session).await, "401 revoked");
    }
}

#[tokio::test]
async fn a_failing_disk_gives_503_and_the_session_is_refused_at_once() {
    for fault in ["fail", "full"] {
        let home = Home::new();
        let server = home.start_on_faulty_disk();
        let ended = server.login("alice").await;
        let other = server.login("alice").await;
        let third = server.login("alice").await;
        home.set_disk(fault);
        for _ in 0..2 {
            let response = server.post("/auth/logout", &ended.cookie()).await;
            assert_eq!(response.verdict(), "503 not-durable", "{fault}: a retry does not count as success");
            assert!(response.header("set-cookie").is_none(), "{fault}: the browser keeps the cookie, to try again");
            assert!(response.json()["detail"].as_str().expect("text").contains("the session may be valid again"));
        }
        assert_eq!(server.post("/auth/logout/all", &third.cookie()).await.verdict(), "503 not-durable");
        assert_eq!(server.post("/auth/logout/all", &third.cookie()).await.verdict(), "503 not-durable");
        for session in [&ended, &other, &third] {
            assert_eq!(server.status(session).await, "401 revoked", "{fault}");
        }
        assert_eq!(server.get("/protected", "x=y").await.verdict(), "401 missing", "other requests are served");
        home.set_disk("works");
        assert_eq!(server.post("/auth/logout", &ended.cookie()).await.verdict(), "200", "{fault}: repaired");
        assert_eq!(server.post("/auth/logout/all", &third.cookie()).await.verdict(), "200");
        server.kill();
        let server = home.start();
        for session in [&ended, &other, &third] {
            assert_eq!(server.status(session).await, "401 revoked", "{fault}: after a restart");
        }
        assert_eq!(server.status(&server.login("alice").await).await, "200");
    }
}

#[tokio::test]
async fn uncommitted_logouts_are_committed_when_the_disk_works_again() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("fail");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    home.set_disk("works");
    let database = format!("sqlite://{}", home.path("sealjar.db").display());
    let inspect = || home.run_with_input(&["inspect", "--store", &database], &session.0);
    // A second process reads only committed data.
    wait_until("the logout is committed", || !inspect().status.success());
    server.kill();
    assert_eq!(home.start().status(&session).await, "401 revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_logout_waits_for_the_commit_of_the_first() {
    let home = Home::new();
    let mut server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    let other = server.login("alice").await;
    let third = server.login("alice").await;
    home.set_disk("hang");
    let log_out = |cookie| tokio::spawn(client().post(server.url("/auth/logout")).header("cookie", cookie).send());
    let first = log_out(session.cookie());
    server.wait_for("signing out");
    // The event of the second request is about the third session, because the first session is logged out already.
    let log_out = |cookie| tokio::spawn(client().post(server.url("/auth/logout")).header("cookie", cookie).send());
    let second = log_out(format!("{}; {}", session.cookie(), third.cookie()));
    server.wait_for("signing out");
    assert_eq!(server.status(&session).await, "401 revoked", "refused by this process at once");
    assert_eq!(server.status(&other).await, "200", "no other session waits for the disk");
    assert!(!first.is_finished() && !second.is_finished(), "both requests must wait until the disk responds");
    home.set_disk("works");
    for request in [first, second] {
        assert_eq!(request.await.expect("the task finishes").expect("a response").status(), 200);
    }
    server.kill();
    assert_eq!(home.start().status(&session).await, "401 revoked");
}

#[tokio::test]
async fn a_hanging_disk_gives_503_after_a_timeout_and_never_200() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("hang");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    home.set_disk("works");
    assert_eq!(server.logout(&session).await, "200");
}

/// Returns the number of entries in the log.
async fn entry_count(home: &Home) -> i64 {
    let mut database = database::open(home, "sealjar.db").await;
    sqlx::query_scalar("SELECT count(*) FROM revocation").fetch_one(&mut database).await.expect("a number")
}

/// The expiry of a late entry was computed from a time that is too early. The logout must be committed again before the client
/// gets 200.
#[tokio::test]
async fn a_commit_after_its_timeout_is_not_reported_as_success() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    let entry_count = async || entry_count(&home).await;
    home.set_disk("hang");
    // Each of these requests lasts as long as the timeout of a commit.
    for _ in 0..2 {
        assert_eq!(server.logout(&session).await, "503 not-durable");
    }
    // The hanging commit succeeds now, and every later commit fails.
    home.set_disk("fail");
    while entry_count().await == 0 {}
    let committed_at = Instant::now();
    let has_follower_read = async || {
        let (_, body) = server.readiness().await;
        u128::from(body["staleness_ms"].as_u64().expect("a number")) < committed_at.elapsed().as_millis()
    };
    while !has_follower_read().await {}
    for _ in 0..2 {
        assert_eq!(server.logout(&session).await, "503 not-durable", "although the follower has read the late row");
    }
    home.set_disk("works");
    assert_eq!(server.logout(&session).await, "200");
    let committed = entry_count().await;
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(entry_count().await, committed, "a durable entry is not committed again");
    server.kill();

    let server = home.start();
    for _ in 0..3 {
        assert_eq!(server.logout(&session).await, "200");
    }
    assert_eq!(
        entry_count().await,
        committed + 1,
        "a new process commits an entry once that it has only read from the store"
    );
}

#[tokio::test]
async fn a_hanging_disk_does_not_prevent_a_shutdown() {
    let home = Home::new();
    let mut server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("hang");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    server.signal("TERM");
    let line = server.wait_for("the server ended with an error");
    assert!(line["error"].as_str().is_some_and(|error| error.starts_with("the last logouts did not reach the store")));
    assert_eq!(server.exit_code(), Some(74), "the exit code reports the failure");
}

#[tokio::test]
async fn a_login_that_cannot_revoke_the_old_session_begins_none() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let old = server.login("alice").await;
    home.set_disk("fail");
    let body = Server::login_body("alice", crate::harness::PASSWORD);
    let request = client().post(server.url("/auth/login")).header("cookie", old.cookie()).json(&body);
    let response = crate::harness::Response::of(request.send().await.expect("a response")).await;
    assert_eq!((response.verdict().as_str(), response.session), ("503 not-durable", None));
}
