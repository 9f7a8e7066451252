//! The pages, as the templates in `pages/` draw them: without scripts, escaped by the template engine.

pub(crate) mod texts;

use std::path::PathBuf;
use std::sync::LazyLock;

use askama::Template;
use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use salvo::hyper::body::Bytes;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::clock::UnixTime;
use crate::http::return_url::ReturnUrl;
use crate::web::hosts::Hosts;
use texts::Language;

const STYLE: &str = include_str!("pages/style.css");
/// The stylesheet under a name that changes with it, so that browsers may keep it.
static STYLE_HREF: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest(STYLE);
    format!("/auth/style.css?v={:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
});

/// Settings of the pages.
#[derive(Debug, Clone)]
pub(crate) struct PageSettings {
    /// Page that a sign-in leads to if nothing else was asked for.
    pub(crate) home: ReturnUrl,
    /// Name of the service, if it has one besides its host.
    pub(crate) title: Option<String>,
    /// Image file for every page.
    pub(crate) logo: Option<PathBuf>,
    pub(crate) language: Language,
}

/// What all pages share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shell {
    style: &'static str,
    /// Warn on every page that cookies travel in the clear.
    plain_http: bool,
}

impl Shell {
    pub(crate) fn new(plain_http: bool) -> Self {
        Self { style: &STYLE_HREF, plain_http }
    }
}

/// What pages may do, which is next to nothing (CSP level 3). Browsers apply `form-action` to where a form's answer leads, too:
/// to the hosts of the cookie's domain.
pub(crate) fn policy(hosts: &Hosts) -> HeaderValue {
    let mut targets = String::from("'self'");
    if let Some(domain) = hosts.domain() {
        let domain = domain.as_str();
        hosts.origins().for_each(|origin| targets += &format!(" {origin}"));
        targets += &format!(" https://{domain} https://*.{domain}");
    }
    let policy =
        format!("default-src 'none'; style-src 'self'; form-action {targets}; frame-ancestors 'none'; base-uri 'none'");
    HeaderValue::try_from(policy).expect("origins and domains are visible ASCII")
}

/// A page as text.
pub(super) fn render(page: &impl Template) -> String {
    page.render().expect("writing to memory cannot fail, and no template calls anything else that can")
}

/// Value of a page's `Content-Type` field.
pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Returns status, header fields and body of `GET /auth/style.css`.
pub(super) fn style() -> (StatusCode, HeaderMap, Bytes) {
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=604800")),
    ];
    (StatusCode::OK, HeaderMap::from_iter(fields), Bytes::from_static(STYLE.as_bytes()))
}

/// `GET /auth/login`.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage<'a> {
    pub(crate) shell: Shell,
    pub(crate) csrf_token: &'a str,
    pub(crate) rd: &'a str,
    pub(crate) login: &'a str,
    pub(crate) remember: bool,
    pub(crate) signed_in_as: Option<String>,
    pub(crate) notice: Option<&'static str>,
    pub(crate) login_error: Option<&'a str>,
    pub(crate) password_error: Option<&'a str>,
    pub(crate) form_error: Option<&'a str>,
}

/// `GET /auth/status`, for a person.
#[derive(Debug, Template)]
#[template(path = "session.html")]
pub(crate) struct SessionPage<'a> {
    pub(crate) shell: Shell,
    pub(crate) csrf_token: &'a str,
    pub(crate) login_name: &'a str,
    pub(crate) display_name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) roles: Vec<&'a str>,
    pub(crate) authenticated_at: Instant,
    pub(crate) idle_deadline: Instant,
    pub(crate) absolute_deadline: Instant,
    pub(crate) remembered: bool,
    pub(crate) notice: Option<&'static str>,
}

/// `GET /auth/password`.
#[derive(Debug, Template)]
#[template(path = "password.html")]
pub(crate) struct PasswordPage<'a> {
    pub(crate) shell: Shell,
    pub(crate) csrf_token: &'a str,
    pub(crate) login_name: &'a str,
    /// Whether there is no session yet.
    pub(crate) first: Option<FirstChange<'a>>,
    pub(crate) old_error: Option<&'a str>,
    pub(crate) new_error: Option<&'a str>,
    pub(crate) form_error: Option<&'a str>,
}

/// What goes with a change of the password that must be made before a session can begin.
#[derive(Debug)]
pub(crate) struct FirstChange<'a> {
    pub(crate) rd: &'a str,
    pub(crate) remember: bool,
}

/// `GET /auth/reauthenticate`.
#[derive(Debug, Template)]
#[template(path = "reauthenticate.html")]
pub(crate) struct ReauthenticatePage<'a> {
    pub(crate) shell: Shell,
    pub(crate) csrf_token: &'a str,
    pub(crate) login_name: &'a str,
    pub(crate) rd: &'a str,
    pub(crate) password_error: Option<&'a str>,
    pub(crate) form_error: Option<&'a str>,
}

/// An error, for a person.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub(crate) shell: Shell,
    pub(crate) status: u16,
    pub(crate) title: String,
    pub(crate) detail: String,
    pub(crate) action: Option<Action>,
}

/// The link that leads out of an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub(crate) href: &'static str,
    pub(crate) label: &'static str,
}

/// An instant for machines and for people.
#[derive(Debug)]
pub(crate) struct Instant {
    iso: String,
    text: String,
}

impl From<UnixTime> for Instant {
    fn from(instant: UnixTime) -> Self {
        let iso = instant.to_string();
        let date = i64::try_from(instant.0).ok().and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok());
        let text = date.map_or_else(
            || iso.clone(),
            |at| format!("{} {} {}, {:02}:{:02} UTC", at.day(), at.month(), at.year(), at.hour(), at.minute()),
        );
        Self { iso, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_for_people() {
        let instant = Instant::from(UnixTime(1_764_000_060));
        assert_eq!((&*instant.iso, &*instant.text), ("2025-11-24T16:01:00Z", "24 November 2025, 16:01 UTC"));
        assert_eq!(Instant::from(UnixTime(u64::MAX)).text, u64::MAX.to_string());
    }

    #[test]
    fn what_users_typed_is_escaped() {
        let page = ErrorPage {
            shell: Shell::new(true),
            status: 404,
            title: "<b>".to_owned(),
            detail: "\"'&".to_owned(),
            action: None,
        };
        let html = page.render().expect("renders");
        assert!(html.contains("&#60;b&#62;") && html.contains("&#34;&#39;&#38;") && html.contains("Development mode"));
    }
}
