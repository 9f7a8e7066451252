//! Tests of requirements of the [OWASP ASVS 5.0](https://owasp.org/www-project-application-security-verification-standard/) that
//! concern all cookies, all responses and all methods to log in. `docs/security/asvs.md` has the table of requirements and tests.

use std::fmt::Write as _;
use std::time::Duration;

use salvo::http::HeaderMap;
use serde_json::json;

use super::fixture::{PASSWORD, Site, login_body, name};
use super::response::Response;
use crate::account::{Profile, Roles};

const NEW: &str = "another horse battery";
/// Routes that change state, with valid form fields for each. A test in `src/http.rs` checks that the list is complete.
pub(crate) const ACTION_ROUTES: [(&str, &str); 5] = [
    ("/auth/login", "login=alice&password=correct+horse+battery"),
    ("/auth/logout", ""),
    ("/auth/logout/all", ""),
    ("/auth/password", "old_password=correct+horse+battery&new_password=another+horse+battery"),
    ("/auth/reauthenticate", "password=correct+horse+battery"),
];
/// Routes that only show state. A test in `src/http.rs` checks that the list is complete.
pub(crate) const VIEW_ROUTES: [&str; 16] = [
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

async fn act(site: &Site, path: &str, fields: &'static str, cookie: &str) -> Response {
    site.post(path).cookie(cookie).body("application/x-www-form-urlencoded", fields).send().await
}

/// Returns responses of all types with a description of each: to programs and to browsers, with and without a session, for
/// successful and for refused requests.
async fn every_response(site: &Site) -> Vec<(String, Response)> {
    let mut all = Vec::new();
    for path in VIEW_ROUTES {
        let session = site.login("alice").await;
        for cookie in ["", &session.cookie()] {
            for host in ["127.0.0.1", "elsewhere.example"] {
                let request = || site.get(path).cookie(cookie).header("host", host);
                all.push((path.to_owned(), request().send().await));
                all.push((format!("{path} as a page"), request().header("accept", "text/html").send().await));
            }
        }
    }
    for (path, fields) in ACTION_ROUTES {
        for cookie in [String::new(), site.login("alice").await.cookie()] {
            all.push((format!("POST {path} without fields"), act(site, path, "x=y", &cookie).await));
            all.push((format!("POST {path}"), act(site, path, fields, &cookie).await));
        }
        if path == "/auth/password" {
            let body = json!({ "old_password": NEW, "new_password": PASSWORD });
            let session = act(site, "/auth/login", "login=alice&password=another+horse+battery", "").await.session;
            let session = session.expect("the password has been changed");
            all.push((
                "POST /auth/password, back to the old password".to_owned(),
                site.post(path).session(&session).json(&body).send().await,
            ));
        }
    }
    all.push(("a path without a route".to_owned(), site.get("/nothing").send().await));
    all
}

/// Returns name, value and attributes of each cookie that is set.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str, &str)> {
    headers.get_all("set-cookie").iter().map(|field| {
        let (pair, attributes) = field.to_str().expect("ASCII").split_once("; ").expect("attributes");
        let (name, value) = pair.split_once('=').expect("a value");
        (name, value, attributes)
    })
}

#[tokio::test]
async fn every_cookie_is_host_only_and_in_no_body_or_other_field() {
    let site = Site::with(&["session.idle=10s"]).await;
    let mut responses = every_response(&site).await;
    let session = site.login("alice").await;
    site.advance(Duration::from_secs(7));
    let renewal = site.get("/auth/verify").session(&session).send().await;
    assert!(renewal.session.is_some());
    responses.push(("a renewal".to_owned(), renewal));
    let mut set = 0;
    let mut removed = 0;
    for (case, response) in responses {
        for (name, value, attributes) in cookies(&response.headers) {
            let rest = attributes.strip_prefix("Path=/; Secure; HttpOnly; SameSite=Lax").expect(&case);
            assert!(name.len() + value.len() <= 4096, "{case}");
            match (name, value.is_empty()) {
                ("__Host-sealjar", true) => assert_eq!(rest, "; Max-Age=0", "{case}"),
                ("__Host-sealjar", false) => assert_eq!(rest, "", "{case}"),
                ("__Host-sealjar-form", false) => assert_eq!(rest, "; Max-Age=600", "{case}"),
                _ => panic!("{case} sets {name}"),
            }
            if value.is_empty() {
                removed += 1;
                continue;
            }
            set += 1;
            assert!(!response.body.contains(value), "{case}");
            let others = response.headers.iter().filter(|(field, _)| *field != "set-cookie");
            for (field, content) in others {
                assert!(!content.to_str().expect("ASCII").contains(value), "{case}: {field}");
            }
        }
    }
    assert!(set >= 10 && removed >= 4, "{set} were set and {removed} removed");
}

#[tokio::test]
async fn the_largest_possible_account_fits_into_a_cookie() {
    let site = Site::new().await;
    let login = "w".repeat(64);
    // Joined by commas, the roles have the maximum of 1024 bytes.
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
    let response = site.post("/auth/login").json(&body).send().await;
    assert_eq!(response.verdict(), "200");
    let sizes: Vec<_> = cookies(&response.headers).map(|(name, value, _)| name.len() + value.len()).collect();
    assert!(sizes.len() == 1 && (2048..=4096).contains(&sizes[0]), "{sizes:?}");
    assert_eq!(site.status(&response.session.expect("a session")).await, "200");
}

#[tokio::test]
async fn safe_methods_never_start_change_or_end_a_session() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (path, fields) in ACTION_ROUTES {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            for cookie in ["", &session.cookie()] {
                let request = site.request(method, &format!("{path}?{fields}")).cookie(cookie);
                let response = request.body("application/x-www-form-urlencoded", fields).send().await;
                assert!(response.session.is_none(), "{method} {path}");
                assert!(!cookies(&response.headers).any(|(name, ..)| name == "__Host-sealjar"), "{method} {path}");
            }
        }
    }
    assert_eq!(site.status(&session).await, "200");
    assert_eq!(site.status(&site.login("alice").await).await, "200", "the password has not changed");
}

#[tokio::test]
async fn no_response_can_be_read_loaded_or_run_by_another_origin() {
    let site = Site::new().await;
    for (case, response) in every_response(&site).await {
        assert_eq!(response.header("cross-origin-resource-policy"), Some("same-origin"), "{case}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{case}");
        assert!(!response.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{case}");
        let content_type = response.header("content-type").unwrap_or_default();
        assert!(!content_type.contains("script"), "{case} has the type {content_type}");
    }
    let session = site.login("alice").await;
    let plain = site.get("/protected").session(&session).send().await;
    let with_callback = site.get("/protected?callback=f&jsonp=f&cb=f").session(&session).send().await;
    assert_eq!(
        (with_callback.header("content-type"), &with_callback.body),
        (plain.header("content-type"), &plain.body),
        "no JSONP"
    );
    for (path, _) in ACTION_ROUTES {
        let preflight = site.request("OPTIONS", path).header("origin", "https://evil.example");
        let preflight = preflight.header("access-control-request-method", "POST");
        let response = preflight.header("access-control-request-headers", "content-type").send().await;
        assert_eq!(response.verdict(), "405 method", "{path}");
        assert!(!response.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test]
async fn there_are_no_default_accounts() {
    let site = Site::new().await;
    let accounts = site.app.store.accounts().await.expect("a store");
    assert_eq!(accounts.iter().map(|account| account.profile.login_name.as_str()).collect::<Vec<_>>(), ["alice"]);
    for login in ["root", "admin", "administrator", "sa", "demo", "sealjar"] {
        for password in [login, "password", "changeme", PASSWORD] {
            let response = site.post("/auth/login").json(&login_body(login, password)).send().await;
            assert!(response.session.is_none(), "{login} {password}");
        }
    }
}

#[tokio::test]
async fn an_email_address_is_not_accepted_as_a_login_name() {
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
    let response = site.post("/auth/login").json(&body).send().await;
    assert_eq!(response.verdict(), "401 credentials");
}

/// `Authorization`, identity headers and client certificates of other servers are ignored, and no other route accepts a password.
#[tokio::test]
async fn only_a_password_at_its_routes_starts_a_session() {
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
    for path in VIEW_ROUTES.into_iter().filter(|path| !needs_no_session.contains(path)) {
        for (name, value) in fields {
            let response = site.get(&format!("{path}{query}")).header(name, value).send().await;
            let is_login_page = path == "/auth/login" && response.status == 200;
            assert!(is_login_page || response.status == 401, "{path} {name}: {}", response.status);
            assert!(response.session.is_none() && !response.body.contains("signed in as"), "{path} {name}");
        }
    }
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/"] {
        let request = site.post(path).json(&login_body("alice", PASSWORD));
        assert_eq!(request.send().await.verdict(), "401 missing", "{path}");
    }
    for (path, fields) in ACTION_ROUTES.into_iter().filter(|(path, _)| *path != "/auth/login") {
        let response = act(&site, path, fields, "").await;
        assert!(response.session.is_none(), "{path}");
    }
}

/// The three routes that accept a password send the same refusal for a wrong one, for JSON and for forms.
#[tokio::test]
async fn all_routes_refuse_a_wrong_password_in_the_same_way() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let requests = [
        ("/auth/login", json!({ "login": "alice", "password": "wrong horse battery" })),
        ("/auth/reauthenticate", json!({ "password": "wrong horse battery" })),
        ("/auth/password", json!({ "old_password": "wrong horse battery", "new_password": NEW })),
    ];
    for (path, body) in requests {
        let request = || site.post(path).session(&session);
        let fields = body.as_object().expect("fields").iter();
        let form: Vec<_> = fields.map(|(name, value)| (&**name, value.as_str().expect("text"))).collect();
        for request in [request().json(&body), request().form(&form)] {
            let response = request.send().await;
            assert_eq!(response.verdict(), "401 credentials", "{path}");
            assert!(response.session.is_none() && !response.headers.contains_key("set-cookie"), "{path}");
        }
    }
    assert_eq!(site.status(&session).await, "200");
}

/// With these settings from `docs/running.md`, remembered sessions do not outlive ordinary ones.
#[tokio::test]
async fn remembered_sessions_can_have_the_ordinary_timeouts() {
    let site = Site::with(&["session.remembered_idle=30m", "session.remembered_absolute=12h"]).await;
    let mut lifetimes = Vec::new();
    for remember in [false, true] {
        let body = json!({ "login": "alice", "password": PASSWORD, "remember": remember });
        let view = site.post("/auth/login").json(&body).send().await.json();
        let at = |name: &str| view[name].as_u64().expect("seconds");
        lifetimes
            .push([at("idle_deadline") - at("authenticated_at"), at("absolute_deadline") - at("authenticated_at")]);
    }
    assert_eq!(lifetimes, [[1800, 43_200]; 2]);
}

/// A new session does not end an earlier one.
#[tokio::test]
async fn the_number_of_sessions_of_an_account_is_not_limited() {
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
async fn every_action_refuses_a_compressed_body() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let site = Site::new().await;
    let session = site.login("alice").await;
    for (path, fields) in ACTION_ROUTES {
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
            for is_navigation in [false, true] {
                let request = site.post(path).session(&session).body(FORM, fields);
                let request =
                    codings.iter().fold(request, |request, coding| request.header("content-encoding", coding));
                let response = if is_navigation { request.navigate() } else { request }.send().await;
                assert_eq!(response.status, 415, "{path} {codings:?}");
                if !is_navigation {
                    assert_eq!(response.verdict(), "415 content-encoding", "{path} {codings:?}");
                    assert_eq!(response.header("accept-encoding"), Some("identity"), "{path} {codings:?}");
                }
                assert!(response.session.is_none(), "{path} {codings:?}");
            }
        }
    }
    assert_eq!(site.status(&session).await, "200", "no session has ended and no password has changed");
    for coding in ["identity", "Identity", "", " , identity"] {
        let login = site.post("/auth/login").header("content-encoding", coding).json(&login_body("alice", PASSWORD));
        assert_eq!(login.send().await.verdict(), "200", "{coding:?}");
    }
    // A proxy copies the header fields of the client's request into the verify request, which has no body.
    let response = site.get("/auth/verify").header("content-encoding", "gzip").session(&session).send().await;
    assert_eq!(response.verdict(), "200");
}
