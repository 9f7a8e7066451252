//! Log lines: the id of their request, the reasons of refusals, and the secrets that no line contains.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Home, PASSWORD, Response, Server, client, text};

/// Trace id in the `traceparent` header field.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Sends a login with a wrong password and this header field.
async fn failed_login(server: &Server<'_>, name: &str, value: &str) -> Response {
    let body = Server::login_body("alice", "wrong password");
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let post = client().post(server.url("/auth/login")).json(&body).header("traceparent", traceparent);
    Response::of(post.header(name, value).send().await.expect("a response")).await
}

#[tokio::test]
async fn the_request_id_is_in_the_log_lines_and_the_response() {
    let home = Home::new();
    for (trusted, name, value, is_used) in [
        ("127.0.0.1", "x-request-id", "proxy-7f3e", true),
        ("127.0.0.1", "x-request-id", "two words", false),
        ("127.0.0.1", "x-request-id", &*"x".repeat(65), false),
        ("127.0.0.1", "x-other", "x", false),
        ("192.0.2.1", "x-request-id", "client-7f3e", false),
    ] {
        let mut server = home.start_with(&["--set", &format!("http.trusted_proxies={trusted}")], &[]);
        let response = failed_login(&server, name, value).await;
        assert_eq!(response.verdict(), "401 credentials");
        let id = response.header("x-request-id").expect("an id");
        let event = server.event("sign-in-failed");
        assert_eq!(event["span"]["request_id"], id);
        assert_eq!(event["span"]["trace_id"], if trusted == "127.0.0.1" { json!(TRACE) } else { Value::Null });
        assert_eq!(id == value, is_used, "{id}");
        if !is_used {
            assert_eq!(id.len(), 16, "{id}");
            let again = failed_login(&server, name, value).await;
            assert_ne!(again.header("x-request-id").expect("an id"), id, "another request has another id");
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
        let response = Response::of(request.send().await.expect("a response")).await;
        assert_eq!((response.verdict(), response.header("x-request-id")), ("401 invalid".to_owned(), None), "{path}");
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
                let response = Response::of(request.send().await.expect("a response")).await;
                assert!([verdict, "303"].contains(&response.verdict().as_str()), "{}", response.verdict());
                let Some(session) = response.session else { continue };
                for path in ["/auth/status", "/auth/verify", "/auth/verify/-?role=a"] {
                    let request = client.get(server.url(path)).header("cookie", session.cookie());
                    request.send().await.expect("a response");
                }
                let request = client.post(server.url("/auth/logout")).header("cookie", session.cookie());
                assert_eq!(Response::of(request.send().await.expect("a response")).await.verdict(), "200");
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
    assert!(traced > 100, "only {traced} lines have the level TRACE");
    for line in lines.iter().map(Value::to_string) {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}

#[tokio::test]
async fn a_refusal_hidden_from_the_application_is_logged() {
    let home = Home::new();
    let settings = ["--public-origin", "https://app.example", "--set", "http.trusted_proxies=127.0.0.1"];
    let mut server = home.start_with(&settings, &[]);
    let body = Server::login_body("alice", PASSWORD);
    let post = client().post(server.url("/auth/login")).header("host", "app.example").json(&body);
    let session = Response::of(post.send().await.expect("a response")).await.session.expect("a session");
    let get = |path: &str, fields: &[(&str, &str)]| {
        let request = client().get(server.url(path)).header("host", "app.example").header("cookie", session.cookie());
        let fields =
            [&[("x-forwarded-host", "app.example"), ("x-forwarded-uri", "/reports?secret=1")], fields].concat();
        let request = fields.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        async move { request.send().await.expect("a response").status().as_u16() }
    };
    assert_eq!(get("/auth/verify/role=admin/-", &[("x-forwarded-method", "GET")]).await, 403);
    let posted = [("x-forwarded-method", "POST"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(get("/auth/verify/csrf=1/-", &posted).await, 403);
    let line = server.wait_for("refused a request with 403 forbidden");
    assert!(line["sub"].is_string() && line["asked"] == "/auth/verify/role=admin/-", "{line}");
    let request_fields =
        |line: &Value| [&line["level"], &line["host"], &line["path"], &line["method"]].map(Value::clone);
    assert_eq!(request_fields(&line), ["INFO", "https://app.example", "/reports", "GET"]);
    let line =
        server.wait_for("refused a request with 403 cross-site: another site may have sent it to the application");
    assert_eq!(request_fields(&line), ["INFO", "https://app.example", "/reports", "POST"]);
    assert_eq!((&line["origin"], &line["sec_fetch_site"]), (&json!("https://evil.example"), &json!("cross-site")));
    let request = client().post(server.url("/auth/logout")).header("host", "app.example");
    let request = request.header("origin", format!("https://evil.example/{}", "x".repeat(500)));
    assert_eq!(request.send().await.expect("a response").status(), 403);
    let line = server.wait_for("refused a request with 403 cross-site: another site may have sent it");
    assert_eq!((&line["path"], line["origin"].as_str().map(str::len)), (&json!("/auth/logout"), Some(128)));
}

#[tokio::test]
async fn an_untrusted_or_incomplete_proxy_is_logged() {
    let home = Home::new();
    let mut server = home.start();
    for field in ["x-forwarded-for", "x-original-method"] {
        client().get(server.url("/auth/login")).header(field, "x").send().await.expect("a response");
    }
    let line = server.wait_for("a proxy that is not trusted sent X-Forwarded or X-Original fields");
    assert_eq!((&line["level"], &line["peer"]), (&json!("WARN"), &json!("127.0.0.1")));
    drop(server);
    let mut server = home.start();
    client().get(server.url("/auth/verify")).header("x-forwarded-host", "x").send().await.expect("a response");
    server.wait_for("a proxy that is not trusted sent X-Forwarded or X-Original fields");
    drop(server);
    let mut server = home.start_with(&["--set", "http.trusted_proxies=127.0.0.1"], &[]);
    client().get(server.url("/auth/verify")).send().await.expect("a response");
    let line = server.wait_for("a trusted proxy did not send the method of the client's request");
    assert_eq!((&line["level"], &line["peer"]), (&json!("WARN"), &json!("127.0.0.1")));
}

#[test]
fn an_unused_password_file_is_reported() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let file = home.path("pgpass");
    std::fs::write(&file, "*:*:*:*:hunter2").expect("writes");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).expect("changes");
    let store = "postgres://sealjar@127.0.0.1:1/sealjar";
    for (command, part) in
        [(&["serve"][..], "the password file of PostgreSQL is not used"), (&["doctor", "--json"], "store.password")]
    {
        let mut command = home.command(&[command, &["--store", store]].concat());
        let output = command.env("PGPASSFILE", &file).env_remove("PGPASSWORD").output().expect("runs");
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(
            printed.contains(part) && printed.contains("its mode is 0440") && !printed.contains("hunter2"),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn the_access_log_has_a_line_for_every_response() {
    let home = Home::new();
    let level = "log.level=off,sealjar=info,sealjar::access=debug";
    let trusted = "http.trusted_proxies=127.0.0.1";
    let mut server = home.start_with(&["--set", level, "--set", trusted], &[]);
    let long = format!("/{}", "x".repeat(300));
    for (path, status, logged_path) in [
        ("/auth/status?secret=1", 401, "/auth/status"),
        ("/auth/verify", 401, "/auth/verify"),
        ("/auth/verify/redirect", 401, "/auth/verify/redirect"),
        ("/auth/login", 200, "/auth/login"),
        ("/nowhere%0A", 404, "/nowhere%0A"),
        (&long, 404, &long[..256]),
    ] {
        let request = client().get(server.url(path)).header("x-forwarded-for", "203.0.113.9");
        assert_eq!(request.header("x-request-id", "one").send().await.expect("a response").status(), status, "{path}");
        let line = server.wait_for("answered");
        assert_eq!((&line["target"], &line["level"]), (&json!("sealjar::access"), &json!("DEBUG")));
        let fields = [&line["method"], &line["path"], &line["status"], &line["client"], &line["request_id"]];
        assert_eq!(
            fields,
            [&json!("GET"), &json!(logged_path), &json!(status), &json!("203.0.113.0/24"), &json!("one")]
        );
        assert!(line["ms"].is_u64() && !line.to_string().contains("secret"), "{line}");
    }
    let method = reqwest::Method::from_bytes("M".repeat(20_000).as_bytes()).expect("a token");
    client().request(method, server.url("/auth/status")).send().await.expect("a response");
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
