//! Who it is, for the app behind a proxy: header fields that stand on every 200 of a verify route, even empty, because some
//! proxies let the client's own field through where one is missing.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::session::claims::Claims;

/// Each fact under the name that Authelia made common and the one of oauth2-proxy.
const USER: [HeaderName; 2] = [HeaderName::from_static("remote-user"), HeaderName::from_static("x-auth-request-user")];
const NAME: [HeaderName; 2] = [HeaderName::from_static("remote-name"), HeaderName::from_static("x-auth-request-name")];
const GROUPS: [HeaderName; 2] =
    [HeaderName::from_static("remote-groups"), HeaderName::from_static("x-auth-request-groups")];
const EMAIL: [HeaderName; 2] =
    [HeaderName::from_static("remote-email"), HeaderName::from_static("x-auth-request-email")];
/// Unix seconds: the absolute deadline, which renewal does not move.
const DEADLINE: HeaderName = HeaderName::from_static("remote-session-deadline");

/// Every byte but visible ASCII.
const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');
/// And `%` itself, so that decoding gives back the text.
const TEXT: &AsciiSet = &INVISIBLE.add(b'%');

/// Writes all of them, empty.
pub(super) fn write_empty(headers: &mut HeaderMap) {
    for name in [USER, NAME, GROUPS, EMAIL].into_iter().flatten() {
        headers.insert(name, HeaderValue::from_static(""));
    }
    headers.insert(DEADLINE, HeaderValue::from_static("0"));
}

/// Fills in what is not empty.
pub(super) fn write(claims: &Claims<'_>, headers: &mut HeaderMap) {
    let facts = [
        (USER, claims.login_name, INVISIBLE),
        (NAME, claims.display_name, TEXT),
        (GROUPS, claims.roles, INVISIBLE),
        (EMAIL, claims.email, INVISIBLE),
    ];
    for ([one, other], text, set) in facts {
        if !text.is_empty() {
            let value = value(text, set);
            headers.insert(one, value.clone());
            headers.insert(other, value);
        }
    }
    headers.insert(DEADLINE, HeaderValue::from(claims.absolute_deadline.0));
}

fn value(text: &str, set: &'static AsciiSet) -> HeaderValue {
    let encoded = Cow::from(percent_encode(text.as_bytes(), set));
    HeaderValue::from_str(&encoded).expect("visible ASCII after percent-encoding")
}
