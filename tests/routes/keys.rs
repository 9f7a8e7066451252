//! Tests of keys that are created, copied to another server, or removed at run time. Two servers share a store, and each has
//! its own copy of the key files.

use std::time::Duration;

use serde_json::json;

use super::fixture::{PASSWORD, Site, login_body};
use super::response::{Response, Session};
use crate::id::NodeId;
use crate::session::{Cause, Refusal};
use crate::store::node::NodeReport;

mod unknown_key;

/// Every route that checks a session. With a live session, each responds with 200. `/auth/logout/all` is last, because it ends
/// the other sessions of the account.
pub(crate) const SESSION_ROUTES: [(&str, &str); 11] = [
    ("GET", "/auth/status"),
    ("GET", "/protected"),
    ("GET", "/auth/renew"),
    ("GET", "/auth/password"),
    ("GET", "/auth/reauthenticate"),
    ("GET", "/auth/verify"),
    ("POST", "/auth/verify"),
    ("GET", "/auth/verify/redirect"),
    ("GET", "/auth/verify/envoy/-/app"),
    ("POST", "/auth/reauthenticate"),
    ("POST", "/auth/logout/all"),
];
const SECOND: Duration = Duration::from_secs(1);

async fn send(site: &Site, (method, path): (&str, &str), session: &Session) -> Response {
    site.request(method, path).session(session).json(&json!({ "password": PASSWORD })).send().await
}

/// Creates a key that the other server does not have, and logs in. The clocks move first, because two keys cannot start in one
/// second.
async fn session_of_new_key(site: &Site, other: &Site) -> Session {
    site.advance(SECOND);
    other.advance(SECOND);
    let kid = site.rotate();
    let session = site.login("alice").await;
    assert_eq!(session.kid(), kid);
    session
}

#[tokio::test]
async fn rotations_end_no_session_and_renewals_use_the_new_key() {
    let site = Site::with(&["session.idle=10s", "session.absolute=1h"]).await;
    let mut session = site.login("alice").await;
    for _ in 0..5 {
        site.advance(2 * SECOND);
        let kid = site.rotate();
        let response = site.get("/auth/status").session(&session).send().await;
        assert_eq!(response.verdict(), "200");
        session = response.session.expect("a renewal");
        assert_eq!(session.kid(), kid);
    }
}

#[tokio::test]
async fn a_published_key_opens_before_it_seals() {
    let site = Site::new().await;
    let first = site.login("alice").await.kid();
    let published = site.publish(site.now().wall.plus(Duration::from_secs(3600)));
    let ahead = site.another_server().await;
    ahead.advance(Duration::from_secs(3599));
    assert_eq!(ahead.login("alice").await.kid(), first);
    ahead.advance(SECOND);
    let sealed = ahead.login("alice").await;
    assert_eq!(sealed.kid(), published);
    // The token was sealed an hour in the future. It is refused for that reason, and not for its key.
    let cookie = sealed.cookie();
    let host = crate::id::Site::of_host("127.0.0.1");
    assert_eq!(site.status(&sealed).await, "401 invalid");
    let refusal = site.app.sessions.verify([cookie.as_bytes()], host, site.now(), |_| ());
    assert_eq!(refusal, Err(Refusal::Invalid(Cause::FromTheFuture)));
    // The clocks of two servers may differ by a minute.
    site.advance(Duration::from_secs(3540));
    assert_eq!(site.login("alice").await.kid(), first);
    assert_eq!(site.status(&sealed).await, "200");
}

#[tokio::test]
async fn every_route_accepts_a_token_once_its_key_has_arrived() {
    let site = Site::new().await;
    let other = site.another_server().await;
    for route in SESSION_ROUTES {
        let session = session_of_new_key(&site, &other).await;
        assert_eq!(send(&other, route, &session).await.verdict(), "401 invalid", "{route:?} without the key");
        site.deliver(session.kid(), &other);
        assert_eq!(send(&other, route, &session).await.verdict(), "200", "{route:?}");
    }
}

#[tokio::test]
async fn a_logout_ends_a_session_whose_key_has_just_arrived() {
    let site = Site::new().await;
    let other = site.another_server().await;
    for _ in 0..5 {
        let old = site.login("alice").await;
        let new = session_of_new_key(&site, &other).await;
        site.deliver(new.kid(), &other);
        let both = format!("{}; {}", old.cookie(), new.cookie());
        assert_eq!(other.post("/auth/logout").cookie(&both).send().await.verdict(), "200");
        site.catch_up().await;
        for session in [&old, &new] {
            assert_eq!(other.status(session).await, "401 revoked");
            assert_eq!(site.status(session).await, "401 revoked");
        }
    }
}

#[tokio::test]
async fn accepts_a_form_whose_key_has_just_arrived() {
    let site = Site::new().await;
    let other = site.another_server().await;

    // Cookie and token of the login form are both sealed with the new key.
    let kid = session_of_new_key(&site, &other).await.kid();
    let page = site.get("/auth/login").navigate().send().await;
    let (cookie, _) = page.header("set-cookie").and_then(|cookie| cookie.split_once(';')).expect("the form's cookie");
    let token = page.hidden("csrf_token");
    let fields = [("csrf_token", &*token), ("login", "alice"), ("password", PASSWORD)];
    site.deliver(kid, &other);
    let submit = other.post("/auth/login").header("sec-fetch-site", "same-origin").cookie(cookie).form(&fields);
    let signed_in = submit.send().await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.body);
    let session = signed_in.session.expect("a session");

    // The server has the key of the session. It does not yet have the key of the form token in the body.
    let kid = session_of_new_key(&site, &other).await.kid();
    let status = site.get("/auth/status").session(&session).send().await.json();
    let token = status["csrf_token"].as_str().expect("a token");
    site.deliver(kid, &other);
    let submit = other.post("/auth/logout").header("sec-fetch-site", "same-origin").session(&session);
    assert_eq!(submit.form(&[("csrf_token", token)]).send().await.status, 303);
    assert_eq!(other.status(&session).await, "401 revoked");
}

/// If the logout succeeded, copies of the session would stay valid on the servers that have the key.
#[tokio::test]
async fn a_logout_fails_while_only_another_node_has_the_key() {
    let site = Site::new().await;
    let other = site.another_server().await;
    let session = session_of_new_key(&site, &other).await;
    let kid = session.kid();
    let serves_for = Duration::from_secs(300);
    let report =
        NodeReport { id: NodeId::random(), name: "site".into(), kids: vec![kid], active: Some(kid), serves_for };
    site.app.store.report_node(&report).await.expect("a store");
    for path in ["/auth/logout", "/auth/logout/all"] {
        let response = other.post(path).session(&session).send().await;
        assert_eq!((response.verdict().as_str(), response.session), ("503 key-elsewhere", None), "{path}");
    }
    assert_eq!(site.status(&session).await, "200");
    site.deliver(kid, &other);
    assert_eq!(other.logout(&session).await, "200");
    assert_eq!(other.status(&session).await, "401 revoked");
    site.catch_up().await;
    assert_eq!(site.status(&session).await, "401 revoked");
    // If no server has the key, the token is valid nowhere, and the logout succeeds.
    let unknown = Session(format!("AQAAAAAAAAAA{}", &session.0[12..]));
    assert_eq!(other.logout(&unknown).await, "200");
}

#[tokio::test]
async fn a_failed_read_of_the_key_files_keeps_the_old_keys() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new().await;
    let session = site.login("alice").await;
    let world_readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(site.key_file(session.kid()), world_readable).expect("a writable file");
    // A token of an unknown key makes the server read the key directory before it responds.
    assert_eq!(site.status(&unknown_key::token_of_unknown_key(&session)).await, "401 invalid");
    assert_eq!(site.status(&session).await, "200", "other sessions are not affected");
    assert_eq!(site.status(&site.login("alice").await).await, "200");
}

#[tokio::test]
async fn a_login_that_cannot_be_sealed_changes_nothing() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    site.unschedule(session.kid());
    for password in [PASSWORD, "wrong password"] {
        for (path, body) in [
            ("/auth/login", login_body("alice", password)),
            ("/auth/reauthenticate", json!({ "password": password })),
            ("/auth/password", json!({ "old_password": password, "new_password": "another password" })),
            (
                "/auth/password",
                json!({ "login": "alice", "old_password": password, "new_password": "one more of them" }),
            ),
        ] {
            let response = site.post(path).session(&session).json(&body).send().await;
            assert_eq!(response.verdict(), "503 no-active-key", "{path} {body}");
        }
    }
    assert_eq!(site.get("/auth/verify").session(&session).send().await.verdict(), "200");
    site.rotate();
    // The same holds while the revocation list is stale. The login route does not check a session first, so the login itself
    // must detect this.
    site.advance_unsynced(Duration::from_secs(60));
    let sign_in = site.post("/auth/login").session(&session).json(&login_body("alice", PASSWORD));
    assert_eq!(sign_in.send().await.verdict(), "503 stale");
    site.catch_up().await;
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(site.status(&site.login("alice").await).await, "200", "the password is the same");
}
