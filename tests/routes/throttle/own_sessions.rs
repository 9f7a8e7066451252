//! Tests of the separate limit for clients that send a session of the account. It lets the user log in during an attack, and it
//! must not give an attacker with an old token more attempts.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::fixture::{PASSWORD, Site, login_body};
use super::super::response::Session;
use super::{ATTACKER, BURST, USER, WRONG, send_wrong_passwords, sign_in, sign_in_via_proxy};

#[tokio::test]
async fn an_attack_from_many_networks_does_not_lock_the_user_out() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1", "throttle.account_burst=20"]).await;
    assert_eq!(sign_in_via_proxy(&site, "192.0.2.1", "alice", PASSWORD).await, "200");
    let session = site.login("alice").await;
    for number in 0..20 {
        assert_eq!(sign_in_via_proxy(&site, &format!("198.51.100.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(
        sign_in_via_proxy(&site, "203.0.113.1", "alice", PASSWORD).await,
        "429 throttled",
        "a network without an earlier login"
    );
    assert_eq!(
        sign_in_via_proxy(&site, "192.0.2.1", "alice", PASSWORD).await,
        "200",
        "a network with an earlier login"
    );
    assert_eq!(
        sign_in_via_proxy_with(&site, "203.0.113.1", &session, PASSWORD).await,
        "200",
        "with a token of the account"
    );
}

/// Logs in as `alice` through a trusted proxy. The request contains a session.
async fn sign_in_via_proxy_with(site: &Site, forwarded_for: &str, session: &Session, password: &str) -> String {
    let request = site.post("/auth/login").header("x-forwarded-for", forwarded_for).session(session);
    request.json(&login_body("alice", password)).send().await.verdict()
}

/// Sends ten wrong passwords with each session, and each session from another network. Returns the number of checked passwords.
async fn checked_guesses(site: &Site, sessions: &[Session]) -> usize {
    let mut checked = 0;
    for (number, session) in sessions.iter().enumerate() {
        for _ in 0..10 {
            let verdict = sign_in_via_proxy_with(site, &format!("203.0.113.{number}"), session, WRONG).await;
            assert!(["401 credentials", "429 throttled"].contains(&&*verdict), "{verdict}");
            checked += usize::from(verdict == "401 credentials");
        }
    }
    checked
}

/// Settings with a low limit per account.
const LOW_ACCOUNT_LIMIT: [&str; 3] =
    ["http.trusted_proxies=127.0.0.1", "throttle.account_burst=20", "throttle.account_interval=1h"];

#[tokio::test]
async fn revoked_tokens_give_an_attacker_no_more_attempts() {
    let site = Site::with(&LOW_ACCOUNT_LIMIT).await;
    let mut sessions = Vec::new();
    for _ in 0..60 {
        sessions.push(site.login("alice").await);
    }
    for session in &sessions {
        assert_eq!(site.logout(session).await, "200");
    }
    assert_eq!(checked_guesses(&site, &sessions).await, 20, "after a logout, the limit of the account applies");
}

#[tokio::test]
async fn tokens_of_old_generations_give_no_more_attempts() {
    let site = Site::with(&LOW_ACCOUNT_LIMIT).await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(site.login("alice").await);
    }
    let live = site.login("alice").await;
    let verdict = site.post("/auth/logout/all").session(&live).json(&json!({})).send().await.verdict();
    assert_eq!(verdict, "200");
    assert_eq!(checked_guesses(&site, &sessions).await, 20);
}

#[tokio::test]
async fn tokens_of_an_earlier_account_of_the_name_do_not_help() {
    let site = Site::with(&LOW_ACCOUNT_LIMIT).await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(site.login("alice").await);
    }
    // The account was deleted and created again, and this server has not yet read the revocation.
    site.sql("UPDATE account SET sub = 'another' WHERE login_name = 'alice'").await;
    assert_eq!(checked_guesses(&site, &sessions).await, 50, "the first attempts of each network are checked");
    assert_eq!(
        sign_in_via_proxy(&site, "198.51.100.1", "alice", PASSWORD).await,
        "429 throttled",
        "and they count for the account"
    );
}

#[tokio::test]
async fn idle_tokens_share_one_limit() {
    let site = Site::with(&LOW_ACCOUNT_LIMIT).await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(site.login("alice").await);
    }
    site.advance(Duration::from_secs(3 * 3600));
    for number in 0..20 {
        assert_eq!(sign_in_via_proxy(&site, &format!("198.51.100.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(sign_in_via_proxy(&site, "192.0.2.9", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(sign_in_via_proxy_with(&site, "192.0.2.9", &sessions[0], WRONG).await, "401 credentials");
    assert_eq!(
        sign_in_via_proxy_with(&site, "192.0.2.9", &sessions[0], PASSWORD).await,
        "200",
        "the user logs in with an idle-expired session"
    );
    assert_eq!(
        checked_guesses(&site, &sessions[1..]).await,
        BURST,
        "all other tokens together have the attempts of one token"
    );
}

/// An attacker with an old token of the account keeps sending wrong passwords with it.
#[tokio::test]
async fn an_old_token_of_an_account_cannot_lock_its_user_out() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1"]).await;
    let stolen = site.login("alice").await;
    let own = site.login("alice").await;
    assert_eq!(
        sign_in_via_proxy(&site, "192.0.2.1", "alice", PASSWORD).await,
        "200",
        "this network is known from now on"
    );
    site.advance(Duration::from_secs(3 * 3600));
    for _ in 0..BURST {
        assert_eq!(sign_in_via_proxy_with(&site, "203.0.113.1", &stolen, WRONG).await, "401 credentials");
    }
    assert_eq!(
        sign_in_via_proxy_with(&site, "192.0.2.1", &own, PASSWORD).await,
        "200",
        "the browser of the user still sends its own token"
    );
}

#[tokio::test]
async fn a_live_session_is_not_blocked_by_its_network() {
    let site = Site::with(&["throttle.network_burst=15", "throttle.network_interval=1h"]).await;
    let session = site.login("alice").await;
    send_wrong_passwords(&site, USER, "alice", BURST).await;
    for number in 0..5 {
        send_wrong_passwords(&site, USER, &format!("user{number}"), 1).await;
    }
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "429 throttled");
    let body = json!({ "password": PASSWORD });
    let response = site.post("/auth/reauthenticate").from(USER).session(&session).json(&body).send().await;
    assert_eq!(response.verdict(), "200");
    assert_eq!(sign_in(&site, USER, "bob", PASSWORD).await.verdict(), "429 throttled");
}

#[tokio::test]
async fn a_session_does_not_help_to_guess_the_password() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let post = async |path: &str, body: &Value, from: &str| {
        site.post(path).from(from).session(&session).json(body).send().await.verdict()
    };
    let change = json!({ "old_password": WRONG, "new_password": "a new password" });
    // The first attempts use the limit of the session. The others use the limit of this account and network.
    for number in 0..2 * BURST {
        let verdict = match number % 2 {
            0 => post("/auth/reauthenticate", &json!({ "password": WRONG }), ATTACKER).await,
            _ => post("/auth/password", &change, ATTACKER).await,
        };
        assert_eq!(verdict, "401 credentials");
    }
    assert_eq!(post("/auth/reauthenticate", &json!({ "password": PASSWORD }), ATTACKER).await, "429 throttled");
    assert_eq!(post("/auth/password", &change, ATTACKER).await, "429 throttled");
    assert_eq!(sign_in(&site, ATTACKER, "alice", PASSWORD).await.verdict(), "429 throttled");
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(
        sign_in(&site, "127.0.0.1", "alice", PASSWORD).await.verdict(),
        "200",
        "the user can log in from another network"
    );
}
