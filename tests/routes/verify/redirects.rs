//! Where a refusal sends the browser.

use std::time::Duration;

use super::{APP, Fields, HOST, NAVIGATION, ask, behind_proxy};

#[tokio::test]
async fn only_the_redirect_shapes_send_a_navigation_to_sign_in() {
    let (site, _) = behind_proxy().await;
    let uri = ("x-forwarded-uri", "/a/b?c=d&e=%20");
    let there = "https://app.example.com/auth/login?rd=%2Fa%2Fb%3Fc%3Dd%26e%3D%2520";
    let html = ("accept", "text/html,*/*;q=0.8");
    let post = ("x-forwarded-method", "POST");
    let cors = ("sec-fetch-mode", "cors");
    let envoy = "/auth/verify/envoy/-/a/b?c=d&e=%20";
    let cases: [(&str, &str, Fields<'_>, u16); 12] = [
        ("GET", "/auth/verify", &[APP, uri], 401),
        ("GET", "/auth/verify", &[APP, uri, NAVIGATION], 401),
        ("GET", "/auth/verify", &[APP, uri, html], 401),
        ("GET", "/auth/verify/redirect", &[APP, uri], 401),
        ("GET", "/auth/verify/redirect", &[APP, uri, html], 302),
        ("GET", "/auth/verify/redirect", &[APP, uri, NAVIGATION], 302),
        ("GET", "/auth/verify/redirect", &[APP, uri, NAVIGATION, post], 303),
        ("GET", "/auth/verify/redirect", &[APP, uri, html, cors], 401),
        ("GET", "/auth/verify/redirect", &[APP, uri, html, cors, post], 401),
        ("GET", envoy, &[HOST], 401),
        ("GET", envoy, &[HOST, NAVIGATION], 302),
        ("POST", envoy, &[HOST, NAVIGATION], 303),
    ];
    for (method, path, fields, status) in cases {
        let answer = ask(&site, method, path, "", fields).await;
        let found = (answer.status, answer.header("location"));
        assert_eq!(found, (status, Some(there)), "{method} {path} {fields:?}");
        assert!(answer.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn a_bad_return_url_becomes_the_front_page() {
    let (site, _) = behind_proxy().await;
    let long = format!("/{}", "x".repeat(3000));
    for target in ["//evil.example/", "/\\evil.example", "https://evil.example/", "/a%0d%0ab", "/a b", "x", &long] {
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let answer = ask(&site, "GET", path, "", &[APP, ("x-forwarded-uri", target)]).await;
            let expected = "https://app.example.com/auth/login?rd=%2F";
            assert_eq!(answer.header("location"), Some(expected), "{target}");
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
