//! `/auth/verify` over real connections, with its log lines and metrics. `tests/routes/verify` tests the rules.

use crate::doctor::doctor;
use crate::harness::{Home, PASSWORD, Response, Server, Session, client};

/// `Host` field of a verification request.
const HOST: (&str, &str) = ("host", "app.example.com");
/// Host that the client requested from the proxy.
const APP: (&str, &str) = ("x-forwarded-host", "app.example.com");

fn home_behind_proxy() -> Home {
    let origins = "http.public_origins=https://app.example.com,https://b.example.com";
    Home::with_settings(&["http.trusted_proxies=127.0.0.1", origins])
}

async fn log_in(server: &Server<'_>) -> Session {
    let body = Server::login_body("alice", PASSWORD);
    let request = client().post(server.url("/auth/login")).header(HOST.0, HOST.1).json(&body);
    Session::of(request.send().await.expect("a response").headers()).expect("a session")
}

async fn send(server: &Server<'_>, method: &str, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Response {
    let mut request = client().request(method.parse().expect("a method"), server.url(path)).header("cookie", cookie);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Response::of(request.send().await.expect("a response")).await
}

#[tokio::test]
async fn answers_every_method_and_body_on_every_form_of_the_path() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let big = "x".repeat(100_000);
    for path in ["/auth/verify", "/auth/verify/redirect/role=staff/-", "/auth/verify/envoy/-/auth/../%ff//x"] {
        for method in ["GET", "POST", "OPTIONS", "PROPFIND", "HEAD"] {
            for body in ["", &big] {
                let method: reqwest::Method = method.parse().expect("a method");
                let request = client().request(method.clone(), server.url(path)).header("cookie", session.cookie());
                let response = Response::of(request.body(body.to_owned()).send().await.expect("a response")).await;
                let expected = if method == "HEAD" { "" } else { "ok\n" };
                assert_eq!((response.status, &*response.body), (200, expected), "{method} {path} {}", body.len());
                assert_eq!(response.header("remote-user"), Some("alice"));
            }
            assert_eq!(send(&server, method, path, "", &[]).await.status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_segment_and_an_unknown_host_are_in_the_log() {
    let home = home_behind_proxy();
    let mut server = home.start();
    let session = log_in(&server).await;
    let response = send(&server, "GET", "/auth/verify/roles=admin/-?secret=1", &session.cookie(), &[HOST, APP]).await;
    assert_eq!(response.verdict(), "403 rule");
    let line = server.wait_for("verify request refused: invalid rules");
    assert_eq!(line["path"], "/auth/verify/roles=admin/-", "without the query, which may belong to the client");
    assert_eq!(server.metric("sealjar_unreadable_rules_total").await, 1.0);
    doctor(&home, &["--admin-listen", &server.admin]).assert_has(
        "server.rules",
        "warning",
        "the server's log has its path",
    );
    let response = send(&server, "GET", "/auth/verify/-", &session.cookie(), &[("host", "other.example.com")]).await;
    assert_eq!(response.verdict(), "421 misdirected");
    assert_eq!(server.wait_for("verify request refused: its host is not served")["host"], "other.example.com");
}

#[tokio::test]
async fn misspelt_rules_of_a_query_are_counted_and_shown() {
    let home = home_behind_proxy();
    let server = home.start();
    let session = log_in(&server).await;
    let admin = server.admin.clone();
    let run_doctor = || doctor(&home, &["--admin-listen", &admin]);
    let verify = async |path: &str| {
        assert_eq!(send(&server, "GET", path, &session.cookie(), &[HOST, APP]).await.status, 200, "{path}");
    };
    verify("/auth/verify?role=staff&max_age=900&q=1&page=2&utm_source=x&redirect=y").await;
    verify("/auth/verify/-?q=1").await;
    assert_eq!(run_doctor().levels("server.rules"), ["ok"]);
    verify("/auth/verify?roles=admin").await;
    // If the path has rules, the query is not read.
    verify("/auth/verify/-?max_age=60").await;
    verify("/auth/verify/redirect?csfr=1&preflight=1&role[]=x").await;
    for (rule, count) in [("role", 2.0), ("max_age", 1.0), ("csrf", 1.0), ("renew", 0.0), ("preflight", 1.0)] {
        let name = format!("sealjar_misspelt_rules_total{{rule=\"{rule}\"}}");
        assert_eq!(server.metric(&name).await, count, "{rule}");
    }
    run_doctor().assert_has("server.rules", "warning", "/auth/verify/role=admin/-");
    // Only a limited number of parameters of a query is inspected.
    let many = "roles=x&".repeat(1000);
    verify(&format!("/auth/verify?{many}")).await;
    assert_eq!(server.metric("sealjar_misspelt_rules_total{rule=\"role\"}").await, 18.0);
}

#[tokio::test]
async fn redirects_and_preflights_are_not_counted_as_live() {
    let home = home_behind_proxy();
    let server = home.start();
    let navigation = [HOST, APP, ("sec-fetch-mode", "navigate")];
    for path in ["/auth/verify/redirect", "/auth/verify/redirect/-", "/auth/verify/envoy/-/x", "/protected"] {
        assert_eq!(send(&server, "GET", path, "", &navigation).await.status, 302, "{path}");
    }
    let preflight = [
        HOST,
        APP,
        ("origin", "https://evil.example"),
        ("access-control-request-method", "DELETE"),
        ("x-forwarded-method", "OPTIONS"),
    ];
    for path in
        ["/auth/verify/preflight=1/-", "/auth/verify/redirect/preflight=1/-", "/auth/verify/envoy/preflight=1/-"]
    {
        assert_eq!(send(&server, "OPTIONS", path, "", &preflight).await.status, 200, "{path}");
    }
    for (outcome, count) in [("missing", 4.0), ("preflight", 3.0), ("live", 0.0)] {
        let name = format!("sealjar_verifications_total{{outcome=\"{outcome}\"}}");
        assert_eq!(server.metric(&name).await, count, "{outcome}");
    }
}
