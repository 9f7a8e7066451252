//! `GET /auth/status` and `GET /protected`.

use serde_json::json;

use crate::harness::{Home, Server, Session, client};

#[tokio::test]
async fn shows_the_live_session_and_refuses_without_one() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let view = server.get("/auth/status", &session.cookie()).await.json();
    assert_eq!(view["login_name"], "alice");
    assert_eq!(
        view["idle_deadline"].as_u64().expect("seconds") - view["authenticated_at"].as_u64().expect("seconds"),
        1800
    );
    let sample = server.get("/protected", &session.cookie()).await;
    assert_eq!((sample.status, &sample.json()["login_name"]), (200, &json!("alice")));
    for path in ["/auth/status", "/protected"] {
        let refusal = server.get(path, "other=1").await;
        assert_eq!(refusal.verdict(), "401 missing");
        let challenge = refusal.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("cookie-name=\"__Host-sealjar\""), "{challenge}");
        assert!(refusal.header("set-cookie").is_none(), "a 401 never touches the cookie");
    }
}

#[tokio::test]
async fn answers_head_like_get_without_a_body() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    for (cookie, status) in [(session.cookie(), 200), ("x=y".to_owned(), 401)] {
        for path in ["/auth/status", "/protected"] {
            let response = client().head(server.url(path)).header("cookie", &cookie).send().await.expect("an answer");
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.text().await.expect("a body"), "");
        }
    }
}

#[tokio::test]
async fn renews_once_a_tenth_of_the_idle_time_has_gone_with_the_same_sid_and_a_later_deadline() {
    let home = Home::with_settings(&["session.idle=10s"]);
    let server = home.start();
    let session = server.login("alice").await;
    let first = server.get("/auth/status", &session.cookie()).await;
    assert!(first.session.is_none(), "not at once");
    let (renewed, view) = first_renewal(&server, &session).await;
    let first = first.json();
    assert_eq!(view["sid"], first["sid"]);
    assert_eq!(view["absolute_deadline"], first["absolute_deadline"]);
    assert!(view["idle_deadline"].as_u64() > first["idle_deadline"].as_u64());
    assert!(renewed != session);
    assert_eq!(server.get("/auth/status", &renewed.cookie()).await.json()["idle_deadline"], view["idle_deadline"]);
    assert_eq!(server.logout(&renewed).await, "200");
    assert_eq!(server.status(&session).await, "401 revoked", "both tokens are one session");
}

/// Uses a session until the server renews it.
async fn first_renewal(server: &Server<'_>, session: &Session) -> (Session, serde_json::Value) {
    loop {
        let answer = server.get("/auth/status", &session.cookie()).await;
        assert_eq!(answer.verdict(), "200", "renewal comes long before the deadline");
        if let Some(renewed) = answer.session.clone() {
            return (renewed, answer.json());
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_with_allow_and_other_paths_404() {
    let home = Home::new();
    let server = home.start();
    let cases = [
        ("DELETE", "/auth/login", "405 method", Some("GET, HEAD, POST")),
        ("GET", "/auth/logout", "405 method", Some("POST")),
        ("GET", "/auth/logout/all", "405 method", Some("POST")),
        ("PUT", "/auth/status", "405 method", Some("GET, HEAD")),
        ("OPTIONS", "/protected", "405 method", Some("GET, HEAD")),
        ("GET", "/", "404 not-found", None),
        ("GET", "/auth", "404 not-found", None),
        ("GET", "/AUTH/status", "404 not-found", None),
        ("GET", "/healthz", "404 not-found", None),
    ];
    for (method, path, verdict, allow) in cases {
        let method = method.parse().expect("a method");
        let response = client().request(method, server.url(path)).send().await.expect("an answer");
        let answer = crate::harness::Answer::of(response).await;
        assert_eq!(answer.verdict(), verdict, "{path}");
        let mut allowed: Vec<_> = answer.header("allow").into_iter().flat_map(|value| value.split(", ")).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(", "), allow.unwrap_or_default(), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}
