//! An answered sign-out is for good: through kill -9, failing disks, full disks and double clicks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use crate::database;
use crate::harness::{Home, Server, Session, client, until};

#[tokio::test]
async fn a_sign_out_survives_kill_9_right_after_its_answer() {
    let home = Home::new();
    let server = home.start();
    let (ended, live) = (server.login("alice").await, server.login("alice").await);
    assert_eq!(server.logout(&ended).await, "200");
    server.kill();
    let server = home.start();
    assert_eq!(server.status(&ended).await, "401 revoked");
    assert_eq!(server.status(&live).await, "200", "the others live on through a restart");
}

async fn sign_in_many(server: &Server<'_>, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(server.login("alice").await);
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_sign_outs_every_answered_one_survives_kill_9() {
    const ALL: usize = 200;
    let home = Home::new();
    let server = home.start();
    let sessions = sign_in_many(&server, ALL).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (answered, request) = (answered.clone(), client().post(server.url("/auth/logout")));
            let request = request.header("cookie", session.cookie());
            tokio::spawn(async move {
                let done = request.send().await.is_ok_and(|response| response.status() == 200);
                answered.fetch_add(usize::from(done), Ordering::AcqRel);
                done
            })
        })
        .collect();
    while answered.load(Ordering::Acquire) < ALL / 4 {
        tokio::task::yield_now().await;
    }
    server.kill();
    let mut ended = Vec::new();
    for (request, session) in requests.into_iter().zip(sessions) {
        if request.await.expect("it ran") {
            ended.push(session);
        }
    }
    let server = home.start();
    assert!(ended.len() >= ALL / 4);
    println!("{} of {ALL} sign-outs were answered before the kill", ended.len());
    for session in &ended {
        assert_eq!(server.status(session).await, "401 revoked");
    }
}

#[tokio::test]
async fn a_failing_disk_is_a_503_and_the_session_is_dead_at_once() {
    for fault in ["fail", "full"] {
        let home = Home::new();
        let server = home.start_on_faulty_disk();
        let (ended, other, third) =
            (server.login("alice").await, server.login("alice").await, server.login("alice").await);
        home.set_disk(fault);
        for _ in 0..2 {
            let answer = server.post("/auth/logout", &ended.cookie()).await;
            assert_eq!(answer.verdict(), "503 not-durable", "{fault}: and a retry does not take it for done");
            assert!(answer.header("set-cookie").is_none(), "{fault}: the browser keeps what it needs to try again");
            assert!(answer.json()["detail"].as_str().expect("text").contains("restart could bring it back"));
        }
        assert_eq!(server.post("/auth/logout/all", &third.cookie()).await.verdict(), "503 not-durable");
        assert_eq!(server.post("/auth/logout/all", &third.cookie()).await.verdict(), "503 not-durable");
        for session in [&ended, &other, &third] {
            assert_eq!(server.status(session).await, "401 revoked", "{fault}");
        }
        assert_eq!(server.get("/protected", "x=y").await.verdict(), "401 missing", "other requests go on");
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
async fn uncommitted_sign_outs_are_committed_once_the_disk_works() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("fail");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    home.set_disk("works");
    let database = format!("sqlite://{}", home.path("sealjar.db").display());
    let inspect = || home.run_with_input(&["inspect", "--store", &database], &session.0);
    // A second process, which sees only what is committed.
    until("it is committed", || !inspect().status.success());
    server.kill();
    assert_eq!(home.start().status(&session).await, "401 revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sign_out_waits_for_the_commit_of_the_first() {
    let home = Home::new();
    let mut server = home.start_on_faulty_disk();
    let (session, other) = (server.login("alice").await, server.login("alice").await);
    let third = server.login("alice").await;
    home.set_disk("hang");
    let click = |cookie| tokio::spawn(client().post(server.url("/auth/logout")).header("cookie", cookie).send());
    let first = click(session.cookie());
    server.wait_for("signing out");
    // Its event is about the other session, because this one is signed out already.
    let click = |cookie| tokio::spawn(client().post(server.url("/auth/logout")).header("cookie", cookie).send());
    let second = click(format!("{}; {}", session.cookie(), third.cookie()));
    server.wait_for("signing out");
    assert_eq!(server.status(&session).await, "401 revoked", "dead here already");
    assert_eq!(server.status(&other).await, "200", "nobody else waits for the disk");
    assert!(!first.is_finished() && !second.is_finished(), "neither is answered while the disk has not answered");
    home.set_disk("works");
    for click in [first, second] {
        assert_eq!(click.await.expect("it ran").expect("an answer").status(), 200);
    }
    server.kill();
    assert_eq!(home.start().status(&session).await, "401 revoked");
}

#[tokio::test]
async fn a_disk_that_hangs_is_a_503_after_a_while_and_never_a_success() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("hang");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    home.set_disk("works");
    assert_eq!(server.logout(&session).await, "200");
}

async fn rows(home: &Home) -> i64 {
    let mut database = database::open(home, "sealjar.db").await;
    sqlx::query_scalar("SELECT count(*) FROM revocation").fetch_one(&mut database).await.expect("a number")
}

/// The commit is in the log with an expiry that counts from too early a time, so it must be made again before anybody is told.
#[tokio::test]
async fn a_commit_that_came_too_late_is_no_success() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    let rows = async || rows(&home).await;
    home.set_disk("hang");
    // Each takes as long as a commit may.
    for _ in 0..2 {
        assert_eq!(server.logout(&session).await, "503 not-durable");
    }
    // The commit that hangs succeeds, and every later one fails.
    home.set_disk("fail");
    while rows().await == 0 {}
    let committed = Instant::now();
    let is_read = async || {
        let (_, body) = server.readiness().await;
        u128::from(body["staleness_ms"].as_u64().expect("a number")) < committed.elapsed().as_millis()
    };
    while !is_read().await {}
    for _ in 0..2 {
        assert_eq!(server.logout(&session).await, "503 not-durable", "its follower has read the late row");
    }
    home.set_disk("works");
    assert_eq!(server.logout(&session).await, "200");
    let committed = rows().await;
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(rows().await, committed, "what is durable is not committed again");
    server.kill();

    let server = home.start();
    for _ in 0..3 {
        assert_eq!(server.logout(&session).await, "200");
    }
    assert_eq!(rows().await, committed + 1, "another process commits what it has only read, once");
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_the_server_from_stopping() {
    let home = Home::new();
    let mut server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("hang");
    assert_eq!(server.logout(&session).await, "503 not-durable");
    server.signal("TERM");
    let why = server.wait_for("the server ended with an error");
    assert!(why["error"].as_str().is_some_and(|error| error.starts_with("the last logouts did not reach the store")));
    assert_eq!(server.exit_code(), Some(74), "and the failure is told to whoever started it");
}

#[tokio::test]
async fn a_sign_in_that_cannot_revoke_the_old_session_begins_none() {
    let home = Home::new();
    let server = home.start_on_faulty_disk();
    let old = server.login("alice").await;
    home.set_disk("fail");
    let body = Server::login_body("alice", crate::harness::PASSWORD);
    let request = client().post(server.url("/auth/login")).header("cookie", old.cookie()).json(&body);
    let answer = crate::harness::Answer::of(request.send().await.expect("an answer")).await;
    assert_eq!((answer.verdict().as_str(), answer.session), ("503 not-durable", None));
}
