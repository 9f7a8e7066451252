//! Tests of the three verify routes: `/auth/verify` and the paths below it. A request here is the subrequest of a reverse proxy.
//!
//! `/auth/verify` and `/auth/verify/redirect` receive the facts of the client's request in header fields. Envoy sends the
//! client's host, method and path themselves, so `/auth/verify/envoy` reads them from the request. `tests/web` has tests with
//! real proxies.

mod forwarded;
mod hosts;
mod preflight;
mod redirects;
mod renewal;
mod rules;

use super::fixture::Site;
use super::response::{Response, Session};

const VERIFY_ROUTES: [&str; 3] = ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy"];
/// Identity headers of a response with status 200.
const IDENTITY: [&str; 9] = [
    "remote-user",
    "remote-name",
    "remote-groups",
    "remote-email",
    "remote-session-deadline",
    "x-auth-request-user",
    "x-auth-request-name",
    "x-auth-request-groups",
    "x-auth-request-email",
];
/// Settings with a trusted proxy and two public origins.
const TRUSTING: [&str; 2] =
    ["http.trusted_proxies=127.0.0.1", "http.public_origins=https://app.example.com,https://b.example.com"];
/// Host of Envoy's verify request. It is the host of the client's request.
const HOST: (&str, &str) = ("host", "app.example.com");
/// Host of the client's request, as other proxies send it.
const APP: (&str, &str) = ("x-forwarded-host", "app.example.com");
const NAVIGATION: (&str, &str) = ("sec-fetch-mode", "navigate");
const OTHER_SITE: (&str, &str) = ("origin", "https://evil.example");

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Starts a site behind a trusted proxy, and logs in on `app.example.com`.
async fn behind_proxy() -> (Site, Session) {
    let site = Site::with(&TRUSTING).await;
    let session = site.login_at("app.example.com", "alice").await;
    (site, session)
}

async fn send(site: &Site, method: &str, path: &str, cookie: &str, fields: Fields<'_>) -> Response {
    site.request(method, path).cookie(cookie).headers(fields).send().await
}

fn identity(response: &Response) -> Vec<Option<&str>> {
    IDENTITY.iter().map(|name| response.header(name)).collect()
}

#[tokio::test]
async fn every_200_has_all_identity_fields_even_empty_ones() {
    let site = Site::new().await;
    site.add_user("bob", &[]).await;
    site.sql("UPDATE account SET display_name = 'B\u{f6}b 100% \u{1f36f}' WHERE login_name = 'bob'").await;
    for (login, display_name, groups) in [("alice", "", "staff"), ("bob", "B%C3%B6b%20100%25%20%F0%9F%8D%AF", "")] {
        let session = site.login(login).await;
        for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
            let response = site.get(path).session(&session).send().await;
            assert_eq!((response.status, &*response.body), (200, "ok\n"), "{path}");
            let view = site.get("/auth/status").session(&session).send().await.json();
            let deadline = view["absolute_deadline"].to_string();
            let expected = [login, display_name, groups, "", &deadline, login, display_name, groups, ""];
            assert_eq!(identity(&response), expected.map(Some), "{path}");
            assert_eq!(response.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn every_verify_route_has_the_same_fields_on_its_200() {
    let site = Site::with(&["http.public_origins=https://app.example.com"]).await;
    let session = site.login_at("app.example.com", "alice").await;
    let mut names_by_path = Vec::new();
    for path in ["/auth/verify", "/auth/verify/-", "/auth/verify/redirect/-", "/auth/verify/envoy/-/x"] {
        let response = send(&site, "GET", path, &session.cookie(), &[HOST]).await;
        assert_eq!(response.status, 200, "{path}");
        let mut names: Vec<_> = response.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        names_by_path.push(names);
        for name in
            ["cross-origin-resource-policy", "x-content-type-options", "x-frame-options", "cache-control", "vary"]
        {
            assert!(response.header(name).is_some(), "{path} {name}");
        }
        for name in ["strict-transport-security", "content-security-policy"] {
            assert_eq!(response.header(name), None, "a browser does not receive this response");
        }
    }
    assert!(names_by_path.iter().all(|names| *names == names_by_path[0]), "{names_by_path:?}");
}

#[tokio::test]
async fn method_body_unknown_parameters_and_path_have_no_effect() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let large = "x".repeat(100_000);
    let paths = [
        "/auth/verify",
        "/auth/verify?x=1&Role=admin&max-age=1&role[]=admin",
        "/auth/verify/redirect?renew=x",
        "/auth/verify/-",
        "/auth/verify/role=staff/-?role=admin&max_age=0",
        "/auth/verify/redirect/role=staff/-?role=",
        "/auth/verify/envoy/-",
        "/auth/verify/envoy/-/",
        "/auth/verify/envoy/role=staff/-/auth/logout?role=admin",
        "/auth/verify/envoy/role=staff/-/%ff%00//x/-/role=admin",
        "/auth/verify/envoy/-/auth/verify/envoy/role=admin/-/",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "HEAD"] {
            for body in ["", "x=y", &large] {
                let request = site.request(method, path).session(&session).header("sec-fetch-site", "cross-site");
                let response = request.body("", body.to_owned()).send().await;
                assert_eq!(response.status, 200, "{method} {path} {}", body.len());
                assert!(identity(&response).iter().all(Option::is_some));
            }
            let response = site.request(method, path).send().await;
            assert_eq!(response.status, 401, "{method} {path}");
            assert!(identity(&response).iter().all(Option::is_none));
        }
    }
    assert_eq!(site.status(&session).await, "200");
}

/// Envoy sends the path unchanged. Many HTTP clients resolve dot segments before they send a request.
#[tokio::test]
async fn dot_segments_after_the_rules_are_not_resolved() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (path, verdict) in [
        ("role=staff/-/a/../../../auth/status", "200"),
        ("role=staff/-/../-/x", "200"),
        ("role=staff/-/%2e%2e/%2e%2e/x", "200"),
        ("role=admin/-/../../-/x", "403 forbidden"),
        ("role=admin/../-/x", "403 rule"),
    ] {
        let response = site.get(&format!("/auth/verify/envoy/{path}")).session(&session).send().await;
        assert_eq!(response.verdict(), verdict, "{path}");
    }
}
