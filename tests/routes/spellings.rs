//! A route has one spelling, one handler and one set of header fields.

use std::collections::BTreeSet;

use super::answer::{Answer, Session};
use super::fixture::Site;
use super::request::Ask;

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

/// Other spellings of a path that some servers and proxies take for the same.
fn misspelt(route: &str) -> Vec<String> {
    let (start, end) = route.rsplit_once('/').expect("it has a slash");
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

/// More of them, for paths that nothing may follow. Behind `/auth/verify/` there are rules, and what is no rule is refused as such.
fn followed(route: &str) -> Vec<String> {
    ["/", "//", "/.", "/..", ";", ";x=y", "%20", "%00", "%2f", ".", "/index.html", "%3f"]
        .map(|end| format!("{route}{end}"))
        .into_iter()
        .filter(|path| !ROUTES.contains(&&**path))
        .collect()
}

async fn in_every_way(site: &Site, session: &Session, path: &str) -> Vec<(&'static str, Answer)> {
    let ask = |method: &str| site.request(method, path).session(session);
    let mut answers = Vec::new();
    for (way, request) in [
        ("GET", ask("GET")),
        ("HEAD", ask("HEAD")),
        ("GET with a body", ask("GET").body("text/plain", "x=y")),
        ("GET over HTTP/2", ask("GET").http2()),
        ("HEAD over HTTP/2", ask("HEAD").http2()),
        ("GET with a body over HTTP/2", ask("GET").http2().body("text/plain", "x=y")),
        ("POST", ask("POST")),
        ("POST with a body", ask("POST").body("application/json", "{}")),
        ("OPTIONS", ask("OPTIONS")),
        ("POST over HTTP/2", ask("POST").http2().body("application/json", "{}")),
    ] {
        answers.push((way, Ask::send(request).await));
    }
    answers
}

#[tokio::test]
async fn another_spelling_of_a_route_is_nothing() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for route in ROUTES {
        let is_verify = route.starts_with("/auth/verify");
        let spellings = [misspelt(route), if is_verify { Vec::new() } else { followed(route) }].concat();
        assert!(spellings.len() >= 10);
        for path in spellings {
            for (way, answer) in in_every_way(&site, &session, &path).await {
                let is_bad_rule = path.starts_with("/auth/verify/") && answer.status == 403;
                assert!(answer.status == 404 || is_bad_rule, "{way} {path} {}", answer.status);
                assert!(answer.session.is_none(), "{way} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_that_no_route_has_is_nothing() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for path in
        ["/healthz", "/.well-known", "/.well-known/", "/auth/verifyx", "/auth/verify-", "/index.html", "/favicon.ico"]
    {
        for (way, answer) in in_every_way(&site, &session, path).await {
            assert_eq!(answer.status, 404, "{way} {path}");
        }
    }
    assert_eq!(site.request("OPTIONS", "*").send().await.verdict(), "404 not-found");
}

/// `docs/reference/http.md` warns of this: nothing behind the parser of a target can see a fragment.
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
async fn what_follows_a_verify_route_is_a_rule() {
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
async fn a_route_has_one_set_of_fields() {
    let site = Site::new().await;
    for route in ROUTES {
        let session = site.login("alice").await;
        let answers = in_every_way(&site, &session, route).await;
        let (_, first) = &answers[0];
        let names = |answer: &Answer| -> BTreeSet<String> { answer.headers.keys().map(ToString::to_string).collect() };
        for (way, answer) in answers.iter().filter(|(way, _)| !way.starts_with("POST") && *way != "OPTIONS") {
            assert_eq!((answer.status, names(answer)), (first.status, names(first)), "{way} {route}");
            assert!(!way.starts_with("HEAD") || answer.body.is_empty(), "{way} {route}");
        }
    }
}
