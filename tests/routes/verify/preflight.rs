//! Tests of [CORS preflights](https://fetch.spec.whatwg.org/#cors-preflight-request), which a rule can let pass without a
//! session.

use std::time::Duration;

use super::{APP, Fields, HOST, OTHER_SITE, TRUSTING, VERIFY_ROUTES, behind_proxy, identity, send};
use crate::routes::fixture::Site;

#[tokio::test]
async fn a_preflight_passes_without_a_session_or_an_identity() {
    let (site, session) = behind_proxy().await;
    // The session is due for renewal.
    site.advance(Duration::from_secs(180));
    let requested_method = ("access-control-request-method", "DELETE");
    let cross = ("sec-fetch-site", "cross-site");
    let fields = [HOST, APP, OTHER_SITE, requested_method, cross, ("x-forwarded-method", "OPTIONS")];
    for rules in ["preflight=1", "role=admin/max_age=1/csrf=1/preflight=1", "preflight=1/csrf=1"] {
        for route in VERIFY_ROUTES {
            let path = format!("{route}/{rules}/-");
            // A session cookie in the request is ignored: it yields no identity and is not renewed.
            for cookie in [String::new(), session.cookie(), "__Host-sealjar=x".to_owned()] {
                let response = send(&site, "OPTIONS", &path, &cookie, &fields).await;
                assert_eq!((response.status, &*response.body), (200, "ok\n"), "{path}");
                assert_eq!(identity(&response), [Some(""); 9], "{path}");
                assert!(response.header("set-cookie").is_none());
            }
        }
    }
}

#[tokio::test]
async fn requests_other_than_preflights_need_a_session() {
    let (site, _) = behind_proxy().await;
    let requested_method = ("access-control-request-method", "DELETE");
    let options = ("x-forwarded-method", "OPTIONS");
    let cases: [(&str, &str, Fields<'_>, &str); 12] = [
        ("OPTIONS", "preflight=1/-", &[options, OTHER_SITE], "401 missing"),
        ("OPTIONS", "preflight=1/-", &[options, requested_method], "401 missing"),
        ("OPTIONS", "preflight=1/-", &[options, OTHER_SITE, ("access-control-request-method", "")], "401 missing"),
        ("OPTIONS", "preflight=1/-", &[options, OTHER_SITE, requested_method, requested_method], "401 missing"),
        ("POST", "preflight=1/-", &[("x-forwarded-method", "POST"), OTHER_SITE, requested_method], "401 missing"),
        ("GET", "preflight=1/-", &[("x-forwarded-method", "GET"), OTHER_SITE, requested_method], "401 missing"),
        ("OPTIONS", "-", &[options, OTHER_SITE, requested_method], "401 missing"),
        ("OPTIONS", "role=a/-", &[options, OTHER_SITE, requested_method], "401 missing"),
        ("OPTIONS", "preflight=0/-", &[options, OTHER_SITE, requested_method], "403 rule"),
        ("OPTIONS", "preflight=1/roles=x/-", &[options, OTHER_SITE, requested_method], "403 rule"),
        ("OPTIONS", "preflight=1/csrf=1/-", &[options, OTHER_SITE], "403 cross-site"),
        (
            "POST",
            "preflight=1/csrf=1/-",
            &[("x-forwarded-method", "POST"), OTHER_SITE, requested_method],
            "403 cross-site",
        ),
    ];
    for (method, rules, fields, verdict) in cases {
        for route in VERIFY_ROUTES {
            let path = format!("{route}/{rules}");
            let response = send(&site, method, &path, "", &[&[HOST, APP], fields].concat()).await;
            assert_eq!(response.verdict(), verdict, "{method} {path} {fields:?}");
        }
    }
    for path in ["/auth/verify?preflight=1", "/auth/verify/redirect?preflight=1"] {
        let fields = [HOST, APP, options, OTHER_SITE, requested_method];
        assert_eq!(send(&site, "OPTIONS", path, "", &fields).await.verdict(), "401 missing", "{path}");
    }
}

/// The method of the verify request is chosen by the proxy. Only Envoy uses the client's method.
#[tokio::test]
async fn an_untrusted_client_cannot_claim_a_preflight() {
    let site = Site::new().await;
    let fields = [OTHER_SITE, ("access-control-request-method", "GET"), ("x-forwarded-method", "OPTIONS")];
    for route in VERIFY_ROUTES {
        let response = send(&site, "OPTIONS", &format!("{route}/preflight=1/-"), "", &fields).await;
        assert_eq!(response.verdict(), "401 missing", "{route}");
    }
    let site = Site::with(&TRUSTING).await;
    for path in ["/auth/verify/preflight=1/-", "/auth/verify/redirect/preflight=1/-"] {
        let response = send(&site, "OPTIONS", path, "", &[HOST, APP, fields[0], fields[1]]).await;
        assert_eq!(response.verdict(), "401 missing", "no proxy has forwarded this method: {path}");
        let posts = [HOST, APP, fields[0], fields[1], ("x-forwarded-method", "POST")];
        assert_eq!(send(&site, "OPTIONS", path, "", &posts).await.verdict(), "401 missing", "{path}");
        let both = [posts[0], posts[1], posts[2], posts[3], posts[4], ("x-original-method", "OPTIONS")];
        assert_eq!(send(&site, "OPTIONS", path, "", &both).await.verdict(), "403 forwarded", "{path}");
    }
}
