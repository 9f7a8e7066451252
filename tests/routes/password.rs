//! Tests of `POST /auth/password`. A new password ends all sessions of the account, and the response starts a new one.

use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::{PASSWORD, Site, login_body};
use super::response::{Response, Session};
use crate::store::records::Change;

const NEW: &str = "another password";
/// Password that an operator has set, and that the user must change.
const TEMPORARY: &str = "for the first day";

async fn post(site: &Site, cookie: &str, body: Value) -> Response {
    site.post("/auth/password").cookie(cookie).json(&body).send().await
}

async fn change(site: &Site, session: &Session, old: &str, new: &str) -> Response {
    post(site, &session.cookie(), json!({ "old_password": old, "new_password": new })).await
}

async fn sign_in(site: &Site, password: &str) -> String {
    site.post("/auth/login").json(&login_body("alice", password)).send().await.verdict()
}

#[tokio::test]
async fn a_change_ends_all_other_sessions_and_replaces_its_own() {
    let site = Site::new().await;
    site.add_user("bob", &["staff"]).await;
    let mine = site.login("alice").await;
    let other = site.login("alice").await;
    let bob = site.login("bob").await;
    let before = site.get("/auth/status").session(&mine).send().await.json();
    site.advance(Duration::from_secs(60));
    let response = change(&site, &mine, PASSWORD, NEW).await;
    assert_eq!(response.verdict(), "200");
    let fresh = response.session.clone().expect("a session");
    let view = site.get("/auth/status").session(&fresh).send().await.json();
    assert_eq!((&view["sub"], &view["login_name"]), (&before["sub"], &before["login_name"]));
    assert!(view["sid"] != before["sid"] && view["sid"] == response.json()["sid"]);
    assert_eq!(view["authenticated_at"], site.now().wall.0);
    for ended in [&mine, &other] {
        assert_eq!(site.status(ended).await, "401 revoked", "immediately, before this server reads the log again");
    }
    assert_eq!(site.status(&bob).await, "200");
    assert_eq!(
        site.app.sessions.revocations().len(),
        0,
        "one entry for the account, and no entry for a single session"
    );
    for server in [&site, &site.another_server().await] {
        assert_eq!(server.status(&other).await, "401 revoked");
        assert_eq!(server.status(&fresh).await, "200");
        assert_eq!(sign_in(server, PASSWORD).await, "401 credentials");
        assert_eq!(sign_in(server, NEW).await, "200");
    }
}

#[tokio::test]
async fn equivalent_unicode_spellings_are_the_same_password() {
    let site = Site::new().await;
    let spellings = ["Gr\u{fc}ne Stra\u{df}e f\u{fc}nf", "Gru\u{308}ne\u{a0}Stra\u{df}e\u{3000}fu\u{308}nf"];
    for spelling in spellings {
        site.add_account("bob", &[], PASSWORD, false).await;
        let body = json!({ "login": "bob", "old_password": PASSWORD, "new_password": spelling });
        assert_eq!(post(&site, "", body).await.verdict(), "200");
        for typed in spellings {
            let response = site.post("/auth/login").json(&login_body("bob", typed)).send().await;
            assert_eq!(response.verdict(), "200", "{spelling:?}, typed as {typed:?}");
            let body = json!({ "login": "bob", "old_password": typed, "new_password": spelling });
            assert_eq!(post(&site, "", body).await.verdict(), "422 fields", "the new password equals the old one");
        }
        site.change("bob", Change::Delete).await;
    }
}

#[tokio::test]
async fn a_common_password_with_something_added_is_refused() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for new in ["Password1!", "Alice2026", "alice!!!", "Summer2026!", "P@ssw0rd2026!", "passwordpassword!"] {
        assert_eq!(change(&site, &session, PASSWORD, new).await.verdict(), "422 fields", "{new}");
    }
    assert_eq!(change(&site, &session, PASSWORD, "xk3!92847162").await.verdict(), "200");
}

#[tokio::test]
async fn a_change_that_is_refused_changes_nothing() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let long = "x".repeat(1025);
    for (old, new, verdict) in [
        ("wrong password", NEW, "401 credentials"),
        ("", NEW, "401 credentials"),
        (PASSWORD, "1234567", "422 fields"),
        (PASSWORD, "\u{e4}\u{f6}\u{fc}\u{e4}\u{f6}\u{fc}\u{e4}", "422 fields"),
        (PASSWORD, &*long, "422 fields"),
        (&*long, NEW, "422 fields"),
    ] {
        assert_eq!(change(&site, &session, old, new).await.verdict(), verdict, "{new:.20}");
    }
    for body in [json!({}), json!({ "old_password": PASSWORD }), json!({ "new_password": NEW }), json!([PASSWORD, NEW])]
    {
        assert_eq!(post(&site, &session.cookie(), body).await.verdict(), "422 fields");
    }
    let body = json!({ "old_password": PASSWORD, "new_password": NEW });
    assert_eq!(post(&site, "", body.clone()).await.verdict(), "401 missing");
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(site.logout(&session).await, "200");
    assert_eq!(post(&site, &session.cookie(), body).await.verdict(), "401 revoked");
    assert_eq!(sign_in(&site, PASSWORD).await, "200");
}

#[tokio::test]
async fn only_one_of_two_concurrent_changes_succeeds() {
    let site = Site::new().await;
    let one = site.login("alice").await;
    let two = site.login("alice").await;
    let (first, second) =
        tokio::join!(change(&site, &one, PASSWORD, "first password"), change(&site, &two, PASSWORD, "second password"));
    let mut verdicts = [first.verdict(), second.verdict()];
    verdicts.sort();
    assert_eq!(verdicts[0], "200");
    assert!(verdicts[1].starts_with("401 "), "{verdicts:?}");
    let signed_in = [sign_in(&site, "first password").await, sign_in(&site, "second password").await];
    assert_eq!(signed_in.iter().filter(|verdict| *verdict == "200").count(), 1);
}

#[tokio::test]
async fn the_form_shows_errors_next_to_fields_and_redirects() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let page = site.get("/auth/password").session(&session).navigate().send().await;
    assert!(page.page().1.contains("autocomplete=\"new-password\""));
    let submit = async |page: &Response, old: &str, new: &str| {
        let token = page.hidden("csrf_token");
        let fields = [("old_password", old), ("new_password", new), ("csrf_token", &*token)];
        site.post("/auth/password").session(&session).navigate().form(&fields).send().await
    };
    let wrong = submit(&page, "wrong password", NEW).await;
    assert_eq!(wrong.page().0, 401);
    assert!(wrong.body.contains("id=\"old-error\" role=\"alert\"") && !wrong.body.contains("new-error"));
    let short = submit(&wrong, PASSWORD, "short").await;
    assert_eq!(short.page().0, 422);
    assert!(short.body.contains("id=\"new-error\" role=\"alert\">This password is too short."));
    let done = submit(&short, PASSWORD, NEW).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/auth/status?password-changed")));
    let fresh = done.session.expect("a session");
    let page = site.get("/auth/status?password-changed").session(&fresh).navigate().send().await;
    assert!(page.body.contains("Your password is changed."));
}

/// Sets a temporary password for `alice`. A login with it permits only a password change.
async fn reset(site: &Site) {
    let temporary = site.password("alice", TEMPORARY, true).await;
    site.change("alice", temporary).await;
}

#[tokio::test]
async fn after_a_reset_a_login_permits_only_a_password_change() {
    let site = Site::new().await;
    let before = site.login("alice").await;
    reset(&site).await;
    assert_eq!(site.status(&before).await, "401 revoked");
    assert_eq!(sign_in(&site, PASSWORD).await, "401 credentials");
    let response = site.post("/auth/login").json(&login_body("alice", TEMPORARY)).send().await;
    assert_eq!(response.verdict(), "403 must-change");
    assert_eq!(response.header("set-cookie"), None, "the response starts no session");
    assert_eq!(sign_in(&site, "wrong").await, "401 credentials", "only a client with the correct password learns this");
    let change = |old: &str, new: &str| json!({ "login": "alice", "old_password": old, "new_password": new });
    for (old, new, verdict) in [
        (PASSWORD, NEW, "401 credentials"),
        (TEMPORARY, "short", "422 fields"),
        (TEMPORARY, "password1", "422 fields"),
        (TEMPORARY, TEMPORARY, "422 fields"),
    ] {
        let response = post(&site, "", change(old, new)).await;
        assert_eq!((response.verdict().as_str(), response.header("set-cookie")), (verdict, None), "{old} {new}");
    }
    let response = post(&site, "", change(TEMPORARY, NEW)).await;
    assert_eq!(response.verdict(), "200");
    assert_eq!(response.json()["login_name"], "alice");
    assert_eq!(site.status(&response.session.expect("a session")).await, "200");
    assert_eq!(sign_in(&site, NEW).await, "200");
    assert_eq!(sign_in(&site, TEMPORARY).await, "401 credentials");
}

#[tokio::test]
async fn a_new_account_can_require_a_password_change() {
    let site = Site::new().await;
    site.add_account("bob", &[], TEMPORARY, true).await;
    let sign_in = async |password| site.post("/auth/login").json(&login_body("bob", password)).send().await.verdict();
    assert_eq!(sign_in(TEMPORARY).await, "403 must-change");
    assert_eq!(sign_in("wrong").await, "401 credentials");
    let ordinary = site.password("bob", NEW, false).await;
    site.change("bob", ordinary).await;
    assert_eq!(sign_in(NEW).await, "200");
}

#[tokio::test]
async fn a_browser_gets_the_change_form_and_then_its_return_url() {
    let site = Site::new().await;
    reset(&site).await;
    let page = site.get("/auth/login?rd=/protected").navigate().send().await;
    let set_cookie = page.header("set-cookie").expect("a form cookie");
    let (cookie, _) = set_cookie.split_once(';').expect("attributes");
    let submit =
        async |path: &str, fields: &[(&str, &str)]| site.post(path).cookie(cookie).navigate().form(fields).send().await;
    let token = page.hidden("csrf_token");
    let fields = [
        ("login", "alice"),
        ("password", TEMPORARY),
        ("remember", "true"),
        ("rd", "/protected"),
        ("csrf_token", &*token),
    ];
    let response = submit("/auth/login", &fields).await;
    assert!(response.session.is_none());
    let (status, html) = response.page();
    assert!(status == 403 && html.contains("<h1>Choose a new password</h1>"), "{status} {html}");
    let token = response.hidden("csrf_token");
    let rd = response.hidden("rd");
    let remember = response.hidden("remember");
    let submit_change = async |token: &str, new: &str| {
        let fields = [
            ("login", "alice"),
            ("old_password", TEMPORARY),
            ("new_password", new),
            ("csrf_token", token),
            ("rd", &*rd),
            ("remember", &*remember),
        ];
        submit("/auth/password", &fields).await
    };
    for (token, new, status, expected_text) in [
        ("forged", NEW, 403, "<h1>Choose a new password</h1>"),
        (&*token, TEMPORARY, 422, "This is your current password."),
    ] {
        let response = submit_change(token, new).await;
        let (actual, html) = response.page();
        assert!(actual == status && html.contains(expected_text), "{actual} {html}");
    }
    let response = submit_change(&token, NEW).await;
    assert_eq!((response.status, response.header("location")), (303, Some("/protected")));
    let session = response.session.expect("a session");
    let view = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(view["remembered"], true);
}

#[tokio::test]
async fn a_change_without_a_session_needs_only_the_old_password() {
    let site = Site::new().await;
    let other = site.login("alice").await;
    let body = json!({ "login": "ALICE", "old_password": PASSWORD, "new_password": NEW, "remember": true });
    let response = post(&site, "", body).await;
    assert_eq!((response.verdict().as_str(), &response.json()["remembered"]), ("200", &json!(true)));
    assert_eq!(site.status(&other).await, "401 revoked");
    assert_eq!(site.status(&response.session.expect("a session")).await, "200");
}
