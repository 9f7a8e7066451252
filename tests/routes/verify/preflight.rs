//! CORS preflights, which may pass without a session.

use std::time::Duration;

use super::{APP, Fields, HOST, OTHER_SITE, SHAPES, TRUSTING, ask, behind_proxy, identity};
use crate::routes::fixture::Site;

#[tokio::test]
async fn a_preflight_passes_without_a_session_and_says_nobody() {
    let (site, session) = behind_proxy().await;
    // The session is due for renewal.
    site.advance(Duration::from_secs(180));
    let wants = ("access-control-request-method", "DELETE");
    let cross = ("sec-fetch-site", "cross-site");
    let asked = [HOST, APP, OTHER_SITE, wants, cross, ("x-forwarded-method", "OPTIONS")];
    for rules in ["preflight=1", "role=admin/max_age=1/csrf=1/preflight=1", "preflight=1/csrf=1"] {
        for shape in SHAPES {
            let path = format!("{shape}/{rules}/-");
            // A cookie that comes along makes nobody of it, and is not renewed.
            for cookie in [String::new(), session.cookie(), "__Host-sealjar=x".to_owned()] {
                let answer = ask(&site, "OPTIONS", &path, &cookie, &asked).await;
                assert_eq!((answer.status, &*answer.body), (200, "ok\n"), "{path}");
                assert_eq!(identity(&answer), [Some(""); 9], "{path}");
                assert!(answer.header("set-cookie").is_none());
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_is_no_preflight_needs_a_session() {
    let (site, _) = behind_proxy().await;
    let wants = ("access-control-request-method", "DELETE");
    let options = ("x-forwarded-method", "OPTIONS");
    let cases: [(&str, &str, Fields<'_>, &str); 12] = [
        ("OPTIONS", "preflight=1/-", &[options, OTHER_SITE], "401 missing"),
        ("OPTIONS", "preflight=1/-", &[options, wants], "401 missing"),
        ("OPTIONS", "preflight=1/-", &[options, OTHER_SITE, ("access-control-request-method", "")], "401 missing"),
        ("OPTIONS", "preflight=1/-", &[options, OTHER_SITE, wants, wants], "401 missing"),
        ("POST", "preflight=1/-", &[("x-forwarded-method", "POST"), OTHER_SITE, wants], "401 missing"),
        ("GET", "preflight=1/-", &[("x-forwarded-method", "GET"), OTHER_SITE, wants], "401 missing"),
        ("OPTIONS", "-", &[options, OTHER_SITE, wants], "401 missing"),
        ("OPTIONS", "role=a/-", &[options, OTHER_SITE, wants], "401 missing"),
        ("OPTIONS", "preflight=0/-", &[options, OTHER_SITE, wants], "403 rule"),
        ("OPTIONS", "preflight=1/roles=x/-", &[options, OTHER_SITE, wants], "403 rule"),
        ("OPTIONS", "preflight=1/csrf=1/-", &[options, OTHER_SITE], "403 cross-site"),
        ("POST", "preflight=1/csrf=1/-", &[("x-forwarded-method", "POST"), OTHER_SITE, wants], "403 cross-site"),
    ];
    for (method, rules, fields, verdict) in cases {
        for shape in SHAPES {
            let path = format!("{shape}/{rules}");
            let answer = ask(&site, method, &path, "", &[&[HOST, APP], fields].concat()).await;
            assert_eq!(answer.verdict(), verdict, "{method} {path} {fields:?}");
        }
    }
    for path in ["/auth/verify?preflight=1", "/auth/verify/redirect?preflight=1"] {
        let fields = [HOST, APP, options, OTHER_SITE, wants];
        assert_eq!(ask(&site, "OPTIONS", path, "", &fields).await.verdict(), "401 missing", "{path}");
    }
}

/// The method of the question is the proxy's own, unless it is Envoy's.
#[tokio::test]
async fn a_stranger_cannot_say_that_a_request_is_a_preflight() {
    let site = Site::new().await;
    let fields = [OTHER_SITE, ("access-control-request-method", "GET"), ("x-forwarded-method", "OPTIONS")];
    for shape in SHAPES {
        let answer = ask(&site, "OPTIONS", &format!("{shape}/preflight=1/-"), "", &fields).await;
        assert_eq!(answer.verdict(), "401 missing", "{shape}");
    }
    let site = Site::with(&TRUSTING).await;
    for path in ["/auth/verify/preflight=1/-", "/auth/verify/redirect/preflight=1/-"] {
        let answer = ask(&site, "OPTIONS", path, "", &[HOST, APP, fields[0], fields[1]]).await;
        assert_eq!(answer.verdict(), "401 missing", "no proxy said so: {path}");
        let posts = [HOST, APP, fields[0], fields[1], ("x-forwarded-method", "POST")];
        assert_eq!(ask(&site, "OPTIONS", path, "", &posts).await.verdict(), "401 missing", "{path}");
        let both = [posts[0], posts[1], posts[2], posts[3], posts[4], ("x-original-method", "OPTIONS")];
        assert_eq!(ask(&site, "OPTIONS", path, "", &both).await.verdict(), "403 forwarded", "{path}");
    }
}
