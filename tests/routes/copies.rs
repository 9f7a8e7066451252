//! Tests of copy detection. If two clients use one session cookie, the session ends. Every route that checks a session detects
//! this.

use std::time::Duration;

use serde_json::json;

use super::fixture::{PASSWORD, Site};
use super::response::{Response, Session};
use crate::metrics::COPIED_SESSIONS;

/// Time until a token is due for renewal.
const INTERVAL: Duration = Duration::from_secs(300);
const STATUS: &str = "/auth/status";
const TRUSTING: &[&str] = &["http.trusted_proxies=127.0.0.1"];

/// Browser with its session cookie.
struct Browser<'s> {
    site: &'s Site,
    session: Session,
}

impl Browser<'_> {
    /// Sends a GET request, and stores the cookie of the response.
    async fn get(&mut self, path: &str) -> Response {
        let response = self.site.get(path).session(&self.session).header("x-forwarded-method", "GET").send().await;
        self.session = response.session.clone().unwrap_or_else(|| self.session.clone());
        response
    }

    /// Returns another browser that has a copy of the cookie.
    fn copied(&self) -> Self {
        Self { site: self.site, session: self.session.clone() }
    }
}

/// Returns the browser of an owner whose session was copied. The copy has been renewed in parallel, so the next check of the
/// owner's token detects the copy.
async fn with_detectable_copy(site: &Site) -> Browser<'_> {
    let mut owner = Browser { site, session: site.login("alice").await };
    let mut thief = owner.copied();
    for _ in 0..2 {
        site.advance(INTERVAL);
        assert_eq!(owner.get(STATUS).await.verdict(), "200");
        assert_eq!(thief.get(STATUS).await.verdict(), "200");
    }
    site.advance(INTERVAL);
    assert_eq!(thief.get(STATUS).await.verdict(), "200");
    owner
}

#[tokio::test]
async fn a_copy_ends_the_session_at_the_third_renewal_of_both() {
    let site = Site::new().await;
    let mut owner = Browser { site: &site, session: site.login("alice").await };
    let mut thief = owner.copied();
    for renewal in 1..=2 {
        site.advance(INTERVAL);
        for (client, browser) in [("owner", &mut owner), ("thief", &mut thief)] {
            let before = browser.session.clone();
            assert_eq!(browser.get(STATUS).await.verdict(), "200", "{client}, renewal {renewal}");
            assert_ne!(browser.session, before, "{client}, renewal {renewal}");
        }
    }
    site.advance(INTERVAL);
    let verdicts = [owner.get(STATUS).await.verdict(), thief.get(STATUS).await.verdict()];
    assert!(verdicts.contains(&"401 revoked".to_owned()), "{verdicts:?}");
    assert_eq!(site.status(&owner.session).await, "401 revoked");
    assert_eq!(site.status(&thief.session).await, "401 revoked");
}

#[tokio::test]
async fn every_check_of_a_session_detects_a_copy() {
    let site = Site::with(TRUSTING).await;
    let paths = [
        "/auth/status",
        "/protected",
        "/auth/renew",
        "/auth/login",
        "/auth/password",
        "/auth/reauthenticate",
        "/auth/verify",
        "/auth/verify/redirect",
        "/auth/verify/redirect/renew=redirect/-",
        "/auth/verify/envoy/-/x",
        // The session does not have this role, so the response would not renew it. The copy is detected anyway.
        "/auth/verify/role=nobody/-",
    ];
    for path in paths {
        let mut owner = with_detectable_copy(&site).await;
        let response = owner.get(path).await;
        assert_eq!(site.status(&owner.session).await, "401 revoked", "{path}: {}", response.status);
        assert!(response.session.is_none(), "{path}");
        assert_eq!(response.header("set-cookie").filter(|cookie| cookie.contains("Max-Age=0")), None, "{path}");
    }
    for (path, body) in [
        ("/auth/logout/all", json!({})),
        ("/auth/password", json!({ "old_password": PASSWORD, "new_password": "another horse battery" })),
        ("/auth/reauthenticate", json!({ "password": PASSWORD })),
    ] {
        let owner = with_detectable_copy(&site).await;
        let response = site.post(path).session(&owner.session).json(&body).send().await;
        assert_eq!(response.verdict(), "401 revoked", "{path}");
    }
}

/// If other tokens were recorded, two tokens with the same predecessor could be recorded on two nodes, and a late request would
/// be taken for a copy.
#[tokio::test]
async fn only_a_token_whose_response_may_renew_is_recorded() {
    let site = Site::with(TRUSTING).await;
    let session = site.login("alice").await;
    site.advance(INTERVAL);
    for (method, recorded) in [("POST", 0), ("GET", 1)] {
        let response = site.get("/auth/verify").session(&session).header("x-forwarded-method", method).send().await;
        assert_eq!(response.verdict(), "200", "{method}");
        let memory = site.app.sessions.copy_detection().expect("copy detection is on");
        assert_eq!(memory.chains, recorded, "{method}");
    }
}

#[tokio::test]
async fn a_detected_copy_is_counted_and_revoked_in_the_store() {
    let site = Site::new().await;
    let mut owner = with_detectable_copy(&site).await;
    let before = COPIED_SESSIONS.total(0);
    for _ in 0..3 {
        assert_eq!(owner.get(STATUS).await.verdict(), "401 revoked");
    }
    // Other tests in this process increase the counter, too.
    assert!(COPIED_SESSIONS.total(0) > before);
    site.until_nothing_is_pending().await;
    let other = site.another_server().await;
    assert_eq!(other.status(&owner.session).await, "401 revoked");
}

#[tokio::test]
async fn a_copy_is_refused_at_once_while_the_store_is_unavailable() {
    let site = Site::new().await;
    let mut owner = with_detectable_copy(&site).await;
    site.app.store.close().await;
    assert_eq!(owner.get(STATUS).await.verdict(), "401 revoked");
    assert_eq!(site.app.sessions.revocations().pending(), 1);
}

#[tokio::test]
async fn a_single_browser_keeps_its_session_if_responses_are_lost() {
    let site = Site::with(TRUSTING).await;
    let mut browser = Browser { site: &site, session: site.login("alice").await };
    let mut older = browser.session.clone();
    // The rounds take ten hours. In the last idle timeout before the absolute deadline, there are no renewals.
    for round in 0..120 {
        site.advance(INTERVAL);
        // The responses to these requests are lost.
        for path in [STATUS, "/auth/verify", "/protected"] {
            let lost = site.get(path).session(&browser.session).send().await;
            assert_eq!(lost.verdict(), "200", "round {round}");
        }
        // A request with the previous token arrives after the current token was used.
        let late = site.get(STATUS).session(&older).send().await;
        assert_eq!((late.status, late.session.is_some()), (200, round == 0), "round {round}");
        let before = browser.session.clone();
        assert_eq!(browser.get(STATUS).await.verdict(), "200", "round {round}");
        assert_ne!(browser.session, before, "round {round}");
        older = before;
    }
}

#[tokio::test]
async fn without_copy_detection_both_copies_stay_valid() {
    for setting in ["session.copy_detection=false", "session.idle=17m"] {
        let site = Site::with(&[setting]).await;
        let mut owner = with_detectable_copy(&site).await;
        assert_eq!(owner.get(STATUS).await.verdict(), "200", "{setting}");
    }
}

#[tokio::test]
async fn turning_detection_off_and_on_clears_its_memory() {
    let site = Site::new().await;
    let mut owner = with_detectable_copy(&site).await;
    let memory = site.app.sessions.copy_detection().expect("copy detection is on");
    assert!(memory.chains > 0);
    site.app.sessions.detect_copies(None);
    assert_eq!(owner.get(STATUS).await.verdict(), "200");
    site.app.sessions.detect_copies(Some(1 << 20));
    assert_eq!(site.app.sessions.copy_detection().map(|memory| memory.chains), Some(0));
    let mut second_owner = with_detectable_copy(&site).await;
    site.app.sessions.detect_copies(Some(1 << 20));
    assert_eq!(second_owner.get(STATUS).await.verdict(), "401 revoked", "setting the same limit keeps the memory");
}

/// An attacker may plant a cookie of another session before the user's own cookie. The request must still succeed.
#[tokio::test]
async fn a_planted_copy_does_not_hide_the_session_behind_it() {
    let site = Site::new().await;
    let planted = with_detectable_copy(&site).await.session;
    let own = site.login("alice").await;
    let cookies = format!("{}; {}", planted.cookie(), own.cookie());
    let response = site.get(STATUS).cookie(&cookies).send().await;
    assert_eq!(response.verdict(), "200");
    assert_eq!(site.status(&planted).await, "401 revoked");
}
