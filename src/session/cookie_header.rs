//! Finds the session cookie in the raw `Cookie` fields ([RFC 6265 section
//! 5.4](https://www.rfc-editor.org/rfc/rfc6265#section-5.4)), by comparing bytes.
//!
//! A request may have several fields, because HTTP/2 splits them. Other cookies may contain any byte. The name of the session
//! cookie may occur more than once, because a sibling domain can set a cookie of that name.
//!
//! Invariant: neither names nor values are percent-decoded. With decoding, a cookie `__%48ost-…` would have that name without
//! the protection of the `__Host-` prefix.

use std::iter;

use crate::seal::CookieName;

/// Returns the values of the cookies of this name, in the order of the request.
pub fn values<'h>(fields: impl IntoIterator<Item = &'h [u8]>, name: &CookieName) -> impl Iterator<Item = &'h [u8]> {
    let mut fields = fields.into_iter();
    let mut rest = None;
    iter::from_fn(move || {
        loop {
            let pair;
            (pair, rest) = split(rest.take().or_else(|| fields.next())?);
            if let Some(value) = value(pair, name) {
                return Some(value);
            }
        }
    })
}

/// Splits a field into its first pair and the bytes after the semicolon of that pair.
///
/// `memchr` compares many bytes at once. With a loop over single bytes, one kilobyte of other cookies would cost as much time as
/// opening the token.
fn split(field: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b';', field) {
        Some(end) => (&field[..end], Some(&field[end + 1..])),
        None => (field, None),
    }
}

fn value<'h>(pair: &'h [u8], name: &CookieName) -> Option<&'h [u8]> {
    let pair = pair.trim_ascii_start();
    let value = pair.strip_prefix(name.as_str().as_bytes())?.strip_prefix(b"=")?;
    Some(value.trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values_in(fields: &[&str]) -> Vec<String> {
        let name = CookieName::new("__Host-sealjar").expect("a token");
        let fields = fields.iter().map(|field| field.as_bytes());
        values(fields, &name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn finds_every_cookie_of_the_name_in_several_fields() {
        let fields = ["a=1; __Host-sealjar=one;b=\u{fc}", "__Host-sealjar=two", "c;__Host-sealjar= \"three\" ;"];
        assert_eq!(values_in(&fields), ["one", "two", " \"three\""]);
    }

    #[test]
    fn skips_names_that_are_similar_to_the_cookie_name() {
        for field in [
            "__%48ost-sealjar=x",
            "__host-sealjar=x",
            "x__Host-sealjar=x",
            "__Host-sealjarx=x",
            "__Host-sealjar",
            "=x",
            "\"__Host-sealjar\"=x",
            "__Host-sealjar =x",
            "",
            ";;;",
            "$__Host-sealjar=x",
            "a=__Host-sealjar=x",
        ] {
            assert_eq!(values_in(&[field]), [""; 0], "{field}");
        }
    }
}
