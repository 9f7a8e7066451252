//! Names, attributes and `Set-Cookie` fields of the session cookie and of the login form cookie. No other code reads `Cookie`
//! fields or writes `Set-Cookie`.

use salvo::http::Method;
use salvo::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use super::hosts::Domain;
use crate::clock::UnixTime;
use crate::seal::{CookieName, SealedToken};
use crate::session::SealedSession;
use crate::session::form::SIGN_IN_FORM_LIFETIME;
use crate::session::lifetime::RenewalWindow;

/// Names and attributes of the session cookie and of the cookie of the login form.
#[derive(Debug, Clone)]
pub(crate) struct Cookies {
    session: CookieName,
    /// Name of the cookie of the login form. Browsers send this cookie only to the host that set it.
    pub(crate) form: CookieName,
    /// Attributes of the session cookie, except `Max-Age`.
    session_scope: String,
    /// Attributes of the cookie of the login form, except `Max-Age`.
    form_scope: String,
}

/// The name of an embedding application: 1 to 32 lower-case letters, digits or underscores. A hyphen is not allowed, so that two
/// different names never result in the same cookie name.
#[derive(Debug, Clone)]
pub(crate) struct AppName(String);

impl AppName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        ((1..=32).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }
}

impl Cookies {
    /// Returns the cookies of the server.
    pub(crate) fn new(domain: Option<&Domain>, plain_http: bool) -> Self {
        Self::with_stem("sealjar", domain, plain_http)
    }

    /// Returns the cookies of the embedding application `name`. A token is bound to the name of its cookie. So neither a server
    /// nor an application with another name accepts a token of this application, even if all of them have the same keys. This is
    /// necessary because their revocation lists are separate.
    pub(crate) fn for_app(name: &AppName, domain: Option<&Domain>, plain_http: bool) -> Self {
        Self::with_stem(&format!("sealjar-app-{}", name.0), domain, plain_http)
    }

    /// Returns the cookies whose names contain `stem`. With the prefix `__Host-`, browsers require Secure, Path=/ and no Domain.
    /// With `__Secure-`, they require Secure. Over plain HTTP, for development, there is no prefix, and the name contains
    /// `insecure`.
    fn with_stem(stem: &str, domain: Option<&Domain>, plain_http: bool) -> Self {
        let (session, form, secure) = match (plain_http, domain) {
            (true, _) => (format!("{stem}-insecure"), format!("{stem}-insecure-form"), ""),
            (false, None) => (format!("__Host-{stem}"), format!("__Host-{stem}-form"), "; Secure"),
            (false, Some(_)) => (format!("__Secure-{stem}"), format!("__Host-{stem}-form"), "; Secure"),
        };
        let name = |text: String| CookieName::new(&text).expect("the parts form a valid cookie name");
        let form_scope = format!("; Path=/{secure}; HttpOnly; SameSite=Lax");
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={}", domain.as_str()));
        Self { session: name(session), form: name(form), session_scope: format!("{form_scope}{domain}"), form_scope }
    }

    /// Returns the name and the attributes of the session cookie as text, without its value.
    pub(crate) fn describe(&self) -> String {
        format!("{}{}", self.session.as_str(), self.session_scope)
    }

    /// Returns the name of the session cookie.
    pub(crate) const fn session(&self) -> &CookieName {
        &self.session
    }
}

/// Change of the session cookie by a response. A response has exactly one such value, so it has at most one `Set-Cookie` field
/// for the session.
#[derive(Debug, Default)]
pub(crate) enum CookieChange {
    /// Does not change the cookie.
    #[default]
    Keep,
    /// Sets the cookie: an ordinary session until the browser is closed, and a remembered session until its idle deadline.
    Set(SealedSession),
    /// Removes the cookie.
    Clear,
}

/// Returns the time window in which the response to a client's request may renew the session. A `method` of `None` is unknown:
/// the proxy does not send it, or is not trusted.
pub(crate) fn renewal_window(method: Option<&Method>) -> RenewalWindow {
    match method {
        Some(&(Method::GET | Method::HEAD)) => RenewalWindow::WhenDue,
        Some(_) | None => RenewalWindow::LastThird,
    }
}

/// Returns the raw `Cookie` fields.
pub(crate) fn fields(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)
}

impl Cookies {
    /// Writes the change of the session cookie.
    pub(crate) fn write(&self, change: CookieChange, now: UnixTime, headers: &mut HeaderMap) {
        let Self { session: name, session_scope: scope, .. } = self;
        match change {
            CookieChange::Keep => {}
            CookieChange::Set(session) => {
                let age = session.flags.is_remembered().then(|| session.deadlines.idle.since(now).as_secs());
                append(headers, name, session.token.expose(), scope, age);
            }
            CookieChange::Clear => append(headers, name, "", scope, Some(0)),
        }
    }

    /// Writes the cookie of the login form.
    pub(crate) fn write_form(&self, token: &SealedToken, headers: &mut HeaderMap) {
        append(headers, &self.form, token.expose(), &self.form_scope, Some(SIGN_IN_FORM_LIFETIME.as_secs()));
    }
}

fn append(headers: &mut HeaderMap, name: &CookieName, value: &str, scope: &str, max_age: Option<u64>) {
    let age = max_age.map_or_else(String::new, |secs| format!("; Max-Age={secs}"));
    let cookie = format!("{}={value}{scope}{age}", name.as_str());
    let cookie = HeaderValue::try_from(cookie).expect("a cookie name, base64url and the attributes are visible ASCII");
    headers.append(SET_COOKIE, cookie);
}
