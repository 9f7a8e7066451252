//! Tests of the hosts on which a session is valid, and of the hosts that a verify request may name.

use super::{Fields, TRUSTING, behind_proxy, send};
use crate::routes::fixture::{PASSWORD, Site, login_body};
use crate::routes::response::Response;

async fn visit(site: &Site, cookie: &str, host: &str) -> Response {
    let fields: Fields<'_> = &[("x-forwarded-host", host), ("x-forwarded-uri", "/x"), ("accept", "text/html")];
    send(site, "GET", "/auth/verify/redirect", cookie, fields).await
}

#[tokio::test]
async fn a_session_of_one_host_is_invalid_on_other_hosts() {
    let (site, session) = behind_proxy().await;
    assert_eq!(visit(&site, &session.cookie(), "app.example.com").await.status, 200);
    assert_eq!(visit(&site, &session.cookie(), "b.example.com").await.status, 302);
}

#[tokio::test]
async fn a_domain_session_is_valid_on_every_host_of_the_domain() {
    let (host_only_site, session) = behind_proxy().await;
    let site = host_only_site.another_server_with(&[TRUSTING[0], TRUSTING[1], "cookie.domain=example.com"]).await;
    let login = site.post("/auth/login").header("host", "app.example.com").json(&login_body("alice", PASSWORD));
    let response = login.send().await;
    let (cookie, attributes) = response.header("set-cookie").and_then(|set| set.split_once(';')).expect("attributes");
    assert!(cookie.starts_with("__Secure-sealjar="));
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax; Domain=example.com");
    for host in ["app.example.com", "b.example.com", "c.example.com", "example.com"] {
        assert_eq!(visit(&site, cookie, host).await.status, 200, "{host}");
    }
    assert_eq!(visit(&site, cookie, "c.example.com.evil.example").await.status, 403);
    let renamed = cookie.replace("__Secure-", "__Host-");
    assert_eq!(visit(&site, &renamed, "app.example.com").await.status, 302);
    assert_eq!(visit(&site, &session.cookie(), "app.example.com").await.status, 302);
}

/// A listed host has its own login page. Other hosts below the domain use the login page of the first listed host. After
/// the login, the browser returns to the other host.
#[tokio::test]
async fn an_unlisted_host_of_the_domain_logs_in_at_the_first_host() {
    let site = Site::with(&[TRUSTING[0], TRUSTING[1], "cookie.domain=example.com"]).await;
    for (host, login_url) in [
        ("b.example.com", "https://b.example.com/auth/login?rd=%2Fx"),
        ("c.example.com:8443", "https://app.example.com/auth/login?rd=https%3A%2F%2Fc.example.com%3A8443%2Fx"),
    ] {
        let response = visit(&site, "", host).await;
        assert_eq!((response.status, response.header("location")), (302, Some(login_url)));
    }
    let page = site.get("/auth/login?rd=https%3A%2F%2Fc.example.com%3A8443%2Fx").header("host", "app.example.com");
    let page = page.send().await;
    assert_eq!(page.hidden("rd"), "https://c.example.com:8443/x");
}

#[tokio::test]
async fn hosts_of_verification_requests_can_be_configured() {
    let site = Site::with(&["http.verify_authorities=sealjar:8080"]).await;
    let session = site.login("alice").await;
    for (host, verdict) in [
        ("127.0.0.1", "200"),
        ("localhost", "401 invalid"),
        ("sealjar:8080", "403 forwarded"),
        ("sealjar", "421 misdirected"),
        ("app.example.com", "421 misdirected"),
    ] {
        let response = send(&site, "GET", "/auth/verify", &session.cookie(), &[("host", host)]).await;
        assert_eq!(response.verdict(), verdict, "{host}");
    }
    let status = site.get("/auth/status").header("host", "sealjar:8080").send().await;
    assert_eq!(status.status, 421, "public routes accept only public hosts");
}
