//! Tests of `GET /auth/status` and `GET /protected`.

use std::time::Duration;

use serde_json::json;

use super::fixture::Site;

#[tokio::test]
async fn shows_the_live_session_and_refuses_without_one() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let view = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(view["login_name"], "alice");
    let seconds = |name: &str| view[name].as_u64().expect("seconds");
    assert_eq!(seconds("idle_deadline") - seconds("authenticated_at"), 1800);
    let sample = site.get("/protected").session(&session).send().await;
    assert_eq!((sample.status, &sample.json()["login_name"]), (200, &json!("alice")));
    for path in ["/auth/status", "/protected"] {
        let refusal = site.get(path).cookie("other=1").send().await;
        assert_eq!(refusal.verdict(), "401 missing");
        let challenge = refusal.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("cookie-name=\"__Host-sealjar\""), "{challenge}");
        assert!(refusal.header("set-cookie").is_none(), "a 401 never changes the cookie");
    }
}

#[tokio::test]
async fn renews_five_minutes_after_the_login() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    site.advance(Duration::from_secs(299));
    let first = site.get("/auth/status").session(&session).send().await;
    assert!(first.session.is_none(), "the session is not yet due for renewal");
    site.advance(Duration::from_secs(1));
    assert!(site.head("/auth/status").session(&session).send().await.session.is_some(), "a HEAD request also renews");
    let second = site.get("/auth/status").session(&session).send().await;
    let renewed = second.session.clone().expect("a renewed session");
    let first = first.json();
    let view = second.json();
    assert_eq!((&view["sid"], &view["absolute_deadline"]), (&first["sid"], &first["absolute_deadline"]));
    let idle = |view: &serde_json::Value| view["idle_deadline"].as_u64().expect("seconds");
    assert_eq!(idle(&view) - idle(&first), 300);
    let again = site.get("/auth/status").session(&renewed).send().await;
    assert_eq!(again.json()["idle_deadline"], view["idle_deadline"]);
    assert_eq!(site.logout(&renewed).await, "200");
    assert_eq!(site.status(&session).await, "401 revoked", "both tokens belong to one session");
}

#[tokio::test]
async fn refuses_a_session_if_it_is_expired_or_the_list_is_stale() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    site.advance_unsynced(Duration::from_secs(11));
    assert_eq!(site.status(&session).await, "503 stale");
    site.advance(Duration::from_secs(1788));
    assert_eq!(site.status(&session).await, "200");
    site.advance(Duration::from_secs(1));
    assert_eq!(site.status(&session).await, "401 expired");
}

#[tokio::test]
async fn responds_to_head_like_get_without_a_body() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (cookie, status) in [(session.cookie(), 200), ("x=y".to_owned(), 401)] {
        for path in ["/auth/status", "/protected"] {
            let response = site.head(path).cookie(&cookie).send().await;
            assert_eq!((response.status, &*response.body), (status, ""), "{path}");
            assert_eq!(response.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_with_allow_and_other_paths_404() {
    let site = Site::new().await;
    for (method, path, verdict, allow) in [
        ("DELETE", "/auth/login", "405 method", "GET, HEAD, POST"),
        ("GET", "/auth/logout", "405 method", "POST"),
        ("GET", "/auth/logout/all", "405 method", "POST"),
        ("PUT", "/auth/status", "405 method", "GET, HEAD"),
        ("OPTIONS", "/protected", "405 method", "GET, HEAD"),
        ("POST", "/", "405 method", "GET, HEAD"),
        ("GET", "/AUTH", "404 not-found", ""),
        ("GET", "/AUTH/status", "404 not-found", ""),
        ("GET", "/healthz", "404 not-found", ""),
    ] {
        let response = site.request(method, path).send().await;
        assert_eq!(response.verdict(), verdict, "{path}");
        let mut allowed: Vec<_> = response.header("allow").into_iter().flat_map(|value| value.split(", ")).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(", "), allow, "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}
