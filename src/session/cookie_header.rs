//! Finding our cookie in the raw `Cookie` fields (RFC 6265 section 5.4), by its exact bytes.
//!
//! There may be several fields (HTTP/2 splits them), other cookies may hold any byte, and our name may come more than once:
//! a sibling domain can plant one. Nothing is percent-decoded, neither names nor values: a decoded name would let
//! `__%48ost-…` pose as ours.

use std::iter;

use crate::seal::CookieName;

/// The values of the cookies of this name, in the order of the request.
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

/// A field's first pair, and what comes after its semicolon. `memchr` looks at many bytes at once: one by one, they cost as much as
/// opening the token where others' cookies come to a kilobyte.
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

    fn found(fields: &[&str]) -> Vec<String> {
        let name = CookieName::new("__Host-sealjar").expect("a token");
        let fields = fields.iter().map(|field| field.as_bytes());
        values(fields, &name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn finds_every_cookie_of_the_name_in_several_fields() {
        let fields = ["a=1; __Host-sealjar=one;b=\u{fc}", "__Host-sealjar=two", "c;__Host-sealjar= \"three\" ;"];
        assert_eq!(found(&fields), ["one", "two", " \"three\""]);
    }

    #[test]
    fn passes_over_names_that_only_look_like_it() {
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
            assert_eq!(found(&[field]), [""; 0], "{field}");
        }
    }
}
