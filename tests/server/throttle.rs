//! Failed passwords are limited, and nobody is locked out by a stranger.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

const WRONG: &str = "wrong password";
/// As many failures as an account has from one network, by default.
const BURST: usize = 10;

/// A client with an address of its own on the loopback network.
fn at(last: u8) -> reqwest::Client {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    reqwest::Client::builder().local_address(address).build().expect("a client")
}

async fn sign_in(server: &Server<'_>, from: &reqwest::Client, login: &str, password: &str) -> Answer {
    let request = from.post(server.url("/auth/login")).json(&Server::login_body(login, password));
    Answer::of(request.send().await.expect("an answer")).await
}

/// A sign-in that came through proxies: `forwarded_for` is what they say of the client.
async fn forwarded(server: &Server<'_>, forwarded_for: &str, login: &str, password: &str) -> String {
    let request = client().post(server.url("/auth/login")).header("x-forwarded-for", forwarded_for);
    let request = request.json(&Server::login_body(login, password));
    Answer::of(request.send().await.expect("an answer")).await.verdict()
}

async fn fails(server: &Server<'_>, from: &reqwest::Client, login: &str, times: usize) {
    for number in 0..times {
        assert_eq!(sign_in(server, from, login, WRONG).await.verdict(), "401 credentials", "failure {number}");
    }
}

#[tokio::test]
async fn a_stranger_is_stopped_and_the_user_elsewhere_is_not() {
    let home = Home::new();
    let server = home.start();
    let (stranger, user) = (at(2), at(3));
    let session = server.login("alice").await;
    fails(&server, &stranger, "alice", BURST).await;
    for password in [WRONG, PASSWORD] {
        let answer = sign_in(&server, &stranger, "alice", password).await;
        assert_eq!(answer.verdict(), "429 throttled");
        let wait: u64 = answer.header("retry-after").expect("a time to wait").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(answer.session.is_none());
    }
    assert_eq!(sign_in(&server, &user, "alice", PASSWORD).await.verdict(), "200");
    assert_eq!(server.status(&session).await, "200", "live sessions do not notice");
    assert_eq!(sign_in(&server, &stranger, "mallory", WRONG).await.verdict(), "401 credentials", "another account");
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_limited_like_one_that_does() {
    let home = Home::new();
    let server = home.start();
    let mut answers = Vec::new();
    for (login, from) in [("alice", at(2)), ("nobody", at(3))] {
        fails(&server, &from, login, BURST).await;
        let answer = sign_in(&server, &from, login, WRONG).await;
        assert_eq!(answer.verdict(), "429 throttled");
        let mut headers = answer.headers.clone();
        headers.remove("date");
        headers.remove("x-request-id");
        headers.remove("retry-after");
        answers.push((headers, answer.body));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let home = Home::new();
    let server = home.start();
    for _ in 0..3 {
        fails(&server, client(), "alice", BURST - 1).await;
        assert_eq!(sign_in(&server, client(), "alice", PASSWORD).await.verdict(), "200");
    }
}

#[tokio::test]
async fn many_tries_at_once_are_no_more_than_one_after_the_other() {
    let home = Home::new();
    let server = home.start();
    let tries: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn(client().post(server.url("/auth/login")).json(&Server::login_body("alice", WRONG)).send())
        })
        .collect();
    let mut checked = 0;
    for attempt in tries {
        match attempt.await.expect("it ran").expect("an answer").status().as_u16() {
            401 => checked += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(checked, BURST);
}

#[tokio::test]
async fn one_network_is_limited_whatever_the_accounts() {
    let home = Home::with_settings(&["throttle.network_burst=15", "throttle.network_interval=1h"]);
    let server = home.start();
    let stranger = at(2);
    for number in 0..15 {
        fails(&server, &stranger, &format!("user{number}"), 1).await;
    }
    assert_eq!(sign_in(&server, &stranger, "alice", PASSWORD).await.verdict(), "429 throttled");
    assert_eq!(sign_in(&server, &at(3), "alice", PASSWORD).await.verdict(), "200");
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_client_that_counts() {
    let home = Home::with_settings(&["http.trusted_proxies=127.0.0.1"]);
    let server = home.start();
    for number in 0..BURST {
        // What the client writes itself stands at the left, and changes nothing.
        let chain = format!("10.9.8.{number}, 192.0.2.1");
        assert_eq!(forwarded(&server, &chain, "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&server, "192.0.2.1", "alice", PASSWORD).await, "429 throttled");
    assert_eq!(forwarded(&server, "192.0.2.2", "alice", PASSWORD).await, "200");
    for number in 0..BURST {
        let address = format!("2001:db8:0:7::{number}");
        assert_eq!(forwarded(&server, &address, "alice", WRONG).await, "401 credentials", "{address}");
    }
    assert_eq!(forwarded(&server, "2001:db8:0:7:ffff::1", "alice", PASSWORD).await, "429 throttled", "the same /64");
    assert_eq!(forwarded(&server, "2001:db8:0:8::1", "alice", PASSWORD).await, "200");
}

#[tokio::test]
async fn nobody_else_is_believed_about_the_client() {
    let home = Home::new();
    let server = home.start();
    for number in 0..BURST {
        assert_eq!(forwarded(&server, &format!("192.0.2.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&server, "192.0.2.77", "alice", PASSWORD).await, "429 throttled");
}

#[tokio::test]
async fn under_attack_from_everywhere_the_user_is_let_in_from_a_known_network_or_with_an_old_token() {
    let home = Home::with_settings(&["http.trusted_proxies=127.0.0.1", "throttle.account_burst=20"]);
    let server = home.start();
    assert_eq!(forwarded(&server, "192.0.2.1", "alice", PASSWORD).await, "200");
    let old = server.login("alice").await;
    assert_eq!(server.logout(&old).await, "200");
    for number in 0..20 {
        assert_eq!(forwarded(&server, &format!("198.51.100.{number}"), "alice", WRONG).await, "401 credentials");
    }
    assert_eq!(forwarded(&server, "203.0.113.1", "alice", PASSWORD).await, "429 throttled", "a new network");
    assert_eq!(forwarded(&server, "192.0.2.1", "alice", PASSWORD).await, "200", "one that is known");
    let request = client().post(server.url("/auth/login")).header("x-forwarded-for", "203.0.113.1");
    let request = request.header("cookie", old.cookie()).json(&Server::login_body("alice", PASSWORD));
    let answer = Answer::of(request.send().await.expect("an answer")).await;
    assert_eq!(answer.verdict(), "200", "with a token of the account, though it was signed out");
}

#[tokio::test]
async fn a_session_is_no_way_to_guess_the_password() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let post = async |path: &'static str, body: Value, from: &reqwest::Client| {
        let request = from.post(server.url(path)).header("cookie", session.cookie()).json(&body);
        Answer::of(request.send().await.expect("an answer")).await.verdict()
    };
    let change = json!({ "old_password": WRONG, "new_password": "a new password" });
    for number in 0..BURST {
        // From wherever: the session counts.
        let from = at(u8::try_from(2 + number).expect("small"));
        let verdict = match number % 2 {
            0 => post("/auth/reauthenticate", json!({ "password": WRONG }), &from).await,
            _ => post("/auth/password", change.clone(), &from).await,
        };
        assert_eq!(verdict, "401 credentials");
    }
    assert_eq!(post("/auth/reauthenticate", json!({ "password": PASSWORD }), &at(50)).await, "429 throttled");
    assert_eq!(post("/auth/password", change, &at(50)).await, "429 throttled");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(sign_in(&server, client(), "alice", PASSWORD).await.verdict(), "200", "its user signs in anew");
}

#[tokio::test]
async fn a_change_without_a_session_is_a_try_like_a_sign_in() {
    let home = Home::new();
    let server = home.start();
    let change = async |old: &str| {
        let body = json!({ "login": "alice", "old_password": old, "new_password": "a new password" });
        let request = client().post(server.url("/auth/password")).json(&body);
        Answer::of(request.send().await.expect("an answer")).await.verdict()
    };
    fails(&server, client(), "alice", BURST - 1).await;
    assert_eq!(change(WRONG).await, "401 credentials");
    assert_eq!(change(PASSWORD).await, "429 throttled");
    assert_eq!(sign_in(&server, client(), "alice", PASSWORD).await.verdict(), "429 throttled");
}

#[tokio::test]
async fn a_browser_is_told_how_long_to_wait() {
    let home = Home::with_settings(&["throttle.account_and_network_interval=1h"]);
    let server = home.start();
    fails(&server, client(), "alice", BURST).await;
    let page = client().get(server.url("/auth/login")).header("accept", "text/html").send().await.expect("an answer");
    let form_cookie =
        page.headers()["set-cookie"].to_str().expect("ASCII").split(';').next().expect("a cookie").to_owned();
    let token = Answer::of(page).await.hidden("csrf_token");
    let form = [("login", "alice"), ("password", PASSWORD), ("csrf_token", &token)];
    let request = client().post(server.url("/auth/login")).header("accept", "text/html").header("cookie", form_cookie);
    let request = request.header("origin", server.url("")).header("sec-fetch-site", "same-origin").form(&form);
    let answer = Answer::of(request.send().await.expect("an answer")).await;
    let (status, html) = answer.page();
    assert_eq!(status, 429);
    assert!(html.contains("Too many attempts failed. Wait 60 minutes, and try again."), "{html}");
    assert!(html.contains("value=\"alice\""), "the form is there to try again");
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let off = ["network", "account_and_network", "account"].map(|limit| format!("throttle.{limit}_burst=0"));
    let home = Home::with_settings(&off.each_ref().map(String::as_str));
    let server = home.start();
    fails(&server, client(), "alice", 150).await;
    let session = sign_in(&server, client(), "alice", PASSWORD).await.session;
    assert_eq!(server.status(&session.expect("a session")).await, "200");
}

#[tokio::test]
async fn what_was_not_checked_while_the_store_is_away_was_no_failure() {
    let home = Home::new();
    let server = home.start();
    let query = ["-c", "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute(sys.argv[2]); d.commit()"];
    let run = |sql: &str| {
        let python = std::process::Command::new("python3").args(query).arg(home.path("sealjar.db")).arg(sql).status();
        assert!(python.expect("python3 runs").success());
    };
    run("ALTER TABLE account RENAME TO away");
    for _ in 0..2 * BURST {
        assert_eq!(sign_in(&server, client(), "alice", PASSWORD).await.verdict(), "503 store");
    }
    run("ALTER TABLE away RENAME TO account");
    let session: Option<Session> = sign_in(&server, client(), "alice", PASSWORD).await.session;
    assert!(session.is_some());
}
