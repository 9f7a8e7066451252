//! `/auth/verify`, in its three shapes, as a proxy asks it. Real proxies are in `tests/web`.

use reqwest::Method;

use crate::harness::{Answer, Home, Server, Session, client};
use crate::protocol::raw;

const IDENTITY: [&str; 9] = [
    "remote-user",
    "remote-name",
    "remote-groups",
    "remote-email",
    "remote-session-deadline",
    "x-auth-request-user",
    "x-auth-request-name",
    "x-auth-request-groups",
    "x-auth-request-email",
];
pub(crate) const TRUSTING: [&str; 2] =
    ["http.trusted_proxies=127.0.0.1", "http.public_origins=https://app.example.com,https://b.example.com"];
pub(crate) const APP: (&str, &str) = ("x-forwarded-host", "app.example.com");
pub(crate) const NAVIGATION: (&str, &str) = ("sec-fetch-mode", "navigate");

pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// A session begun on a host.
pub(crate) async fn sign_in_at(server: &Server<'_>, host: &str, login: &str) -> Session {
    let body = Server::login_body(login, crate::harness::PASSWORD);
    let request = client().post(server.url("/auth/login")).header("host", host).json(&body);
    Session::of(&request.send().await.expect("an answer")).expect("a session")
}

pub(crate) async fn ask(server: &Server<'_>, method: &str, path: &str, cookie: &str, fields: Fields<'_>) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client().request(method, server.url(path)).header("cookie", cookie);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.expect("an answer")).await
}

pub(crate) fn identity(answer: &Answer) -> Vec<Option<&str>> {
    IDENTITY.iter().map(|name| answer.header(name)).collect()
}

#[tokio::test]
async fn every_200_has_all_identity_fields_in_visible_ascii_even_empty_ones() {
    let home = Home::new();
    let name = ["users", "add", "bob", "--display-name", "B\u{f6}b 100% \u{1f36f}"];
    assert!(home.run_with_input(&name, &format!("{}\n", crate::harness::PASSWORD)).status.success());
    let server = home.start();
    for (login, display_name, groups) in [("alice", "", "staff"), ("bob", "B%C3%B6b%20100%25%20%F0%9F%8D%AF", "")] {
        let session = server.login(login).await;
        for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
            let answer = server.get(path, &session.cookie()).await;
            assert_eq!((answer.status, &*answer.body), (200, "ok\n"), "{path}");
            let view = server.get("/auth/status", &session.cookie()).await.json();
            let deadline = view["absolute_deadline"].to_string();
            let expected = [login, display_name, groups, "", &deadline, login, display_name, groups, ""];
            assert_eq!(identity(&answer), expected.map(Some), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn every_shape_has_the_same_fields_on_its_200_and_those_of_every_answer() {
    let home = Home::new();
    let server = home.start_with(&["--public-origin", "https://app.example.com"], &[]);
    let send = async |request: reqwest::RequestBuilder| {
        Answer::of(request.header("host", "app.example.com").send().await.expect("an answer")).await
    };
    let body = Server::login_body("alice", crate::harness::PASSWORD);
    let session = send(client().post(server.url("/auth/login")).json(&body)).await.session.expect("a session");
    let mut seen = Vec::new();
    for path in ["/auth/verify", "/auth/verify/-", "/auth/verify/redirect/-", "/auth/verify/envoy/-/x"] {
        let answer = send(client().get(server.url(path)).header("cookie", session.cookie())).await;
        assert_eq!(answer.status, 200, "{path}");
        let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        seen.push(names);
        for name in ["cross-origin-resource-policy", "x-content-type-options", "cache-control", "vary"] {
            assert!(answer.header(name).is_some(), "{path} {name}");
        }
        for name in ["strict-transport-security", "content-security-policy"] {
            assert_eq!(answer.header(name), None, "only a proxy reads it");
        }
    }
    assert!(seen.iter().all(|names| *names == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn says_the_same_whatever_the_method_the_body_an_unknown_parameter_or_the_path_behind() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let big = "x".repeat(100_000);
    let paths = [
        "/auth/verify",
        "/auth/verify?x=1&Role=admin&max-age=1&role[]=admin",
        "/auth/verify/redirect?renew=x",
        "/auth/verify/-",
        "/auth/verify/role=staff/-?role=admin&max_age=0",
        "/auth/verify/redirect/role=staff/-?role=",
        "/auth/verify/envoy/-",
        "/auth/verify/envoy/-/",
        "/auth/verify/envoy/role=staff/-/auth/logout?role=admin",
        "/auth/verify/envoy/role=staff/-/%ff%00//x/-/role=admin",
        "/auth/verify/envoy/-/auth/verify/envoy/role=admin/-/",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "HEAD"] {
            for body in ["", "x=y", &big] {
                let mut request = client().request(method.parse().expect("a method"), server.url(path));
                request = request.header("cookie", session.cookie()).header("sec-fetch-site", "cross-site");
                let answer = Answer::of(request.body(body.to_owned()).send().await.expect("an answer")).await;
                assert_eq!(answer.status, 200, "{method} {path} {}", body.len());
                assert!(identity(&answer).iter().all(Option::is_some));
            }
            let request = client().request(method.parse().expect("a method"), server.url(path));
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 401, "{method} {path}");
            assert!(IDENTITY.iter().all(|name| !answer.headers().contains_key(*name)));
        }
    }
    assert_eq!(server.status(&session).await, "200");
}

/// As Envoy sends it: clients of another kind tidy the path up.
#[tokio::test]
async fn dot_segments_of_the_path_behind_do_not_climb_out() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    for (path, status) in [
        ("role=staff/-/a/../../../auth/status", 200),
        ("role=staff/-/../-/x", 200),
        ("role=staff/-/%2e%2e/%2e%2e/x", 200),
        ("role=admin/-/../../-/x", 403),
        ("role=admin/../-/x", 403),
    ] {
        let (host, cookie) = (&server.public, session.cookie());
        let request = format!(
            "GET /auth/verify/envoy/{path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&server.public, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_refusal_says_where_to_sign_in_and_only_the_redirect_shapes_send_a_navigation_there() {
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    let uri = ("x-forwarded-uri", "/a/b?c=d&e=%20");
    let there = "https://app.example.com/auth/login?rd=%2Fa%2Fb%3Fc%3Dd%26e%3D%2520";
    let html = ("accept", "text/html,*/*;q=0.8");
    let post = ("x-forwarded-method", "POST");
    let cases: [(&str, Fields<'_>, u16); 9] = [
        ("/auth/verify", &[APP, uri], 401),
        ("/auth/verify", &[APP, uri, NAVIGATION], 401),
        ("/auth/verify", &[APP, uri, html], 401),
        ("/auth/verify/redirect", &[APP, uri], 401),
        ("/auth/verify/redirect", &[APP, uri, html], 302),
        ("/auth/verify/redirect", &[APP, uri, NAVIGATION], 302),
        ("/auth/verify/redirect", &[APP, uri, NAVIGATION, post], 303),
        ("/auth/verify/redirect", &[APP, uri, html, ("sec-fetch-mode", "cors")], 401),
        ("/auth/verify/redirect", &[APP, uri, html, ("sec-fetch-mode", "cors"), post], 401),
    ];
    for (path, fields, status) in cases {
        let answer = ask(&server, "GET", path, "", fields).await;
        assert_eq!((answer.status, answer.header("location")), (status, Some(there)), "{path} {fields:?}");
        assert!(answer.session.is_none() && answer.header("set-cookie").is_none());
    }
    let envoy = "/auth/verify/envoy/-/a/b?c=d&e=%20";
    let fields = [("host", "app.example.com")];
    assert_eq!(ask(&server, "GET", envoy, "", &fields).await.header("location"), Some(there));
    let navigation = [fields[0], NAVIGATION];
    for (method, status) in [("GET", 302), ("POST", 303)] {
        let answer = ask(&server, method, envoy, "", &navigation).await;
        assert_eq!((answer.status, answer.header("location")), (status, Some(there)), "{method}");
    }
}

#[tokio::test]
async fn a_return_url_that_the_sign_in_page_would_refuse_becomes_the_front_page() {
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    let long = format!("/{}", "x".repeat(3000));
    for target in ["//evil.example/", "/\\evil.example", "https://evil.example/", "/a%0d%0ab", "/a b", "x", &long] {
        for path in ["/auth/verify", "/auth/verify/redirect"] {
            let answer = ask(&server, "GET", path, "", &[APP, ("x-forwarded-uri", target)]).await;
            let expected = "https://app.example.com/auth/login?rd=%2F";
            assert_eq!(answer.header("location"), Some(expected), "{target}");
        }
    }
}

#[tokio::test]
async fn forwarded_fields_count_only_from_a_trusted_peer() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let spoofed = [
        APP,
        ("x-forwarded-uri", "/evil"),
        ("x-forwarded-method", "GET"),
        ("x-original-url", "https://b.example.com/evil"),
        ("x-original-method", "POST"),
    ];
    let answer = ask(&server, "GET", "/auth/verify", &session.cookie(), &spoofed).await;
    assert_eq!(answer.verdict(), "200", "they are not read, so they cannot contradict each other");
    let answer = ask(&server, "GET", "/auth/verify/redirect", "", &[&spoofed[..], &[NAVIGATION]].concat()).await;
    let there = format!("{}?rd=%2F", server.url("/auth/login"));
    assert_eq!((answer.status, answer.header("location")), (302, Some(&*there)));
    let answer = ask(&server, "POST", "/auth/verify?csrf=1", &session.cookie(), &spoofed).await;
    assert_eq!(answer.verdict(), "403 forwarded", "no method is believed");
    assert_eq!(ask(&server, "GET", "/auth/verify?csrf=1", &session.cookie(), &[]).await.verdict(), "403 forwarded");
}

#[tokio::test]
async fn forwarded_fields_must_agree_and_name_a_host_that_is_served() {
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    let session = sign_in_at(&server, "app.example.com", "alice").await;
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
            assert_eq!(
                ask(&server, "GET", path, &session.cookie(), fields).await.verdict(),
                verdict,
                "{path} {fields:?}"
            );
        }
    }
    for (host, verdict) in [("app.example.com", "200"), ("b.example.com", "401 invalid")] {
        let fields = [("host", host), ("x-forwarded-host", "app.example.com")];
        let answer = ask(&server, "GET", "/auth/verify/envoy/-/", &session.cookie(), &fields).await;
        assert_eq!(answer.verdict(), verdict, "Envoy's request has the visitor's own host: {host}");
    }
}

#[tokio::test]
async fn a_password_given_too_long_ago_leads_to_the_step_up_and_from_there_back() {
    let home = Home::with_settings(&TRUSTING);
    let server = home.start();
    let session = sign_in_at(&server, "app.example.com", "alice").await;
    let uri = ("x-forwarded-uri", "/admin");
    let there = "https://app.example.com/auth/reauthenticate?rd=%2Fadmin";
    let old = loop {
        let answer = ask(&server, "GET", "/auth/verify?max_age=1", &session.cookie(), &[APP, uri]).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((&*old.verdict(), old.header("location")), ("401 step-up", Some(there)));
    let answer =
        ask(&server, "GET", "/auth/verify/redirect?max_age=1", &session.cookie(), &[APP, uri, NAVIGATION]).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some(there)));
    let lax = ask(&server, "GET", "/auth/verify?max_age=600", &session.cookie(), &[APP, uri]).await;
    assert_eq!(lax.verdict(), "200");
}

#[tokio::test]
async fn a_renewal_says_the_same_of_the_user_and_sets_one_cookie() {
    let home = Home::with_settings(&["session.idle=10s"]);
    let server = home.start();
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/x"] {
        let session = server.login("alice").await;
        let first = server.get(path, &session.cookie()).await;
        assert!(first.session.is_none());
        let renewed = loop {
            let answer = server.get(path, &session.cookie()).await;
            assert_eq!(answer.status, 200, "renewal comes long before the deadline");
            if answer.session.is_some() {
                break answer;
            }
        };
        assert_eq!(renewed.headers.get_all("set-cookie").iter().count(), 1);
        assert_eq!(identity(&first), identity(&renewed), "{path}");
    }
}

#[tokio::test]
async fn renew_redirect_sends_a_navigation_through_the_renewal_once() {
    let settings = [&TRUSTING[..], &["session.idle=10s"]].concat();
    let home = Home::with_settings(&settings);
    let server = home.start();
    let session = sign_in_at(&server, "app.example.com", "alice").await;
    const PATH: &str = "/auth/verify/redirect?renew=redirect";
    let get = ("x-forwarded-method", "GET");
    let at = |uri: &'static str| [APP, get, NAVIGATION, ("x-forwarded-uri", uri)];
    let detour = loop {
        let answer = ask(&server, "GET", PATH, &session.cookie(), &at("/a?b=c")).await;
        assert!(answer.session.is_none(), "never in place");
        if answer.status != 200 {
            break answer;
        }
    };
    let location = detour.header("location").expect("a place");
    assert_eq!((detour.status, location), (302, "https://app.example.com/auth/renew?rd=%2Fa%3Fb%3Dc"));
    // What is no GET navigation passes as it is.
    for fields in [
        &[APP, get, ("x-forwarded-uri", "/a")][..],
        &[APP, NAVIGATION, ("x-forwarded-uri", "/a")],
        &[APP, NAVIGATION, ("x-forwarded-method", "POST"), ("x-forwarded-uri", "/a")],
        &[APP, get, NAVIGATION, ("sec-fetch-mode", "cors"), ("x-forwarded-uri", "/a")][..2],
        &[APP, get, NAVIGATION],
    ] {
        assert_eq!(ask(&server, "GET", PATH, &session.cookie(), fields).await.status, 200, "{fields:?}");
    }
    assert_eq!(ask(&server, "GET", "/auth/verify?renew=redirect", &session.cookie(), &at("/a")).await.status, 200);
    // The renewal comes back with a new cookie and the marker.
    let path = location.strip_prefix("https://app.example.com").expect("on this host");
    let host = ("host", "app.example.com");
    let back = ask(&server, "GET", path, &session.cookie(), &[host, NAVIGATION]).await;
    assert_eq!((back.status, back.header("location")), (302, Some("/a?b=c&sealjar-renewed")));
    let renewed = back.session.expect("a renewed session");
    // With the new cookie the marker is taken away; without it, nothing goes round again.
    let arrived = ask(&server, "GET", PATH, &renewed.cookie(), &at("/a?b=c&sealjar-renewed")).await;
    assert_eq!((arrived.status, arrived.header("location")), (302, Some("https://app.example.com/a?b=c")));
    let lost = ask(&server, "GET", PATH, &session.cookie(), &at("/a?b=c&sealjar-renewed")).await;
    assert_eq!(lost.status, 200);
    assert_eq!(ask(&server, "GET", PATH, &renewed.cookie(), &at("/a?b=c")).await.status, 200);
}

#[tokio::test]
async fn renew_needs_a_session_and_returns_to_nowhere_else() {
    let home = Home::with_settings(&["session.idle=10s"]);
    let server = home.start();
    let session = server.login("alice").await;
    let answer = ask(&server, "GET", "/auth/renew?rd=%2Fa", "", &[NAVIGATION]).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/auth/login?rd=%2Fa")));
    assert_eq!(server.get("/auth/renew?rd=/a", "").await.verdict(), "401 missing");
    assert!(server.get("/auth/renew", &session.cookie()).await.json()["idle_deadline"].is_u64());
    for bad in ["//evil.example", "https://evil.example/", "/%0d%0a", "/\\evil.example"] {
        let path = format!("/auth/renew?rd={}", bad.replace('%', "%25"));
        let answer = server.get(&path, &session.cookie()).await;
        assert_eq!((answer.status, answer.header("location")), (200, None), "{bad}");
    }
}

#[tokio::test]
async fn a_session_of_one_host_is_good_on_no_other_unless_they_share_a_domain() {
    let origins = "http.public_origins=https://app.example.com,https://b.example.com";
    let home = Home::with_settings(&["http.trusted_proxies=127.0.0.1", origins]);
    let apart = home.start();
    let session = sign_in_at(&apart, "app.example.com", "alice").await;
    let on = |server: &Server<'_>, cookie: String, host: &'static str| {
        let request = client().get(server.url("/auth/verify/redirect")).header("cookie", cookie);
        request.header("x-forwarded-host", host).header("x-forwarded-uri", "/x").header("accept", "text/html").send()
    };
    assert_eq!(on(&apart, session.cookie(), "app.example.com").await.expect("an answer").status(), 200);
    assert_eq!(on(&apart, session.cookie(), "b.example.com").await.expect("an answer").status(), 302);
    drop(apart);

    let shared = home.start_with(&["--set", "cookie.domain=example.com"], &[]);
    let body = Server::login_body("alice", crate::harness::PASSWORD);
    let request = client().post(shared.url("/auth/login")).header("host", "app.example.com").json(&body);
    let response = request.send().await.expect("an answer");
    let set = response.headers()["set-cookie"].to_str().expect("ASCII").to_owned();
    let (cookie, attributes) = set.split_once(';').expect("attributes");
    assert!(cookie.starts_with("__Secure-sealjar="));
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax; Domain=example.com");
    for host in ["app.example.com", "b.example.com", "c.example.com", "example.com"] {
        assert_eq!(on(&shared, cookie.to_owned(), host).await.expect("an answer").status(), 200, "{host}");
    }
    let elsewhere = on(&shared, cookie.to_owned(), "c.example.com.evil.example").await.expect("an answer");
    assert_eq!(elsewhere.status(), 403);
    let posing = cookie.replace("__Secure-", "__Host-");
    assert_eq!(on(&shared, posing, "app.example.com").await.expect("an answer").status(), 302);
    assert_eq!(on(&shared, session.cookie(), "app.example.com").await.expect("an answer").status(), 302);
    // Below the domain, a listed host signs in by itself; another at the first listed one, and comes back.
    for (host, there) in [
        ("b.example.com", "https://b.example.com/auth/login?rd=%2Fx"),
        ("c.example.com:8443", "https://app.example.com/auth/login?rd=https%3A%2F%2Fc.example.com%3A8443%2Fx"),
    ] {
        let answer = on(&shared, String::new(), host).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().ok()), (302, Some(there)));
    }
    let page = client().get(shared.url("/auth/login?rd=https%3A%2F%2Fc.example.com%3A8443%2Fx"));
    let page = Answer::of(page.header("host", "app.example.com").send().await.expect("an answer")).await;
    assert_eq!(page.hidden("rd"), "https://c.example.com:8443/x");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains(
        "form-action 'self' https://app.example.com https://b.example.com https://example.com https://*.example.com;"
    ));
}

#[tokio::test]
async fn the_names_under_which_proxies_ask_can_be_set() {
    let home = Home::new();
    let server = home.start_with(&["--set", "http.verify_authorities=sealjar:8080"], &[]);
    let session = server.login("alice").await;
    let port = server.public.rsplit_once(':').expect("a port").1;
    for (host, verdict) in [
        (server.public.clone(), "200"),
        (format!("localhost:{port}"), "401 invalid"),
        ("sealjar:8080".to_owned(), "403 forwarded"),
        ("sealjar".to_owned(), "421 misdirected"),
        ("app.example.com".to_owned(), "421 misdirected"),
    ] {
        let answer = ask(&server, "GET", "/auth/verify", &session.cookie(), &[("host", &host)]).await;
        assert_eq!(answer.verdict(), verdict, "{host}");
    }
    let status = client().get(server.url("/auth/status")).header("host", "sealjar:8080").send().await;
    assert_eq!(status.expect("an answer").status(), 421, "public routes know only the public names");
}
