//! JSON objects from prepared names and plain texts. Whatever must be escaped is left to `serde_json`.

/// A member's name, which must need no escaping, as it stands before its value.
#[derive(Clone, Copy)]
pub(super) struct Name(pub(super) &'static str);

macro_rules! name {
    ($name:literal) => {
        $crate::http::json::Name(concat!(",\"", $name, "\":"))
    };
}
pub(super) use name;

/// An object that is being written: its members, with a comma before each.
pub(crate) struct Object(Vec<u8>);

impl Object {
    /// An empty object, with room for most sessions.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(512))
    }

    fn value_of(&mut self, Name(name): Name) -> &mut Vec<u8> {
        self.0.extend_from_slice(name.as_bytes());
        &mut self.0
    }

    pub(super) fn text(mut self, name: Name, text: &str) -> Self {
        push_text(self.value_of(name), text);
        self
    }

    /// A list of the texts.
    pub(super) fn list<'t>(mut self, name: Name, texts: impl Iterator<Item = &'t str>) -> Self {
        let out = self.value_of(name);
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

    pub(super) fn number(mut self, name: Name, number: u64) -> Self {
        serde_json::to_writer(self.value_of(name), &number).expect("a number can be written to memory");
        self
    }

    pub(super) fn boolean(mut self, name: Name, is_true: bool) -> Self {
        self.value_of(name).extend_from_slice(if is_true { b"true" } else { b"false" });
        self
    }

    /// The object's bytes, and a line's end for those who look at it in a terminal.
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
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // Without a way out of the loop, so that it goes many bytes at a time.
    if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a text can be written to memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn any_text_reads_back(texts in proptest::collection::vec("(\\PC|[\\x00-\\x7f]){0,20}", 0..4), number: u64) {
            let first = texts.first().map_or("", String::as_str);
            let object = Object::new()
                .text(name!("text"), first)
                .list(name!("list"), texts.iter().map(String::as_str))
                .number(name!("number"), number)
                .boolean(name!("yes"), true)
                .boolean(name!("no"), false);
            let read: serde_json::Value = serde_json::from_slice(&object.finish()).expect("JSON");
            prop_assert_eq!(read, json!({ "text": first, "list": texts, "number": number, "yes": true, "no": false }));
        }
    }

    #[test]
    fn may_be_empty() {
        assert_eq!(Object::new().finish(), b"{}\n");
    }
}
