//! Rules of a route, in the segments of the question's path and in its query.

use crate::doctor::doctor;
use crate::harness::{Home, Server, Session};
use crate::verify::{APP, Fields, NAVIGATION, TRUSTING, ask, identity, sign_in_at};

const SHAPES: [&str; 3] = ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy"];
/// Envoy's question has the visitor's own host.
const HOST: (&str, &str) = ("host", "app.example.com");
const OTHER_SITE: (&str, &str) = ("origin", "https://evil.example");

async fn start(home: &Home) -> (Server<'_>, Session) {
    let server = home.start();
    let session = sign_in_at(&server, "app.example.com", "alice").await;
    (server, session)
}

#[tokio::test]
async fn rules_only_narrow() {
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    let session = sign_in_at(&server, "app.example.com", "alice").await;
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
            assert_eq!(
                ask(&server, "GET", &path, &session.cookie(), fields).await.verdict(),
                verdict,
                "{path} {fields:?}"
            );
        }
    }
    let host = ("host", "app.example.com");
    let cases: [(&str, &str, Fields<'_>, &str); 9] = [
        ("GET", "role=staff/-/x?role=admin&max_age=1", &[host], "200"),
        ("GET", "role=admin/-/x?role=staff", &[host], "403 forbidden"),
        ("GET", "role=staff/role=admin/-/x", &[host], "403 forbidden"),
        ("GET", "role=/-/x", &[host], "403 rule"),
        ("GET", "roles=admin/x", &[host], "403 rule"),
        ("GET", "x/-/y", &[host], "403 rule"),
        ("POST", "csrf=1/-/x", &[host, ("sec-fetch-site", "cross-site")], "403 cross-site"),
        ("POST", "csrf=1/-/x", &[host, ("sec-fetch-site", "same-origin")], "200"),
        ("GET", "csrf=1/-/x", &[host, ("sec-fetch-site", "cross-site")], "200"),
    ];
    for (method, rules, fields, verdict) in cases {
        let path = format!("/auth/verify/envoy/{rules}");
        assert_eq!(ask(&server, method, &path, &session.cookie(), fields).await.verdict(), verdict, "{method} {path}");
    }
    assert_eq!(ask(&server, "GET", "//auth/verify/envoy/-/", &session.cookie(), &[host]).await.verdict(), "403 rule");
}

#[tokio::test]
async fn segments_are_exact_and_no_query_is_read() {
    let home = Home::with_settings(&TRUSTING);
    let (server, session) = start(&home).await;
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
        for shape in SHAPES {
            let path = format!("{shape}/{rules}");
            // Before Envoy's path, a query is the operator's, and would be lost.
            let verdict = match verdict {
                "query" if shape == SHAPES[2] => "403 rule",
                "query" => "200",
                verdict => verdict,
            };
            for method in ["GET", "POST"] {
                let answer = ask(&server, method, &path, &session.cookie(), &[HOST, APP]).await;
                assert_eq!(answer.verdict(), verdict, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_misspelt_segment_and_an_unknown_host_are_in_the_log() {
    let home = Home::with_settings(&TRUSTING);
    let (mut server, session) = start(&home).await;
    let answer = ask(&server, "GET", "/auth/verify/roles=admin/-?secret=1", &session.cookie(), &[HOST, APP]).await;
    assert_eq!(answer.verdict(), "403 rule");
    let line = server.wait_for("the rules in a proxy's question cannot be read");
    assert_eq!(line["path"], "/auth/verify/roles=admin/-", "without the query, which may be the visitor's");
    assert_eq!(server.metric("sealjar_unreadable_rules_total").await, 1.0);
    doctor(&home, &["--admin-listen", &server.admin]).has("server.rules", "warning", "the server's log has its path");
    let answer = ask(&server, "GET", "/auth/verify/-", &session.cookie(), &[("host", "other.example.com")]).await;
    assert_eq!(answer.verdict(), "421 misdirected");
    assert_eq!(server.wait_for("a proxy asked under a host that is not listed")["host"], "other.example.com");
}

#[tokio::test]
async fn only_envoys_rules_are_followed_by_a_path() {
    let home = Home::with_settings(&TRUSTING);
    let (server, session) = start(&home).await;
    for rest in ["/", "/x", "/-", "-"] {
        for shape in ["/auth/verify", "/auth/verify/redirect"] {
            let path = format!("{shape}/role=staff/-{rest}");
            let answer = ask(&server, "GET", &path, &session.cookie(), &[HOST]).await;
            assert_eq!(answer.verdict(), "403 rule", "{path}");
        }
    }
    // A shape's path has one spelling: in another, the rules would be lost.
    for path in [
        "//auth/verify",
        "/auth//verify",
        "/auth/verify/",
        "/auth/verify/?role=staff",
        "/auth/verify//redirect",
        "/auth/verify/%72edirect",
        "//auth/verify/role=staff/-",
        "/auth//verify/-",
        "/auth/%76erify/-",
        "/auth/verify/%72edirect/-",
        "/auth/verify/redirect//-",
    ] {
        for method in ["GET", "POST"] {
            let answer = ask(&server, method, path, &session.cookie(), &[HOST]).await;
            assert_eq!(answer.verdict(), "403 rule", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn only_the_redirect_shape_takes_renew() {
    let home = Home::with_settings(&[&TRUSTING[..], &["session.idle=10s"]].concat());
    let (server, session) = start(&home).await;
    for (shape, status) in [("", 403), ("/redirect", 200), ("/envoy", 403)] {
        let path = format!("/auth/verify{shape}/renew=redirect/-");
        assert_eq!(ask(&server, "GET", &path, &session.cookie(), &[HOST]).await.status, status, "{path}");
    }
    let visit = [APP, NAVIGATION, ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/a")];
    let detour = loop {
        let answer = ask(&server, "GET", "/auth/verify/redirect/renew=redirect/-", &session.cookie(), &visit).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(detour.header("location"), Some("https://app.example.com/auth/renew?rd=%2Fa"));
    // Where no redirect can be made, a renewal takes place in the answer, whatever the query says.
    let answer = ask(&server, "GET", "/auth/verify?renew=redirect", &session.cookie(), &visit).await;
    assert!(answer.session.is_some());
}

#[tokio::test]
async fn a_preflight_passes_without_a_session_and_says_nobody() {
    let home = Home::with_settings(&TRUSTING);
    let (server, session) = start(&home).await;
    let wants = ("access-control-request-method", "DELETE");
    let cross = ("sec-fetch-site", "cross-site");
    let asked = [HOST, APP, OTHER_SITE, wants, cross, ("x-forwarded-method", "OPTIONS")];
    for rules in ["preflight=1", "role=admin/max_age=1/csrf=1/preflight=1", "preflight=1/csrf=1"] {
        for shape in SHAPES {
            let path = format!("{shape}/{rules}/-");
            // A cookie that comes along makes nobody of it, and is not renewed.
            for cookie in [String::new(), session.cookie(), "__Host-sealjar=x".to_owned()] {
                let answer = ask(&server, "OPTIONS", &path, &cookie, &asked).await;
                assert_eq!((answer.status, &*answer.body), (200, "ok\n"), "{path}");
                assert_eq!(identity(&answer), [Some(""); 9], "{path}");
                assert!(answer.header("set-cookie").is_none());
            }
        }
    }
    assert!(server.metric("sealjar_verifications_total{outcome=\"preflight\"}").await >= 27.0);
}

#[tokio::test]
async fn what_is_no_preflight_needs_a_session() {
    let home = Home::with_settings(&TRUSTING);
    let (server, _) = start(&home).await;
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
            let answer = ask(&server, method, &path, "", &[&[HOST, APP], fields].concat()).await;
            assert_eq!(answer.verdict(), verdict, "{method} {path} {fields:?}");
        }
    }
    for path in ["/auth/verify?preflight=1", "/auth/verify/redirect?preflight=1"] {
        let fields = [HOST, APP, options, OTHER_SITE, wants];
        assert_eq!(ask(&server, "OPTIONS", path, "", &fields).await.verdict(), "401 missing", "{path}");
    }
}

/// The method of the question is the proxy's own, unless it is Envoy's.
#[tokio::test]
async fn a_stranger_cannot_say_that_a_request_is_a_preflight() {
    let home = Home::new();
    let server = home.start();
    let fields = [OTHER_SITE, ("access-control-request-method", "GET"), ("x-forwarded-method", "OPTIONS")];
    for shape in SHAPES {
        let answer = ask(&server, "OPTIONS", &format!("{shape}/preflight=1/-"), "", &fields).await;
        assert_eq!(answer.verdict(), "401 missing", "{shape}");
    }
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    for path in ["/auth/verify/preflight=1/-", "/auth/verify/redirect/preflight=1/-"] {
        let answer = ask(&server, "OPTIONS", path, "", &[HOST, APP, fields[0], fields[1]]).await;
        assert_eq!(answer.verdict(), "401 missing", "no proxy said so: {path}");
        let posts = [HOST, APP, fields[0], fields[1], ("x-forwarded-method", "POST")];
        assert_eq!(ask(&server, "OPTIONS", path, "", &posts).await.verdict(), "401 missing", "{path}");
        let both = [posts[0], posts[1], posts[2], posts[3], posts[4], ("x-original-method", "OPTIONS")];
        assert_eq!(ask(&server, "OPTIONS", path, "", &both).await.verdict(), "403 forwarded", "{path}");
    }
}

#[tokio::test]
async fn csrf_refuses_every_method_of_other_sites_but_get_and_head() {
    let home = Home::with_settings(&TRUSTING);
    let (server, session) = start(&home).await;
    for method in ["OPTIONS", "TRACE", "QUERY", "POST", "PROPFIND", "DELETE", "GET", "HEAD"] {
        let verdict = if ["GET", "HEAD"].contains(&method) { "200" } else { "403 cross-site" };
        for (shape, asked) in [(SHAPES[0], "GET"), (SHAPES[1], "GET"), (SHAPES[2], method)] {
            if asked == "HEAD" {
                continue;
            }
            for path in [format!("{shape}/csrf=1/-"), format!("{shape}?csrf=1")] {
                if shape == SHAPES[2] && path.contains('?') {
                    continue;
                }
                let fields = [HOST, APP, ("x-forwarded-method", method), OTHER_SITE];
                let answer = ask(&server, asked, &path, &session.cookie(), &fields).await;
                assert_eq!(answer.verdict(), verdict, "{method} {path}");
                let own = [fields[0], fields[1], fields[2], ("origin", "https://app.example.com")];
                assert_eq!(
                    ask(&server, asked, &path, &session.cookie(), &own).await.verdict(),
                    "200",
                    "{method} {path}"
                );
            }
        }
    }
    // A preflight comes from another site by its nature. Without the rule for it, it needs a session.
    let preflight =
        [HOST, APP, ("x-forwarded-method", "OPTIONS"), OTHER_SITE, ("access-control-request-method", "PUT")];
    assert_eq!(ask(&server, "GET", "/auth/verify/csrf=1/-", "", &preflight).await.verdict(), "401 missing");
}

#[tokio::test]
async fn a_connect_passes_with_no_session() {
    let home = Home::with_settings(&TRUSTING);
    let (server, session) = start(&home).await;
    for shape in [SHAPES[0], SHAPES[1]] {
        for rules in ["", "/-", "/role=staff/-", "/csrf=1/-", "/preflight=1/-"] {
            for name in ["x-forwarded-method", "x-original-method"] {
                for (method, verdict) in [("GET", "200"), ("CONNECT", "403 forwarded")] {
                    let fields = [APP, (name, method)];
                    let answer = ask(&server, "GET", &format!("{shape}{rules}"), &session.cookie(), &fields).await;
                    assert_eq!(answer.verdict(), verdict, "{method} {shape}{rules}");
                }
            }
        }
    }
}

#[tokio::test]
async fn misspelt_rules_of_a_query_are_counted_and_shown() {
    let home = Home::with_settings(&TRUSTING);
    let (server, session) = start(&home).await;
    let admin = server.admin.clone();
    let look = || doctor(&home, &["--admin-listen", &admin]);
    let ask = async |path: &str| {
        assert_eq!(ask(&server, "GET", path, &session.cookie(), &[HOST, APP]).await.status, 200, "{path}");
    };
    ask("/auth/verify?role=staff&max_age=900&q=1&page=2&utm_source=x&redirect=y").await;
    ask("/auth/verify/-?q=1").await;
    assert_eq!(look().levels("server.rules"), ["ok"]);
    ask("/auth/verify?roles=admin").await;
    // Beside segments no query is read.
    ask("/auth/verify/-?max_age=60").await;
    ask("/auth/verify/redirect?csfr=1&preflight=1&role[]=x").await;
    for (rule, count) in [("role", 2.0), ("max_age", 1.0), ("csrf", 1.0), ("renew", 0.0), ("preflight", 1.0)] {
        let name = format!("sealjar_misspelt_rules_total{{rule=\"{rule}\"}}");
        assert_eq!(server.metric(&name).await, count, "{rule}");
    }
    look().has("server.rules", "warning", "/auth/verify/role=admin/-");
    // However many one query has, only some are looked at.
    let many = "roles=x&".repeat(1000);
    ask(&format!("/auth/verify?{many}")).await;
    assert_eq!(server.metric("sealjar_misspelt_rules_total{rule=\"role\"}").await, 18.0);
}

#[tokio::test]
async fn a_redirect_to_sign_in_is_not_counted_as_a_live_session() {
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    for path in ["/auth/verify/redirect", "/auth/verify/redirect/-", "/auth/verify/envoy/-/x", "/protected"] {
        let answer = ask(&server, "GET", path, "", &[HOST, APP, NAVIGATION]).await;
        assert_eq!(answer.status, 302, "{path}");
    }
    assert_eq!(server.metric("sealjar_verifications_total{outcome=\"missing\"}").await, 4.0);
    assert_eq!(server.metric("sealjar_verifications_total{outcome=\"live\"}").await, 0.0);
}
