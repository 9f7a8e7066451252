//! `POST /auth/password` and `POST /auth/reauthenticate`: what makes a fresh session of a live one.

use serde_json::{Value, json};

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

const NEW: &str = "another password";

async fn post(server: &Server<'_>, path: &str, cookie: &str, body: Value) -> Answer {
    let request = client().post(server.url(path)).header("cookie", cookie).json(&body);
    Answer::of(request.send().await.expect("an answer")).await
}

async fn change(server: &Server<'_>, session: &Session, old: &str, new: &str) -> Answer {
    post(server, "/auth/password", &session.cookie(), json!({ "old_password": old, "new_password": new })).await
}

async fn sign_in(server: &Server<'_>, password: &str) -> String {
    post(server, "/auth/login", "", Server::login_body("alice", password)).await.verdict()
}

#[tokio::test]
async fn a_change_ends_all_other_sessions_and_the_one_that_made_it_goes_on_with_a_fresh_sid() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let (mine, other, bob) = (server.login("alice").await, server.login("alice").await, server.login("bob").await);
    let before = server.get("/auth/status", &mine.cookie()).await.json();
    let answer = change(&server, &mine, PASSWORD, NEW).await;
    assert_eq!(answer.verdict(), "200");
    let fresh = answer.session.clone().expect("a session");
    let view = server.get("/auth/status", &fresh.cookie()).await.json();
    assert_eq!((&view["sub"], &view["login_name"]), (&before["sub"], &before["login_name"]));
    assert!(view["sid"] != before["sid"] && view["sid"] == answer.json()["sid"]);
    for dead in [&mine, &other] {
        assert_eq!(server.status(dead).await, "401 revoked", "at once, and not when the log comes round");
    }
    assert_eq!(server.status(&bob).await, "200");
    assert_eq!(sign_in(&server, PASSWORD).await, "401 credentials");
    assert_eq!(sign_in(&server, NEW).await, "200");
    server.kill();
    let server = home.start();
    assert_eq!(server.status(&other).await, "401 revoked", "also after a restart");
    assert_eq!(server.status(&fresh).await, "200");
    assert_eq!(sign_in(&server, NEW).await, "200");
}

#[tokio::test]
async fn a_change_is_one_commit() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    assert_eq!(change(&server, &session, PASSWORD, NEW).await.verdict(), "200");
    let ready = client().get(format!("http://{}/readyz", server.admin)).send().await.expect("an answer");
    let ready: Value = ready.json().await.expect("JSON");
    assert_eq!(
        ready["revocations"], 0,
        "all sessions of the account are refused at once, and none once more by itself"
    );
}

#[tokio::test]
async fn a_change_that_is_refused_changes_nothing() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let long = "x".repeat(1025);
    for (old, new, verdict) in [
        ("wrong password", NEW, "401 credentials"),
        ("", NEW, "401 credentials"),
        (PASSWORD, "1234567", "422 fields"),
        (PASSWORD, "\u{e4}\u{f6}\u{fc}\u{e4}\u{f6}\u{fc}\u{e4}", "422 fields"),
        (PASSWORD, &*long, "422 fields"),
        (&*long, NEW, "422 fields"),
    ] {
        assert_eq!(change(&server, &session, old, new).await.verdict(), verdict, "{new:.20}");
    }
    for body in [json!({}), json!({ "old_password": PASSWORD }), json!({ "new_password": NEW }), json!([PASSWORD, NEW])]
    {
        assert_eq!(post(&server, "/auth/password", &session.cookie(), body).await.verdict(), "422 fields");
    }
    let body = json!({ "old_password": PASSWORD, "new_password": NEW });
    assert_eq!(post(&server, "/auth/password", "", body.clone()).await.verdict(), "401 missing");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(post(&server, "/auth/password", &session.cookie(), body).await.verdict(), "401 revoked");
    assert_eq!(sign_in(&server, PASSWORD).await, "200");
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let home = Home::new();
    let server = home.start();
    let (one, two) = (server.login("alice").await, server.login("alice").await);
    let (first, second) = tokio::join!(
        change(&server, &one, PASSWORD, "first password"),
        change(&server, &two, PASSWORD, "second password")
    );
    let mut verdicts = [first.verdict(), second.verdict()];
    verdicts.sort();
    assert_eq!(verdicts[0], "200");
    assert!(verdicts[1].starts_with("401 "), "{verdicts:?}");
    let signed_in = [sign_in(&server, "first password").await, sign_in(&server, "second password").await];
    assert_eq!(signed_in.iter().filter(|verdict| *verdict == "200").count(), 1);
}

#[tokio::test]
async fn nothing_is_changed_when_the_disk_fails() {
    let home = Home::new();
    home.set_disk("works");
    let server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("fail");
    assert_eq!(change(&server, &session, PASSWORD, NEW).await.verdict(), "503 store");
    home.set_disk("works");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(change(&server, &session, PASSWORD, NEW).await.verdict(), "200");
    assert_eq!(sign_in(&server, NEW).await, "200");
}

#[tokio::test]
async fn step_up_makes_a_fresh_session_with_a_fresh_instant_and_the_old_one_is_dead() {
    let home = Home::new();
    let server = home.start();
    let body = json!({ "login": "alice", "password": PASSWORD, "remember": true });
    let session = post(&server, "/auth/login", "", body).await.session.expect("a session");
    let before = server.get("/auth/status", &session.cookie()).await.json();
    assert_eq!(
        post(&server, "/auth/reauthenticate", &session.cookie(), json!({ "password": "wrong" })).await.verdict(),
        "401 credentials"
    );
    assert_eq!(server.status(&session).await, "200", "a wrong password costs nobody a session");
    let other = server.login("alice").await;
    let answer = post(&server, "/auth/reauthenticate", &session.cookie(), json!({ "password": PASSWORD })).await;
    assert_eq!(answer.verdict(), "200");
    let fresh = answer.session.clone().expect("a session");
    let after = server.get("/auth/status", &fresh.cookie()).await.json();
    assert!(after["sid"] != before["sid"]);
    assert!(after["authenticated_at"].as_u64() >= before["authenticated_at"].as_u64());
    assert_eq!(after["remembered"], true, "it stays what it was");
    assert_eq!(server.status(&session).await, "401 revoked");
    assert_eq!(server.status(&other).await, "200", "other sessions are not concerned");
    for (cookie, body, verdict) in [
        (String::new(), json!({ "password": PASSWORD }), "401 missing"),
        (session.cookie(), json!({ "password": PASSWORD }), "401 revoked"),
        (fresh.cookie(), json!({}), "422 fields"),
        (fresh.cookie(), json!({ "password": PASSWORD, "login": "bob" }), "422 fields"),
    ] {
        assert_eq!(post(&server, "/auth/reauthenticate", &cookie, body).await.verdict(), verdict);
    }
}

#[tokio::test]
async fn the_password_of_another_account_is_no_step_up() {
    let home = Home::new();
    let add = ["users", "add", "bob"];
    assert!(home.run_with_input(&add, "the password of bob\n").status.success());
    let server = home.start();
    let session = server.login("alice").await;
    let answer =
        post(&server, "/auth/reauthenticate", &session.cookie(), json!({ "password": "the password of bob" })).await;
    assert_eq!(answer.verdict(), "401 credentials");
}

#[tokio::test]
async fn forms_show_the_error_beside_its_field_and_lead_on() {
    let home = Home::new();
    let server = home.start();
    let mut session = server.login("alice").await;
    let open = |path: &'static str, cookie: String| {
        let request = client().get(server.url(path)).header("accept", "text/html").header("cookie", cookie);
        async { Answer::of(request.send().await.expect("an answer")).await }
    };
    let submit = |path: &'static str, cookie: String, fields: Vec<(&'static str, String)>| {
        let request = client().post(server.url(path)).header("accept", "text/html").header("cookie", cookie);
        let request = request.header("sec-fetch-site", "same-origin").form(&fields);
        async { Answer::of(request.send().await.expect("an answer")).await }
    };
    let page = open("/auth/reauthenticate?rd=%2Fadmin", session.cookie()).await;
    assert_eq!((page.page().0, page.hidden("rd")), (200, "/admin".to_owned()));
    let fields = |page: &Answer, password: &str| {
        let token = page.hidden("csrf_token");
        vec![("password", password.to_owned()), ("rd", page.hidden("rd")), ("csrf_token", token)]
    };
    let wrong = submit("/auth/reauthenticate", session.cookie(), fields(&page, "wrong password")).await;
    assert_eq!(wrong.page().0, 401);
    assert!(wrong.body.contains("id=\"password-error\" role=\"alert\""));
    let right = submit("/auth/reauthenticate", session.cookie(), fields(&wrong, PASSWORD)).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/admin")));
    // The form that was open before the step-up is out of date now, and says so.
    session = right.session.expect("a session");
    let stale = submit("/auth/reauthenticate", session.cookie(), fields(&page, PASSWORD)).await;
    assert_eq!(stale.page().0, 403);
    assert!(stale.body.contains("Nothing was done."), "{}", stale.body);

    let page = open("/auth/password", session.cookie()).await;
    assert!(page.page().1.contains("autocomplete=\"new-password\""));
    let fields = |page: &Answer, old: &str, new: &str| {
        vec![
            ("old_password", old.to_owned()),
            ("new_password", new.to_owned()),
            ("csrf_token", page.hidden("csrf_token")),
        ]
    };
    let wrong = submit("/auth/password", session.cookie(), fields(&page, "wrong password", NEW)).await;
    assert_eq!(wrong.page().0, 401);
    assert!(wrong.body.contains("id=\"old-error\" role=\"alert\"") && !wrong.body.contains("new-error"));
    let short = submit("/auth/password", session.cookie(), fields(&wrong, PASSWORD, "short")).await;
    assert_eq!(short.page().0, 422);
    assert!(short.body.contains("id=\"new-error\" role=\"alert\">A password has at least 8 characters."));
    let done = submit("/auth/password", session.cookie(), fields(&short, PASSWORD, NEW)).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/auth/status?password-changed")));
    let page = open("/auth/status?password-changed", done.session.expect("a session").cookie()).await;
    assert!(page.body.contains("Your password is changed."));
}

/// The hash of this account takes a second, so that something can happen while it is checked.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_signed_out_while_its_password_is_checked_gains_and_changes_nothing() {
    let home = Home::new();
    let slow = ["users", "passwd", "alice", "--set", "password.memory_kib=131072", "--set", "password.passes=16"];
    assert!(home.run_with_input(&slow, &format!("{PASSWORD}\n")).status.success());
    let mut server = home.start();
    for (path, body) in [
        ("/auth/reauthenticate", json!({ "password": PASSWORD })),
        ("/auth/password", json!({ "old_password": PASSWORD, "new_password": NEW })),
    ] {
        let session = server.login("alice").await;
        server.wait_for("checking a password");
        let request = client().post(server.url(path)).header("cookie", session.cookie()).json(&body);
        let checked = tokio::spawn(request.send());
        server.wait_for("checking a password");
        assert_eq!(server.logout(&session).await, "200");
        assert!(!checked.is_finished(), "it ended too early to prove anything");
        let answer = Answer::of(checked.await.expect("it ran").expect("an answer")).await;
        assert_eq!((answer.verdict().as_str(), answer.session.is_none()), ("401 revoked", true), "{path}");
    }
    assert_eq!(sign_in(&server, PASSWORD).await, "200");
}
