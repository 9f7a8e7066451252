//! `/auth/verify`, in its three shapes, as a proxy asks it. Real proxies are in `tests/web`.

mod forwarded;
mod hosts;
mod preflight;
mod redirects;
mod renewal;
mod rules;

use super::answer::{Answer, Session};
use super::fixture::Site;

const SHAPES: [&str; 3] = ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy"];
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
const TRUSTING: [&str; 2] =
    ["http.trusted_proxies=127.0.0.1", "http.public_origins=https://app.example.com,https://b.example.com"];
/// Envoy's question has the visitor's own host.
const HOST: (&str, &str) = ("host", "app.example.com");
const APP: (&str, &str) = ("x-forwarded-host", "app.example.com");
const NAVIGATION: (&str, &str) = ("sec-fetch-mode", "navigate");
const OTHER_SITE: (&str, &str) = ("origin", "https://evil.example");

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Returns a site behind a proxy, and a session on `app.example.com`.
async fn behind_proxy() -> (Site, Session) {
    let site = Site::with(&TRUSTING).await;
    let session = site.login_at("app.example.com", "alice").await;
    (site, session)
}

async fn ask(site: &Site, method: &str, path: &str, cookie: &str, fields: Fields<'_>) -> Answer {
    site.request(method, path).cookie(cookie).headers(fields).send().await
}

fn identity(answer: &Answer) -> Vec<Option<&str>> {
    IDENTITY.iter().map(|name| answer.header(name)).collect()
}

#[tokio::test]
async fn every_200_has_all_identity_fields_even_empty_ones() {
    let site = Site::new().await;
    site.add_user("bob", &[]).await;
    site.sql("UPDATE account SET display_name = 'B\u{f6}b 100% \u{1f36f}' WHERE login_name = 'bob'").await;
    for (login, display_name, groups) in [("alice", "", "staff"), ("bob", "B%C3%B6b%20100%25%20%F0%9F%8D%AF", "")] {
        let session = site.login(login).await;
        for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
            let answer = site.get(path).session(&session).send().await;
            assert_eq!((answer.status, &*answer.body), (200, "ok\n"), "{path}");
            let view = site.get("/auth/status").session(&session).send().await.json();
            let deadline = view["absolute_deadline"].to_string();
            let expected = [login, display_name, groups, "", &deadline, login, display_name, groups, ""];
            assert_eq!(identity(&answer), expected.map(Some), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn every_shape_has_the_same_fields_on_its_200() {
    let site = Site::with(&["http.public_origins=https://app.example.com"]).await;
    let session = site.login_at("app.example.com", "alice").await;
    let mut seen = Vec::new();
    for path in ["/auth/verify", "/auth/verify/-", "/auth/verify/redirect/-", "/auth/verify/envoy/-/x"] {
        let answer = ask(&site, "GET", path, &session.cookie(), &[HOST]).await;
        assert_eq!(answer.status, 200, "{path}");
        let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        seen.push(names);
        for name in
            ["cross-origin-resource-policy", "x-content-type-options", "x-frame-options", "cache-control", "vary"]
        {
            assert!(answer.header(name).is_some(), "{path} {name}");
        }
        for name in ["strict-transport-security", "content-security-policy"] {
            assert_eq!(answer.header(name), None, "only a proxy reads it");
        }
    }
    assert!(seen.iter().all(|names| *names == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn method_body_unknown_parameter_and_rest_change_nothing() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let big = "x".repeat(100_000);
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
            for body in ["", "x=y", &big] {
                let request = site.request(method, path).session(&session).header("sec-fetch-site", "cross-site");
                let answer = request.body("", body.to_owned()).send().await;
                assert_eq!(answer.status, 200, "{method} {path} {}", body.len());
                assert!(identity(&answer).iter().all(Option::is_some));
            }
            let answer = site.request(method, path).send().await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(identity(&answer).iter().all(Option::is_none));
        }
    }
    assert_eq!(site.status(&session).await, "200");
}

/// As Envoy sends it: clients of another kind tidy the path up.
#[tokio::test]
async fn dot_segments_of_the_path_behind_do_not_climb_out() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (path, verdict) in [
        ("role=staff/-/a/../../../auth/status", "200"),
        ("role=staff/-/../-/x", "200"),
        ("role=staff/-/%2e%2e/%2e%2e/x", "200"),
        ("role=admin/-/../../-/x", "403 forbidden"),
        ("role=admin/../-/x", "403 rule"),
    ] {
        let answer = site.get(&format!("/auth/verify/envoy/{path}")).session(&session).send().await;
        assert_eq!(answer.verdict(), verdict, "{path}");
    }
}
