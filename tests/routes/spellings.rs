//! Tests that a route has exactly one spelling, one handler and one set of header fields.

use std::collections::BTreeSet;

use super::fixture::Site;
use super::response::{Response, Session};

/// Path of every public route. A test in `src/http.rs` checks that the list is complete.
pub(crate) const ROUTES: [&str; 21] = [
    "/",
    "/.well-known/change-password",
    "/auth",
    "/auth/",
    "/auth/login",
    "/auth/logout",
    "/auth/logout/all",
    "/auth/password",
    "/auth/reauthenticate",
    "/auth/renew",
    "/auth/status",
    "/auth/icon.svg",
    "/auth/logo",
    "/auth/style.css",
    "/openapi.json",
    "/protected",
    "/auth/verify",
    "/auth/verify/-",
    "/auth/verify/redirect",
    "/auth/verify/redirect/-",
    "/auth/verify/envoy/-",
];

/// Returns other spellings of a path that some servers and proxies treat as the same path.
fn misspelt(route: &str) -> Vec<String> {
    let (start, end) = route.rsplit_once('/').expect("a path with a slash");
    let in_other_letters = route.as_bytes().get(1).copied().map(|first| {
        let upper = char::from(first).to_ascii_uppercase();
        [format!("/%{first:02x}{}", &route[2..]), format!("/{upper}{}", &route[2..])]
    });
    let mut all = vec![
        format!("/{route}"),
        format!("//{route}"),
        format!("/.{route}"),
        format!("/x/..{route}"),
        format!("/%2e{route}"),
        format!("/;x{route}"),
        format!("/%2f{}", &route[1..]),
        format!("{start}//{end}").replacen("//", "///", usize::from(start.is_empty())),
        format!("/auth/..{route}"),
        format!("\\{}", &route[1..]).replace('\\', "/%5c"),
    ];
    all.extend(in_other_letters.into_iter().flatten());
    all.retain(|path| !ROUTES.contains(&&**path));
    all
}

/// Returns the path with suffixes that no route accepts. Not for `/auth/verify/`, where a suffix is refused as an invalid rule.
fn with_suffixes(route: &str) -> Vec<String> {
    ["/", "//", "/.", "/..", ";", ";x=y", "%20", "%00", "%2f", ".", "/index.html", "%3f"]
        .map(|end| format!("{route}{end}"))
        .into_iter()
        .filter(|path| !ROUTES.contains(&&**path))
        .collect()
}

/// Sends requests to a path with different methods, bodies and HTTP versions. Returns the responses with a description of each.
async fn request_variants(site: &Site, session: &Session, path: &str) -> Vec<(&'static str, Response)> {
    let with_method = |method: &str| site.request(method, path).session(session);
    let mut responses = Vec::new();
    for (variant, request) in [
        ("GET", with_method("GET")),
        ("HEAD", with_method("HEAD")),
        ("GET with a body", with_method("GET").body("text/plain", "x=y")),
        ("GET over HTTP/2", with_method("GET").http2()),
        ("HEAD over HTTP/2", with_method("HEAD").http2()),
        ("GET with a body over HTTP/2", with_method("GET").http2().body("text/plain", "x=y")),
        ("POST", with_method("POST")),
        ("POST with a body", with_method("POST").body("application/json", "{}")),
        ("OPTIONS", with_method("OPTIONS")),
        ("POST over HTTP/2", with_method("POST").http2().body("application/json", "{}")),
    ] {
        responses.push((variant, request.send().await));
    }
    responses
}

#[tokio::test]
async fn another_spelling_of_a_route_is_not_found() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for route in ROUTES {
        let is_verify = route.starts_with("/auth/verify");
        let spellings = [misspelt(route), if is_verify { Vec::new() } else { with_suffixes(route) }].concat();
        assert!(spellings.len() >= 10);
        for path in spellings {
            for (variant, response) in request_variants(&site, &session, &path).await {
                let is_bad_rule = path.starts_with("/auth/verify/") && response.status == 403;
                assert!(response.status == 404 || is_bad_rule, "{variant} {path} {}", response.status);
                assert!(response.session.is_none(), "{variant} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for path in
        ["/healthz", "/.well-known", "/.well-known/", "/auth/verifyx", "/auth/verify-", "/index.html", "/favicon.ico"]
    {
        for (variant, response) in request_variants(&site, &session, path).await {
            assert_eq!(response.status, 404, "{variant} {path}");
        }
    }
    assert_eq!(site.request("OPTIONS", "*").send().await.verdict(), "404 not-found");
}

/// The parser of the request target removes the fragment, so no later code receives it. `docs/reference/http.md` warns of this.
#[tokio::test]
async fn a_fragment_is_dropped_before_the_path_is_compared() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for path in ["/auth/status#", "/auth/status#x", "/auth/status?#/../x", "/auth/verify/envoy/-/x#/y"] {
        assert_eq!(site.get(path).session(&session).send().await.verdict(), "200", "{path}");
    }
    for path in ["/auth/status/#", "//auth/status#x", "/auth/%73tatus#"] {
        assert_eq!(site.get(path).session(&session).send().await.verdict(), "404 not-found", "{path}");
    }
}

#[tokio::test]
async fn segments_after_a_verify_route_are_parsed_as_rules() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for path in ["/auth/verify/", "/auth/verify//", "/auth/verify/x", "/auth/verify/-/", "/auth/verify/redirect/-/x"] {
        assert_eq!(site.get(path).session(&session).send().await.verdict(), "403 rule", "{path}");
    }
    for path in ["/auth/verify/envoy/-/", "/auth/verify/envoy/-//x/../%2e;y", "/auth/verify/envoy/-/auth/login"] {
        assert_eq!(site.get(path).session(&session).send().await.verdict(), "200", "{path}");
    }
}

#[tokio::test]
async fn a_route_always_has_the_same_header_fields() {
    let site = Site::new().await;
    for route in ROUTES {
        let session = site.login("alice").await;
        let responses = request_variants(&site, &session, route).await;
        let (_, first) = &responses[0];
        let names =
            |response: &Response| -> BTreeSet<String> { response.headers.keys().map(ToString::to_string).collect() };
        for (variant, response) in
            responses.iter().filter(|(variant, _)| !variant.starts_with("POST") && *variant != "OPTIONS")
        {
            assert_eq!((response.status, names(response)), (first.status, names(first)), "{variant} {route}");
            assert!(!variant.starts_with("HEAD") || response.body.is_empty(), "{variant} {route}");
        }
    }
}
