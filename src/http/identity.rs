//! Who it is, for the app behind a proxy: header fields that stand on every 200 of a verify route, even empty, because some
//! proxies let the client's own field through where one is missing.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};
use salvo::hyper::body::Bytes;

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

/// The fields without a fact, in this order: what [`write`] fills in.
pub(super) fn empty() -> HeaderMap {
    NAMES.iter().map(|name| (name.clone(), HeaderValue::from_static(""))).collect()
}

/// Whether a map, or a copy of it, begins with [`empty`] fields.
pub(super) fn is_begun(headers: &HeaderMap) -> bool {
    NAMES.iter().zip(headers.keys()).all(|(own, name)| own == name) && headers.len() >= NAMES.len()
}

/// Fills in what is not empty, in a map that begins with [`empty`] fields. They are passed in turn: to look each up costs more than
/// all the rest. All values are parts of one buffer.
pub(super) fn write(claims: &Claims<'_>, headers: &mut HeaderMap) {
    let identity = &claims.identity;
    let texts = [
        (identity.login_name, INVISIBLE),
        (identity.display_name, TEXT),
        (identity.roles, INVISIBLE),
        (identity.email, INVISIBLE),
    ];
    let mut values = String::with_capacity(256);
    let ends = texts.map(|(text, set)| {
        values.extend(percent_encode(text.as_bytes(), set));
        values.len()
    });
    values.push_str(itoa::Buffer::new().format(claims.absolute_deadline.0));
    let values = Bytes::from(values);
    let value =
        |range| HeaderValue::from_maybe_shared(values.slice(range)).expect("visible ASCII after percent-encoding");
    let mut fields = headers.values_mut();
    let mut start = 0;
    for end in ends {
        let pair = [fields.next(), fields.next()];
        if start < end {
            pair.into_iter().flatten().for_each(|field| *field = value(start..end));
        }
        start = end;
    }
    if let Some(deadline) = fields.next() {
        *deadline = value(start..values.len());
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::utf8_percent_encode;

    use super::*;
    use crate::clock::UnixTime;
    use crate::id::{Chain, Link, Sid, Site};
    use crate::session::Identity;
    use crate::session::claims::{Flags, Methods};

    fn claims(identity: Identity<'_>, absolute_deadline: u64) -> Claims<'_> {
        Claims {
            sid: Sid::from_bytes([1; 16]),
            chain: Chain::from_bytes([2; 16]),
            renewals: 0,
            link: Link::from_bytes([4; 8]),
            parent: Link::from_bytes([0; 8]),
            site: Site::from_bytes([3; 8]),
            identity,
            authenticated_at: UnixTime(0),
            sealed_at: UnixTime(0),
            idle_deadline: UnixTime(0),
            absolute_deadline: UnixTime(absolute_deadline),
            methods: Methods::PASSWORD,
            flags: Flags::default(),
            app_data: &[],
        }
    }

    #[test]
    fn each_field_says_its_own_fact_whatever_the_others_are() {
        let every_byte: String = (0..=0x7f).map(char::from).collect();
        let long = "\u{1f36f}".repeat(64);
        let texts = ["", "a", "a,b", "100% \"b\"\r\nx: y", "B\u{f6}b", &every_byte, &long];
        let mut prepared = empty();
        prepared.insert("vary", HeaderValue::from_static("Cookie"));
        for number in 0..texts.len().pow(4) {
            let [login_name, display_name, roles, email] =
                [0, 1, 2, 3].map(|place| texts[number / texts.len().pow(place) % texts.len()]);
            let deadline = if number % 2 == 0 { 0 } else { u64::MAX };
            let identity = Identity {
                sub: "s",
                account_generation: 1,
                global_generation: 1,
                login_name,
                display_name,
                email,
                roles,
            };
            let mut headers = prepared.clone();
            write(&claims(identity, deadline), &mut headers);
            let expected = [(login_name, INVISIBLE), (display_name, TEXT), (roles, INVISIBLE), (email, INVISIBLE)];
            let expected = expected.map(|(text, set)| utf8_percent_encode(text, set).to_string());
            let values: Vec<&str> = headers.values().map(|value| value.to_str().expect("visible ASCII")).collect();
            let [login, name, roles, email] = expected.each_ref().map(String::as_str);
            let deadline = deadline.to_string();
            assert_eq!(values, [login, login, name, name, roles, roles, email, email, &deadline, "Cookie"]);
        }
    }
}
