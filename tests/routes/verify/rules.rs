//! Tests of the rules in the path segments and in the query of a verify request.

use super::{APP, Fields, HOST, OTHER_SITE, VERIFY_ROUTES, behind_proxy, send};

#[tokio::test]
async fn rules_only_restrict_access() {
    let (site, session) = behind_proxy().await;
    let post = ("x-forwarded-method", "POST");
    let cases: [(&str, Fields<'_>, &str); 17] = [
        ("role=staff", &[APP], "200"),
        ("role=admin,staff", &[APP], "200"),
        ("max_age=600", &[APP], "200"),
        ("role=admin", &[APP], "403 forbidden"),
        ("role=admin&role=staff", &[APP], "403 forbidden"),
        ("role=staff&role=admin", &[APP], "403 forbidden"),
        ("role=", &[APP], "403 rule"),
        ("role=a,,b", &[APP], "403 rule"),
        ("max_age=0", &[APP], "403 rule"),
        ("max_age=60&max_age=", &[APP], "403 rule"),
        ("csrf=0", &[APP], "403 rule"),
        ("csrf=1", &[APP], "403 forwarded"),
        ("csrf=1", &[APP, ("x-forwarded-method", "GET"), ("sec-fetch-site", "cross-site")], "200"),
        ("csrf=1", &[APP, post, ("sec-fetch-site", "cross-site")], "403 cross-site"),
        ("csrf=1", &[APP, post, ("origin", "https://b.example.com")], "403 cross-site"),
        ("csrf=1", &[APP, post, ("origin", "https://app.example.com")], "200"),
        (
            "csrf=1",
            &[APP, ("x-original-method", "GET"), ("upgrade", "websocket"), ("origin", "https://evil.example")],
            "403 cross-site",
        ),
    ];
    for (rules, fields, verdict) in cases {
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let path = format!("{path}?{rules}");
            let response = send(&site, "GET", &path, &session.cookie(), fields).await;
            assert_eq!(response.verdict(), verdict, "{path} {fields:?}");
        }
    }
}

#[tokio::test]
async fn envoy_rules_only_restrict_access() {
    let (site, session) = behind_proxy().await;
    let cases: [(&str, &str, Fields<'_>, &str); 9] = [
        ("GET", "role=staff/-/x?role=admin&max_age=1", &[HOST], "200"),
        ("GET", "role=admin/-/x?role=staff", &[HOST], "403 forbidden"),
        ("GET", "role=staff/role=admin/-/x", &[HOST], "403 forbidden"),
        ("GET", "role=/-/x", &[HOST], "403 rule"),
        ("GET", "roles=admin/x", &[HOST], "403 rule"),
        ("GET", "x/-/y", &[HOST], "403 rule"),
        ("POST", "csrf=1/-/x", &[HOST, ("sec-fetch-site", "cross-site")], "403 cross-site"),
        ("POST", "csrf=1/-/x", &[HOST, ("sec-fetch-site", "same-origin")], "200"),
        ("GET", "csrf=1/-/x", &[HOST, ("sec-fetch-site", "cross-site")], "200"),
    ];
    for (method, rules, fields, verdict) in cases {
        let path = format!("/auth/verify/envoy/{rules}");
        assert_eq!(send(&site, method, &path, &session.cookie(), fields).await.verdict(), verdict, "{method} {path}");
    }
}

#[tokio::test]
async fn rule_segments_are_exact_and_the_query_is_ignored() {
    let (site, session) = behind_proxy().await;
    for (rules, verdict) in [
        ("-", "200"),
        ("role=staff/-", "200"),
        ("role=staff/max_age=900/-", "200"),
        ("role=staff/max_age=900/-?role=admin&max_age=0&csrf=x", "query"),
        ("role=admin/-", "403 forbidden"),
        ("role=staff/role=admin/-", "403 forbidden"),
        ("roles=admin/-", "403 rule"),
        ("Role=admin/-", "403 rule"),
        ("max-age=900/-", "403 rule"),
        ("csfr=1/-", "403 rule"),
        ("x=1/-", "403 rule"),
        ("staff/-", "403 rule"),
        ("role=staff", "403 rule"),
        ("role=staff/", "403 rule"),
        ("role=staff//-", "403 rule"),
        ("/-", "403 rule"),
        ("", "403 rule"),
        ("%2d", "403 rule"),
    ] {
        for route in VERIFY_ROUTES {
            let path = format!("{route}/{rules}");
            // On the Envoy route, `?` directly after the rules means that the operator wrote a query. It would have no effect, so
            // it is refused.
            let verdict = match verdict {
                "query" if route == VERIFY_ROUTES[2] => "403 rule",
                "query" => "200",
                verdict => verdict,
            };
            for method in ["GET", "POST"] {
                let response = send(&site, method, &path, &session.cookie(), &[HOST, APP]).await;
                assert_eq!(response.verdict(), verdict, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn only_envoy_rules_may_be_followed_by_a_path() {
    let (site, session) = behind_proxy().await;
    for rest in ["/", "/x", "/-", "-"] {
        for route in ["/auth/verify", "/auth/verify/redirect"] {
            let path = format!("{route}/role=staff/-{rest}");
            let response = send(&site, "GET", &path, &session.cookie(), &[HOST]).await;
            assert_eq!(response.verdict(), "403 rule", "{path}");
        }
    }
}

/// Each route has one spelling of its path. If another spelling were accepted, its rules could be ignored.
#[tokio::test]
async fn another_spelling_of_a_verify_path_is_refused() {
    let (site, session) = behind_proxy().await;
    for (path, verdict) in [
        ("//auth/verify", "404 not-found"),
        ("/auth//verify", "404 not-found"),
        ("/auth/verify/", "403 rule"),
        ("/auth/verify/?role=staff", "403 rule"),
        ("/auth/verify//redirect", "403 rule"),
        ("/auth/verify/%72edirect", "403 rule"),
        ("//auth/verify/role=staff/-", "404 not-found"),
        ("/auth//verify/-", "404 not-found"),
        ("/auth/%76erify/-", "404 not-found"),
        ("/auth/verify/%72edirect/-", "403 rule"),
        ("/auth/verify/redirect//-", "403 rule"),
        ("//auth/verify/envoy/-/", "404 not-found"),
    ] {
        for method in ["GET", "POST"] {
            let response = send(&site, method, path, &session.cookie(), &[HOST]).await;
            assert_eq!(response.verdict(), verdict, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn csrf_refuses_every_method_of_other_sites_but_get_and_head() {
    let (site, session) = behind_proxy().await;
    for method in ["OPTIONS", "TRACE", "QUERY", "POST", "PROPFIND", "DELETE", "GET", "HEAD"] {
        let verdict = if ["GET", "HEAD"].contains(&method) { "200" } else { "403 cross-site" };
        for (request_method, path) in [
            ("GET", "/auth/verify/csrf=1/-"),
            ("GET", "/auth/verify?csrf=1"),
            ("GET", "/auth/verify/redirect/csrf=1/-"),
            ("GET", "/auth/verify/redirect?csrf=1"),
            (method, "/auth/verify/envoy/csrf=1/-"),
        ] {
            for (origin, verdict) in [(OTHER_SITE, verdict), (("origin", "https://app.example.com"), "200")] {
                let fields = [HOST, APP, ("x-forwarded-method", method), origin];
                let response = send(&site, request_method, path, &session.cookie(), &fields).await;
                assert_eq!(response.verdict(), verdict, "{method} {path}");
            }
        }
    }
    // A preflight always comes from another site. Without the rule `preflight=1`, it needs a session.
    let preflight =
        [HOST, APP, ("x-forwarded-method", "OPTIONS"), OTHER_SITE, ("access-control-request-method", "PUT")];
    assert_eq!(send(&site, "GET", "/auth/verify/csrf=1/-", "", &preflight).await.verdict(), "401 missing");
}
