//! Where a refusal sends the browser.

use std::time::Duration;

use super::{APP, Fields, HOST, NAVIGATION, TRUSTING, ask, behind_proxy};
use crate::routes::fixture::Site;

#[tokio::test]
async fn only_the_redirect_shapes_send_a_navigation_to_sign_in() {
    let (site, _) = behind_proxy().await;
    let uri = ("x-forwarded-uri", "/a/b?c=d&e=%20");
    let there = "https://app.example.com/auth/login?rd=%2Fa%2Fb%3Fc%3Dd%26e%3D%2520";
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
        let answer = ask(&site, method, path, "", fields).await;
        let found = (answer.status, answer.header("location"));
        assert_eq!(found, (status, Some(there)), "{method} {path} {fields:?}");
        assert!(answer.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn a_target_that_is_no_return_url_leads_home() {
    let (site, _) = behind_proxy().await;
    let long = format!("/{}", "x".repeat(3000));
    for target in ["", "//evil.example/", "/\\evil.example", "https://evil.example/", "/a%0d%0ab", "/a b", "x", &long] {
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let answer = ask(&site, "GET", path, "", &[APP, ("x-forwarded-uri", target)]).await;
            assert_eq!(answer.header("location"), Some("https://app.example.com/auth/login"), "{target}");
        }
    }
}

#[tokio::test]
async fn a_query_of_odd_characters_is_led_back_to() {
    let (site, _) = behind_proxy().await;
    for (target, rd) in [
        ("/a?b=%0d%0a%00", "%2Fa%3Fb%3D%250d%250a%2500"),
        ("/a?b=c\\d", "%2Fa%3Fb%3Dc%5Cd"),
        ("/a?b=[{|}]^`'%zz", "%2Fa%3Fb%3D%5B%7B%7C%7D%5D%5E%60%27%25zz"),
        ("https://app.example.com/a?b", "%2Fa%3Fb"),
    ] {
        let there = format!("https://app.example.com/auth/login?rd={rd}");
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let answer = ask(&site, "GET", path, "", &[APP, ("x-forwarded-uri", target)]).await;
            assert_eq!(answer.header("location"), Some(&*there), "{target}");
        }
        let Some(path) = target.strip_prefix('/') else { continue };
        let answer = ask(&site, "GET", &format!("/auth/verify/envoy/-/{path}"), "", &[HOST]).await;
        assert_eq!(answer.header("location"), Some(&*there), "{target}");
    }
}

/// A browser comes back with a GET, for which the address of a form may have no page.
#[tokio::test]
async fn what_is_no_get_leads_back_to_the_page_that_sent_it() {
    let (site, session) = behind_proxy().await;
    site.advance(Duration::from_secs(6));
    let page = ("referer", "https://app.example.com/items/7?edit=1");
    let uri = ("x-forwarded-uri", "/items/7/save");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let told = ("x-forwarded-method", method);
        for (shape, behind, fields, status) in [
            ("", "", &[APP, uri, told, page][..], 401),
            ("", "", &[APP, uri, told, page, NAVIGATION], 401),
            ("/redirect", "", &[APP, uri, told, page], 401),
            ("/redirect", "", &[APP, uri, told, page, NAVIGATION], 303),
            ("/envoy", "/items/7/save", &[HOST, page], 401),
            ("/envoy", "/items/7/save", &[HOST, page, NAVIGATION], 303),
        ] {
            // Envoy's question has the visitor's method itself.
            let own = if shape == "/envoy" { method } else { "GET" };
            for (rules, cookie, leads) in
                [("", String::new(), "login"), ("/max_age=5", session.cookie(), "reauthenticate")]
            {
                let path = format!("/auth/verify{shape}{rules}/-{behind}");
                let answer = ask(&site, own, &path, &cookie, fields).await;
                let there = format!("https://app.example.com/auth/{leads}?rd=%2Fitems%2F7%3Fedit%3D1");
                assert_eq!((answer.status, answer.header("location")), (status, Some(&*there)), "{method} {path}");
            }
        }
    }
    // Without a trusted proxy neither the method nor the address is known.
    let untrusting = Site::new().await;
    let fields = [("x-forwarded-method", "POST"), ("referer", "http://127.0.0.1/a"), NAVIGATION];
    let answer = ask(&untrusting, "POST", "/auth/verify/redirect", "", &fields).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://127.0.0.1/auth/login")));
}

#[tokio::test]
async fn a_page_that_cannot_be_gone_back_to_becomes_home() {
    let origins = "http.public_origins=https://app.example.com,https://app.example.com:8443";
    let site = Site::with(&[TRUSTING[0], origins]).await;
    let long = format!("https://app.example.com/{}", "x".repeat(2048));
    let post = [APP, ("x-forwarded-uri", "/save"), ("x-forwarded-method", "POST"), NAVIGATION];
    let lead = async |referers: &[&str]| {
        let request = site.get("/auth/verify/redirect").headers(&post);
        let request = referers.iter().fold(request, |request, referer| request.header("referer", referer));
        let answer = request.send().await;
        assert_eq!(answer.status, 303);
        answer.header("location").expect("a place").to_owned()
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
        assert_eq!(lead(&[referer]).await, format!("https://app.example.com/auth/login{rd}"), "{referer}");
    }
    let two = ["https://app.example.com/a", "https://app.example.com/a"];
    assert_eq!(lead(&two).await, "https://app.example.com/auth/login");
    assert_eq!(lead(&[]).await, "https://app.example.com/auth/login");
}

/// A host that is not listed signs in at the first one, where a path would be another page.
#[tokio::test]
async fn an_unlisted_host_of_the_domain_has_its_own_home() {
    for (home, rd) in [
        ("/", "?rd=https%3A%2F%2Fc.example.com%2F"),
        ("/app", "?rd=https%3A%2F%2Fc.example.com%2Fapp"),
        ("/auth/status", ""),
        ("https://b.example.com/", ""),
    ] {
        let home = format!("pages.home={home}");
        let site = Site::with(&[TRUSTING[0], TRUSTING[1], "cookie.domain=example.com", &home]).await;
        for (host, there) in [
            ("c.example.com", format!("https://app.example.com/auth/login{rd}")),
            ("b.example.com", "https://b.example.com/auth/login".to_owned()),
        ] {
            let answer = ask(&site, "GET", "/auth/verify", "", &[("x-forwarded-host", host)]).await;
            assert_eq!(answer.header("location"), Some(&*there), "{home} {host}");
        }
        let post = [("x-forwarded-method", "POST"), ("x-forwarded-host", "c.example.com")];
        let from = |referer: &'static str| [post[0], post[1], ("referer", referer)];
        let answer = ask(&site, "GET", "/auth/verify", "", &from("https://c.example.com/a")).await;
        let there = "https://app.example.com/auth/login?rd=https%3A%2F%2Fc.example.com%2Fa";
        assert_eq!(answer.header("location"), Some(there), "{home}");
        let answer = ask(&site, "GET", "/auth/verify", "", &from("https://b.example.com/a")).await;
        let there = format!("https://app.example.com/auth/login{rd}");
        assert_eq!(answer.header("location"), Some(&*there), "{home}: another host of the domain is another origin");
    }
}

/// Chromium asks for `<a download>` so. A sign-in page would be saved as the file.
#[tokio::test]
async fn a_download_is_refused_and_a_worker_is_redirected() {
    let (site, _) = behind_proxy().await;
    let html = ("accept", "text/html,*/*;q=0.8");
    let empty = ("sec-fetch-dest", "empty");
    let same_origin = ("sec-fetch-mode", "same-origin");
    for (what, fields, status) in [
        ("a download", &[NAVIGATION, empty][..], 401),
        ("a worker", &[NAVIGATION, empty, html], 302),
        ("a worker in Firefox", &[same_origin, empty, html], 302),
        ("a script", &[same_origin, empty, ("accept", "*/*")], 401),
    ] {
        for path in ["/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
            let answer = site.get(path).header("host", "app.example.com").headers(fields).send().await;
            assert_eq!(answer.status, status, "{what} {path}");
        }
    }
}

#[tokio::test]
async fn a_password_given_too_long_ago_leads_to_the_step_up() {
    let (site, session) = behind_proxy().await;
    let uri = ("x-forwarded-uri", "/admin");
    let there = Some("https://app.example.com/auth/reauthenticate?rd=%2Fadmin");
    let visit = async |path: &str, fields: Fields<'_>| ask(&site, "GET", path, &session.cookie(), fields).await;
    site.advance(Duration::from_secs(5));
    assert_eq!(visit("/auth/verify?max_age=5", &[APP, uri]).await.verdict(), "200", "not yet");
    site.advance(Duration::from_secs(1));
    let answer = visit("/auth/verify?max_age=5", &[APP, uri]).await;
    assert_eq!((&*answer.verdict(), answer.header("location")), ("401 step-up", there));
    let answer = visit("/auth/verify/redirect?max_age=5", &[APP, uri, NAVIGATION]).await;
    assert_eq!((answer.status, answer.header("location")), (302, there));
    assert_eq!(visit("/auth/verify?max_age=600", &[APP, uri]).await.verdict(), "200");
}
