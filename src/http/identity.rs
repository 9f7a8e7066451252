//! Who it is, for the app behind a proxy: header fields that stand on every 200 of a verify route, even empty, because some
//! proxies let the client's own field through where one is missing.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::session::claims::Claims;

/// Each fact under the name that Authelia made common and the one of oauth2-proxy; at last, in Unix seconds, the absolute deadline,
/// which renewal does not move.
static NAMES: [HeaderName; 9] = [
    HeaderName::from_static("remote-user"),
    HeaderName::from_static("x-auth-request-user"),
    HeaderName::from_static("remote-name"),
    HeaderName::from_static("x-auth-request-name"),
    HeaderName::from_static("remote-groups"),
    HeaderName::from_static("x-auth-request-groups"),
    HeaderName::from_static("remote-email"),
    HeaderName::from_static("x-auth-request-email"),
    HeaderName::from_static("remote-session-deadline"),
];

/// Every byte but visible ASCII.
const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');
/// And `%` itself, so that decoding gives back the text.
const TEXT: &AsciiSet = &INVISIBLE.add(b'%');

/// Writes all of them, in this order and without a fact.
pub(super) fn write_empty(headers: &mut HeaderMap) {
    let [.., deadline] = &NAMES;
    headers.extend(NAMES.iter().map(|name| (name.clone(), HeaderValue::from_static(""))));
    headers.insert(deadline, HeaderValue::from_static("0"));
}

/// Fills in what is not empty, where [`write_empty`] has written. The fields are passed in turn: to look each up costs twice as
/// much.
///
/// # Panics
/// If they are not there.
pub(super) fn write(claims: &Claims<'_>, headers: &mut HeaderMap) {
    let value = |text: &str, set| (!text.is_empty()).then(|| value(text, set));
    let user = value(claims.login_name, INVISIBLE);
    let name = value(claims.display_name, TEXT);
    let groups = value(claims.roles, INVISIBLE);
    let email = value(claims.email, INVISIBLE);
    let deadline = HeaderValue::from(claims.absolute_deadline.0);
    let facts = [user.clone(), user, name.clone(), name, groups.clone(), groups, email.clone(), email, Some(deadline)];
    let mut facts = NAMES.iter().zip(facts).peekable();
    for (name, value) in headers {
        if let Some((_, fact)) = facts.next_if(|(own, _)| name == *own)
            && let Some(fact) = fact
        {
            *value = fact;
        }
    }
    assert!(facts.next().is_none(), "all of them stand there, in this order");
}

fn value(text: &str, set: &'static AsciiSet) -> HeaderValue {
    let encoded = Cow::from(percent_encode(text.as_bytes(), set));
    HeaderValue::from_str(&encoded).expect("visible ASCII after percent-encoding")
}
