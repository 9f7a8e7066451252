//! Tests of the renewal of a session by a verify request: in its response, or with a redirect to `/auth/renew`.

use std::time::Duration;

use super::{APP, HOST, NAVIGATION, behind_proxy, identity, send};
use crate::routes::fixture::Site;

/// Age at which a response renews a session, if the client's method is known to be GET or HEAD.
const INTERVAL: Duration = Duration::from_secs(300);
/// Age at which the response to any other request renews a session: two thirds of the idle timeout.
const TWO_THIRDS: Duration = Duration::from_secs(1200);
/// Half of the idle timeout. With `renew=redirect`, an older session is redirected to `/auth/renew`.
const HALF: Duration = Duration::from_secs(900);

#[tokio::test]
async fn a_renewal_keeps_the_identity_headers_and_sets_one_cookie() {
    let (site, _) = behind_proxy().await;
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
        let session = site.login_at("app.example.com", "alice").await;
        let get = [APP, HOST, ("x-forwarded-method", "GET")];
        site.advance(INTERVAL - Duration::from_secs(1));
        let first = send(&site, "GET", path, &session.cookie(), &get).await;
        assert_eq!((first.status, first.header("set-cookie")), (200, None), "{path}");
        site.advance(Duration::from_secs(1));
        let renewed = send(&site, "GET", path, &session.cookie(), &get).await;
        assert_eq!(renewed.status, 200, "{path}");
        assert!(renewed.session.is_some(), "{path}");
        assert_eq!(renewed.headers.get_all("set-cookie").iter().count(), 1);
        assert_eq!(identity(&first), identity(&renewed), "{path}");
    }
}

/// A proxy forwards the new cookie only with the response of the application. During an upload, this can take minutes.
#[tokio::test]
async fn requests_that_may_be_uploads_renew_in_the_last_third_only() {
    let trusting = behind_proxy().await.0;
    let untrusting = Site::new().await;
    let methods = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
    let mut cases: Vec<(&Site, String, &str, Option<&str>)> = vec![
        (&trusting, "unknown method".to_owned(), "/auth/verify", None),
        (&untrusting, "method from an untrusted peer".to_owned(), "/auth/verify", Some("GET")),
        (&untrusting, "method from an untrusted peer".to_owned(), "/auth/verify/redirect", Some("HEAD")),
    ];
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
        cases.extend(methods.map(|method| (&trusting, format!("{method} {path}"), path, Some(method))));
    }
    for (site, case, path, forwarded_method) in cases {
        let host = if std::ptr::eq(site, &raw const trusting) { "app.example.com" } else { "127.0.0.1" };
        let session = site.login_at(host, "alice").await;
        // Envoy's verify request has the client's method.
        let request_method = if path.contains("envoy") { forwarded_method.unwrap_or("GET") } else { "GET" };
        let mut request = site.request(request_method, path).session(&session).header("host", host);
        request = forwarded_method.iter().fold(request, |request, method| request.header("x-forwarded-method", method));
        site.advance(TWO_THIRDS - Duration::from_secs(1));
        let early = request.send().await;
        assert_eq!((early.status, early.session.is_none()), (200, true), "{case}");
        site.advance(Duration::from_secs(1));
        let mut request = site.request(request_method, path).session(&session).header("host", host);
        request = forwarded_method.iter().fold(request, |request, method| request.header("x-forwarded-method", method));
        let late = request.send().await;
        assert_eq!((late.status, late.session.is_some()), (200, true), "{case}");
    }
}

#[tokio::test]
async fn renew_redirect_redirects_a_navigation_once() {
    const PATH: &str = "/auth/verify/redirect?renew=redirect";
    let (site, session) = behind_proxy().await;
    let get = ("x-forwarded-method", "GET");
    let at = |uri: &'static str| [APP, get, NAVIGATION, ("x-forwarded-uri", uri)];
    site.advance(HALF);
    let early = send(&site, "GET", PATH, &session.cookie(), &at("/a?b=c")).await;
    assert_eq!((early.status, early.header("set-cookie")), (200, None), "the cookie is not renewed in this response");
    site.advance(Duration::from_secs(1));
    let redirect = send(&site, "GET", PATH, &session.cookie(), &at("/a?b=c")).await;
    assert_eq!(redirect.header("set-cookie"), None, "the cookie is not renewed in this response");
    let location = redirect.header("location").expect("a Location field");
    assert_eq!((redirect.status, location), (302, "https://app.example.com/auth/renew?rd=%2Fa%3Fb%3Dc"));
    // Requests other than a GET navigation with a known URL are not redirected.
    for fields in [
        &[APP, get, ("x-forwarded-uri", "/a")][..],
        &[APP, NAVIGATION, ("x-forwarded-uri", "/a")],
        &[APP, NAVIGATION, ("x-forwarded-method", "POST"), ("x-forwarded-uri", "/a")],
        &[APP, get, ("sec-fetch-mode", "cors"), ("x-forwarded-uri", "/a")],
        &[APP, get, NAVIGATION],
        &[APP, get],
    ] {
        assert_eq!(send(&site, "GET", PATH, &session.cookie(), fields).await.status, 200, "{fields:?}");
    }
    assert_eq!(send(&site, "GET", "/auth/verify?renew=redirect", &session.cookie(), &at("/a")).await.status, 200);
    // `/auth/renew` sets a new cookie and redirects back with the marker in the URL.
    let path = location.strip_prefix("https://app.example.com").expect("a URL of this host");
    let back = send(&site, "GET", path, &session.cookie(), &[HOST, NAVIGATION]).await;
    assert_eq!((back.status, back.header("location")), (302, Some("/a?b=c&sealjar-renewed")));
    let renewed = back.session.expect("a renewed session");
    // With the new cookie, a redirect removes the marker. Without it, the marker prevents a redirect loop.
    let arrived = send(&site, "GET", PATH, &renewed.cookie(), &at("/a?b=c&sealjar-renewed")).await;
    assert_eq!((arrived.status, arrived.header("location")), (302, Some("https://app.example.com/a?b=c")));
    let without_new_cookie = send(&site, "GET", PATH, &session.cookie(), &at("/a?b=c&sealjar-renewed")).await;
    assert_eq!(without_new_cookie.status, 200);
    assert_eq!(send(&site, "GET", PATH, &renewed.cookie(), &at("/a?b=c")).await.status, 200);
}

#[tokio::test]
async fn only_the_redirect_route_accepts_renew() {
    let (site, session) = behind_proxy().await;
    for (route, status) in [("", 403), ("/redirect", 200), ("/envoy", 403)] {
        let path = format!("/auth/verify{route}/renew=redirect/-");
        assert_eq!(send(&site, "GET", &path, &session.cookie(), &[HOST]).await.status, status, "{path}");
    }
    let visit = [APP, NAVIGATION, ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/a")];
    site.advance(HALF + Duration::from_secs(1));
    let redirect = send(&site, "GET", "/auth/verify/redirect/renew=redirect/-", &session.cookie(), &visit).await;
    assert_eq!(redirect.header("location"), Some("https://app.example.com/auth/renew?rd=%2Fa"));
    // The route without redirects ignores `renew` in the query, and renews in the response.
    let response = send(&site, "GET", "/auth/verify?renew=redirect", &session.cookie(), &visit).await;
    assert!(response.session.is_some());
}
