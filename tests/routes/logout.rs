//! Tests of `POST /auth/logout` and `POST /auth/logout/all`.

use std::time::Duration;

use super::fixture::{Site, name};
use crate::store::records::Change;

/// `Set-Cookie` field that removes the session cookie.
const REMOVAL: &str = "__Host-sealjar=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

#[tokio::test]
async fn ends_the_session_for_every_copy_of_its_cookie() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let other = site.login("alice").await;
    let response = site.post("/auth/logout").session(&session).send().await;
    assert_eq!((response.status, response.header("set-cookie")), (200, Some(REMOVAL)));
    assert_eq!(site.status(&session).await, "401 revoked");
    assert_eq!(site.get("/protected").session(&session).send().await.verdict(), "401 revoked");
    assert_eq!(site.status(&other).await, "200", "another session of the same user is still valid");
}

#[tokio::test]
async fn is_idempotent_for_any_cookie() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let flipped = session.cookie().replace("sealjar=AQ", "sealjar=AR");
    for cookie in [session.cookie(), session.cookie(), String::new(), "__Host-sealjar=nonsense".to_owned(), flipped] {
        let response = site.post("/auth/logout").cookie(&cookie).send().await;
        assert_eq!((response.status, response.header("set-cookie")), (200, Some(REMOVAL)), "{cookie}");
    }
}

#[tokio::test]
async fn revokes_every_session_that_came_with_the_request() {
    let site = Site::new().await;
    let first = site.login("alice").await;
    let second = site.login("alice").await;
    let cookies = format!("{}; __Host-sealjar=bad; {}", first.cookie(), second.cookie());
    assert_eq!(site.post("/auth/logout").cookie(&cookies).send().await.status, 200);
    assert_eq!(site.status(&first).await, "401 revoked");
    assert_eq!(site.status(&second).await, "401 revoked");
}

#[tokio::test]
async fn redirects_after_a_form() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let response = site.post("/auth/logout").session(&session).form(&[]).send().await;
    assert_eq!((response.status, response.header("location")), (303, Some("/auth/login?signed-out")));
    assert_eq!(site.status(&session).await, "401 revoked");
}

#[tokio::test]
async fn refuses_other_media_types_and_ends_no_session() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for path in ["/auth/logout", "/auth/logout/all"] {
        for media_type in ["text/plain", "multipart/form-data; boundary=x", ""] {
            let request = site.post(path).session(&session).header("content-type", media_type).body("", "x");
            assert_eq!(request.send().await.verdict(), "415 media-type", "{path} {media_type}");
        }
    }
    assert_eq!(site.status(&session).await, "200");
}

#[tokio::test]
async fn logout_all_ends_all_sessions_of_this_account_only() {
    let site = Site::new().await;
    site.add_user("bob", &["staff"]).await;
    let first = site.login("alice").await;
    let second = site.login("alice").await;
    let bob = site.login("bob").await;
    let response = site.post("/auth/logout/all").session(&first).send().await;
    assert_eq!((response.status, response.header("set-cookie")), (200, Some(REMOVAL)));
    for session in [&first, &second] {
        assert_eq!(site.status(session).await, "401 revoked");
    }
    assert_eq!(site.status(&bob).await, "200");
    let after = site.login("alice").await;
    assert_eq!(site.status(&after).await, "200", "a login immediately afterwards works");
    let again = site.post("/auth/logout/all").session(&second).send().await;
    assert_eq!(again.status, 200, "a session that this route has ended may repeat the request");
    assert_eq!(site.status(&after).await, "200", "the repeated request does not end later sessions");
}

#[tokio::test]
async fn logout_all_refuses_a_session_that_was_logged_out() {
    let site = Site::new().await;
    let ended = site.login("alice").await;
    let live = site.login("alice").await;
    assert_eq!(site.logout(&ended).await, "200");
    assert_eq!(site.post("/auth/logout/all").session(&ended).send().await.verdict(), "401 revoked");
    assert_eq!(site.post("/auth/logout/all").cookie("x=y").send().await.verdict(), "401 missing");
    assert_eq!(site.status(&live).await, "200");
    site.app.store.revoke_everyone().await.expect("a store");
    site.catch_up().await;
    assert_eq!(site.status(&live).await, "401 revoked");
    let later = site.login("alice").await;
    assert_eq!(site.post("/auth/logout/all").session(&live).send().await.verdict(), "401 revoked");
    assert_eq!(site.status(&later).await, "200", "a token revoked by --everyone cannot end later sessions");
}

/// The cookie of the owner expires unused, while an attacker keeps renewing a copy.
#[tokio::test]
async fn an_expired_session_is_revoked_with_its_renewed_copies() {
    let site = Site::with(&["session.idle=10s"]).await;
    let session = site.login("alice").await;
    let mut copy = session.clone();
    for second in [2, 4, 6, 8, 10] {
        site.advance(Duration::from_secs(2));
        let response = site.get("/auth/status").session(&copy).send().await;
        copy = response.session.unwrap_or_else(|| panic!("no renewal after {second} s"));
    }
    assert_eq!(site.status(&session).await, "401 expired");
    assert_eq!(site.status(&copy).await, "200");
    assert_eq!(site.logout(&session).await, "200");
    assert_eq!(site.status(&copy).await, "401 revoked");
}

#[tokio::test]
async fn a_logout_reaches_other_and_newly_started_servers() {
    let site = Site::new().await;
    let other = site.another_server().await;
    let session = site.login("alice").await;
    assert_eq!(other.status(&session).await, "200");
    assert_eq!(site.logout(&session).await, "200");
    other.catch_up().await;
    assert_eq!(other.status(&session).await, "401 revoked");
    let new_server = site.another_server().await;
    assert_eq!(new_server.status(&session).await, "401 revoked");
    site.app.store.change_account(&name("alice"), &Change::Delete).await.expect("an account");
    other.catch_up().await;
    assert_eq!(other.logout(&session).await, "200", "a logout works even if the account was deleted");
}
