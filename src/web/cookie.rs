//! Our cookies on the wire: the only reader of `Cookie` and the only writer of `Set-Cookie`.

use salvo::http::Method;
use salvo::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use super::hosts::Domain;
use crate::clock::UnixTime;
use crate::seal::{CookieName, SealedToken};
use crate::session::SealedSession;
use crate::session::form::SIGN_IN_FORM_LIFETIME;
use crate::session::lifetime::RenewalWindow;

/// How our cookies are called and where browsers send them.
#[derive(Debug, Clone)]
pub(crate) struct Cookies {
    session: CookieName,
    /// Of the sign-in form; never leaves the host.
    pub(crate) form: CookieName,
    session_scope: String,
    form_scope: String,
}

/// The name of an embedding application: 1 to 32 lower-case letters, digits or underscores. There is no hyphen, so that no two
/// names make one name of a cookie.
#[derive(Debug, Clone)]
pub(crate) struct AppName(String);

impl AppName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        ((1..=32).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }
}

impl Cookies {
    /// Those of the server.
    pub(crate) fn new(domain: Option<&Domain>, plain_http: bool) -> Self {
        Self::named("sealjar", domain, plain_http)
    }

    /// Those of an embedding application of this name. A token is bound to its cookie's name. So neither a server nor an
    /// application of another name takes one of these for its own, even if somebody gives all of them the same keys: none knows what
    /// the others refuse.
    pub(crate) fn of_app(name: &AppName, domain: Option<&Domain>, plain_http: bool) -> Self {
        Self::named(&format!("sealjar-app-{}", name.0), domain, plain_http)
    }

    /// `__Host-` makes browsers insist on Secure, Path=/ and no Domain; `__Secure-` on Secure. Over plain HTTP, for development,
    /// there is neither, and the name says so.
    fn named(stem: &str, domain: Option<&Domain>, plain_http: bool) -> Self {
        let (session, form, secure) = match (plain_http, domain) {
            (true, _) => (format!("{stem}-insecure"), format!("{stem}-insecure-form"), ""),
            (false, None) => (format!("__Host-{stem}"), format!("__Host-{stem}-form"), "; Secure"),
            (false, Some(_)) => (format!("__Secure-{stem}"), format!("__Host-{stem}-form"), "; Secure"),
        };
        let name = |text: String| CookieName::new(&text).expect("constants that make a token");
        let form_scope = format!("; Path=/{secure}; HttpOnly; SameSite=Lax");
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={}", domain.as_str()));
        Self { session: name(session), form: name(form), session_scope: format!("{form_scope}{domain}"), form_scope }
    }

    /// The session cookie as browsers are told to keep it, without its value.
    pub(crate) fn in_words(&self) -> String {
        format!("{}{}", self.session.as_str(), self.session_scope)
    }

    /// The session cookie's name.
    pub(crate) const fn session(&self) -> &CookieName {
        &self.session
    }
}

/// What a response does to the session cookie. There is one per response, so there is at most one `Set-Cookie` for it.
#[derive(Debug, Default)]
pub(crate) enum CookieChange {
    /// Leaves it alone.
    #[default]
    Keep,
    /// Sets it, for this browser session or (a remembered session) until its idle deadline.
    Set(SealedSession),
    /// Removes it.
    Clear,
}

/// Returns from when on the answer to a visitor's request may renew the session. `None` is a method that is not known: the request
/// comes from a proxy that does not tell, or is not trusted.
pub(crate) fn renewal_window(method: Option<&Method>) -> RenewalWindow {
    match method {
        Some(&(Method::GET | Method::HEAD)) => RenewalWindow::WhenDue,
        Some(_) | None => RenewalWindow::LastThird,
    }
}

/// The raw `Cookie` fields.
pub(crate) fn fields(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)
}

impl Cookies {
    /// Writes the change of the session's cookie.
    pub(crate) fn write(&self, change: CookieChange, now: UnixTime, headers: &mut HeaderMap) {
        let Self { session: name, session_scope: scope, .. } = self;
        match change {
            CookieChange::Keep => {}
            CookieChange::Set(session) => {
                let age = session.flags.remembered().then(|| session.deadlines.idle.since(now).as_secs());
                append(headers, name, session.token.expose(), scope, age);
            }
            CookieChange::Clear => append(headers, name, "", scope, Some(0)),
        }
    }

    /// Writes the cookie of the sign-in form.
    pub(crate) fn write_form(&self, token: &SealedToken, headers: &mut HeaderMap) {
        append(headers, &self.form, token.expose(), &self.form_scope, Some(SIGN_IN_FORM_LIFETIME.as_secs()));
    }
}

fn append(headers: &mut HeaderMap, name: &CookieName, value: &str, scope: &str, max_age: Option<u64>) {
    let age = max_age.map_or_else(String::new, |secs| format!("; Max-Age={secs}"));
    let cookie = format!("{}={value}{scope}{age}", name.as_str());
    let cookie = HeaderValue::try_from(cookie).expect("a name, base64url and our own attributes are visible ASCII");
    headers.append(SET_COOKIE, cookie);
}
