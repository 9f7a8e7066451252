//! Failed passwords are limited, and nobody is locked out by a stranger.

mod own_sessions;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::config::Config;

use super::answer::Answer;
use super::fixture::{ORIGIN, PASSWORD, Site, login_body};

const WRONG: &str = "wrong password";
/// Number of failures that an account has from one network, by default.
const BURST: usize = 10;
const STRANGER: &str = "127.0.0.2";
const USER: &str = "127.0.0.3";

async fn sign_in(site: &Site, from: &str, login: &str, password: &str) -> Answer {
    site.post("/auth/login").from(from).json(&login_body(login, password)).send().await
}

/// Signs in through proxies, which say this of the client.
async fn forwarded(site: &Site, forwarded_for: &str, login: &str, password: &str) -> String {
    let request = site.post("/auth/login").header("x-forwarded-for", forwarded_for);
    request.json(&login_body(login, password)).send().await.verdict()
}

async fn fails(site: &Site, from: &str, login: &str, times: usize) {
    for number in 0..times {
        assert_eq!(sign_in(site, from, login, WRONG).await.verdict(), "401 credentials", "failure {number}");
    }
}

#[tokio::test]
async fn a_stranger_is_stopped_and_the_user_elsewhere_is_not() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    fails(&site, STRANGER, "alice", BURST).await;
    for password in [WRONG, PASSWORD] {
        let answer = sign_in(&site, STRANGER, "alice", password).await;
        assert_eq!((&*answer.verdict(), answer.header("retry-after")), ("429 throttled", Some("60")));
        assert!(answer.session.is_none());
    }
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
    assert_eq!(site.status(&session).await, "200", "live sessions do not notice");
    assert_eq!(sign_in(&site, STRANGER, "mallory", WRONG).await.verdict(), "401 credentials", "another account");
}

#[tokio::test]
async fn blanks_around_a_login_name_are_no_other_account() {
    let site = Site::new().await;
    assert_eq!(sign_in(&site, USER, "Alice ", PASSWORD).await.verdict(), "200", "as the keyboard of a phone writes it");
    let spellings = ["alice", "alice ", " alice", "alice\t", "  ALICE  "];
    for (number, login) in spellings.into_iter().cycle().take(BURST).enumerate() {
        assert_eq!(sign_in(&site, STRANGER, login, WRONG).await.verdict(), "401 credentials", "failure {number}");
    }
    for login in spellings {
        assert_eq!(sign_in(&site, STRANGER, login, PASSWORD).await.verdict(), "429 throttled", "{login:?}");
    }
}

#[tokio::test]
async fn one_more_attempt_is_let_in_after_each_interval() {
    let site = Site::new().await;
    fails(&site, STRANGER, "alice", BURST).await;
    site.advance(Duration::from_secs(59));
    let answer = sign_in(&site, STRANGER, "alice", PASSWORD).await;
    assert_eq!((&*answer.verdict(), answer.header("retry-after")), ("429 throttled", Some("1")));
    for _ in 0..2 {
        site.advance(Duration::from_secs(60));
        fails(&site, STRANGER, "alice", 1).await;
        assert_eq!(sign_in(&site, STRANGER, "alice", PASSWORD).await.verdict(), "429 throttled");
    }
}

#[tokio::test]
async fn an_unknown_account_is_limited_like_one_that_exists() {
    let site = Site::new().await;
    let mut answers = Vec::new();
    for (login, from) in [("alice", STRANGER), ("nobody", USER)] {
        fails(&site, from, login, BURST).await;
        let mut answer = sign_in(&site, from, login, WRONG).await;
        assert_eq!(answer.verdict(), "429 throttled");
        answer.headers.remove("x-request-id");
        answers.push((answer.headers, answer.body));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let site = Site::new().await;
    for _ in 0..3 {
        fails(&site, USER, "alice", BURST - 1).await;
        assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
    }
}

#[tokio::test]
async fn many_tries_at_once_are_no_more_than_one_after_the_other() {
    let site = Arc::new(Site::new().await);
    let attempt = async |site: Arc<Site>| sign_in(&site, STRANGER, "alice", WRONG).await.status;
    let tries: Vec<_> = (0..50).map(|_| tokio::spawn(attempt(site.clone()))).collect();
    let mut checked = 0;
    for attempt in tries {
        match attempt.await.expect("it ran") {
            401 => checked += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(checked, BURST);
}

#[tokio::test]
async fn one_network_is_limited_whatever_the_accounts() {
    let site = Site::with(&["throttle.network_burst=15", "throttle.network_interval=1h"]).await;
    for number in 0..15 {
        fails(&site, STRANGER, &format!("user{number}"), 1).await;
    }
    assert_eq!(sign_in(&site, STRANGER, "alice", PASSWORD).await.verdict(), "429 throttled");
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_client_that_counts() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1"]).await;
    for number in 0..BURST {
        // What the client writes itself stands at the left, and changes nothing.
        let chain = format!("10.9.8.{number}, 192.0.2.1");
        assert_eq!(forwarded(&site, &chain, "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&site, "192.0.2.1", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(forwarded(&site, "192.0.2.2", "alice", PASSWORD).await, "200");
    for number in 0..BURST {
        let address = format!("2001:db8:0:7::{number}");
        assert_eq!(forwarded(&site, &address, "alice", WRONG).await, "401 credentials", "{address}");
    }
    assert_eq!(forwarded(&site, "2001:db8:0:7:ffff::1", "alice", PASSWORD).await, "429 throttled", "the same /64");
    assert_eq!(forwarded(&site, "2001:db8:0:8::1", "alice", PASSWORD).await, "200");
}

#[tokio::test]
async fn nobody_else_is_believed_about_the_client() {
    let site = Site::new().await;
    for number in 0..BURST {
        assert_eq!(forwarded(&site, &format!("192.0.2.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&site, "192.0.2.77", "alice", PASSWORD).await, "429 throttled");
}

#[tokio::test]
async fn fifty_users_behind_one_address_get_in_at_once() {
    let queue = format!("password.queue={}", Config::default().password.queue);
    let site = Arc::new(Site::with(&[&queue]).await);
    let users: Vec<String> = (0..50).map(|number| format!("user{number}")).collect();
    for user in &users {
        site.add_user(user, &[]).await;
    }
    let attempt = async |site: Arc<Site>, user: String| sign_in(&site, USER, &user, PASSWORD).await.verdict();
    let tries: Vec<_> = users.into_iter().map(|user| tokio::spawn(attempt(site.clone(), user))).collect();
    for attempt in tries {
        assert_eq!(attempt.await.expect("it ran"), "200");
    }
}

#[tokio::test]
async fn sixty_right_passwords_of_one_account_get_in_at_once() {
    let site = Arc::new(Site::new().await);
    let attempt = async |site: Arc<Site>| sign_in(&site, USER, "alice", PASSWORD).await.verdict();
    let tries: Vec<_> = (0..70).map(|_| tokio::spawn(attempt(site.clone()))).collect();
    let mut verdicts = Vec::new();
    for attempt in tries {
        verdicts.push(attempt.await.expect("it ran"));
    }
    for (expected, number) in [("200", 60), ("429 throttled", 10)] {
        assert_eq!(verdicts.iter().filter(|verdict| *verdict == expected).count(), number, "{expected}");
    }
}

#[tokio::test]
async fn right_passwords_are_limited_by_account_and_network() {
    let site = Site::with(&["throttle.success_burst=3", "throttle.success_interval=1h"]).await;
    let mut last = None;
    for _ in 0..3 {
        last = sign_in(&site, USER, "alice", PASSWORD).await.session;
    }
    let answer = sign_in(&site, USER, "alice", PASSWORD).await;
    assert_eq!((&*answer.verdict(), answer.header("retry-after")), ("429 throttled", Some("3600")));
    let session = last.expect("the third began one");
    let body = json!({ "password": PASSWORD });
    let again = site.post("/auth/reauthenticate").from(USER).session(&session).json(&body).send().await;
    assert_eq!(again.verdict(), "429 throttled", "a step-up adds an entry to the list as well");
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(sign_in(&site, STRANGER, "alice", PASSWORD).await.verdict(), "200", "another network");
    site.advance(Duration::from_secs(3600));
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "200");
}

#[tokio::test]
async fn ipv6_networks_of_one_site_are_limited_together() {
    let site = Site::with(&["http.trusted_proxies=127.0.0.1", "throttle.network_burst=3"]).await;
    for number in 0..30 {
        let address = format!("2001:db8:1:{number}::1");
        assert_eq!(forwarded(&site, &address, &format!("user{number}"), WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&site, "2001:db8:1:ffff::1", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(forwarded(&site, "2001:db8:2:ffff::1", "alice", PASSWORD).await, "200", "another /48");
}

#[tokio::test]
async fn a_change_without_a_session_is_a_try_like_a_sign_in() {
    let site = Site::new().await;
    let change = async |old: &str| {
        let body = json!({ "login": "alice", "old_password": old, "new_password": "a new password" });
        site.post("/auth/password").from(USER).json(&body).send().await.verdict()
    };
    fails(&site, USER, "alice", BURST - 1).await;
    assert_eq!(change(WRONG).await, "401 credentials");
    assert_eq!(change(PASSWORD).await, "429 throttled");
    assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "429 throttled");
}

#[tokio::test]
async fn a_browser_is_told_how_long_to_wait() {
    let site = Site::with(&["throttle.account_and_network_interval=1h"]).await;
    fails(&site, USER, "alice", BURST).await;
    let page = site.get("/auth/login").header("accept", "text/html").send().await;
    let token = page.hidden("csrf_token");
    let form = [("login", "alice"), ("password", PASSWORD), ("csrf_token", &*token)];
    let request = site.post("/auth/login").from(USER).header("accept", "text/html").cookie(page.set_cookie());
    let request = request.header("origin", ORIGIN).header("sec-fetch-site", "same-origin").form(&form);
    let answer = request.send().await;
    let (status, html) = answer.page();
    assert_eq!(status, 429);
    assert!(html.contains("There were too many attempts. Wait 60 minutes, and try again."), "{html}");
    assert!(html.contains("value=\"alice\""), "the form is there to try again");
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let off = ["network", "account_and_network", "account", "success"].map(|limit| format!("throttle.{limit}_burst=0"));
    let site = Site::with(&off.each_ref().map(String::as_str)).await;
    fails(&site, USER, "alice", 150).await;
    let session = sign_in(&site, USER, "alice", PASSWORD).await.session;
    assert_eq!(site.status(&session.expect("a session")).await, "200");
}

#[tokio::test]
async fn a_password_that_could_not_be_checked_is_no_failure() {
    let site = Site::new().await;
    site.sql("ALTER TABLE account RENAME TO away").await;
    for _ in 0..2 * BURST {
        assert_eq!(sign_in(&site, USER, "alice", PASSWORD).await.verdict(), "503 store");
    }
    site.sql("ALTER TABLE away RENAME TO account").await;
    assert!(sign_in(&site, USER, "alice", PASSWORD).await.session.is_some());
}
