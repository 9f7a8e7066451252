//! `POST /auth/reauthenticate`: the password once more makes a fresh session of a live one.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Session};
use super::fixture::{PASSWORD, Site};

async fn ask(site: &Site, session: &Session, body: Value) -> Answer {
    site.post("/auth/reauthenticate").session(session).json(&body).send().await
}

#[tokio::test]
async fn step_up_makes_a_fresh_session_and_ends_the_old_one() {
    let site = Site::new().await;
    let body = json!({ "login": "alice", "password": PASSWORD, "remember": true });
    let session = site.post("/auth/login").json(&body).send().await.session.expect("a session");
    let before = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(ask(&site, &session, json!({ "password": "wrong" })).await.verdict(), "401 credentials");
    assert_eq!(site.status(&session).await, "200", "a wrong password costs nobody a session");
    let other = site.login("alice").await;
    site.advance(Duration::from_secs(60));
    let answer = ask(&site, &session, json!({ "password": PASSWORD })).await;
    assert_eq!(answer.verdict(), "200");
    let fresh = answer.session.clone().expect("a session");
    let after = site.get("/auth/status").session(&fresh).send().await.json();
    assert!(after["sid"] != before["sid"]);
    let at = |view: &Value| view["authenticated_at"].as_u64().expect("seconds");
    assert_eq!(at(&after), at(&before) + 60);
    assert_eq!(after["remembered"], true, "it stays what it was");
    assert_eq!(site.status(&session).await, "401 revoked");
    assert_eq!(site.status(&other).await, "200", "other sessions are not concerned");
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
async fn the_password_of_another_account_is_no_step_up() {
    let site = Site::new().await;
    site.add_account("bob", &[], "the password of bob", false).await;
    let session = site.login("alice").await;
    assert_eq!(ask(&site, &session, json!({ "password": "the password of bob" })).await.verdict(), "401 credentials");
}

#[tokio::test]
async fn its_form_shows_the_error_beside_its_field_and_leads_on() {
    let site = Site::new().await;
    let mut session = site.login("alice").await;
    let page = site.get("/auth/reauthenticate?rd=%2Fadmin").session(&session).navigate().send().await;
    assert_eq!((page.page().0, page.hidden("rd")), (200, "/admin".to_owned()));
    let submit = async |session: &Session, page: &Answer, password: &str| {
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
    // The form that was open before the step-up is out of date now, and says so.
    session = right.session.expect("a session");
    let stale = submit(&session, &page, PASSWORD).await;
    assert_eq!(stale.page().0, 403);
    assert!(stale.body.contains("Nothing was changed."), "{}", stale.body);
}

#[tokio::test]
async fn a_session_that_ends_during_the_check_gains_nothing() {
    let site = Site::new().await;
    let bodies = [
        ("/auth/reauthenticate", json!({ "password": PASSWORD })),
        ("/auth/password", json!({ "old_password": PASSWORD, "new_password": "another password" })),
    ];
    for (path, body) in bodies {
        let session = site.login("alice").await;
        let held = site.app.passwords.hold_thread();
        let request = site.post(path).session(&session).json(&body).send();
        let meanwhile = async {
            site.until_password_waits().await;
            assert_eq!(site.logout(&session).await, "200");
            drop(held);
        };
        let (answer, ()) = tokio::join!(request, meanwhile);
        assert_eq!((answer.verdict().as_str(), answer.session.is_none()), ("401 revoked", true), "{path}");
    }
    site.login("alice").await;
}
