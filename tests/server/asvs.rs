//! What OWASP ASVS 5.0 asks for and no other test proves: of all cookies, all answers and all ways in. SECURITY.md has the table.

use std::fmt::Write as _;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client, text};

const NEW: &str = "another horse battery";
/// What changes something, and the fields that it takes.
const ACTIONS: [(&str, &str); 5] = [
    ("/auth/login", "login=alice&password=correct+horse+battery"),
    ("/auth/logout", ""),
    ("/auth/logout/all", ""),
    ("/auth/password", "old_password=correct+horse+battery&new_password=another+horse+battery"),
    ("/auth/reauthenticate", "password=correct+horse+battery"),
];
/// What only shows something.
const VIEWS: [&str; 9] = [
    "/auth/login",
    "/auth/status",
    "/auth/password",
    "/auth/reauthenticate",
    "/auth/renew",
    "/auth/style.css",
    "/auth/verify",
    "/auth/verify/redirect",
    "/protected",
];

async fn answer(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.expect("an answer")).await
}

fn page(request: RequestBuilder) -> RequestBuilder {
    request.header("accept", "text/html")
}

async fn act(server: &Server<'_>, path: &str, fields: &'static str, cookie: &str) -> Answer {
    let request = client().post(server.url(path)).header("cookie", cookie);
    answer(request.header("content-type", "application/x-www-form-urlencoded").body(fields)).await
}

/// Answers of every kind that a route gives, each with the sessions it was asked with: to programs and to browsers, with a session
/// and without, to what succeeds and to what does not.
async fn every_answer(server: &Server<'_>) -> Vec<(String, Answer)> {
    let mut all = Vec::new();
    for path in VIEWS {
        let session = server.login("alice").await;
        for cookie in ["", &session.cookie()] {
            for host in [&*server.public, "elsewhere.example"] {
                let request = || client().get(server.url(path)).header("cookie", cookie).header("host", host);
                all.push((path.to_owned(), answer(request()).await));
                all.push((format!("{path} as a page"), answer(page(request())).await));
            }
        }
    }
    for (path, fields) in ACTIONS {
        for cookie in [String::new(), server.login("alice").await.cookie()] {
            all.push((format!("POST {path} without fields"), act(server, path, "x=y", &cookie).await));
            all.push((format!("POST {path}"), act(server, path, fields, &cookie).await));
        }
        if path == "/auth/password" {
            let body = json!({ "old_password": NEW, "new_password": PASSWORD });
            let session = act(server, "/auth/login", "login=alice&password=another+horse+battery", "").await.session;
            let cookie = session.expect("the password was changed").cookie();
            all.push((
                "back".to_owned(),
                answer(client().post(server.url(path)).header("cookie", cookie).json(&body)).await,
            ));
        }
    }
    all.push(("nothing".to_owned(), server.get("/nothing", "").await));
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
async fn every_cookie_of_every_answer_keeps_to_its_host_and_its_value_is_nowhere_else_in_the_answer() {
    let home = Home::with_settings(&["session.idle=10s"]);
    let server = home.start();
    let mut answers = every_answer(&server).await;
    let session = server.login("alice").await.cookie();
    let renewal = loop {
        let answer = server.get("/auth/verify", &session).await;
        assert_eq!(answer.verdict(), "200", "renewal comes long before the deadline");
        if answer.session.is_some() {
            break answer;
        }
    };
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
                assert!(!text(content.as_bytes()).contains(value), "{what}: {field}");
            }
        }
    }
    assert!(set >= 10 && removed >= 4, "{set} were set and {removed} removed");
}

#[tokio::test]
async fn the_largest_account_that_there_can_be_fits_a_cookie() {
    let home = Home::new();
    let (login, display_name, email) = ("w".repeat(64), "W".repeat(256), format!("{}@example.com", "w".repeat(242)));
    // Joined by commas they have 1023 bytes, and one more byte of a role is too much.
    let roles: Vec<String> = (0..16).map(|number| format!("{number:063}")).collect();
    let mut add = vec!["users", "add", &login, "--display-name", &display_name, "--email", &email];
    roles.iter().for_each(|role| add.extend(["--role", role]));
    let output = home.run_with_input(&add, &format!("{PASSWORD}\n"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let server = home.start();
    let body = json!({ "login": login, "password": PASSWORD, "remember": true });
    let answer = answer(client().post(server.url("/auth/login")).json(&body)).await;
    assert_eq!(answer.verdict(), "200");
    let sizes: Vec<_> = cookies(&answer.headers).map(|(name, value, _)| name.len() + value.len()).collect();
    assert!(sizes.len() == 1 && (2048..=4096).contains(&sizes[0]), "{sizes:?}");
    assert_eq!(server.status(&answer.session.expect("a session")).await, "200");
}

#[tokio::test]
async fn no_safe_method_begins_changes_or_ends_a_session() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    for (path, fields) in ACTIONS {
        let url = server.url(&format!("{path}?{fields}"));
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            for cookie in ["", &session.cookie()] {
                let request = client().request(method.clone(), &url).header("cookie", cookie);
                let request = request.header("content-type", "application/x-www-form-urlencoded").body(fields);
                let answer = answer(request).await;
                assert!(answer.session.is_none(), "{method} {path}");
                assert!(!cookies(&answer.headers).any(|(name, ..)| name == "__Host-sealjar"), "{method} {path}");
            }
        }
    }
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.status(&server.login("alice").await).await, "200", "the password is the old one");
}

#[tokio::test]
async fn no_answer_lets_another_origin_read_load_or_run_it() {
    let home = Home::new();
    let server = home.start();
    for (what, answer) in every_answer(&server).await {
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{what}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{what}");
        let content_type = answer.header("content-type").unwrap_or_default();
        assert!(!content_type.contains("script"), "{what} is {content_type}");
    }
    let session = server.login("alice").await;
    let plain = server.get("/protected", &session.cookie()).await;
    let called = server.get("/protected?callback=f&jsonp=f&cb=f", &session.cookie()).await;
    assert_eq!((called.header("content-type"), &called.body), (plain.header("content-type"), &plain.body), "no JSONP");
    for (path, _) in ACTIONS {
        let preflight = client().request(Method::OPTIONS, server.url(path)).header("origin", "https://evil.example");
        let preflight = preflight.header("access-control-request-method", "POST");
        let answer = answer(preflight.header("access-control-request-headers", "content-type")).await;
        assert_eq!(answer.verdict(), "405 method", "{path}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test]
async fn there_is_no_account_but_those_that_were_added() {
    let home = Home::new();
    let listed: serde_json::Value = serde_json::from_str(&home.ok(&["users", "list", "--json"])).expect("JSON");
    let logins: Vec<_> = listed.as_array().expect("a list").iter().map(|account| &account["login"]).collect();
    assert_eq!(logins, ["alice"]);
    let server = home.start();
    for login in ["root", "admin", "administrator", "sa", "demo", "sealjar"] {
        for password in [login, "password", "changeme", PASSWORD] {
            let body = Server::login_body(login, password);
            let answer = answer(client().post(server.url("/auth/login")).json(&body)).await;
            assert!(answer.session.is_none(), "{login} {password}");
        }
    }
}

#[tokio::test]
async fn an_email_address_is_no_way_in() {
    let home = Home::new();
    let add = ["users", "add", "carol", "--email", "carol@example.com"];
    assert!(home.run_with_input(&add, &format!("{PASSWORD}\n")).status.success());
    let server = home.start();
    assert_eq!(server.status(&server.login("carol").await).await, "200");
    let body = Server::login_body("carol@example.com", PASSWORD);
    let answer = answer(client().post(server.url("/auth/login")).json(&body)).await;
    assert_eq!(answer.verdict(), "401 credentials");
}

/// `Authorization`, identity fields and certificates of other servers say nothing here, and no other route looks at a password.
#[tokio::test]
async fn no_other_way_leads_in_than_a_password_at_the_routes_for_it() {
    let home = Home::new();
    let server = home.start();
    let sid = server.get("/auth/status", &server.login("alice").await.cookie()).await.json()["sid"].clone();
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
    for path in VIEWS.into_iter().filter(|path| *path != "/auth/style.css") {
        for (name, value) in fields {
            let request = client().get(server.url(&format!("{path}{query}"))).header(name, value);
            let answer = answer(request).await;
            let welcome = path == "/auth/login" && answer.status == 200;
            assert!(welcome || answer.status == 401, "{path} {name}: {}", answer.status);
            assert!(answer.session.is_none() && !answer.body.contains("signed in as"), "{path} {name}");
        }
    }
    for path in ["/auth/verify", "/auth/verify/redirect", "/auth/verify/envoy/-/"] {
        let request = client().post(server.url(path)).json(&Server::login_body("alice", PASSWORD));
        assert_eq!(answer(request).await.verdict(), "401 missing", "{path}");
    }
    for (path, fields) in ACTIONS.into_iter().filter(|(path, _)| *path != "/auth/login") {
        let answer = act(&server, path, fields, "").await;
        assert!(answer.session.is_none(), "{path}");
    }
}

/// The three routes that take the password answer a wrong one alike, as JSON and as a form.
#[tokio::test]
async fn a_password_is_asked_for_in_the_same_way_wherever_it_is_asked_for() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let asked = [
        ("/auth/login", json!({ "login": "alice", "password": "wrong horse battery" })),
        ("/auth/reauthenticate", json!({ "password": "wrong horse battery" })),
        ("/auth/password", json!({ "old_password": "wrong horse battery", "new_password": NEW })),
    ];
    for (path, body) in asked {
        let request = || client().post(server.url(path)).header("cookie", session.cookie());
        let form: Vec<_> = body.as_object().expect("fields").iter().collect();
        let form: Vec<_> = form.into_iter().map(|(name, value)| (name, value.as_str().expect("text"))).collect();
        for request in [request().json(&body), request().form(&form)] {
            let answer = answer(request).await;
            assert_eq!(answer.verdict(), "401 credentials", "{path}");
            assert!(answer.session.is_none() && !answer.headers.contains_key("set-cookie"), "{path}");
        }
    }
    assert_eq!(server.status(&session).await, "200");
}

/// What the README says of those who want no session to outlive the ordinary.
#[tokio::test]
async fn being_remembered_can_be_made_no_longer_than_an_ordinary_session() {
    let home = Home::with_settings(&["session.remembered_idle=30m", "session.remembered_absolute=12h"]);
    let server = home.start();
    let mut lives = Vec::new();
    for remember in [false, true] {
        let body = json!({ "login": "alice", "password": PASSWORD, "remember": remember });
        let view = answer(client().post(server.url("/auth/login")).json(&body)).await.json();
        let at = |name: &str| view[name].as_u64().expect("seconds");
        lives.push([at("idle_deadline") - at("authenticated_at"), at("absolute_deadline") - at("authenticated_at")]);
    }
    assert_eq!(lives, [[1800, 43_200]; 2]);
}

/// There is no limit, and an earlier session does not notice a later one.
#[tokio::test]
async fn an_account_has_as_many_sessions_as_it_begins() {
    let home = Home::new();
    let server = home.start();
    let mut sessions: Vec<Session> = Vec::new();
    for _ in 0..20 {
        sessions.push(server.login("alice").await);
    }
    for session in &sessions {
        assert_eq!(server.status(session).await, "200");
    }
    assert_eq!(server.post("/auth/logout/all", &sessions[0].cookie()).await.status, 200);
    for session in &sessions {
        assert_eq!(server.status(session).await, "401 revoked");
    }
}
