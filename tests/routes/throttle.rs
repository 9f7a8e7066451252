//! Tests of the rate limits for passwords. Failed attempts are limited, and an attacker cannot lock out the user of an account.

mod own_sessions;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::config::Config;

use super::fixture::{ORIGIN, PASSWORD, Site, login_body};
use super::response::Response;

const WRONG: &str = "wrong password";
/// Default limit of failures of one account from one network.
const BURST: usize = 10;
/// Address of an attacker.
const ATTACKER: &str = "127.0.0.2";
/// Address of the user of the account.
const USER: &str = "127.0.0.3";

async fn sign_in(site: &Site, from: &str, login: &str, password: &str) -> Response {
    site.post("/auth/login").from(from).json(&login_body(login, password)).send().await
}

/// Logs in with an `X-Forwarded-For` field, and returns the verdict.
async fn sign_in_via_proxy(site: &Site, forwarded_for: &str, login: &str, password: &str) -> String {
    let request = site.post("/auth/login").header("x-forwarded-for", forwarded_for);
    request.json(&login_body(login, password)).send().await.verdict()
}

/// Sends wrong passwords, and asserts that each of them is checked.
async fn send_wrong_passwords(site: &Site, from: &str, login: &str, times: usize) {
    for number in 0..times {
        assert_eq!(sign_in(site, from, login, WRONG).await.verdict(), "401 credentials", "failure {number}");
    }
}

#[tokio::test]
async fn an_attacker_is_throttled_and_the_user_elsewhere_is_not() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    send_wrong_passwords(&site, ATTACKER, "alice", BURST).await;
    for password in [WRONG, PASSWORD] {
        let response = sign_in(&site, ATTACKER, "alice", password).await;
        assert_eq!((&*response.verdict(), response.header("retry-after")), ("429 throttled", Some("60")));
        assert!(response.session.is_none());
    }
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
    assert_eq!(site.status(&session).await, "200", "live sessions are not affected");
    assert_eq!(sign_in(&site, ATTACKER, "mallory", WRONG).await.verdict(), "401 credentials", "another account");
}

#[tokio::test]
async fn spaces_around_a_login_name_do_not_change_the_account() {
    let site = Site::new().await;
    assert_eq!(
        sign_in(&site, USER, "Alice ", PASSWORD).await.verdict(),
        "200",
        "phone keyboards write a capital letter and add a space"
    );
    let spellings = ["alice", "alice ", " alice", "alice\t", "  ALICE  "];
    for (number, login) in spellings.into_iter().cycle().take(BURST).enumerate() {
        assert_eq!(sign_in(&site, ATTACKER, login, WRONG).await.verdict(), "401 credentials", "failure {number}");
    }
    for login in spellings {
        assert_eq!(sign_in(&site, ATTACKER, login, PASSWORD).await.verdict(), "429 throttled", "{login:?}");
    }
}

#[tokio::test]
async fn one_more_attempt_is_allowed_after_each_interval() {
    let site = Site::new().await;
    send_wrong_passwords(&site, ATTACKER, "alice", BURST).await;
    site.advance(Duration::from_secs(59));
    let response = sign_in(&site, ATTACKER, "alice", PASSWORD).await;
    assert_eq!((&*response.verdict(), response.header("retry-after")), ("429 throttled", Some("1")));
    for _ in 0..2 {
        site.advance(Duration::from_secs(60));
        send_wrong_passwords(&site, ATTACKER, "alice", 1).await;
        assert_eq!(sign_in(&site, ATTACKER, "alice", PASSWORD).await.verdict(), "429 throttled");
    }
}

#[tokio::test]
async fn an_unknown_account_is_limited_like_one_that_exists() {
    let site = Site::new().await;
    let mut responses = Vec::new();
    for (login, from) in [("alice", ATTACKER), ("nobody", USER)] {
        send_wrong_passwords(&site, from, login, BURST).await;
        let mut response = sign_in(&site, from, login, WRONG).await;
        assert_eq!(response.verdict(), "429 throttled");
        response.headers.remove("x-request-id");
        responses.push((response.headers, response.body));
    }
    assert_eq!(responses[0], responses[1]);
}

#[tokio::test]
async fn a_success_resets_the_number_of_failures() {
    let site = Site::new().await;
    for _ in 0..3 {
        send_wrong_passwords(&site, USER, "alice", BURST - 1).await;
        assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
    }
}

#[tokio::test]
async fn concurrent_attempts_are_limited_like_sequential_ones() {
    let site = Arc::new(Site::new().await);
    let attempt = async |site: Arc<Site>| sign_in(&site, ATTACKER, "alice", WRONG).await.status;
    let attempts: Vec<_> = (0..50).map(|_| tokio::spawn(attempt(site.clone()))).collect();
    let mut checked = 0;
    for attempt in attempts {
        match attempt.await.expect("no panic") {
            401 => checked += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(checked, BURST);
}

#[tokio::test]
async fn one_network_is_limited_across_accounts() {
    let site = Site::with(&["throttle.network_burst=15", "throttle.network_interval=1h"]).await;
    for number in 0..15 {
        send_wrong_passwords(&site, ATTACKER, &format!("user{number}"), 1).await;
    }
    assert_eq!(sign_in(&site, ATTACKER, "alice", PASSWORD).await.verdict(), "429 throttled");
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_is_limited() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1"]).await;
    for number in 0..BURST {
        // The client controls only the left addresses, and they have no effect.
        let chain = format!("10.9.8.{number}, 192.0.2.1");
        assert_eq!(sign_in_via_proxy(&site, &chain, "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(sign_in_via_proxy(&site, "192.0.2.1", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(sign_in_via_proxy(&site, "192.0.2.2", "alice", PASSWORD).await, "200");
    for number in 0..BURST {
        let address = format!("2001:db8:0:7::{number}");
        assert_eq!(sign_in_via_proxy(&site, &address, "alice", WRONG).await, "401 credentials", "{address}");
    }
    assert_eq!(
        sign_in_via_proxy(&site, "2001:db8:0:7:ffff::1", "alice", PASSWORD).await,
        "429 throttled",
        "the same /64"
    );
    assert_eq!(sign_in_via_proxy(&site, "2001:db8:0:8::1", "alice", PASSWORD).await, "200");
}

#[tokio::test]
async fn client_addresses_from_untrusted_peers_are_ignored() {
    let site = Site::new().await;
    for number in 0..BURST {
        assert_eq!(sign_in_via_proxy(&site, &format!("192.0.2.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(sign_in_via_proxy(&site, "192.0.2.77", "alice", PASSWORD).await, "429 throttled");
}

#[tokio::test]
async fn fifty_users_behind_one_address_can_log_in_at_once() {
    let queue = format!("password.queue={}", Config::default().password.queue);
    let site = Arc::new(Site::with(&[&queue]).await);
    let users: Vec<String> = (0..50).map(|number| format!("user{number}")).collect();
    for user in &users {
        site.add_user(user, &[]).await;
    }
    let attempt = async |site: Arc<Site>, user: String| sign_in(&site, USER, &user, PASSWORD).await.verdict();
    let attempts: Vec<_> = users.into_iter().map(|user| tokio::spawn(attempt(site.clone(), user))).collect();
    for attempt in attempts {
        assert_eq!(attempt.await.expect("no panic"), "200");
    }
}

#[tokio::test]
async fn sixty_concurrent_logins_of_one_account_succeed() {
    let site = Arc::new(Site::new().await);
    let attempt = async |site: Arc<Site>| sign_in(&site, USER, "alice", PASSWORD).await.verdict();
    let attempts: Vec<_> = (0..70).map(|_| tokio::spawn(attempt(site.clone()))).collect();
    let mut verdicts = Vec::new();
    for attempt in attempts {
        verdicts.push(attempt.await.expect("no panic"));
    }
    for (expected, number) in [("200", 60), ("429 throttled", 10)] {
        assert_eq!(verdicts.iter().filter(|verdict| *verdict == expected).count(), number, "{expected}");
    }
}

#[tokio::test]
async fn correct_passwords_are_limited_per_account_and_network() {
    let site = Site::with(&["throttle.success_burst=3", "throttle.success_interval=1h"]).await;
    let mut last = None;
    for _ in 0..3 {
        last = sign_in(&site, USER, "alice", PASSWORD).await.session;
    }
    let response = sign_in(&site, USER, "alice", PASSWORD).await;
    assert_eq!((&*response.verdict(), response.header("retry-after")), ("429 throttled", Some("3600")));
    let session = last.expect("the third login has started a session");
    let body = json!({ "password": PASSWORD });
    let again = site.post("/auth/reauthenticate").from(USER).session(&session).json(&body).send().await;
    assert_eq!(again.verdict(), "429 throttled", "a step-up also adds an entry to the revocation list");
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(sign_in(&site, ATTACKER, "alice", PASSWORD).await.verdict(), "200", "another network");
    site.advance(Duration::from_secs(3600));
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
}

#[tokio::test]
async fn ipv6_networks_of_one_site_are_limited_together() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1", "throttle.network_burst=3"]).await;
    for number in 0..30 {
        let address = format!("2001:db8:1:{number}::1");
        assert_eq!(sign_in_via_proxy(&site, &address, &format!("user{number}"), WRONG).await, "401 credentials");
    }
    assert_eq!(sign_in_via_proxy(&site, "2001:db8:1:ffff::1", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(sign_in_via_proxy(&site, "2001:db8:2:ffff::1", "alice", PASSWORD).await, "200", "another /48");
}

#[tokio::test]
async fn a_change_without_a_session_is_limited_like_a_login() {
    let site = Site::new().await;
    let change = async |old: &str| {
        let body = json!({ "login": "alice", "old_password": old, "new_password": "a new password" });
        site.post("/auth/password").from(USER).json(&body).send().await.verdict()
    };
    send_wrong_passwords(&site, USER, "alice", BURST - 1).await;
    assert_eq!(change(WRONG).await, "401 credentials");
    assert_eq!(change(PASSWORD).await, "429 throttled");
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "429 throttled");
}

#[tokio::test]
async fn the_page_states_how_long_to_wait() {
    let site = Site::with(&["throttle.account_and_network_interval=1h"]).await;
    send_wrong_passwords(&site, USER, "alice", BURST).await;
    let page = site.get("/auth/login").header("accept", "text/html").send().await;
    let token = page.hidden("csrf_token");
    let form = [("login", "alice"), ("password", PASSWORD), ("csrf_token", &*token)];
    let request = site.post("/auth/login").from(USER).header("accept", "text/html").cookie(page.set_cookie());
    let request = request.header("origin", ORIGIN).header("sec-fetch-site", "same-origin").form(&form);
    let response = request.send().await;
    let (status, html) = response.page();
    assert_eq!(status, 429);
    assert!(html.contains("There were too many attempts. Wait 60 minutes, and try again."), "{html}");
    assert!(html.contains("value=\"alice\""), "the page contains the form for another attempt");
}

#[tokio::test]
async fn zero_disables_a_limit() {
    let off = ["network", "account_and_network", "account", "success"].map(|limit| format!("throttle.{limit}_burst=0"));
    let site = Site::with(&off.each_ref().map(String::as_str)).await;
    send_wrong_passwords(&site, USER, "alice", 150).await;
    let session = sign_in(&site, USER, "alice", PASSWORD).await.session;
    assert_eq!(site.status(&session.expect("a session")).await, "200");
}

#[tokio::test]
async fn an_unchecked_password_does_not_count_as_a_failure() {
    let site = Site::new().await;
    site.sql("ALTER TABLE account RENAME TO renamed_account").await;
    for _ in 0..2 * BURST {
        assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "503 store");
    }
    site.sql("ALTER TABLE renamed_account RENAME TO account").await;
    assert!(sign_in(&site, USER, "alice", PASSWORD).await.session.is_some());
}
