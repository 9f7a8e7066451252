//! Tests of the header fields in which a proxy forwards the host, method and path of the client's request.

use super::{APP, Fields, NAVIGATION, VERIFY_ROUTES, behind_proxy, send};
use crate::routes::fixture::{ORIGIN, Site};

#[tokio::test]
async fn forwarded_fields_count_only_from_a_trusted_peer() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let spoofed = [
        APP,
        ("x-forwarded-uri", "/evil"),
        ("x-forwarded-method", "GET"),
        ("x-original-url", "https://b.example.com/evil"),
        ("x-original-method", "POST"),
    ];
    let response = send(&site, "GET", "/auth/verify", &session.cookie(), &spoofed).await;
    assert_eq!(response.verdict(), "200", "the fields are not read, so a contradiction is no error");
    let response = send(&site, "GET", "/auth/verify/redirect", "", &[&spoofed[..], &[NAVIGATION]].concat()).await;
    let login_url = format!("{ORIGIN}/auth/login");
    assert_eq!((response.status, response.header("location")), (302, Some(&*login_url)));
    let response = send(&site, "POST", "/auth/verify?csrf=1", &session.cookie(), &spoofed).await;
    assert_eq!(response.verdict(), "403 forwarded", "the forwarded method is not trusted");
    assert_eq!(send(&site, "GET", "/auth/verify?csrf=1", &session.cookie(), &[]).await.verdict(), "403 forwarded");
}

#[tokio::test]
async fn forwarded_fields_must_agree_and_name_a_served_host() {
    let (site, session) = behind_proxy().await;
    let cases: [(Fields<'_>, &str); 13] = [
        (&[APP], "200"),
        (&[("x-forwarded-host", "APP.example.com:443")], "200"),
        (&[("x-original-url", "https://app.example.com/x")], "200"),
        (&[APP, ("x-original-url", "https://app.example.com/x"), ("x-forwarded-uri", "/x")], "200"),
        (&[("x-forwarded-host", "b.example.com, app.example.com")], "200"),
        (&[("host", "app.example.com")], "200"),
        (&[("x-forwarded-host", "b.example.com")], "401 invalid"),
        (&[("x-forwarded-host", "app.example.com, b.example.com")], "401 invalid"),
        (&[("host", "app.example.com"), ("x-forwarded-host", "b.example.com")], "401 invalid"),
        (&[APP, ("x-original-url", "https://b.example.com/x")], "403 forwarded"),
        (&[("x-forwarded-host", "evil.example")], "403 forwarded"),
        (&[], "403 forwarded"),
        (&[("host", "evil.example"), APP], "421 misdirected"),
    ];
    for path in ["/auth/verify", "/auth/verify/redirect"] {
        for (fields, verdict) in cases {
            let response = send(&site, "GET", path, &session.cookie(), fields).await;
            assert_eq!(response.verdict(), verdict, "{path} {fields:?}");
        }
    }
    for (host, verdict) in [("app.example.com", "200"), ("b.example.com", "401 invalid")] {
        let fields = [("host", host), ("x-forwarded-host", "app.example.com")];
        let response = send(&site, "GET", "/auth/verify/envoy/-/", &session.cookie(), &fields).await;
        assert_eq!(response.verdict(), verdict, "the host of Envoy's request is the client's host: {host}");
    }
}

#[tokio::test]
async fn refuses_connect_even_with_a_session() {
    let (site, session) = behind_proxy().await;
    for route in [VERIFY_ROUTES[0], VERIFY_ROUTES[1]] {
        for rules in ["", "/-", "/role=staff/-", "/csrf=1/-", "/preflight=1/-"] {
            for name in ["x-forwarded-method", "x-original-method"] {
                for (method, verdict) in [("GET", "200"), ("CONNECT", "403 forwarded")] {
                    let fields = [APP, (name, method)];
                    let response = send(&site, "GET", &format!("{route}{rules}"), &session.cookie(), &fields).await;
                    assert_eq!(response.verdict(), verdict, "{method} {route}{rules}");
                }
            }
        }
    }
}
