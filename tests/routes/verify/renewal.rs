//! A session that is due: renewed in the answer, or by way of `/auth/renew`.

use std::time::Duration;

use super::{APP, HOST, NAVIGATION, ask, behind_proxy, identity};
use crate::routes::fixture::Site;

/// Time after which a session is renewed in place, if the visitor's method is known to be GET or HEAD.
const INTERVAL: Duration = Duration::from_secs(300);
/// Time after which the answer to any other request renews it.
const TWO_THIRDS: Duration = Duration::from_secs(1200);
/// Half of the idle time. A session that is older is sent through the renewal.
const HALF: Duration = Duration::from_secs(900);

#[tokio::test]
async fn a_renewal_says_the_same_of_the_user_and_sets_one_cookie() {
    let (site, _) = behind_proxy().await;
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
        let session = site.login_at("app.example.com", "alice").await;
        let get = [APP, HOST, ("x-forwarded-method", "GET")];
        site.advance(INTERVAL - Duration::from_secs(1));
        let first = ask(&site, "GET", path, &session.cookie(), &get).await;
        assert_eq!((first.status, first.header("set-cookie")), (200, None), "{path}");
        site.advance(Duration::from_secs(1));
        let renewed = ask(&site, "GET", path, &session.cookie(), &get).await;
        assert_eq!(renewed.status, 200, "{path}");
        assert!(renewed.session.is_some(), "{path}");
        assert_eq!(renewed.headers.get_all("set-cookie").iter().count(), 1);
        assert_eq!(identity(&first), identity(&renewed), "{path}");
    }
}

/// Proxies keep a new cookie until the application has answered, and an upload takes minutes.
#[tokio::test]
async fn requests_that_may_be_uploads_renew_in_the_last_third_only() {
    let trusting = behind_proxy().await.0;
    let untrusting = Site::new().await;
    let methods = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
    let mut cases: Vec<(&Site, String, &str, Option<&str>)> = vec![
        (&trusting, "not told".to_owned(), "/auth/verify", None),
        (&untrusting, "told by a stranger".to_owned(), "/auth/verify", Some("GET")),
        (&untrusting, "told by a stranger".to_owned(), "/auth/verify/redirect", Some("HEAD")),
    ];
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
        cases.extend(methods.map(|method| (&trusting, format!("{method} {path}"), path, Some(method))));
    }
    for (site, what, path, told) in cases {
        let host = if std::ptr::eq(site, &raw const trusting) { "app.example.com" } else { "127.0.0.1" };
        let session = site.login_at(host, "alice").await;
        // Envoy's question has the visitor's method itself.
        let own = if path.contains("envoy") { told.unwrap_or("GET") } else { "GET" };
        let mut request = site.request(own, path).session(&session).header("host", host);
        request = told.iter().fold(request, |request, method| request.header("x-forwarded-method", method));
        site.advance(TWO_THIRDS - Duration::from_secs(1));
        let early = request.send().await;
        assert_eq!((early.status, early.session.is_none()), (200, true), "{what}");
        site.advance(Duration::from_secs(1));
        let mut request = site.request(own, path).session(&session).header("host", host);
        request = told.iter().fold(request, |request, method| request.header("x-forwarded-method", method));
        let late = request.send().await;
        assert_eq!((late.status, late.session.is_some()), (200, true), "{what}");
    }
}

#[tokio::test]
async fn renew_redirect_sends_a_navigation_round_once() {
    const PATH: &str = "/auth/verify/redirect?renew=redirect";
    let (site, session) = behind_proxy().await;
    let get = ("x-forwarded-method", "GET");
    let at = |uri: &'static str| [APP, get, NAVIGATION, ("x-forwarded-uri", uri)];
    site.advance(HALF);
    let early = ask(&site, "GET", PATH, &session.cookie(), &at("/a?b=c")).await;
    assert_eq!((early.status, early.header("set-cookie")), (200, None), "never in place");
    site.advance(Duration::from_secs(1));
    let detour = ask(&site, "GET", PATH, &session.cookie(), &at("/a?b=c")).await;
    assert_eq!(detour.header("set-cookie"), None, "never in place");
    let location = detour.header("location").expect("a place");
    assert_eq!((detour.status, location), (302, "https://app.example.com/auth/renew?rd=%2Fa%3Fb%3Dc"));
    // What is no GET navigation passes as it is.
    for fields in [
        &[APP, get, ("x-forwarded-uri", "/a")][..],
        &[APP, NAVIGATION, ("x-forwarded-uri", "/a")],
        &[APP, NAVIGATION, ("x-forwarded-method", "POST"), ("x-forwarded-uri", "/a")],
        &[APP, get, ("sec-fetch-mode", "cors"), ("x-forwarded-uri", "/a")],
        &[APP, get, NAVIGATION],
        &[APP, get],
    ] {
        assert_eq!(ask(&site, "GET", PATH, &session.cookie(), fields).await.status, 200, "{fields:?}");
    }
    assert_eq!(ask(&site, "GET", "/auth/verify?renew=redirect", &session.cookie(), &at("/a")).await.status, 200);
    // The renewal comes back with a new cookie and the marker.
    let path = location.strip_prefix("https://app.example.com").expect("on this host");
    let back = ask(&site, "GET", path, &session.cookie(), &[HOST, NAVIGATION]).await;
    assert_eq!((back.status, back.header("location")), (302, Some("/a?b=c&sealjar-renewed")));
    let renewed = back.session.expect("a renewed session");
    // With the new cookie the marker is taken away; without it, nothing goes round again.
    let arrived = ask(&site, "GET", PATH, &renewed.cookie(), &at("/a?b=c&sealjar-renewed")).await;
    assert_eq!((arrived.status, arrived.header("location")), (302, Some("https://app.example.com/a?b=c")));
    let lost = ask(&site, "GET", PATH, &session.cookie(), &at("/a?b=c&sealjar-renewed")).await;
    assert_eq!(lost.status, 200);
    assert_eq!(ask(&site, "GET", PATH, &renewed.cookie(), &at("/a?b=c")).await.status, 200);
}

#[tokio::test]
async fn only_the_redirect_shape_takes_renew() {
    let (site, session) = behind_proxy().await;
    for (shape, status) in [("", 403), ("/redirect", 200), ("/envoy", 403)] {
        let path = format!("/auth/verify{shape}/renew=redirect/-");
        assert_eq!(ask(&site, "GET", &path, &session.cookie(), &[HOST]).await.status, status, "{path}");
    }
    let visit = [APP, NAVIGATION, ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/a")];
    site.advance(HALF + Duration::from_secs(1));
    let detour = ask(&site, "GET", "/auth/verify/redirect/renew=redirect/-", &session.cookie(), &visit).await;
    assert_eq!(detour.header("location"), Some("https://app.example.com/auth/renew?rd=%2Fa"));
    // Where no redirect can be made, a renewal takes place in the answer, whatever the query says.
    let answer = ask(&site, "GET", "/auth/verify?renew=redirect", &session.cookie(), &visit).await;
    assert!(answer.session.is_some());
}
