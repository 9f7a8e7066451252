//! Identity headers: headers of a verify response that identify the user to the application behind a proxy.
//!
//! Every 200 of a verify route has all of them, even those without a value. If one were missing, some proxies would forward the
//! header of that name that the client sent.
//!
//! Called by `verify.rs`. `headers.rs` prepares the empty headers.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};
use salvo::hyper::body::Bytes;

use crate::session::claims::Claims;

/// Names of the identity headers. A fact has two headers: one with the name that Authelia uses (`remote-*`), and one with the
/// name that oauth2-proxy uses (`x-auth-request-*`). The last header is the absolute deadline in Unix seconds, which a renewal
/// does not change. It has only one name.
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

/// Bytes to percent-encode in login names, roles and email addresses: every byte that is not visible ASCII.
const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');
/// Bytes to percent-encode in display names: the bytes in [`INVISIBLE`], and `%`, so that decoding returns the original text.
const INVISIBLE_AND_PERCENT: &AsciiSet = &INVISIBLE.add(b'%');

/// Returns all identity headers with empty values, in the order that [`write()`] needs.
pub(super) fn empty_headers() -> HeaderMap {
    NAMES.iter().map(|name| (name.clone(), HeaderValue::from_static(""))).collect()
}

/// Returns whether a map begins with the names of the identity headers, in the order of [`empty_headers`].
pub(super) fn begins_with_identity_headers(headers: &HeaderMap) -> bool {
    NAMES.iter().zip(headers.keys()).all(|(expected, name)| expected == name) && headers.len() >= NAMES.len()
}

/// Writes the facts of a session into a map that begins with the headers of [`empty_headers`]. An empty fact
/// leaves its headers empty.
///
/// This is on the fast path. So it iterates over the headers instead of looking up each name, and all values share one buffer.
pub(super) fn write(claims: &Claims<'_>, headers: &mut HeaderMap) {
    let identity = &claims.identity;
    let texts = [
        (identity.login_name, INVISIBLE),
        (identity.display_name, INVISIBLE_AND_PERCENT),
        (identity.roles, INVISIBLE),
        (identity.email, INVISIBLE),
    ];
    let mut values = String::with_capacity(256);
    // The end of each encoded text in the buffer.
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
        let both_names = [fields.next(), fields.next()];
        if start < end {
            both_names.into_iter().flatten().for_each(|field| *field = value(start..end));
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
    fn each_header_has_its_fact_for_all_values_of_the_others() {
        let every_byte: String = (0..=0x7f).map(char::from).collect();
        let long = "\u{1f36f}".repeat(64);
        let texts = ["", "a", "a,b", "100% \"b\"\r\nx: y", "B\u{f6}b", &every_byte, &long];
        let mut prepared = empty_headers();
        prepared.insert("vary", HeaderValue::from_static("Cookie"));
        for number in 0..texts.len().pow(4) {
            let [login_name, display_name, roles, email] =
                [0, 1, 2, 3].map(|digit| texts[number / texts.len().pow(digit) % texts.len()]);
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
            let expected = [
                (login_name, INVISIBLE),
                (display_name, INVISIBLE_AND_PERCENT),
                (roles, INVISIBLE),
                (email, INVISIBLE),
            ];
            let expected = expected.map(|(text, set)| utf8_percent_encode(text, set).to_string());
            let values: Vec<&str> = headers.values().map(|value| value.to_str().expect("visible ASCII")).collect();
            let [login, name, roles, email] = expected.each_ref().map(String::as_str);
            let deadline = deadline.to_string();
            assert_eq!(values, [login, login, name, name, roles, roles, email, email, &deadline, "Cookie"]);
        }
    }
}
