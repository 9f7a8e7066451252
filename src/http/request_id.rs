//! Request ids and trace ids. They show which request a log line is about.
//!
//! If a trusted proxy sends `X-Request-Id`, its id is used, so that the logs of proxy and server can be compared. Otherwise the
//! request gets a new random id. The response contains the id. Hot routes create no id and their responses contain no id,
//! because few log lines are about them. A log line about a hot route has the id of the proxy, or no id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::id;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Id of a request: up to 64 characters of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    const MAX_BYTES: usize = 64;

    pub(super) fn random() -> Self {
        let text = URL_SAFE_NO_PAD.encode(id::random::<12>());
        Self(text.try_into().expect("base64url is visible ASCII"))
    }

    /// Reads the `X-Request-Id` field. Returns `None` unless there is exactly one field with a valid id.
    pub(super) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        Self::parse(only_value(headers, &X_REQUEST_ID)?)
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let is_valid = (1..=Self::MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        is_valid.then(|| Self(value.clone()))
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Returns the value of the field in the response.
    pub(super) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Returns the trace id in the `traceparent` field ([W3C Trace Context](https://www.w3.org/TR/trace-context/), version 00).
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    parse_trace_id(only_value(headers, &TRACEPARENT)?)
}

fn parse_trace_id(value: &HeaderValue) -> Option<&str> {
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let mut parts = value.to_str().ok()?.split('-');
    let version = parts.next()?;
    let trace = parts.next()?;
    let parent = parts.next()?;
    let flags = parts.next()?;
    let is_valid = version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && parts.next().is_none();
    (is_valid && trace.bytes().any(|byte| byte != b'0')).then_some(trace)
}

/// Returns the field's value, if there is exactly one.
fn only_value<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_short_ids_of_visible_ascii() {
        let parse = |bytes: &[u8]| RequestId::parse(&HeaderValue::from_bytes(bytes).expect("a value"));
        let longest = [b'x'; RequestId::MAX_BYTES];
        for good in [&b"1"[..], b"7f3e-44/a=b;c", &longest] {
            assert_eq!(parse(good).expect("a valid id").as_str().as_bytes(), good);
        }
        for bad in [&b""[..], b"a b", b"a\tb", b"caf\xc3\xa9", &[b'x'; RequestId::MAX_BYTES + 1]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_the_trace_id_of_a_valid_traceparent_only() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parse = |text: &str| parse_trace_id(&HeaderValue::from_str(text).expect("a value")).map(str::to_owned);
        assert_eq!(parse(&format!("00-{TRACE}-00f067aa0ba902b7-01")).as_deref(), Some(TRACE));
        for bad in [
            "",
            "00",
            TRACE,
            &format!("01-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-00f067aa0ba902b7-01-x"),
            &format!("00-{TRACE}-00f067aa0ba902b-01"),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
