//! `POST /auth/password`: a new password ends all sessions but the one that set it.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Session};
use super::fixture::{PASSWORD, Site, login_body};
use crate::store::records::Change;

const NEW: &str = "another password";
const TEMPORARY: &str = "for the first day";

async fn post(site: &Site, cookie: &str, body: Value) -> Answer {
    site.post("/auth/password").cookie(cookie).json(&body).send().await
}

async fn change(site: &Site, session: &Session, old: &str, new: &str) -> Answer {
    post(site, &session.cookie(), json!({ "old_password": old, "new_password": new })).await
}

async fn sign_in(site: &Site, password: &str) -> String {
    site.post("/auth/login").json(&login_body("alice", password)).send().await.verdict()
}

#[tokio::test]
async fn a_change_ends_all_other_sessions_and_renames_its_own() {
    let site = Site::new().await;
    site.add_user("bob", &["staff"]).await;
    let mine = site.login("alice").await;
    let other = site.login("alice").await;
    let bob = site.login("bob").await;
    let before = site.get("/auth/status").session(&mine).send().await.json();
    site.advance(Duration::from_secs(60));
    let answer = change(&site, &mine, PASSWORD, NEW).await;
    assert_eq!(answer.verdict(), "200");
    let fresh = answer.session.clone().expect("a session");
    let view = site.get("/auth/status").session(&fresh).send().await.json();
    assert_eq!((&view["sub"], &view["login_name"]), (&before["sub"], &before["login_name"]));
    assert!(view["sid"] != before["sid"] && view["sid"] == answer.json()["sid"]);
    assert_eq!(view["authenticated_at"], site.now().wall.0);
    for dead in [&mine, &other] {
        assert_eq!(site.status(dead).await, "401 revoked", "at once, and not when the log comes round");
    }
    assert_eq!(site.status(&bob).await, "200");
    assert_eq!(site.app.sessions.revocations().len(), 0, "one commit: no session is refused by itself as well");
    for server in [&site, &site.another_server().await] {
        assert_eq!(server.status(&other).await, "401 revoked");
        assert_eq!(server.status(&fresh).await, "200");
        assert_eq!(sign_in(server, PASSWORD).await, "401 credentials");
        assert_eq!(sign_in(server, NEW).await, "200");
    }
}

#[tokio::test]
async fn a_password_is_the_same_however_a_keyboard_spells_it() {
    let site = Site::new().await;
    let spellings = ["Gr\u{fc}ne Stra\u{df}e f\u{fc}nf", "Gru\u{308}ne\u{a0}Stra\u{df}e\u{3000}fu\u{308}nf"];
    for spelling in spellings {
        site.add_account("bob", &[], PASSWORD, false).await;
        let body = json!({ "login": "bob", "old_password": PASSWORD, "new_password": spelling });
        assert_eq!(post(&site, "", body).await.verdict(), "200");
        for typed in spellings {
            let answer = site.post("/auth/login").json(&login_body("bob", typed)).send().await;
            assert_eq!(answer.verdict(), "200", "{spelling:?}, typed as {typed:?}");
            let body = json!({ "login": "bob", "old_password": typed, "new_password": spelling });
            assert_eq!(post(&site, "", body).await.verdict(), "422 fields", "the new one is the old one");
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
async fn of_two_changes_at_once_one_is_made() {
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
async fn its_form_shows_the_error_beside_its_field_and_leads_on() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let page = site.get("/auth/password").session(&session).navigate().send().await;
    assert!(page.page().1.contains("autocomplete=\"new-password\""));
    let submit = async |page: &Answer, old: &str, new: &str| {
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

/// Gives `alice` a password that leads nowhere but to the change of it.
async fn reset(site: &Site) {
    let temporary = site.password("alice", TEMPORARY, true).await;
    site.change("alice", temporary).await;
}

#[tokio::test]
async fn the_sign_in_after_a_reset_leads_only_to_the_change() {
    let site = Site::new().await;
    let before = site.login("alice").await;
    reset(&site).await;
    assert_eq!(site.status(&before).await, "401 revoked");
    assert_eq!(sign_in(&site, PASSWORD).await, "401 credentials");
    let answer = site.post("/auth/login").json(&login_body("alice", TEMPORARY)).send().await;
    assert_eq!(answer.verdict(), "403 must-change");
    assert_eq!(answer.header("set-cookie"), None, "there is no session of any kind");
    assert_eq!(sign_in(&site, "wrong").await, "401 credentials", "only who knows the password is told");
    let change = |old: &str, new: &str| json!({ "login": "alice", "old_password": old, "new_password": new });
    for (old, new, verdict) in [
        (PASSWORD, NEW, "401 credentials"),
        (TEMPORARY, "short", "422 fields"),
        (TEMPORARY, "password1", "422 fields"),
        (TEMPORARY, TEMPORARY, "422 fields"),
    ] {
        let answer = post(&site, "", change(old, new)).await;
        assert_eq!((answer.verdict().as_str(), answer.header("set-cookie")), (verdict, None), "{old} {new}");
    }
    let answer = post(&site, "", change(TEMPORARY, NEW)).await;
    assert_eq!(answer.verdict(), "200");
    assert_eq!(answer.json()["login_name"], "alice");
    assert_eq!(site.status(&answer.session.expect("a session")).await, "200");
    assert_eq!(sign_in(&site, NEW).await, "200");
    assert_eq!(sign_in(&site, TEMPORARY).await, "401 credentials");
}

#[tokio::test]
async fn an_account_can_begin_like_that_and_a_reset_ends_it() {
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
async fn a_browser_is_shown_the_form_and_goes_on_where_it_wanted() {
    let site = Site::new().await;
    reset(&site).await;
    let page = site.get("/auth/login?rd=/protected").navigate().send().await;
    let set = page.header("set-cookie").expect("a form cookie");
    let (cookie, _) = set.split_once(';').expect("attributes");
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
    let answer = submit("/auth/login", &fields).await;
    assert!(answer.session.is_none());
    let (status, html) = answer.page();
    assert!(status == 403 && html.contains("<h1>Choose a new password</h1>"), "{status} {html}");
    let token = answer.hidden("csrf_token");
    let rd = answer.hidden("rd");
    let remember = answer.hidden("remember");
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
    for (token, new, status, says) in [
        ("forged", NEW, 403, "<h1>Choose a new password</h1>"),
        (&*token, TEMPORARY, 422, "This is your current password."),
    ] {
        let answer = submit_change(token, new).await;
        let (found, html) = answer.page();
        assert!(found == status && html.contains(says), "{found} {html}");
    }
    let answer = submit_change(&token, NEW).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/protected")));
    let session = answer.session.expect("a session");
    let view = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(view["remembered"], true);
}

#[tokio::test]
async fn without_a_session_the_password_is_enough() {
    let site = Site::new().await;
    let other = site.login("alice").await;
    let body = json!({ "login": "ALICE", "old_password": PASSWORD, "new_password": NEW, "remember": true });
    let answer = post(&site, "", body).await;
    assert_eq!((answer.verdict().as_str(), &answer.json()["remembered"]), ("200", &json!(true)));
    assert_eq!(site.status(&other).await, "401 revoked");
    assert_eq!(site.status(&answer.session.expect("a session")).await, "200");
}
