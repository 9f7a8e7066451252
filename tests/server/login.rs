//! `POST /auth/login`.

use serde_json::json;

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

async fn post(server: &Server<'_>, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = client().post(server.url("/auth/login")).header("content-type", content_type).body(body);
    Answer::of(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_json_sign_in_sets_a_host_cookie_of_the_browser_session() {
    let home = Home::new();
    let server = home.start();
    let body = json!({ "login": "ALICE", "password": PASSWORD }).to_string();
    let answer = post(&server, "application/json; charset=utf-8", body).await;
    assert_eq!(answer.verdict(), "200");
    let cookie = answer.header("set-cookie").expect("a cookie");
    let (token, attributes) = cookie.split_once(';').expect("attributes");
    assert!(token.starts_with("__Host-sealjar="));
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax");
    let view = answer.json();
    assert_eq!(
        (&view["login_name"], &view["roles"], &view["remembered"]),
        (&json!("alice"), &json!(["staff"]), &json!(false))
    );
    for (name, value) in [("cache-control", "no-store"), ("vary", "Cookie"), ("x-content-type-options", "nosniff")] {
        assert_eq!(answer.header(name), Some(value));
    }
}

#[tokio::test]
async fn a_form_sign_in_goes_on_to_another_page_and_can_be_remembered() {
    let home = Home::with_settings(&["session.remembered_idle=20m", "session.remembered_absolute=40m"]);
    let server = home.start();
    let form = format!("login=alice&remember=true&password={}", PASSWORD.replace(' ', "+"));
    let answer = post(&server, "application/x-www-form-urlencoded", form).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/auth/status")));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1200"), "{cookie}");
    let view = server.get("/auth/status", &answer.session.expect("a session").cookie()).await.json();
    assert_eq!(view["remembered"], true);
    let at = |name: &str| view[name].as_u64().expect("seconds");
    assert_eq!(at("idle_deadline") - at("authenticated_at"), 1200);
    assert_eq!(at("absolute_deadline") - at("authenticated_at"), 2400);
}

#[tokio::test]
async fn an_unknown_user_a_wrong_password_and_a_disabled_user_are_alike() {
    let home = Home::new();
    home.add_user("mallory");
    home.ok(&["users", "disable", "mallory"]);
    let server = home.start();
    let mut seen = Vec::new();
    for (login, password) in
        [("nobody", PASSWORD), ("alice", "wrong password"), ("mallory", PASSWORD), ("mallory", "x")]
    {
        let answer = post(&server, "application/json", Server::login_body(login, password).to_string()).await;
        assert_eq!(answer.verdict(), "401 credentials");
        assert!(answer.session.is_none() && answer.header("www-authenticate").is_some());
        let mut headers = answer.headers.clone();
        headers.remove("date");
        headers.remove("x-request-id");
        seen.push((headers, answer.body));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
}

#[tokio::test]
async fn a_sign_in_never_adopts_a_presented_session_and_revokes_it() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let (planted, other) = (server.login("bob").await, server.login("alice").await);
    let cookies = format!("{}; {}", planted.cookie(), other.cookie());
    let body = Server::login_body("alice", PASSWORD);
    let request = client().post(server.url("/auth/login")).header("cookie", cookies).json(&body);
    let answer = Answer::of(request.send().await.expect("an answer")).await;
    let fresh = answer.session.clone().expect("a session");
    assert!(fresh != planted && fresh != other);
    assert_eq!(server.status(&planted).await, "401 revoked");
    assert_eq!(server.status(&other).await, "401 revoked");
    let view = server.get("/auth/status", &fresh.cookie()).await.json();
    assert_eq!(view["login_name"], "alice");
    assert_eq!(view["sid"], answer.json()["sid"]);
}

#[tokio::test]
async fn a_failed_sign_in_leaves_the_presented_session_alone() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let body = Server::login_body("alice", "wrong password");
    let request = client().post(server.url("/auth/login")).header("cookie", session.cookie()).json(&body);
    assert_eq!(Answer::of(request.send().await.expect("an answer")).await.verdict(), "401 credentials");
    assert_eq!(server.status(&session).await, "200");
}

#[tokio::test]
async fn a_bad_body_gets_the_status_that_says_what_is_bad() {
    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";
    let home = Home::new();
    let server = home.start();
    let long = "x".repeat(20_000);
    let cases = [
        (JSON, "{", "400 malformed"),
        (JSON, "", "400 malformed"),
        (JSON, "login=alice&password=x", "400 malformed"),
        (JSON, "[]", "422 fields"),
        (JSON, r#"["alice","correct horse battery"]"#, "422 fields"),
        (JSON, r#"{"login":"alice"}"#, "422 fields"),
        (JSON, r#"{"login":"alice","password":1}"#, "422 fields"),
        (JSON, r#"{"login":"alice","password":"x","more":1}"#, "422 fields"),
        (JSON, r#"{"login":"al ice","password":"x"}"#, "422 fields"),
        (FORM, "login=alice", "422 fields"),
        (FORM, "", "422 fields"),
        (FORM, r#"{"login":"alice","password":"x"}"#, "422 fields"),
        ("text/plain", "login=alice&password=x", "415 media-type"),
        ("", "login=alice&password=x", "415 media-type"),
        ("multipart/form-data; boundary=x", "--x--", "415 media-type"),
        ("application/jsonx", "{}", "415 media-type"),
        (JSON, &long, "413 too-large"),
        (FORM, &long, "413 too-large"),
    ];
    for (content_type, body, verdict) in cases {
        let answer = post(&server, content_type, body.to_owned()).await;
        assert_eq!(answer.verdict(), verdict, "{content_type}: {body:.40}");
        assert!(answer.session.is_none());
    }
}

#[tokio::test]
async fn a_browser_is_let_in_from_our_own_origin_with_json_only() {
    let home = Home::new();
    let server = home.start();
    let ours = server.url("");
    let body = Server::login_body("alice", PASSWORD).to_string();
    let cases = [
        ("sec-fetch-site", "same-origin", "200"),
        ("sec-fetch-site", "cross-site", "403 cross-site"),
        ("sec-fetch-site", "same-site", "403 cross-site"),
        ("origin", &ours, "200"),
        ("origin", "null", "403 cross-site"),
        ("origin", "https://evil.example", "403 cross-site"),
    ];
    for (name, value, verdict) in cases {
        let request = client().post(server.url("/auth/login")).header(name, value);
        let request = request.header("content-type", "application/json").body(body.clone());
        assert_eq!(Answer::of(request.send().await.expect("an answer")).await.verdict(), verdict, "{name}: {value}");
    }
}

/// The hash of this account takes seconds, so that something can happen while it is checked.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_with_the_old_password_that_is_still_hashing_when_the_account_changes_does_not_live() {
    let slow = ["--set", "password.memory_kib=131072", "--set", "password.passes=16"];
    let home = Home::new();
    let passwd = [&["users", "passwd", "alice"][..], &slow].concat();
    let set_slow = || assert!(home.run_with_input(&passwd, &format!("{PASSWORD}\n")).status.success());
    let mut server = home.start();
    let changes: [(&[&str], &str); 3] = [
        (&["users", "passwd", "alice"], "another password\n"),
        (&["users", "disable", "alice"], ""),
        (&["revoke", "--user", "alice"], ""),
    ];
    for (change, input) in changes {
        set_slow();
        let body = Server::login_body("alice", PASSWORD);
        let sign_in = tokio::spawn(client().post(server.url("/auth/login")).json(&body).send());
        server.wait_for("checking a password");
        assert!(home.run_with_input(change, input).status.success());
        assert!(!sign_in.is_finished(), "{change:?} came too late to prove anything");
        let response = sign_in.await.expect("it ran").expect("an answer");
        match Session::of(&response) {
            None => assert_eq!(response.status(), 401, "{change:?}"),
            Some(session) => assert_eq!(server.status(&session).await, "401 revoked", "{change:?}"),
        }
        home.ok(&["users", "enable", "alice"]);
    }
}
