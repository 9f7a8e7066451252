//! A token whose key came to the directory a moment ago: it is good at once, wherever it is shown; and whoever makes up keys
//! slows down nobody else.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::time::Instant;

use super::{active, copied_keys, deliver, rotate_at_once, sealed_with};
use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

/// Every route that looks at a session, and what it answers to a live one. Those that end the account's other sessions are last.
const ROUTES: [(&str, &str); 9] = [
    ("GET", "/auth/status"),
    ("GET", "/protected"),
    ("GET", "/auth/renew"),
    ("GET", "/auth/verify"),
    ("POST", "/auth/verify"),
    ("GET", "/auth/verify/redirect"),
    ("GET", "/auth/verify/envoy/-/app"),
    ("POST", "/auth/reauthenticate"),
    ("POST", "/auth/logout/all"),
];

async fn ask(server: &Server<'_>, (method, path): (&str, &str), session: &Session) -> Answer {
    let method = method.parse().expect("a method");
    let request = client().request(method, server.url(path)).header("cookie", session.cookie());
    Answer::of(request.json(&json!({ "password": PASSWORD })).send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_token_is_good_on_every_route_as_soon_as_its_key_is_in_the_directory() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let (one, other) = (home.start(), home.start_with(&["--keys", &other_keys], &[]));
    for route in ROUTES {
        let kid = rotate_at_once(&home);
        let session = sealed_with(&one, &kid).await;
        let verdict = ask(&other, route, &session).await.verdict();
        // A sign-out asks whether another node has the key, which may have said so by now.
        let known_elsewhere = route.1 == "/auth/logout/all" && verdict == "503 key-elsewhere";
        assert!(verdict == "401 invalid" || known_elsewhere, "{route:?} without the key: {verdict}");
        deliver(&home, &kid, &other_keys);
        assert_eq!(ask(&other, route, &session).await.verdict(), "200", "{route:?}");
    }
}

#[tokio::test]
async fn a_sign_out_ends_a_session_whose_key_came_a_moment_ago() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let (one, other) = (home.start(), home.start_with(&["--keys", &other_keys], &[]));
    for _ in 0..5 {
        let old = sealed_with(&one, &active(&home.keys())).await;
        let kid = rotate_at_once(&home);
        let new = sealed_with(&one, &kid).await;
        deliver(&home, &kid, &other_keys);
        let both = format!("{}; {}", old.cookie(), new.cookie());
        assert_eq!(other.post("/auth/logout", &both).await.verdict(), "200");
        for session in [&old, &new] {
            assert_eq!(other.status(session).await, "401 revoked");
            one.until_status(session, "401 revoked").await;
        }
    }
}

fn submitted(request: RequestBuilder) -> RequestBuilder {
    request.header("sec-fetch-site", "same-origin")
}

#[tokio::test]
async fn a_form_is_taken_whose_key_came_a_moment_ago() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let (one, other) = (home.start(), home.start_with(&["--keys", &other_keys], &[]));

    // The sign-in form's own cookie and its token are both of the new key.
    let kid = rotate_at_once(&home);
    sealed_with(&one, &kid).await;
    let request = client().get(one.url("/auth/login")).header("accept", "text/html");
    let page = Answer::of(request.send().await.expect("an answer")).await;
    let cookie = page.header("set-cookie").and_then(|cookie| cookie.split_once(';')).expect("the form's cookie").0;
    let (login, password) = (("login", "alice"), ("password", PASSWORD));
    let fields = [("csrf_token", &*page.hidden("csrf_token")), login, password];
    deliver(&home, &kid, &other_keys);
    let request = submitted(client().post(other.url("/auth/login"))).header("cookie", cookie).form(&fields);
    let signed_in = Answer::of(request.send().await.expect("an answer")).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.body);
    let session = signed_in.session.expect("a session");

    // The session is of a key that is held, and only the token in the body of one that is not.
    let kid = rotate_at_once(&home);
    sealed_with(&one, &kid).await;
    let status = one.get("/auth/status", &session.cookie()).await.json();
    let token = status["csrf_token"].as_str().expect("a token");
    deliver(&home, &kid, &other_keys);
    let request = client().post(other.url("/auth/logout")).header("cookie", session.cookie());
    let answer = submitted(request).form(&[("csrf_token", token)]).send().await.expect("an answer");
    assert_eq!(answer.status(), 303);
    assert_eq!(other.status(&session).await, "401 revoked");
}

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_read() {
    const MANY: usize = 64;
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let (one, other) = (home.start(), home.start_with(&["--keys", &other_keys], &[]));
    let kid = rotate_at_once(&home);
    let session = sealed_with(&one, &kid).await;
    deliver(&home, &kid, &other_keys);
    // Ten reads a second, and nobody waits for longer than a second: with a read for each, most would be refused.
    let all = (0..MANY).map(|_| client().get(other.url("/auth/status")).header("cookie", session.cookie()).send());
    let all: Vec<_> = all.map(tokio::spawn).collect();
    for request in all {
        assert_eq!(request.await.expect("it ran").expect("an answer").status(), 200);
    }
}

/// A token that names a key which nobody has.
pub(crate) fn made_up(session: &Session) -> Session {
    let (head, rest) = session.0.split_at(10);
    Session(format!("{}{rest}", if head.ends_with('A') { "AUAAAAAAAB" } else { "AUAAAAAAAA" }))
}

/// How long so many requests take, one after the other.
async fn in_turn(server: &Server<'_>, count: usize, session: &Session, verdict: &str) -> Duration {
    let started = Instant::now();
    for _ in 0..count {
        assert_eq!(server.status(session).await, verdict);
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_up_keys_causes_ten_reads_a_second_and_slows_down_nobody() {
    const TRIES: usize = 20;
    const STRANGERS: usize = 16;
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let stranger = made_up(&session);
    // Each waits for a read of its own, because none asks before the one ahead is answered.
    let alone = in_turn(&server, TRIES, &stranger, "401 invalid").await;
    assert!(alone >= Duration::from_millis(100 * (TRIES as u64 - 1)), "{TRIES} reads in {alone:?}");

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let (stop, asked) = (stop.clone(), asked.clone());
            let (url, cookie) = (server.url("/auth/status"), stranger.cookie());
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let answer = client().get(&url).header("cookie", &cookie).send().await.expect("an answer");
                    assert_eq!(answer.status(), 401);
                    asked.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    while asked.load(Ordering::Acquire) < STRANGERS {
        tokio::task::yield_now().await;
    }
    let live = in_turn(&server, TRIES, &session, "200").await;
    assert!(live < alone, "{TRIES} requests of a live session took {live:?} under a flood, and a stranger's {alone:?}");
    stop.store(true, Ordering::Release);
    for flooder in flood {
        flooder.await.expect("every stranger was refused");
    }
    println!("{TRIES} requests: {alone:?} with keys made up, {live:?} with a live session under a flood of them");
}

#[tokio::test]
async fn sign_outs_with_made_up_keys_ask_the_store_once_a_second() {
    const MANY: usize = 64;
    let home = Home::new();
    let server = home.start();
    let stranger = made_up(&server.login("alice").await);
    let sign_out = || async {
        let request = client().post(server.url("/auth/logout")).header("cookie", stranger.cookie());
        Answer::of(request.send().await.expect("an answer")).await.verdict()
    };
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(sign_out().await, "200", "nobody has the key");
    }
    // The first may be asked at once.
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(2), "three questions in {elapsed:?}");
    // Many who ask at once share one question: a request waits for 5 s at most, in which there are five.
    let all: Vec<_> = (0..MANY)
        .map(|_| client().post(server.url("/auth/logout")).header("cookie", stranger.cookie()).send())
        .map(tokio::spawn)
        .collect();
    for request in all {
        assert_eq!(request.await.expect("it ran").expect("an answer").status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_network_a_few_wait_because_of_their_keys_and_others_are_let_wait_all_the_same() {
    const MOST: usize = 64;
    const AT_ONCE: usize = 3 * MOST;
    const ROUNDS: usize = 20;
    let home = Home::with_settings(&["http.trusted_proxies=127.0.0.1"]);
    let mut server = home.start();
    let stranger = made_up(&server.login("alice").await).cookie();
    let from = |visitor: &str, request: RequestBuilder| {
        tokio::spawn(request.header("cookie", &stranger).header("x-forwarded-for", visitor).send())
    };
    for (method, path, usual) in [
        (Method::POST, "/auth/logout", "200"),
        (Method::GET, "/auth/verify", "401 invalid"),
        (Method::GET, "/auth/renew", "401 invalid"),
        (Method::GET, "/auth/status", "401 invalid"),
    ] {
        let request = || client().request(method.clone(), server.url(path));
        let mut refused = 0;
        // On a loaded machine the wait may be over before so many are there.
        for _ in 0..ROUNDS {
            let flood: Vec<_> = (0..AT_ONCE).map(|_| from("192.0.2.1", request())).collect();
            let page = from("192.0.2.1", client().get(server.url("/auth/login")));
            let other = from("192.0.2.2", request());
            for request in flood {
                let answer = Answer::of(request.await.expect("it ran").expect("an answer")).await;
                if answer.verdict() == "503 busy" {
                    assert_eq!(answer.headers["retry-after"], "1");
                    refused += 1;
                } else {
                    assert_eq!(answer.verdict(), usual, "{path}");
                }
            }
            assert_eq!(page.await.expect("it ran").expect("an answer").status(), 200, "there is a page to sign in");
            let answer = Answer::of(other.await.expect("it ran").expect("an answer")).await;
            assert_eq!(answer.verdict(), usual, "{path}: another visitor is let wait");
            if refused > 0 {
                break;
            }
        }
        assert!(refused > 0, "{path}: more than {MOST} of one network waited at once");
    }
    assert!(server.metric("sealjar_key_waits_refused_total").await > 0.0);
    server.wait_for("too many requests wait because of their keys");
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_not_there_and_nobody_else_notices() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("changes the mode");
    server.wait_for("the key ring cannot be read");
    assert_eq!(server.status(&made_up(&session)).await, "401 invalid");
    assert_eq!(server.status(&session).await, "200");
}
