//! A session of the account makes its user no stranger, and gives a guesser nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::answer::Session;
use super::super::fixture::{PASSWORD, Site, login_body};
use super::{BURST, STRANGER, USER, WRONG, fails, forwarded, sign_in};

#[tokio::test]
async fn an_attack_from_everywhere_does_not_lock_the_user_out() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1", "throttle.account_burst=20"]).await;
    assert_eq!(forwarded(&site, "192.0.2.1", "alice", PASSWORD).await, "200");
    let session = site.login("alice").await;
    for number in 0..20 {
        assert_eq!(forwarded(&site, &format!("198.51.100.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&site, "203.0.113.1", "alice", PASSWORD).await, "429 throttled", "a new network");
    assert_eq!(forwarded(&site, "192.0.2.1", "alice", PASSWORD).await, "200", "one that is known");
    assert_eq!(forwarded_with(&site, "203.0.113.1", &session, PASSWORD).await, "200", "with a token of the account");
}

/// Signs in as alice through a proxy, with a session.
async fn forwarded_with(site: &Site, forwarded_for: &str, session: &Session, password: &str) -> String {
    let request = site.post("/auth/login").header("x-forwarded-for", forwarded_for).session(session);
    request.json(&login_body("alice", password)).send().await.verdict()
}

/// Guesses ten times with each session, each from a network of its own, and returns how many passwords were checked.
async fn guesses_with(site: &Site, sessions: &[Session]) -> usize {
    let mut checked = 0;
    for (number, session) in sessions.iter().enumerate() {
        for _ in 0..10 {
            let verdict = forwarded_with(site, &format!("203.0.113.{number}"), session, WRONG).await;
            assert!(["401 credentials", "429 throttled"].contains(&&*verdict), "{verdict}");
            checked += usize::from(verdict == "401 credentials");
        }
    }
    checked
}

const GUESSING: [&str; 3] =
    ["http.trusted_proxies=127.0.0.1", "throttle.account_burst=20", "throttle.account_interval=1h"];

#[tokio::test]
async fn dead_tokens_give_a_guesser_no_more_tries() {
    let site = Site::with(&GUESSING).await;
    let mut sessions = Vec::new();
    for _ in 0..60 {
        sessions.push(site.login("alice").await);
    }
    for session in &sessions {
        assert_eq!(site.logout(session).await, "200");
    }
    assert_eq!(guesses_with(&site, &sessions).await, 20, "signed out: the account's limit holds");
}

#[tokio::test]
async fn tokens_of_ended_generations_give_no_more_tries() {
    let site = Site::with(&GUESSING).await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(site.login("alice").await);
    }
    let live = site.login("alice").await;
    let verdict = site.post("/auth/logout/all").session(&live).json(&json!({})).send().await.verdict();
    assert_eq!(verdict, "200");
    assert_eq!(guesses_with(&site, &sessions).await, 20);
}

#[tokio::test]
async fn tokens_of_another_account_of_the_name_are_strangers() {
    let site = Site::with(&GUESSING).await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(site.login("alice").await);
    }
    // As after a removal of the account whose refusal this server has not read yet.
    site.sql("UPDATE account SET sub = 'another' WHERE login_name = 'alice'").await;
    assert_eq!(guesses_with(&site, &sessions).await, 50, "the first tries are checked");
    assert_eq!(forwarded(&site, "198.51.100.1", "alice", PASSWORD).await, "429 throttled", "and charged");
}

#[tokio::test]
async fn idle_tokens_share_one_limit() {
    let site = Site::with(&GUESSING).await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(site.login("alice").await);
    }
    site.advance(Duration::from_secs(3 * 3600));
    for number in 0..20 {
        assert_eq!(forwarded(&site, &format!("198.51.100.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&site, "192.0.2.9", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(forwarded_with(&site, "192.0.2.9", &sessions[0], WRONG).await, "401 credentials");
    assert_eq!(forwarded_with(&site, "192.0.2.9", &sessions[0], PASSWORD).await, "200", "the user comes back");
    assert_eq!(guesses_with(&site, &sessions[1..]).await, BURST, "and all others together have the tries of one");
}

/// An attacker with an old token of the account guesses with it, without end.
#[tokio::test]
async fn an_old_token_of_the_account_keeps_its_user_out_nowhere() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1"]).await;
    let [left_behind, own] = [site.login("alice").await, site.login("alice").await];
    assert_eq!(forwarded(&site, "192.0.2.1", "alice", PASSWORD).await, "200", "a known network");
    site.advance(Duration::from_secs(3 * 3600));
    for _ in 0..BURST {
        assert_eq!(forwarded_with(&site, "203.0.113.1", &left_behind, WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded_with(&site, "192.0.2.1", &own, PASSWORD).await, "200", "the browser still sends its own");
}

#[tokio::test]
async fn a_live_session_is_enough_in_a_network_that_fails() {
    let site = Site::with(&["throttle.network_burst=15", "throttle.network_interval=1h"]).await;
    let session = site.login("alice").await;
    fails(&site, USER, "alice", BURST).await;
    for number in 0..5 {
        fails(&site, USER, &format!("user{number}"), 1).await;
    }
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "429 throttled");
    let body = json!({ "password": PASSWORD });
    let answer = site.post("/auth/reauthenticate").from(USER).session(&session).json(&body).send().await;
    assert_eq!(answer.verdict(), "200");
    assert_eq!(sign_in(&site, USER, "bob", PASSWORD).await.verdict(), "429 throttled");
}

#[tokio::test]
async fn a_session_is_no_way_to_guess_the_password() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let post = async |path: &str, body: &Value, from: &str| {
        site.post(path).from(from).session(&session).json(body).send().await.verdict()
    };
    let change = json!({ "old_password": WRONG, "new_password": "a new password" });
    // First the session's tries, and then those of any client in this network.
    for number in 0..2 * BURST {
        let verdict = match number % 2 {
            0 => post("/auth/reauthenticate", &json!({ "password": WRONG }), STRANGER).await,
            _ => post("/auth/password", &change, STRANGER).await,
        };
        assert_eq!(verdict, "401 credentials");
    }
    assert_eq!(post("/auth/reauthenticate", &json!({ "password": PASSWORD }), STRANGER).await, "429 throttled");
    assert_eq!(post("/auth/password", &change, STRANGER).await, "429 throttled");
    assert_eq!(sign_in(&site, STRANGER, "alice", PASSWORD).await.verdict(), "429 throttled");
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(sign_in(&site, "127.0.0.1", "alice", PASSWORD).await.verdict(), "200", "its user signs in anew");
}
