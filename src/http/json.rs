//! Fast writer of JSON objects, for responses on the fast path. Names are prepared at compile time. Strings without special
//! characters are copied, and all other strings are escaped by `serde_json`.

/// Name of a member, with the comma, quotes and colon around it. It contains no characters that need escaping. Created by
/// [`name!`].
#[derive(Clone, Copy)]
pub(super) struct Name(pub(super) &'static str);

macro_rules! name {
    ($name:literal) => {
        $crate::http::json::Name(concat!(",\"", $name, "\":"))
    };
}
pub(super) use name;

/// Writer of one object. The buffer contains the members, each with a comma before it. [`Self::finish`] replaces the first comma.
pub(crate) struct Object(Vec<u8>);

impl Object {
    /// Returns an empty object, with enough capacity for most sessions.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(512))
    }

    /// Writes the name of a member. Returns the buffer, to which the caller appends the value.
    #[inline]
    fn begin_member(&mut self, Name(name): Name) -> &mut Vec<u8> {
        self.0.extend_from_slice(name.as_bytes());
        &mut self.0
    }

    /// Adds a string, and escapes it if necessary.
    #[inline]
    pub(super) fn text(mut self, name: Name, text: &str) -> Self {
        push_text(self.begin_member(name), text);
        self
    }

    /// Adds a string that needs no escaping, such as digits or base64url.
    #[inline]
    pub(super) fn plain(mut self, name: Name, text: &[u8]) -> Self {
        push_quoted(self.begin_member(name), text);
        self
    }

    /// Adds an array of strings.
    pub(super) fn list<'t>(mut self, name: Name, texts: impl Iterator<Item = &'t str>) -> Self {
        let out = self.begin_member(name);
        out.push(b'[');
        for (number, text) in texts.enumerate() {
            if number > 0 {
                out.push(b',');
            }
            push_text(out, text);
        }
        out.push(b']');
        self
    }

    /// Adds a number.
    #[inline]
    pub(super) fn number(mut self, name: Name, number: u64) -> Self {
        self.begin_member(name).extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }

    /// Adds a boolean.
    #[inline]
    pub(super) fn boolean(mut self, name: Name, is_true: bool) -> Self {
        self.begin_member(name).extend_from_slice(if is_true { b"true" } else { b"false" });
        self
    }

    /// Returns the JSON text, with a line break at its end for terminals.
    pub(super) fn finish(self) -> Vec<u8> {
        let Self(mut out) = self;
        match out.first_mut() {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        push_quoted(out, text.as_bytes());
    } else {
        serde_json::to_writer(out, text).expect("writing a string to memory does not fail");
    }
}

#[inline]
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Returns whether a string needs no escaping ([RFC 8259 section 7](https://www.rfc-editor.org/rfc/rfc8259#section-7)). Tests eight
/// bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).all(|word| is_plain_word(u64::from_ne_bytes(*word)))
}

/// Returns whether none of the eight bytes is a control character, a quote or a backslash. Uses two tests of [Bit Twiddling
/// Hacks](https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord): for a zero byte, and for a byte below a limit.
/// Each test may also mark a wrong byte next to a match, but never marks a byte in a word without a match.
const fn is_plain_word(word: u64) -> bool {
    const ONE_IN_EACH_BYTE: u64 = u64::from_ne_bytes([1; 8]);
    const TOP_BITS: u64 = ONE_IN_EACH_BYTE << 7;
    const fn without_top_bit_and_below(word: u64, limit: u8) -> u64 {
        word.wrapping_sub(ONE_IN_EACH_BYTE * limit as u64) & !word & TOP_BITS
    }
    let control = without_top_bit_and_below(word, b' ');
    let quote = without_top_bit_and_below(word ^ (ONE_IN_EACH_BYTE * b'"' as u64), 1);
    let backslash = without_top_bit_and_below(word ^ (ONE_IN_EACH_BYTE * b'\\' as u64), 1);
    (control | quote | backslash) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn any_text_is_the_same_after_parsing(texts in proptest::collection::vec("(\\PC|[\\x00-\\x7f]){0,20}", 0..4), number: u64) {
            let first = texts.first().map_or("", String::as_str);
            let object = Object::new()
                .text(name!("text"), first)
                .plain(name!("plain"), b"a-_9")
                .list(name!("list"), texts.iter().map(String::as_str))
                .number(name!("number"), number)
                .boolean(name!("yes"), true)
                .boolean(name!("no"), false);
            let parsed: serde_json::Value = serde_json::from_slice(&object.finish()).expect("JSON");
            prop_assert_eq!(parsed, json!({ "text": first, "plain": "a-_9", "list": texts, "number": number, "yes": true, "no": false }));
        }
    }

    #[test]
    fn writes_an_empty_object() {
        assert_eq!(Object::new().finish(), b"{}\n");
    }
}
