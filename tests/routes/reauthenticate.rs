//! Tests of `POST /auth/reauthenticate`: with the password, it replaces a live session with a new session.

use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::{PASSWORD, Site};
use super::response::{Response, Session};

async fn reauthenticate(site: &Site, session: &Session, body: Value) -> Response {
    site.post("/auth/reauthenticate").session(session).json(&body).send().await
}

#[tokio::test]
async fn step_up_makes_a_fresh_session_and_ends_the_old_one() {
    let site = Site::new().await;
    let body = json!({ "login": "alice", "password": PASSWORD, "remember": true });
    let session = site.post("/auth/login").json(&body).send().await.session.expect("a session");
    let before = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(reauthenticate(&site, &session, json!({ "password": "wrong" })).await.verdict(), "401 credentials");
    assert_eq!(site.status(&session).await, "200", "a wrong password does not end the session");
    let other = site.login("alice").await;
    site.advance(Duration::from_secs(60));
    let response = reauthenticate(&site, &session, json!({ "password": PASSWORD })).await;
    assert_eq!(response.verdict(), "200");
    let fresh = response.session.clone().expect("a session");
    let after = site.get("/auth/status").session(&fresh).send().await.json();
    assert!(after["sid"] != before["sid"]);
    let at = |view: &Value| view["authenticated_at"].as_u64().expect("seconds");
    assert_eq!(at(&after), at(&before) + 60);
    assert_eq!(after["remembered"], true, "the new session is remembered like the old one");
    assert_eq!(site.status(&session).await, "401 revoked");
    assert_eq!(site.status(&other).await, "200", "other sessions are not ended");
    for (cookie, body, verdict) in [
        (String::new(), json!({ "password": PASSWORD }), "401 missing"),
        (session.cookie(), json!({ "password": PASSWORD }), "401 revoked"),
        (fresh.cookie(), json!({}), "422 fields"),
        (fresh.cookie(), json!({ "password": PASSWORD, "login": "bob" }), "422 fields"),
    ] {
        let request = site.post("/auth/reauthenticate").cookie(&cookie).json(&body);
        assert_eq!(request.send().await.verdict(), verdict);
    }
}

#[tokio::test]
async fn refuses_the_password_of_another_account() {
    let site = Site::new().await;
    site.add_account("bob", &[], "the password of bob", false).await;
    let session = site.login("alice").await;
    assert_eq!(
        reauthenticate(&site, &session, json!({ "password": "the password of bob" })).await.verdict(),
        "401 credentials"
    );
}

#[tokio::test]
async fn the_form_shows_errors_next_to_fields_and_redirects() {
    let site = Site::new().await;
    let mut session = site.login("alice").await;
    let page = site.get("/auth/reauthenticate?rd=%2Fadmin").session(&session).navigate().send().await;
    assert_eq!((page.page().0, page.hidden("rd")), (200, "/admin".to_owned()));
    let submit = async |session: &Session, page: &Response, password: &str| {
        let token = page.hidden("csrf_token");
        let rd = page.hidden("rd");
        let fields = [("password", password), ("rd", &*rd), ("csrf_token", &*token)];
        site.post("/auth/reauthenticate").session(session).navigate().form(&fields).send().await
    };
    let wrong = submit(&session, &page, "wrong password").await;
    assert_eq!(wrong.page().0, 401);
    assert!(wrong.body.contains("id=\"password-error\" role=\"alert\""));
    let right = submit(&session, &wrong, PASSWORD).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/admin")));
    // The page that was opened before the step-up is out of date. Its error page states this.
    session = right.session.expect("a session");
    let out_of_date = submit(&session, &page, PASSWORD).await;
    assert_eq!(out_of_date.page().0, 403);
    assert!(out_of_date.body.contains("Nothing was changed."), "{}", out_of_date.body);
}

#[tokio::test]
async fn refuses_a_session_that_ends_during_the_password_check() {
    let site = Site::new().await;
    let bodies = [
        ("/auth/reauthenticate", json!({ "password": PASSWORD })),
        ("/auth/password", json!({ "old_password": PASSWORD, "new_password": "another password" })),
    ];
    for (path, body) in bodies {
        let session = site.login("alice").await;
        let held_thread = site.app.passwords.hold_thread();
        let request = site.post(path).session(&session).json(&body).send();
        let meanwhile = async {
            site.until_password_waits().await;
            assert_eq!(site.logout(&session).await, "200");
            drop(held_thread);
        };
        let (response, ()) = tokio::join!(request, meanwhile);
        assert_eq!((response.verdict().as_str(), response.session.is_none()), ("401 revoked", true), "{path}");
    }
    site.login("alice").await;
}
