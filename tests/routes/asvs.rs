//! Requirements of OWASP ASVS 5.0 that no other test shows: for all cookies, all answers and all ways in.
//! `docs/security/asvs.md` has the table.

use std::fmt::Write as _;
use std::time::Duration;

use salvo::http::HeaderMap;
use serde_json::json;

use super::answer::Answer;
use super::fixture::{PASSWORD, Site, login_body, name};
use crate::account::{Profile, Roles};

const NEW: &str = "another horse battery";
/// What changes something, and the fields that it takes.
pub(crate) const ACTIONS: [(&str, &str); 5] = [
    ("/auth/login", "login=alice&password=correct+horse+battery"),
    ("/auth/logout", ""),
    ("/auth/logout/all", ""),
    ("/auth/password", "old_password=correct+horse+battery&new_password=another+horse+battery"),
    ("/auth/reauthenticate", "password=correct+horse+battery"),
];
/// What only shows something.
pub(crate) const VIEWS: [&str; 16] = [
    "/",
    "/.well-known/change-password",
    "/auth",
    "/auth/",
    "/auth/login",
    "/auth/status",
    "/auth/password",
    "/auth/reauthenticate",
    "/auth/renew",
    "/auth/icon.svg",
    "/auth/logo",
    "/auth/style.css",
    "/auth/verify",
    "/auth/verify/redirect",
    "/openapi.json",
    "/protected",
];

async fn act(site: &Site, path: &str, fields: &'static str, cookie: &str) -> Answer {
    site.post(path).cookie(cookie).body("application/x-www-form-urlencoded", fields).send().await
}

/// Returns answers of every kind that a route gives, each with the sessions it was asked with: to programs and to browsers, with a
/// session and without, to what succeeds and to what does not.
async fn every_answer(site: &Site) -> Vec<(String, Answer)> {
    let mut all = Vec::new();
    for path in VIEWS {
        let session = site.login("alice").await;
        for cookie in ["", &session.cookie()] {
            for host in ["127.0.0.1", "elsewhere.example"] {
                let request = || site.get(path).cookie(cookie).header("host", host);
                all.push((path.to_owned(), request().send().await));
                all.push((format!("{path} as a page"), request().header("accept", "text/html").send().await));
            }
        }
    }
    for (path, fields) in ACTIONS {
        for cookie in [String::new(), site.login("alice").await.cookie()] {
            all.push((format!("POST {path} without fields"), act(site, path, "x=y", &cookie).await));
            all.push((format!("POST {path}"), act(site, path, fields, &cookie).await));
        }
        if path == "/auth/password" {
            let body = json!({ "old_password": NEW, "new_password": PASSWORD });
            let session = act(site, "/auth/login", "login=alice&password=another+horse+battery", "").await.session;
            let session = session.expect("the password was changed");
            all.push(("back".to_owned(), site.post(path).session(&session).json(&body).send().await));
        }
    }
    all.push(("nothing".to_owned(), site.get("/nothing").send().await));
    all
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str, &str)> {
    headers.get_all("set-cookie").iter().map(|field| {
        let (pair, attributes) = field.to_str().expect("ASCII").split_once("; ").expect("attributes");
        let (name, value) = pair.split_once('=').expect("a value");
        (name, value, attributes)
    })
}

#[tokio::test]
async fn every_cookie_keeps_to_its_host_and_is_nowhere_else() {
    let site = Site::with(&["session.idle=10s"]).await;
    let mut answers = every_answer(&site).await;
    let session = site.login("alice").await;
    site.advance(Duration::from_secs(7));
    let renewal = site.get("/auth/verify").session(&session).send().await;
    assert!(renewal.session.is_some());
    answers.push(("a renewal".to_owned(), renewal));
    let (mut set, mut removed) = (0, 0);
    for (what, answer) in answers {
        for (name, value, attributes) in cookies(&answer.headers) {
            let rest = attributes.strip_prefix("Path=/; Secure; HttpOnly; SameSite=Lax").expect(&what);
            assert!(name.len() + value.len() <= 4096, "{what}");
            match (name, value.is_empty()) {
                ("__Host-sealjar", true) => assert_eq!(rest, "; Max-Age=0", "{what}"),
                ("__Host-sealjar", false) => assert_eq!(rest, "", "{what}"),
                ("__Host-sealjar-form", false) => assert_eq!(rest, "; Max-Age=600", "{what}"),
                _ => panic!("{what} sets {name}"),
            }
            if value.is_empty() {
                removed += 1;
                continue;
            }
            set += 1;
            assert!(!answer.body.contains(value), "{what}");
            let others = answer.headers.iter().filter(|(field, _)| *field != "set-cookie");
            for (field, content) in others {
                assert!(!content.to_str().expect("ASCII").contains(value), "{what}: {field}");
            }
        }
    }
    assert!(set >= 10 && removed >= 4, "{set} were set and {removed} removed");
}

#[tokio::test]
async fn the_largest_account_that_there_can_be_fits_a_cookie() {
    let site = Site::new().await;
    let login = "w".repeat(64);
    // Joined by commas they have 1024 bytes, and one more is too much.
    let mut roles: Vec<String> = (0..16).map(|number| format!("{number:063}")).collect();
    roles[0].push('0');
    let profile = Profile {
        login_name: name(&login),
        display_name: "W".repeat(256).parse().expect("a name"),
        email: format!("{}@example.com", "w".repeat(242)).parse().expect("an address"),
        roles: Roles::new(&roles).expect("roles"),
    };
    site.add_profile(profile, PASSWORD, false).await;
    roles[1].push('0');
    assert!(Roles::new(&roles).is_err());
    let body = json!({ "login": login, "password": PASSWORD, "remember": true });
    let answer = site.post("/auth/login").json(&body).send().await;
    assert_eq!(answer.verdict(), "200");
    let sizes: Vec<_> = cookies(&answer.headers).map(|(name, value, _)| name.len() + value.len()).collect();
    assert!(sizes.len() == 1 && (2048..=4096).contains(&sizes[0]), "{sizes:?}");
    assert_eq!(site.status(&answer.session.expect("a session")).await, "200");
}

#[tokio::test]
async fn no_safe_method_begins_changes_or_ends_a_session() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (path, fields) in ACTIONS {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            for cookie in ["", &session.cookie()] {
                let request = site.request(method, &format!("{path}?{fields}")).cookie(cookie);
                let answer = request.body("application/x-www-form-urlencoded", fields).send().await;
                assert!(answer.session.is_none(), "{method} {path}");
                assert!(!cookies(&answer.headers).any(|(name, ..)| name == "__Host-sealjar"), "{method} {path}");
            }
        }
    }
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(site.status(&site.login("alice").await).await, "200", "the password is the old one");
}

#[tokio::test]
async fn no_answer_lets_another_origin_read_load_or_run_it() {
    let site = Site::new().await;
    for (what, answer) in every_answer(&site).await {
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{what}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{what}");
        let content_type = answer.header("content-type").unwrap_or_default();
        assert!(!content_type.contains("script"), "{what} is {content_type}");
    }
    let session = site.login("alice").await;
    let plain = site.get("/protected").session(&session).send().await;
    let called = site.get("/protected?callback=f&jsonp=f&cb=f").session(&session).send().await;
    assert_eq!((called.header("content-type"), &called.body), (plain.header("content-type"), &plain.body), "no JSONP");
    for (path, _) in ACTIONS {
        let preflight = site.request("OPTIONS", path).header("origin", "https://evil.example");
        let preflight = preflight.header("access-control-request-method", "POST");
        let answer = preflight.header("access-control-request-headers", "content-type").send().await;
        assert_eq!(answer.verdict(), "405 method", "{path}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test]
async fn there_is_no_account_but_those_that_were_added() {
    let site = Site::new().await;
    let accounts = site.app.store.accounts().await.expect("a store");
    assert_eq!(accounts.iter().map(|account| account.profile.login_name.as_str()).collect::<Vec<_>>(), ["alice"]);
    for login in ["root", "admin", "administrator", "sa", "demo", "sealjar"] {
        for password in [login, "password", "changeme", PASSWORD] {
            let answer = site.post("/auth/login").json(&login_body(login, password)).send().await;
            assert!(answer.session.is_none(), "{login} {password}");
        }
    }
}

#[tokio::test]
async fn an_email_address_is_no_way_in() {
    let site = Site::new().await;
    let profile = Profile {
        login_name: name("carol"),
        display_name: "".parse().expect("a name"),
        email: "carol@example.com".parse().expect("an address"),
        roles: Roles::new(&[]).expect("no roles"),
    };
    site.add_profile(profile, PASSWORD, false).await;
    assert_eq!(site.status(&site.login("carol").await).await, "200");
    let body = login_body("carol@example.com", PASSWORD);
    let answer = site.post("/auth/login").json(&body).send().await;
    assert_eq!(answer.verdict(), "401 credentials");
}

/// `Authorization`, identity fields and certificates of other servers say nothing here, and no other route looks at a password.
#[tokio::test]
async fn no_other_way_leads_in_than_a_password_at_its_routes() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let sid = site.get("/auth/status").session(&session).send().await.json()["sid"].clone();
    let sid = sid.as_str().expect("a sid").to_owned();
    let basic = "Basic YWxpY2U6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    let bearer = format!("Bearer {sid}");
    let fields = [
        ("authorization", basic),
        ("authorization", &bearer),
        ("remote-user", "alice"),
        ("x-auth-request-user", "alice"),
        ("x-forwarded-user", "alice"),
        ("x-client-cert-subject", "CN=alice"),
        ("cookie", &*format!("__Host-sealjar={sid}")),
    ];
    let mut query = String::from("?login=alice&user=alice&password=correct+horse+battery");
    write!(query, "&sid={sid}&token={sid}").expect("text");
    let needs_no_session = [
        "/",
        "/.well-known/change-password",
        "/auth",
        "/auth/",
        "/auth/icon.svg",
        "/auth/logo",
        "/auth/style.css",
        "/openapi.json",
    ];
    for path in VIEWS.into_iter().filter(|path| !needs_no_session.contains(path)) {
        for (name, value) in fields {
            let answer = site.get(&format!("{path}{query}")).header(name, value).send().await;
            let welcome = path == "/auth/login" && answer.status == 200;
            assert!(welcome || answer.status == 401, "{path} {name}: {}", answer.status);
            assert!(answer.session.is_none() && !answer.body.contains("signed in as"), "{path} {name}");
        }
    }
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/"] {
        let request = site.post(path).json(&login_body("alice", PASSWORD));
        assert_eq!(request.send().await.verdict(), "401 missing", "{path}");
    }
    for (path, fields) in ACTIONS.into_iter().filter(|(path, _)| *path != "/auth/login") {
        let answer = act(&site, path, fields, "").await;
        assert!(answer.session.is_none(), "{path}");
    }
}

/// The three routes that take the password answer a wrong one alike, as JSON and as a form.
#[tokio::test]
async fn a_wrong_password_is_answered_alike_by_all_routes() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let asked = [
        ("/auth/login", json!({ "login": "alice", "password": "wrong horse battery" })),
        ("/auth/reauthenticate", json!({ "password": "wrong horse battery" })),
        ("/auth/password", json!({ "old_password": "wrong horse battery", "new_password": NEW })),
    ];
    for (path, body) in asked {
        let request = || site.post(path).session(&session);
        let fields = body.as_object().expect("fields").iter();
        let form: Vec<_> = fields.map(|(name, value)| (&**name, value.as_str().expect("text"))).collect();
        for request in [request().json(&body), request().form(&form)] {
            let answer = request.send().await;
            assert_eq!(answer.verdict(), "401 credentials", "{path}");
            assert!(answer.session.is_none() && !answer.headers.contains_key("set-cookie"), "{path}");
        }
    }
    assert_eq!(site.status(&session).await, "200");
}

/// `docs/running.md` says how to keep remembered sessions from outliving ordinary ones.
#[tokio::test]
async fn being_remembered_can_last_no_longer_than_usual() {
    let site = Site::with(&["session.remembered_idle=30m", "session.remembered_absolute=12h"]).await;
    let mut lives = Vec::new();
    for remember in [false, true] {
        let body = json!({ "login": "alice", "password": PASSWORD, "remember": remember });
        let view = site.post("/auth/login").json(&body).send().await.json();
        let at = |name: &str| view[name].as_u64().expect("seconds");
        lives.push([at("idle_deadline") - at("authenticated_at"), at("absolute_deadline") - at("authenticated_at")]);
    }
    assert_eq!(lives, [[1800, 43_200]; 2]);
}

/// There is no limit, and an earlier session does not notice a later one.
#[tokio::test]
async fn an_account_has_as_many_sessions_as_it_begins() {
    let site = Site::new().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(site.login("alice").await);
    }
    for session in &sessions {
        assert_eq!(site.status(session).await, "200");
    }
    assert_eq!(site.post("/auth/logout/all").session(&sessions[0]).send().await.status, 200);
    for session in &sessions {
        assert_eq!(site.status(session).await, "401 revoked");
    }
}

#[tokio::test]
async fn no_action_takes_a_compressed_body() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (path, fields) in ACTIONS {
        for codings in [
            &["gzip"][..],
            &["br"],
            &["GZIP"],
            &["identity, gzip"],
            &["identity", "deflate"],
            &["unknown"],
            &["gzip;q=0"],
            &["\u{e4}"],
        ] {
            for page in [false, true] {
                let request = site.post(path).session(&session).body(FORM, fields);
                let request =
                    codings.iter().fold(request, |request, coding| request.header("content-encoding", coding));
                let answer = if page { request.navigate() } else { request }.send().await;
                assert_eq!(answer.status, 415, "{path} {codings:?}");
                if !page {
                    assert_eq!(answer.verdict(), "415 content-encoding", "{path} {codings:?}");
                    assert_eq!(answer.header("accept-encoding"), Some("identity"), "{path} {codings:?}");
                }
                assert!(answer.session.is_none(), "{path} {codings:?}");
            }
        }
    }
    assert_eq!(site.status(&session).await, "200", "nothing was ended or changed");
    for coding in ["identity", "Identity", "", " , identity"] {
        let login = site.post("/auth/login").header("content-encoding", coding).json(&login_body("alice", PASSWORD));
        assert_eq!(login.send().await.verdict(), "200", "{coding:?}");
    }
    // A proxy that asks about a visitor's request sends the visitor's fields.
    let asked = site.get("/auth/verify").header("content-encoding", "gzip").session(&session).send().await;
    assert_eq!(asked.verdict(), "200");
}
