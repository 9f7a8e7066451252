//! The session cookie on the wire: the only reader of `Cookie` and the only writer of `Set-Cookie`.

use salvo::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use salvo::prelude::Response;

use crate::clock::UnixTime;
use crate::seal::CookieName;
use crate::session::SealedSession;

/// The session cookie's name. `__Host-` makes browsers insist on Secure, Path=/ and no Domain.
pub(crate) const NAME: &str = "__Host-sealjar";

/// What a response does to the session cookie. There is one per response, so there is at most one `Set-Cookie`.
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

/// The raw `Cookie` fields.
pub(crate) fn fields(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)
}

impl CookieChange {
    pub(crate) fn write(self, name: &CookieName, now: UnixTime, response: &mut Response) {
        let name = name.as_str();
        let cookie = match self {
            Self::Keep => return,
            Self::Set(session) => {
                let age = session.deadlines.idle.since(now).as_secs();
                let age = if session.flags.remembered() { format!("; Max-Age={age}") } else { String::new() };
                format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax{age}", session.token.expose())
            }
            Self::Clear => format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
        };
        let value = HeaderValue::try_from(cookie).expect("a name, base64url and our own attributes are visible ASCII");
        response.headers_mut().insert(SET_COOKIE, value);
    }
}
