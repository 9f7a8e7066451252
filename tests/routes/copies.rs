//! Copy detection: a session whose cookie is used in two places ends, on every route that looks at a session.

use std::time::Duration;

use serde_json::json;

use super::answer::{Answer, Session};
use super::fixture::{PASSWORD, Site};
use crate::metrics::COPIED_SESSIONS;

/// Time until a token is due for renewal.
const INTERVAL: Duration = Duration::from_secs(300);
const STATUS: &str = "/auth/status";
const TRUSTING: &[&str] = &["http.trusted_proxies=127.0.0.1"];

/// A browser and what is in its cookie jar.
struct Browser<'s> {
    site: &'s Site,
    session: Session,
}

impl Browser<'_> {
    /// Sends a GET, and keeps the cookie that comes back.
    async fn get(&mut self, path: &str) -> Answer {
        let answer = self.site.get(path).session(&self.session).header("x-forwarded-method", "GET").send().await;
        self.session = answer.session.clone().unwrap_or_else(|| self.session.clone());
        answer
    }

    /// A browser that has a copy of the cookie.
    fn copied(&self) -> Self {
        Self { site: self.site, session: self.session.clone() }
    }
}

/// A session of which the owner has a token that does not fit any more: a thief has renewed twice beside the owner.
async fn about_to_be_noticed(site: &Site) -> Browser<'_> {
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
        for (who, browser) in [("owner", &mut owner), ("thief", &mut thief)] {
            let before = browser.session.clone();
            assert_eq!(browser.get(STATUS).await.verdict(), "200", "{who}, renewal {renewal}");
            assert_ne!(browser.session, before, "{who}, renewal {renewal}");
        }
    }
    site.advance(INTERVAL);
    let verdicts = [owner.get(STATUS).await.verdict(), thief.get(STATUS).await.verdict()];
    assert!(verdicts.contains(&"401 revoked".to_owned()), "{verdicts:?}");
    assert_eq!(site.status(&owner.session).await, "401 revoked");
    assert_eq!(site.status(&thief.session).await, "401 revoked");
}

#[tokio::test]
async fn every_check_of_a_session_notices_a_copy() {
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
        // Also if the session has not the role, so that the answer would be no renewal.
        "/auth/verify/role=nobody/-",
    ];
    for path in paths {
        let mut owner = about_to_be_noticed(&site).await;
        let answer = owner.get(path).await;
        assert_eq!(site.status(&owner.session).await, "401 revoked", "{path}: {}", answer.status);
        assert!(answer.session.is_none(), "{path}");
        assert_eq!(answer.header("set-cookie").filter(|cookie| cookie.contains("Max-Age=0")), None, "{path}");
    }
    for (path, body) in [
        ("/auth/logout/all", json!({})),
        ("/auth/password", json!({ "old_password": PASSWORD, "new_password": "another horse battery" })),
        ("/auth/reauthenticate", json!({ "password": PASSWORD })),
    ] {
        let owner = about_to_be_noticed(&site).await;
        let answer = site.post(path).session(&owner.session).json(&body).send().await;
        assert_eq!(answer.verdict(), "401 revoked", "{path}");
    }
}

/// Else two siblings, of which one arrived late, could each be remembered on another node.
#[tokio::test]
async fn only_a_token_whose_answer_may_renew_is_remembered() {
    let site = Site::with(TRUSTING).await;
    let session = site.login("alice").await;
    site.advance(INTERVAL);
    for (method, remembered) in [("POST", 0), ("GET", 1)] {
        let answer = site.get("/auth/verify").session(&session).header("x-forwarded-method", method).send().await;
        assert_eq!(answer.verdict(), "200", "{method}");
        let memory = site.app.sessions.copy_detection().expect("on");
        assert_eq!(memory.chains, remembered, "{method}");
    }
}

#[tokio::test]
async fn an_ended_copy_is_counted_once_and_kept_in_the_store() {
    let site = Site::new().await;
    let mut owner = about_to_be_noticed(&site).await;
    let before = COPIED_SESSIONS.total(0);
    for _ in 0..3 {
        assert_eq!(owner.get(STATUS).await.verdict(), "401 revoked");
    }
    // Other tests of this process count, too.
    assert!(COPIED_SESSIONS.total(0) > before);
    site.until_nothing_is_pending().await;
    let other = site.another_server().await;
    assert_eq!(other.status(&owner.session).await, "401 revoked");
}

#[tokio::test]
async fn a_copy_is_refused_at_once_while_the_store_is_away() {
    let site = Site::new().await;
    let mut owner = about_to_be_noticed(&site).await;
    site.app.store.close().await;
    assert_eq!(owner.get(STATUS).await.verdict(), "401 revoked");
    assert_eq!(site.app.sessions.revocations().pending(), 1);
}

#[tokio::test]
async fn a_lone_browser_keeps_its_session_whatever_gets_lost() {
    let site = Site::with(TRUSTING).await;
    let mut browser = Browser { site: &site, session: site.login("alice").await };
    let mut older = browser.session.clone();
    // Ten hours. In the last idle time before the absolute deadline, a renewal could not move anything.
    for round in 0..120 {
        site.advance(INTERVAL);
        // The answers to these do not arrive.
        for path in [STATUS, "/auth/verify", "/protected"] {
            let lost = site.get(path).session(&browser.session).send().await;
            assert_eq!(lost.verdict(), "200", "round {round}");
        }
        // A token that was on its way when its child was presented.
        let straggler = site.get(STATUS).session(&older).send().await;
        assert_eq!((straggler.status, straggler.session.is_some()), (200, round == 0), "round {round}");
        let before = browser.session.clone();
        assert_eq!(browser.get(STATUS).await.verdict(), "200", "round {round}");
        assert_ne!(browser.session, before, "round {round}");
        older = before;
    }
}

#[tokio::test]
async fn without_copy_detection_both_live() {
    for setting in ["session.copy_detection=false", "session.idle=17m"] {
        let site = Site::with(&[setting]).await;
        let mut owner = about_to_be_noticed(&site).await;
        assert_eq!(owner.get(STATUS).await.verdict(), "200", "{setting}");
    }
}

#[tokio::test]
async fn turning_it_off_and_on_forgets_what_was_seen() {
    let site = Site::new().await;
    let mut owner = about_to_be_noticed(&site).await;
    let memory = site.app.sessions.copy_detection().expect("on");
    assert!(memory.chains > 0);
    site.app.sessions.detect_copies(None);
    assert_eq!(owner.get(STATUS).await.verdict(), "200");
    site.app.sessions.detect_copies(Some(1 << 20));
    assert_eq!(site.app.sessions.copy_detection().map(|memory| memory.chains), Some(0));
    let mut again = about_to_be_noticed(&site).await;
    site.app.sessions.detect_copies(Some(1 << 20));
    assert_eq!(again.get(STATUS).await.verdict(), "401 revoked", "the same limit forgets nothing");
}

/// A cookie of another session that was planted in front of the user's own must not end the request.
#[tokio::test]
async fn a_planted_copy_does_not_hide_the_session_behind_it() {
    let site = Site::new().await;
    let planted = about_to_be_noticed(&site).await.session;
    let own = site.login("alice").await;
    let cookies = format!("{}; {}", planted.cookie(), own.cookie());
    let answer = site.get(STATUS).cookie(&cookies).send().await;
    assert_eq!(answer.verdict(), "200");
    assert_eq!(site.status(&planted).await, "401 revoked");
}
