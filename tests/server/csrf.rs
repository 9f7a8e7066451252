//! Requests that another site may have sent: one table, driven at every form, before and after sign-in.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Body {
    Json,
    /// A form with this token.
    Form(Token),
    /// No body and no type, and this token in `X-CSRF-Token`.
    Header(Token),
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Right,
    None,
    Empty,
    /// The right one with its last character changed.
    Changed,
    /// Of another session (or another browser's sign-in form).
    Others,
    /// Of a sign-in form at a form of a session, and the other way round.
    OtherKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Passes,
    CrossSite,
    FormToken,
    Misdirected,
    MediaType,
    Method,
}

use Body::{Form, Header, Json, Text};
use Expected::{CrossSite, FormToken, MediaType, Misdirected, Passes};
use Token::{Changed, Empty, OtherKind, Others, Right};

const SAME: Option<&str> = Some("same-origin");
const OURS: Option<&str> = Some("{ours}");

/// Method, `Sec-Fetch-Site`, `Origin`, `Host`, body: what becomes of it.
type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a str, Body, Expected);

const TABLE: &[Row<'_>] = &[
    // 1. Sec-Fetch-Site decides where it is there, whatever the origin and the token.
    ("POST", Some("cross-site"), None, "{host}", Form(Right), CrossSite),
    ("POST", Some("cross-site"), OURS, "{host}", Form(Right), CrossSite),
    ("POST", Some("cross-site"), OURS, "{host}", Json, CrossSite),
    ("POST", Some("same-site"), OURS, "{host}", Form(Right), CrossSite),
    ("POST", Some("same-site"), None, "{host}", Json, CrossSite),
    ("POST", Some(""), OURS, "{host}", Json, CrossSite),
    ("POST", Some("Same-Origin"), OURS, "{host}", Json, CrossSite),
    ("POST", Some("same-origin, cross-site"), OURS, "{host}", Json, CrossSite),
    ("POST", SAME, OURS, "{host}", Json, Passes),
    ("POST", SAME, None, "{host}", Json, Passes),
    ("POST", SAME, Some("https://evil.example"), "{host}", Json, Passes),
    ("POST", Some("none"), None, "{host}", Json, Passes),
    // 2. Without it, the origin must be one of ours to the byte.
    ("POST", None, Some("null"), "{host}", Json, CrossSite),
    ("POST", None, Some("null"), "{host}", Form(Right), CrossSite),
    ("POST", None, Some("https://evil.example"), "{host}", Form(Right), CrossSite),
    ("POST", None, Some("https://app.example.com.evil.example"), "{host}", Json, CrossSite),
    ("POST", None, Some("https://app.example.com:443"), "{host}", Json, CrossSite),
    ("POST", None, Some("http://app.example.com"), "{host}", Json, CrossSite),
    ("POST", None, Some("https://APP.example.com"), "{host}", Json, CrossSite),
    ("POST", None, Some(""), "{host}", Json, CrossSite),
    ("POST", None, OURS, "{host}", Json, Passes),
    // 3. A browser's form needs the token of its page.
    ("POST", SAME, OURS, "{host}", Form(Right), Passes),
    ("POST", SAME, None, "{host}", Form(Right), Passes),
    ("POST", Some("none"), None, "{host}", Form(Right), Passes),
    ("POST", None, OURS, "{host}", Form(Right), Passes),
    ("POST", SAME, OURS, "{host}", Form(Token::None), FormToken),
    ("POST", SAME, OURS, "{host}", Form(Empty), FormToken),
    ("POST", SAME, OURS, "{host}", Form(Changed), FormToken),
    ("POST", SAME, OURS, "{host}", Form(Others), FormToken),
    ("POST", SAME, OURS, "{host}", Form(OtherKind), FormToken),
    ("POST", Some("none"), None, "{host}", Form(Token::None), FormToken),
    ("POST", None, OURS, "{host}", Form(Token::None), FormToken),
    ("POST", None, OURS, "{host}", Form(Others), FormToken),
    ("POST", SAME, OURS, "{host}", Header(Token::None), FormToken),
    ("POST", SAME, OURS, "{host}", Header(Others), FormToken),
    ("POST", SAME, OURS, "{host}", Text, MediaType),
    // 4. What is no browser needs none.
    ("POST", None, None, "{host}", Json, Passes),
    ("POST", None, None, "{host}", Form(Token::None), Passes),
    ("POST", None, None, "{host}", Form(Others), Passes),
    ("POST", None, None, "{host}", Text, MediaType),
    // The host comes first.
    ("POST", Some("cross-site"), None, "evil.example", Form(Right), Misdirected),
    ("POST", SAME, OURS, "evil.example", Form(Right), Misdirected),
    ("POST", None, None, "evil.example", Json, Misdirected),
    // Other methods change nothing, from wherever they come.
    ("PUT", Some("cross-site"), None, "{host}", Form(Right), Expected::Method),
    ("PUT", None, None, "{host}", Json, Expected::Method),
    ("DELETE", None, Some("null"), "{host}", Json, Expected::Method),
    ("PATCH", SAME, OURS, "{host}", Form(Right), Expected::Method),
];

/// A form, its fields besides the token, and the verdict of a request that passes: passwords are wrong, so that nothing changes.
struct Target {
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    passes_as: &'static [&'static str],
    before_sign_in: bool,
}

const TARGETS: [Target; 5] = [
    Target {
        path: "/auth/login",
        fields: &[("login", "alice"), ("password", "wrong password")],
        passes_as: &["401 credentials"],
        before_sign_in: true,
    },
    Target { path: "/auth/logout", fields: &[], passes_as: &["200", "303"], before_sign_in: false },
    Target { path: "/auth/logout/all", fields: &[], passes_as: &["200", "303"], before_sign_in: false },
    Target {
        path: "/auth/password",
        fields: &[("old_password", "wrong password"), ("new_password", "another password")],
        passes_as: &["401 credentials"],
        before_sign_in: false,
    },
    Target {
        path: "/auth/reauthenticate",
        fields: &[("password", "wrong password")],
        passes_as: &["401 credentials"],
        before_sign_in: false,
    },
];

/// A browser's state: its cookies, and the token of the form that it shows.
#[derive(Clone)]
struct Browser {
    cookie: String,
    token: String,
}

impl Browser {
    async fn with_session(server: &Server<'_>) -> (Self, Session) {
        let session = server.login("alice").await;
        let view = server.get("/auth/status", &session.cookie()).await.json();
        let token = view["csrf_token"].as_str().expect("a token").to_owned();
        (Self { cookie: session.cookie(), token }, session)
    }

    async fn with_sign_in_form(server: &Server<'_>) -> Self {
        let page = server.get("/auth/login", "").await;
        let cookie =
            page.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
        Self { cookie, token: page.hidden("csrf_token") }
    }
}

async fn send(server: &Server<'_>, target: &Target, browser: &Browser, others: [&str; 2], row: &Row<'_>) -> String {
    let (method, site, origin, host, body, _) = row;
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client().request(method, server.url(target.path)).header("cookie", &browser.cookie);
    request = request.header("host", host.replace("{host}", &server.public));
    if let Some(site) = site {
        request = request.header("sec-fetch-site", *site);
    }
    if let Some(origin) = origin {
        request = request.header("origin", origin.replace("{ours}", &server.url("")));
    }
    let token = |token: Token| match token {
        Right => Some(browser.token.clone()),
        Token::None => None,
        Empty => Some(String::new()),
        Changed => {
            let last = if browser.token.ends_with('A') { "E" } else { "A" };
            Some(format!("{}{last}", &browser.token[..browser.token.len() - 1]))
        }
        Others => Some(others[0].to_owned()),
        OtherKind => Some(others[1].to_owned()),
    };
    let request = match body {
        Json => request.json(&target.fields.iter().copied().collect::<std::collections::BTreeMap<_, _>>()),
        Form(kind) => {
            let fields = target.fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
            request.form(&fields.chain(token(*kind).map(|token| ("csrf_token", token))).collect::<Vec<_>>())
        }
        Header(kind) => match token(*kind) {
            Some(token) => request.header("x-csrf-token", token),
            None => request,
        },
        Text => request.header("content-type", "text/plain").body("x=y"),
    };
    Answer::of(request.send().await.expect("an answer")).await.verdict()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_holds_at_every_form() {
    // Each row that passes has a wrong password.
    let home = Home::with_settings(&["throttle.account_and_network_burst=0"]);
    let server = home.start();
    let (other, _) = Browser::with_session(&server).await;
    let other_form = Browser::with_sign_in_form(&server).await;
    for target in &TARGETS {
        let mut state = None;
        for row in TABLE {
            let (browser, session) = match state.take() {
                Some(kept) => kept,
                None if target.before_sign_in => (Browser::with_sign_in_form(&server).await, None),
                None => {
                    let (browser, session) = Browser::with_session(&server).await;
                    (browser, Some(session))
                }
            };
            let others = if target.before_sign_in {
                [&*other_form.token, &*other.token]
            } else {
                [&*other.token, &*other_form.token]
            };
            let verdict = send(&server, target, &browser, others, row).await;
            let expected: &[&str] = match row.5 {
                Passes => target.passes_as,
                CrossSite => &["403 cross-site"],
                FormToken => &["403 form-token"],
                Misdirected => &["421 misdirected"],
                MediaType => &["415 media-type"],
                Expected::Method => &["405 method"],
            };
            assert!(expected.contains(&&*verdict), "{} {row:?}: {verdict}", target.path);
            if let Some(session) = &session {
                let lives = row.5 != Passes || verdict == "401 credentials";
                let found = server.status(session).await;
                assert_eq!(found == "200", lives, "{} {row:?} left the session {found}", target.path);
            }
            if row.5 != Passes {
                state = Some((browser, session));
            }
        }
    }
}

#[tokio::test]
async fn a_script_may_put_the_token_into_a_header() {
    let home = Home::new();
    let server = home.start();
    let (browser, session) = Browser::with_session(&server).await;
    let target = &TARGETS[1];
    let row = ("POST", SAME, OURS, "{host}", Header(Right), Passes);
    assert_eq!(send(&server, target, &browser, ["", ""], &row).await, "200");
    assert_eq!(server.status(&session).await, "401 revoked");
}

#[tokio::test]
async fn a_token_differs_at_each_rendering_of_a_page_and_dies_with_its_session() {
    let home = Home::new();
    let server = home.start();
    let (browser, session) = Browser::with_session(&server).await;
    let again = server.get("/auth/status", &session.cookie()).await.json();
    assert_eq!(again["csrf_token"], browser.token, "JSON has nothing of a stranger's beside it");
    let page = async || {
        let page = client().get(server.url("/auth/status")).header("accept", "text/html");
        let page = page.header("cookie", session.cookie()).send().await.expect("an answer");
        Answer::of(page).await.hidden("csrf_token")
    };
    assert_ne!(page().await, page().await);
    let form = |cookie: String, token: String| {
        let request = client().post(server.url("/auth/logout/all")).header("origin", server.url(""));
        request.header("cookie", cookie).form(&[("csrf_token", token)]).send()
    };
    // Step-up makes another session of it: the page that was open before is out of date.
    let body = json!({ "password": PASSWORD });
    let step_up = client().post(server.url("/auth/reauthenticate")).header("cookie", session.cookie()).json(&body);
    let answer = Answer::of(step_up.send().await.expect("an answer")).await;
    let fresh = answer.session.clone().expect("a session");
    let stale = Answer::of(form(fresh.cookie(), browser.token).await.expect("an answer")).await;
    assert_eq!(stale.verdict(), "403 form-token");
    assert_eq!(server.status(&fresh).await, "200");
    let token = answer.json()["csrf_token"].as_str().expect("a token").to_owned();
    assert_eq!(form(fresh.cookie(), token).await.expect("an answer").status(), 303);
    assert_eq!(server.status(&fresh).await, "401 revoked");
}

#[tokio::test]
async fn a_page_that_was_open_while_its_session_was_signed_out_elsewhere_can_still_sign_out() {
    let home = Home::new();
    let server = home.start();
    let (browser, session) = Browser::with_session(&server).await;
    assert_eq!(server.logout(&session).await, "200");
    let sign_out = |token: Option<String>| {
        let request = client().post(server.url("/auth/logout")).header("origin", server.url(""));
        request.form(&token.map(|token| ("csrf_token", token)).into_iter().collect::<Vec<_>>()).send()
    };
    assert_eq!(sign_out(Some(browser.token)).await.expect("an answer").status(), 303, "the cookie is gone already");
    assert_eq!(sign_out(None).await.expect("an answer").status(), 403);
    assert_eq!(sign_out(Some("x".repeat(90))).await.expect("an answer").status(), 403);
}

#[tokio::test]
async fn tokens_outlive_a_rotation_and_die_with_their_key() {
    let home = Home::new();
    let mut server = home.start();
    let (browser, session) = Browser::with_session(&server).await;
    let kid = home.keys()[0]["kid"].as_str().expect("a kid").to_owned();
    home.ok(&["keys", "rotate", "--activate-in", "0s"]);
    server.wait_for("the key ring changed");
    let reauthenticate = |token: &str| {
        let form = [("password", "wrong password"), ("csrf_token", token)];
        let request = client().post(server.url("/auth/reauthenticate")).header("origin", server.url(""));
        request.header("cookie", session.cookie()).form(&form).send()
    };
    let answer = Answer::of(reauthenticate(&browser.token).await.expect("an answer")).await;
    assert_eq!(answer.verdict(), "401 credentials");
    let form = Browser::with_sign_in_form(&server).await;
    home.ok(&["keys", "revoke", &kid, "--replace"]);
    server.wait_for("the key ring changed");
    let sign_in =
        client().post(server.url("/auth/login")).header("origin", server.url("")).header("cookie", form.cookie);
    let fields = [("login", "alice"), ("password", PASSWORD), ("csrf_token", &*browser.token)];
    let answer = Answer::of(sign_in.form(&fields).send().await.expect("an answer")).await;
    assert_eq!(answer.verdict(), "403 form-token");
}
