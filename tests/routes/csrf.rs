//! Tests of cross-site request forgery (CSRF): two tables of requests, and each row is sent to every form.
//!
//! [`TABLE`] covers all forms. [`FetchMetadata::outcome`] computes the expected outcome of every combination for the forms
//! before a login. There, the attack is login CSRF: another site logs its user in to an account of the attacker.

use std::collections::BTreeMap;

use serde_json::json;

use super::fixture::{ORIGIN, PASSWORD, Site};
use super::request::RequestBuilder;
use super::response::Session;
use crate::session::form::SIGN_IN_FORM_LIFETIME;

/// Body of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Body {
    Json,
    /// Form body with this token.
    Form(Token),
    /// No body and no media type, with this token in `X-CSRF-Token`.
    Header(Token),
    Text,
}

/// CSRF token in a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Right,
    None,
    Empty,
    /// The correct token with its last character changed.
    Changed,
    /// Token of another session, or of another browser's login form.
    Foreign,
    /// Token of a login form in a form of a session, or the reverse.
    WrongPurpose,
}

/// Expected outcome: the request passes, or the check that refuses it.
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
use Token::{Changed, Empty, Foreign, Right, WrongPurpose};

const SAME: Option<&str> = Some("same-origin");
const OUR_ORIGIN: Option<&str> = Some(ORIGIN);
const HOST: &str = "127.0.0.1";

/// Method, `Sec-Fetch-Site`, `Origin`, `Host` and body of a request, and its expected outcome.
type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a str, Body, Expected);

const TABLE: &[Row<'_>] = &[
    // 1. If Sec-Fetch-Site is present, it decides. Origin and token do not matter.
    ("POST", Some("cross-site"), None, HOST, Form(Right), CrossSite),
    ("POST", Some("cross-site"), OUR_ORIGIN, HOST, Form(Right), CrossSite),
    ("POST", Some("cross-site"), OUR_ORIGIN, HOST, Json, CrossSite),
    ("POST", Some("same-site"), OUR_ORIGIN, HOST, Form(Right), CrossSite),
    ("POST", Some("same-site"), None, HOST, Json, CrossSite),
    ("POST", Some(""), OUR_ORIGIN, HOST, Json, CrossSite),
    ("POST", Some("Same-Origin"), OUR_ORIGIN, HOST, Json, CrossSite),
    ("POST", Some("same-origin, cross-site"), OUR_ORIGIN, HOST, Json, CrossSite),
    ("POST", SAME, OUR_ORIGIN, HOST, Json, Passes),
    ("POST", SAME, None, HOST, Json, Passes),
    ("POST", SAME, Some("https://evil.example"), HOST, Json, Passes),
    ("POST", Some("none"), None, HOST, Json, Passes),
    // 2. Without Sec-Fetch-Site, the origin must equal one of our origins, byte by byte.
    ("POST", None, Some("null"), HOST, Json, CrossSite),
    ("POST", None, Some("null"), HOST, Form(Right), CrossSite),
    ("POST", None, Some("https://evil.example"), HOST, Form(Right), CrossSite),
    ("POST", None, Some("https://app.example.com.evil.example"), HOST, Json, CrossSite),
    ("POST", None, Some("https://app.example.com:443"), HOST, Json, CrossSite),
    ("POST", None, Some("http://app.example.com"), HOST, Json, CrossSite),
    ("POST", None, Some("https://APP.example.com"), HOST, Json, CrossSite),
    ("POST", None, Some("http://127.0.0.1.evil.example"), HOST, Json, CrossSite),
    ("POST", None, Some("http://127.0.0.1:80"), HOST, Json, CrossSite),
    ("POST", None, Some("https://127.0.0.1"), HOST, Json, CrossSite),
    ("POST", None, Some("HTTP://127.0.0.1"), HOST, Json, CrossSite),
    ("POST", None, Some(""), HOST, Json, CrossSite),
    ("POST", None, OUR_ORIGIN, HOST, Json, Passes),
    // 3. A form of a browser needs the token of its page.
    ("POST", SAME, OUR_ORIGIN, HOST, Form(Right), Passes),
    ("POST", SAME, None, HOST, Form(Right), Passes),
    ("POST", Some("none"), None, HOST, Form(Right), Passes),
    ("POST", None, OUR_ORIGIN, HOST, Form(Right), Passes),
    ("POST", SAME, OUR_ORIGIN, HOST, Form(Token::None), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Form(Empty), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Form(Changed), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Form(Foreign), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Form(WrongPurpose), FormToken),
    ("POST", Some("none"), None, HOST, Form(Token::None), FormToken),
    ("POST", None, OUR_ORIGIN, HOST, Form(Token::None), FormToken),
    ("POST", None, OUR_ORIGIN, HOST, Form(Foreign), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Header(Token::None), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Header(Foreign), FormToken),
    ("POST", SAME, OUR_ORIGIN, HOST, Text, MediaType),
    // 4. A client that is not a browser needs no token.
    ("POST", None, None, HOST, Json, Passes),
    ("POST", None, None, HOST, Form(Token::None), Passes),
    ("POST", None, None, HOST, Form(Foreign), Passes),
    ("POST", None, None, HOST, Text, MediaType),
    // The host is checked before the other fields.
    ("POST", Some("cross-site"), None, "evil.example", Form(Right), Misdirected),
    ("POST", SAME, OUR_ORIGIN, "evil.example", Form(Right), Misdirected),
    ("POST", None, None, "evil.example", Json, Misdirected),
    // Other methods are refused for every sender.
    ("PUT", Some("cross-site"), None, HOST, Form(Right), Expected::Method),
    ("PUT", None, None, HOST, Json, Expected::Method),
    ("DELETE", None, Some("null"), HOST, Json, Expected::Method),
    ("PATCH", SAME, OUR_ORIGIN, HOST, Form(Right), Expected::Method),
];

/// A form to which the table is sent. Its passwords are wrong, so that a request that passes changes nothing.
struct Target {
    path: &'static str,
    /// Form fields without the token.
    fields: &'static [(&'static str, &'static str)],
    /// Possible verdicts of a request that passes the CSRF check.
    passes_as: &'static [&'static str],
    /// Whether the form is used without a session.
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

/// State of a browser: its cookies, and the token of the form that it shows.
#[derive(Clone)]
struct Browser {
    cookie: String,
    token: String,
}

impl Browser {
    async fn with_session(site: &Site) -> (Self, Session) {
        let session = site.login("alice").await;
        let view = site.get("/auth/status").session(&session).send().await.json();
        let token = view["csrf_token"].as_str().expect("a token").to_owned();
        (Self { cookie: session.cookie(), token }, session)
    }

    async fn with_sign_in_form(site: &Site) -> Self {
        let page = site.get("/auth/login").send().await;
        Self { cookie: page.set_cookie().to_owned(), token: page.hidden("csrf_token") }
    }
}

async fn send(site: &Site, target: &Target, browser: &Browser, others: [&str; 2], row: &Row<'_>) -> String {
    let (method, fetch_site, origin, host, body, _) = row;
    let request = site.request(method, target.path).cookie(&browser.cookie);
    let mut request = request.header("host", host).header("referer", PAGE);
    if let Some(fetch_site) = fetch_site {
        request = request.header("sec-fetch-site", fetch_site);
    }
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let token = |token: Token| match token {
        Right => Some(browser.token.clone()),
        Token::None => None,
        Empty => Some(String::new()),
        Changed => {
            let last = if browser.token.ends_with('A') { "E" } else { "A" };
            Some(format!("{}{last}", &browser.token[..browser.token.len() - 1]))
        }
        Foreign => Some(others[0].to_owned()),
        WrongPurpose => Some(others[1].to_owned()),
    };
    let request = match body {
        Json => request.json(&json!(target.fields.iter().copied().collect::<BTreeMap<_, _>>())),
        Form(token_type) => {
            let token = token(*token_type);
            let token = token.iter().map(|token| ("csrf_token", &**token));
            request.form(&target.fields.iter().copied().chain(token).collect::<Vec<_>>())
        }
        Header(token_type) => match token(*token_type) {
            Some(token) => request.header("x-csrf-token", &token),
            None => request,
        },
        Text => request.body("text/plain", "x=y"),
    };
    request.send().await.verdict()
}

#[tokio::test]
async fn the_table_holds_at_every_form() {
    // Each row that passes has a wrong password, so the throttle is off.
    let site = Site::with(&["throttle.account_and_network_burst=0"]).await;
    let (other, _) = Browser::with_session(&site).await;
    let other_form = Browser::with_sign_in_form(&site).await;
    for target in &TARGETS {
        let mut state = None;
        for row in TABLE {
            let (browser, session) = match state.take() {
                Some(reused) => reused,
                None if target.before_sign_in => (Browser::with_sign_in_form(&site).await, None),
                None => {
                    let (browser, session) = Browser::with_session(&site).await;
                    (browser, Some(session))
                }
            };
            let others = if target.before_sign_in {
                [&*other_form.token, &*other.token]
            } else {
                [&*other.token, &*other_form.token]
            };
            let verdict = send(&site, target, &browser, others, row).await;
            // From a page of the same origin, the token of any login form is accepted.
            let outcome = match row.4 {
                Form(Foreign) if target.before_sign_in && row.1 == SAME => Passes,
                Header(Foreign) if target.before_sign_in && row.1 == SAME => MediaType,
                _ => row.5,
            };
            let expected: &[&str] = match outcome {
                Passes => target.passes_as,
                CrossSite => &["403 cross-site"],
                FormToken => &["403 form-token"],
                Misdirected => &["421 misdirected"],
                MediaType => &["415 media-type"],
                Expected::Method => &["405 method"],
            };
            assert!(expected.contains(&&*verdict), "{} {row:?}: {verdict}", target.path);
            if let Some(session) = &session {
                let is_live = outcome != Passes || verdict == "401 credentials";
                let actual = site.status(session).await;
                assert_eq!(actual == "200", is_live, "{} {row:?}: the session is {actual}", target.path);
            }
            if outcome != Passes {
                state = Some((browser, session));
            }
        }
    }
}

#[tokio::test]
async fn a_script_may_put_the_token_into_a_header() {
    let site = Site::new().await;
    let (browser, session) = Browser::with_session(&site).await;
    let target = &TARGETS[1];
    let row = ("POST", SAME, OUR_ORIGIN, HOST, Header(Right), Passes);
    assert_eq!(send(&site, target, &browser, ["", ""], &row).await, "200");
    assert_eq!(site.status(&session).await, "401 revoked");
}

/// Token in a form that is sent before a login.
#[derive(Debug, Clone, Copy, PartialEq)]
enum SignInToken {
    None,
    Garbage,
    /// Token of a form of a session.
    Session,
    /// Token of another browser's login form, for example of an attacker.
    Foreign,
    /// Token of a page of this browser whose form cookie has expired.
    Old,
    Fresh,
}

/// Cookie of the login form.
#[derive(Debug, Clone, Copy, PartialEq)]
enum FormCookie {
    None,
    Fresh,
    /// Expired cookie that is sent anyway.
    Old,
    /// Cookie of another browser. A host below the same domain has planted it in this one.
    Planted,
}

/// Header fields with which a browser describes the sender of a form: the `Sec-Fetch-Site` fields, `Sec-Fetch-Mode` and `Origin`.
#[derive(Debug, Clone, Copy)]
struct FetchMetadata {
    sites: &'static [&'static str],
    mode: Option<&'static str>,
    origin: Option<&'static str>,
}

const SITES: [&[&str]; 10] = [
    &[],
    &["none"],
    &["same-origin"],
    &["same-site"],
    &["cross-site"],
    &["Same-Origin"],
    &[""],
    &["same-origin", "same-origin"],
    &["same-origin", "none"],
    &["same-origin", "cross-site"],
];
const MODES: [Option<&str>; 3] = [None, Some("navigate"), Some("same-origin")];
const OUR_OTHER_ORIGIN: &str = "https://b.example.com";
const PAGE: &str = "http://127.0.0.1/auth/login";
const ORIGINS: [Option<&str>; 6] = [
    None,
    OUR_ORIGIN,
    Some(OUR_OTHER_ORIGIN),
    // Another host below `example.com`.
    Some("https://evil.example.com"),
    // The same host with another port.
    Some("http://127.0.0.1:8000"),
    Some("null"),
];
const SIGN_IN_TOKENS: [SignInToken; 6] = [
    SignInToken::None,
    SignInToken::Garbage,
    SignInToken::Session,
    SignInToken::Foreign,
    SignInToken::Old,
    SignInToken::Fresh,
];
const FORM_COOKIES: [FormCookie; 4] = [FormCookie::None, FormCookie::Fresh, FormCookie::Old, FormCookie::Planted];

impl FetchMetadata {
    fn all() -> impl Iterator<Item = Self> {
        let of_sites = |sites| {
            let of_mode = move |mode| ORIGINS.map(|origin| Self { sites, mode, origin });
            MODES.into_iter().flat_map(of_mode)
        };
        SITES.into_iter().flat_map(of_sites)
    }

    fn names_another_origin(self) -> bool {
        ![None, OUR_ORIGIN].contains(&self.origin)
    }

    fn names_a_foreign_origin(self) -> bool {
        self.names_another_origin() && self.origin != Some(OUR_OTHER_ORIGIN)
    }

    /// Returns whether the header fields show that another site sent the form. The form may have passed through a service
    /// worker of the application. Then WebKit keeps the other site only in `Origin`, and Firefox shows it only by the mode.
    fn is_attack(self) -> bool {
        let is_cross_site = self.sites.iter().any(|site| ["same-site", "cross-site"].contains(site));
        let is_old_browser = self.sites.is_empty() && self.names_a_foreign_origin();
        let is_worker = self.sites == ["same-origin"]
            && (self.mode == Some("navigate") && self.names_another_origin() || self.mode == Some("same-origin"));
        is_cross_site || is_old_browser || is_worker
    }

    /// Returns the expected outcome of a form before a login, by the rules of `docs/reference/http.md`.
    fn outcome(self, token: SignInToken, cookie: FormCookie) -> Expected {
        let is_refused = match self.sites {
            [] => self.names_a_foreign_origin(),
            sites => sites.iter().any(|site| !["same-origin", "none"].contains(site)),
        };
        let is_program = self.sites.is_empty() && self.origin.is_none();
        let is_same_origin = !self.sites.is_empty()
            && self.sites.iter().all(|site| *site == "same-origin")
            && [None, Some("navigate")].contains(&self.mode)
            && !self.names_another_origin();
        let is_sign_in_token = matches!(token, SignInToken::Foreign | SignInToken::Old | SignInToken::Fresh);
        if is_refused {
            CrossSite
        } else if is_program || is_same_origin && is_sign_in_token || is_bound(token, cookie) {
            Passes
        } else {
            FormToken
        }
    }
}

/// Returns whether the token is bound to the cookie.
fn is_bound(token: SignInToken, cookie: FormCookie) -> bool {
    match cookie {
        FormCookie::None | FormCookie::Old => false,
        FormCookie::Fresh => token == SignInToken::Fresh,
        FormCookie::Planted => token == SignInToken::Foreign,
    }
}

/// Login CSRF: another site tries to log its user in to an account of the attacker. The attacker can open the
/// login page and so obtain valid tokens.
#[tokio::test]
async fn the_table_holds_at_every_form_before_sign_in() {
    let site = Site::with(&[&format!("http.public_origins={ORIGIN},{OUR_OTHER_ORIGIN}")]).await;
    let old = Browser::with_sign_in_form(&site).await;
    site.advance(SIGN_IN_FORM_LIFETIME);
    let own = Browser::with_sign_in_form(&site).await;
    let foreign = Browser::with_sign_in_form(&site).await;
    let (of_session, _) = Browser::with_session(&site).await;
    let garbage = "x".repeat(90);
    let mut outcomes = BTreeMap::new();
    for (metadata, path) in
        FetchMetadata::all().flat_map(|metadata| [(metadata, "/auth/login"), (metadata, "/auth/password")])
    {
        for (token, cookie) in SIGN_IN_TOKENS.into_iter().flat_map(|token| FORM_COOKIES.map(|cookie| (token, cookie))) {
            let sent_token = match token {
                SignInToken::None => None,
                SignInToken::Garbage => Some(&garbage),
                SignInToken::Session => Some(&of_session.token),
                SignInToken::Foreign => Some(&foreign.token),
                SignInToken::Old => Some(&old.token),
                SignInToken::Fresh => Some(&own.token),
            };
            let cookies = match cookie {
                FormCookie::None => None,
                FormCookie::Fresh => Some(&own.cookie),
                FormCookie::Old => Some(&old.cookie),
                FormCookie::Planted => Some(&foreign.cookie),
            };
            // The password is missing, so that a form that passes gets another refusal: 422.
            let fields: Vec<_> =
                [("login", "alice")].into_iter().chain(sent_token.map(|token| ("csrf_token", &**token))).collect();
            let headers: Vec<_> = (metadata.sites.iter().map(|site| ("sec-fetch-site", *site)))
                .chain(metadata.mode.map(|mode| ("sec-fetch-mode", mode)))
                .chain(metadata.origin.map(|origin| ("origin", origin)))
                .chain([("referer", PAGE)])
                .chain(cookies.map(|cookie| ("cookie", &**cookie)))
                .collect();
            let outcome = metadata.outcome(token, cookie);
            let verdict = match outcome {
                Passes => "422 fields",
                CrossSite => "403 cross-site",
                _ => "403 form-token",
            };
            let response = site.post(path).headers(&headers).form(&fields).send().await;
            assert!(verdict.starts_with(&response.status.to_string()), "{path} {metadata:?} {token:?} {cookie:?}");
            // The response to a navigation is a page. It contains no reason.
            assert!(
                metadata.mode == Some("navigate") || response.verdict() == verdict,
                "{path} {metadata:?} {token:?} {cookie:?}"
            );
            // If the token is bound to the cookie, either this browser received both, or another host planted both. Current
            // browsers prevent that, because the name of the cookie begins with `__Host-`.
            let is_refused = outcome != Passes || is_bound(token, cookie);
            assert!(!metadata.is_attack() || is_refused, "{metadata:?} {token:?} {cookie:?}");
            *outcomes.entry(response.status).or_insert(0) += 1;
        }
    }
    assert!(outcomes.values().all(|count| *count > 500), "{outcomes:?}");
}

fn from_our_page<'s>(site: &'s Site, path: &str) -> RequestBuilder<'s> {
    site.post(path).header("origin", ORIGIN)
}

#[tokio::test]
async fn a_token_differs_at_each_rendering_of_a_page() {
    let site = Site::new().await;
    let (browser, session) = Browser::with_session(&site).await;
    let again = site.get("/auth/status").session(&session).send().await.json();
    assert_eq!(
        again["csrf_token"], browser.token,
        "JSON contains no text of an attacker, so its token does not have to differ"
    );
    let page = async || {
        let page = site.get("/auth/status").header("accept", "text/html").session(&session);
        page.send().await.hidden("csrf_token")
    };
    assert_ne!(page().await, page().await);
}

#[tokio::test]
async fn a_token_is_invalid_after_its_session_ends() {
    let site = Site::new().await;
    let (browser, session) = Browser::with_session(&site).await;
    let sign_out = async |session: &Session, token: &str| {
        from_our_page(&site, "/auth/logout/all").session(session).form(&[("csrf_token", token)]).send().await
    };
    // A step-up replaces the session. A page that was opened before is out of date.
    let step_up = site.post("/auth/reauthenticate").session(&session).json(&json!({ "password": PASSWORD }));
    let response = step_up.send().await;
    let fresh = response.session.clone().expect("a session");
    assert_eq!(sign_out(&fresh, &browser.token).await.verdict(), "403 form-token");
    assert_eq!(site.status(&fresh).await, "200");
    assert_eq!(sign_out(&fresh, response.json()["csrf_token"].as_str().expect("a token")).await.status, 303);
    assert_eq!(site.status(&fresh).await, "401 revoked");
}

#[tokio::test]
async fn a_page_can_log_out_after_its_session_ended_elsewhere() {
    let site = Site::new().await;
    let (browser, session) = Browser::with_session(&site).await;
    assert_eq!(site.logout(&session).await, "200");
    let sign_out = async |form: &[(&str, &str)]| from_our_page(&site, "/auth/logout").form(form).send().await.status;
    assert_eq!(sign_out(&[("csrf_token", &browser.token)]).await, 303, "the cookie was already removed");
    assert_eq!(sign_out(&[]).await, 403);
    assert_eq!(sign_out(&[("csrf_token", &"x".repeat(90))]).await, 403);
}

#[tokio::test]
async fn tokens_survive_rotation_but_not_revocation_of_their_key() {
    let site = Site::new().await;
    let (browser, session) = Browser::with_session(&site).await;
    site.rotate();
    let form = [("password", "wrong password"), ("csrf_token", &*browser.token)];
    let response = from_our_page(&site, "/auth/reauthenticate").session(&session).form(&form).send().await;
    assert_eq!(response.verdict(), "401 credentials");
    let page = Browser::with_sign_in_form(&site).await;
    site.revoke_key(session.kid());
    let fields = [("login", "alice"), ("password", PASSWORD), ("csrf_token", &*browser.token)];
    let response = from_our_page(&site, "/auth/login").cookie(&page.cookie).form(&fields).send().await;
    assert_eq!(response.verdict(), "403 form-token");
}
