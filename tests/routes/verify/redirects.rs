//! Tests of the URL to which a refused verify request redirects the browser.

use std::time::Duration;

use super::{APP, Fields, HOST, NAVIGATION, TRUSTING, behind_proxy, send};
use crate::routes::fixture::Site;

#[tokio::test]
async fn only_two_verify_routes_redirect_a_navigation() {
    let (site, _) = behind_proxy().await;
    let uri = ("x-forwarded-uri", "/a/b?c=d&e=%20");
    let login_url = "https://app.example.com/auth/login?rd=%2Fa%2Fb%3Fc%3Dd%26e%3D%2520";
    let html = ("accept", "text/html,*/*;q=0.8");
    let head = ("x-forwarded-method", "HEAD");
    let cors = ("sec-fetch-mode", "cors");
    let envoy = "/auth/verify/envoy/-/a/b?c=d&e=%20";
    let cases: [(&str, &str, Fields<'_>, u16); 11] = [
        ("GET", "/auth/verify", &[APP, uri], 401),
        ("GET", "/auth/verify", &[APP, uri, NAVIGATION], 401),
        ("GET", "/auth/verify", &[APP, uri, html], 401),
        ("GET", "/auth/verify/redirect", &[APP, uri], 401),
        ("GET", "/auth/verify/redirect", &[APP, uri, html], 302),
        ("GET", "/auth/verify/redirect", &[APP, uri, NAVIGATION], 302),
        ("GET", "/auth/verify/redirect", &[APP, uri, NAVIGATION, head], 302),
        ("GET", "/auth/verify/redirect", &[APP, uri, html, cors], 401),
        ("GET", envoy, &[HOST], 401),
        ("GET", envoy, &[HOST, NAVIGATION], 302),
        ("HEAD", envoy, &[HOST, NAVIGATION], 302),
    ];
    for (method, path, fields, status) in cases {
        let response = send(&site, method, path, "", fields).await;
        let actual = (response.status, response.header("location"));
        assert_eq!(actual, (status, Some(login_url)), "{method} {path} {fields:?}");
        assert!(response.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn an_invalid_return_url_is_left_out() {
    let (site, _) = behind_proxy().await;
    let long = format!("/{}", "x".repeat(3000));
    for target in ["", "//evil.example/", "/\\evil.example", "https://evil.example/", "/a%0d%0ab", "/a b", "x", &long] {
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let response = send(&site, "GET", path, "", &[APP, ("x-forwarded-uri", target)]).await;
            assert_eq!(response.header("location"), Some("https://app.example.com/auth/login"), "{target}");
        }
    }
}

#[tokio::test]
async fn return_urls_keep_unusual_characters_of_the_query() {
    let (site, _) = behind_proxy().await;
    for (target, rd) in [
        ("/a?b=%0d%0a%00", "%2Fa%3Fb%3D%250d%250a%2500"),
        ("/a?b=c\\d", "%2Fa%3Fb%3Dc%5Cd"),
        ("/a?b=[{|}]^`'%zz", "%2Fa%3Fb%3D%5B%7B%7C%7D%5D%5E%60%27%25zz"),
        ("https://app.example.com/a?b", "%2Fa%3Fb"),
    ] {
        let login_url = format!("https://app.example.com/auth/login?rd={rd}");
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let response = send(&site, "GET", path, "", &[APP, ("x-forwarded-uri", target)]).await;
            assert_eq!(response.header("location"), Some(&*login_url), "{target}");
        }
        let Some(path) = target.strip_prefix('/') else { continue };
        let response = send(&site, "GET", &format!("/auth/verify/envoy/-/{path}"), "", &[HOST]).await;
        assert_eq!(response.header("location"), Some(&*login_url), "{target}");
    }
}

/// The browser returns with a GET request. The target of a form may not accept GET, so the URL in `Referer` is used.
#[tokio::test]
async fn methods_other_than_get_return_to_the_referring_page() {
    let (site, session) = behind_proxy().await;
    site.advance(Duration::from_secs(6));
    let page = ("referer", "https://app.example.com/items/7?edit=1");
    let uri = ("x-forwarded-uri", "/items/7/save");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let forwarded_method = ("x-forwarded-method", method);
        for (route, app_path, fields, status) in [
            ("", "", &[APP, uri, forwarded_method, page][..], 401),
            ("", "", &[APP, uri, forwarded_method, page, NAVIGATION], 401),
            ("/redirect", "", &[APP, uri, forwarded_method, page], 401),
            ("/redirect", "", &[APP, uri, forwarded_method, page, NAVIGATION], 303),
            ("/envoy", "/items/7/save", &[HOST, page], 401),
            ("/envoy", "/items/7/save", &[HOST, page, NAVIGATION], 303),
        ] {
            // Envoy's verify request has the client's method.
            let request_method = if route == "/envoy" { method } else { "GET" };
            for (rules, cookie, page) in
                [("", String::new(), "login"), ("/max_age=5", session.cookie(), "reauthenticate")]
            {
                let path = format!("/auth/verify{route}{rules}/-{app_path}");
                let response = send(&site, request_method, &path, &cookie, fields).await;
                let expected = format!("https://app.example.com/auth/{page}?rd=%2Fitems%2F7%3Fedit%3D1");
                assert_eq!(
                    (response.status, response.header("location")),
                    (status, Some(&*expected)),
                    "{method} {path}"
                );
            }
        }
    }
    // Without a trusted proxy, neither the method nor the URL of the client's request is known.
    let untrusting = Site::new().await;
    let fields = [("x-forwarded-method", "POST"), ("referer", "http://127.0.0.1/a"), NAVIGATION];
    let response = send(&untrusting, "POST", "/auth/verify/redirect", "", &fields).await;
    assert_eq!((response.status, response.header("location")), (302, Some("http://127.0.0.1/auth/login")));
}

#[tokio::test]
async fn an_unsuitable_referring_page_is_left_out() {
    let origins = "http.public_origins=https://app.example.com,https://app.example.com:8443";
    let site = Site::with(&[TRUSTING[0], origins]).await;
    let long = format!("https://app.example.com/{}", "x".repeat(2048));
    let post = [APP, ("x-forwarded-uri", "/save"), ("x-forwarded-method", "POST"), NAVIGATION];
    let location = async |referers: &[&str]| {
        let request = site.get("/auth/verify/redirect").headers(&post);
        let request = referers.iter().fold(request, |request, referer| request.header("referer", referer));
        let response = request.send().await;
        assert_eq!(response.status, 303);
        response.header("location").expect("a Location field").to_owned()
    };
    for (referer, rd) in [
        ("https://app.example.com/", "?rd=%2F"),
        ("https://app.example.com/a#b", "?rd=%2Fa"),
        ("https://app.example.com/a?b=\\%0a", "?rd=%2Fa%3Fb%3D%5C%250a"),
        ("https://app.example.com/a?b&sealjar-renewed", "?rd=%2Fa%3Fb"),
        ("https://app.example.com/authors", "?rd=%2Fauthors"),
        ("", ""),
        ("/a", ""),
        ("about:blank", ""),
        ("https://app.example.com", ""),
        ("https://app.example.com?a", ""),
        ("http://app.example.com/a", ""),
        ("https://app.example.com:443/a", ""),
        ("https://app.example.com:8443/a", ""),
        ("https://app.example.com.evil.example/a", ""),
        ("https://app.example.com@evil.example/a", ""),
        ("https://user@app.example.com/a", ""),
        ("https://app.example.comhttps://app.example.com/a", ""),
        ("HTTPS://APP.EXAMPLE.COM/a", ""),
        ("https://evil.example/a", ""),
        ("https://evil.example/https://app.example.com/a", ""),
        ("https://app.example.com//evil.example/a", ""),
        ("https://app.example.com/\\evil.example/a", ""),
        ("https://app.example.com/%2fevil.example/a", ""),
        ("https://app.example.com/..//evil.example/a", ""),
        ("https://app.example.com/a%0d%0ab", ""),
        ("https://app.example.com/a b", ""),
        ("https://app.example.com/auth", ""),
        ("https://app.example.com/auth/login?rd=%2Fx", ""),
        ("https://app.example.com/auth/status", ""),
        ("https://app.example.com/auth/verify/-", ""),
        (&long, ""),
    ] {
        assert_eq!(location(&[referer]).await, format!("https://app.example.com/auth/login{rd}"), "{referer}");
    }
    let two = ["https://app.example.com/a", "https://app.example.com/a"];
    assert_eq!(location(&two).await, "https://app.example.com/auth/login");
    assert_eq!(location(&[]).await, "https://app.example.com/auth/login");
}

/// A host that is not listed uses the login page of the first listed host. The return URL must contain its own host, because a
/// path would lead to a page of the first host.
#[tokio::test]
async fn an_unlisted_host_returns_to_its_own_home_page() {
    for (home, rd) in [
        ("/", "?rd=https%3A%2F%2Fc.example.com%2F"),
        ("/app", "?rd=https%3A%2F%2Fc.example.com%2Fapp"),
        ("/auth/status", ""),
        ("https://b.example.com/", ""),
    ] {
        let home = format!("pages.home={home}");
        let site = Site::with(&[TRUSTING[0], TRUSTING[1], "cookie.domain=example.com", &home]).await;
        for (host, login_url) in [
            ("c.example.com", format!("https://app.example.com/auth/login{rd}")),
            ("b.example.com", "https://b.example.com/auth/login".to_owned()),
        ] {
            let response = send(&site, "GET", "/auth/verify", "", &[("x-forwarded-host", host)]).await;
            assert_eq!(response.header("location"), Some(&*login_url), "{home} {host}");
        }
        let post = [("x-forwarded-method", "POST"), ("x-forwarded-host", "c.example.com")];
        let from = |referer: &'static str| [post[0], post[1], ("referer", referer)];
        let response = send(&site, "GET", "/auth/verify", "", &from("https://c.example.com/a")).await;
        let login_url = "https://app.example.com/auth/login?rd=https%3A%2F%2Fc.example.com%2Fa";
        assert_eq!(response.header("location"), Some(login_url), "{home}");
        let response = send(&site, "GET", "/auth/verify", "", &from("https://b.example.com/a")).await;
        let login_url = format!("https://app.example.com/auth/login{rd}");
        assert_eq!(
            response.header("location"),
            Some(&*login_url),
            "{home}: another host of the domain is another origin"
        );
    }
}

/// Chromium sends the first combination for `<a download>`. With a redirect, it would save the login page as the file.
#[tokio::test]
async fn a_download_is_refused_and_a_worker_is_redirected() {
    let (site, _) = behind_proxy().await;
    let html = ("accept", "text/html,*/*;q=0.8");
    let empty = ("sec-fetch-dest", "empty");
    let same_origin = ("sec-fetch-mode", "same-origin");
    for (client, fields, status) in [
        ("a download", &[NAVIGATION, empty][..], 401),
        ("a worker", &[NAVIGATION, empty, html], 302),
        ("a worker in Firefox", &[same_origin, empty, html], 302),
        ("a script", &[same_origin, empty, ("accept", "*/*")], 401),
    ] {
        for path in ["/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
            let response = site.get(path).header("host", "app.example.com").headers(fields).send().await;
            assert_eq!(response.status, status, "{client} {path}");
        }
    }
}

#[tokio::test]
async fn an_old_login_is_redirected_to_the_step_up() {
    let (site, session) = behind_proxy().await;
    let uri = ("x-forwarded-uri", "/admin");
    let step_up_url = Some("https://app.example.com/auth/reauthenticate?rd=%2Fadmin");
    let visit = async |path: &str, fields: Fields<'_>| send(&site, "GET", path, &session.cookie(), fields).await;
    site.advance(Duration::from_secs(5));
    assert_eq!(visit("/auth/verify?max_age=5", &[APP, uri]).await.verdict(), "200", "the login is recent enough");
    site.advance(Duration::from_secs(1));
    let response = visit("/auth/verify?max_age=5", &[APP, uri]).await;
    assert_eq!((&*response.verdict(), response.header("location")), ("401 step-up", step_up_url));
    let response = visit("/auth/verify/redirect?max_age=5", &[APP, uri, NAVIGATION]).await;
    assert_eq!((response.status, response.header("location")), (302, step_up_url));
    assert_eq!(visit("/auth/verify?max_age=600", &[APP, uri]).await.verdict(), "200");
}
