//! Lines of the log: which request a line is about, and what no line holds.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Answer, Home, PASSWORD, Server, client};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A sign-in that fails, with this field.
async fn failing(server: &Server<'_>, name: &str, value: &str) -> Answer {
    let body = Server::login_body("alice", "wrong password");
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let post = client().post(server.url("/auth/login")).json(&body).header("traceparent", traceparent);
    Answer::of(post.header(name, value).send().await.expect("an answer")).await
}

#[tokio::test]
async fn the_id_of_a_request_is_in_its_lines_and_in_its_answer() {
    let home = Home::new();
    for (trusted, name, value, taken) in [
        ("127.0.0.1", "x-request-id", "proxy-7f3e", true),
        ("127.0.0.1", "x-request-id", "two words", false),
        ("127.0.0.1", "x-request-id", &*"x".repeat(65), false),
        ("127.0.0.1", "x-other", "x", false),
        ("192.0.2.1", "x-request-id", "stranger-7f3e", false),
    ] {
        let mut server = home.start_with(&["--set", &format!("http.trusted_proxies={trusted}")], &[]);
        let answer = failing(&server, name, value).await;
        assert_eq!(answer.verdict(), "401 credentials");
        let id = answer.header("x-request-id").expect("an id");
        let event = server.event("sign-in-failed");
        assert_eq!(event["span"]["request_id"], id);
        assert_eq!(event["span"]["trace_id"], if trusted == "127.0.0.1" { json!(TRACE) } else { Value::Null });
        assert_eq!(id == value, taken, "{id}");
        if !taken {
            assert_eq!(id.len(), 16, "{id}");
            let again = failing(&server, name, value).await;
            assert_ne!(again.header("x-request-id").expect("an id"), id, "another request");
        }
    }
}

#[tokio::test]
async fn logs_a_refused_token_with_the_request_id_of_the_proxy() {
    let home = Home::new();
    let mut server = home.start_with(&["--set", "http.trusted_proxies=127.0.0.1"], &[]);
    for path in ["/auth/status", "/auth/verify", "/auth/verify/redirect", "/protected"] {
        let id = format!("proxy{}", path.replace('/', "-"));
        let cookie = "__Host-sealjar=nonsense";
        let request = client().get(server.url(path)).header("cookie", cookie).header("x-request-id", &id);
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        assert_eq!((answer.verdict(), answer.header("x-request-id")), ("401 invalid".to_owned(), None), "{path}");
        assert_eq!(server.event("token-refused")["span"]["request_id"], id);
    }
}

#[tokio::test]
async fn no_level_logs_a_password_a_token_or_a_key() {
    const WRONG: &str = "a wrong password of its own";
    let home = Home::new();
    let mut server = home.start_with(&["--set", "log.level=trace"], &[]);
    let http2 = reqwest::Client::builder().http2_prior_knowledge().redirect(reqwest::redirect::Policy::none());
    let http2 = http2.build().expect("a client");
    let mut secrets = vec![PASSWORD.to_owned(), WRONG.to_owned()];
    for client in [client(), &http2] {
        for (password, verdict) in [(WRONG, "401 credentials"), (PASSWORD, "200")] {
            let json = client.post(server.url("/auth/login")).json(&Server::login_body("alice", password));
            let form = client.post(server.url("/auth/login")).form(&[("login", "alice"), ("password", password)]);
            for request in [json, form] {
                let answer = Answer::of(request.send().await.expect("an answer")).await;
                assert!([verdict, "303"].contains(&answer.verdict().as_str()), "{}", answer.verdict());
                let Some(session) = answer.session else { continue };
                for path in ["/auth/status", "/auth/verify", "/auth/verify/-?role=a"] {
                    let request = client.get(server.url(path)).header("cookie", session.cookie());
                    request.send().await.expect("an answer");
                }
                let request = client.post(server.url("/auth/logout")).header("cookie", session.cookie());
                assert_eq!(Answer::of(request.send().await.expect("an answer")).await.verdict(), "200");
                assert_eq!(server.status(&session).await, "401 revoked");
                secrets.push(session.cookie().split_once('=').expect("a name and a token").1.to_owned());
            }
        }
    }
    let key = fs::read_dir(home.path("keys")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let key = key.filter(|path| path.extension().is_some_and(|end| end == "key")).map(fs::read_to_string);
    let key: toml::Table = key.map(|text| text.expect("a key file")).collect::<String>().parse().expect("TOML");
    secrets.push(key["secret"].as_str().expect("text").to_owned());
    assert_eq!(secrets.len(), 7, "two passwords, four tokens and a key");

    server.signal("TERM");
    let lines = server.lines_until("stopped");
    let traced = lines.iter().filter(|line| line["level"] == "TRACE").count();
    assert!(traced > 100, "only {traced} lines are of that level");
    for line in lines.iter().map(Value::to_string) {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}

#[tokio::test]
async fn every_answer_has_a_line_for_those_who_ask_for_it() {
    let home = Home::new();
    let level = "log.level=off,sealjar=info,sealjar::access=debug";
    let trusted = "http.trusted_proxies=127.0.0.1";
    let mut server = home.start_with(&["--set", level, "--set", trusted], &[]);
    let long = format!("/{}", "x".repeat(300));
    for (path, status, shown) in [
        ("/auth/status?secret=1", 401, "/auth/status"),
        ("/auth/verify", 401, "/auth/verify"),
        ("/auth/verify/redirect", 401, "/auth/verify/redirect"),
        ("/auth/login", 200, "/auth/login"),
        ("/nowhere%0A", 404, "/nowhere%0A"),
        (&long, 404, &long[..256]),
    ] {
        let request = client().get(server.url(path)).header("x-forwarded-for", "203.0.113.9");
        assert_eq!(request.header("x-request-id", "one").send().await.expect("an answer").status(), status, "{path}");
        let line = server.wait_for("answered");
        assert_eq!((&line["target"], &line["level"]), (&json!("sealjar::access"), &json!("DEBUG")));
        let found = [&line["method"], &line["path"], &line["status"], &line["client"], &line["request_id"]];
        assert_eq!(found, [&json!("GET"), &json!(shown), &json!(status), &json!("203.0.113.0/24"), &json!("one")]);
        assert!(line["ms"].is_u64() && !line.to_string().contains("secret"), "{line}");
    }
    let method = reqwest::Method::from_bytes("M".repeat(20_000).as_bytes()).expect("a token");
    client().request(method, server.url("/auth/status")).send().await.expect("an answer");
    assert_eq!(server.wait_for("answered")["method"], "M".repeat(32));
}

#[test]
fn a_line_of_more_than_16_kib_is_cut_and_stays_json() {
    let home = Home::new();
    std::fs::write(home.path("sealjar.toml"), "").expect("writes");
    let mut server = home.start_with(&["--config", "sealjar.toml"], &[]);
    let long = format!("session.idle = \"{}\"\n", "x".repeat(20_000));
    std::fs::write(home.path("sealjar.toml"), long).expect("writes");
    let line = server.wait_for("the configuration cannot be used");
    assert!(line.to_string().len() <= 16 * 1024, "{line}");
    assert_eq!((&line["level"], &line["cut"]), (&json!("ERROR"), &json!(true)));
    let error = line["error"].as_str().expect("text");
    assert!(error.starts_with("setting session.idle") && error.ends_with(" [cut]"), "{error}");
}
