//! Parser for a file of accounts: one JSON object per line, or one JSON array of objects.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::faults::{Faults, Place};

/// Maximum length of an account, in bytes. The longest valid account is shorter, even if every character is escaped.
const MAX_LENGTH: usize = 16 << 10;

/// Calls `take` for each well-formed value, with its place.
pub(super) fn for_each(text: &[u8], faults: &mut Faults, mut take: impl FnMut(Place, Value, &mut Faults)) {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    if text.trim_ascii_start().starts_with(b"[") {
        let mut items = Items { next: 1, take, faults };
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = json.deserialize_seq(&mut items).and_then(|()| json.end());
        if let Err(error) = read {
            let place = Place::Item(items.next);
            items.faults.add(place, &format!("the list is not well-formed JSON: {error}"));
        }
        return;
    }
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            for_one(Place::Line(index + 1), line, faults, &mut take);
        }
    }
}

/// Calls `take` for one value. A value that is too long or has a field twice is a fault instead.
fn for_one(place: Place, text: &[u8], faults: &mut Faults, take: &mut impl FnMut(Place, Value, &mut Faults)) {
    if text.len() > MAX_LENGTH {
        return faults.add(
            place,
            &format!("the account is longer than {MAX_LENGTH} bytes; write each account on a separate line, or as a separate object of a list"),
        );
    }
    match serde_json::from_slice(text) {
        Ok(value) => match repeated(text) {
            Some(name) => {
                faults.add(place, &format!("{}: this field occurs twice; remove one of the two", shown(&name)))
            }
            None => take(place, value, faults),
        },
        Err(error) => faults.add(place, &format!("the account is not well-formed JSON: {}", without_line(&error))),
    }
}

/// Returns the name of a field for a message: the first 32 characters, with control characters escaped.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(32).flat_map(char::escape_debug).collect()
}

/// Returns a name that occurs twice in an object. `serde_json` would use the last of the two values, and other programs may use
/// the first.
fn repeated(text: &[u8]) -> Option<String> {
    struct Names(Option<String>);
    impl<'de> Visitor<'de> for &mut Names {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut seen = BTreeSet::new();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
                if seen.contains(&name) {
                    self.0 = Some(name);
                } else {
                    seen.insert(name);
                }
            }
            Ok(())
        }
    }
    let mut names = Names(None);
    // An error means that the value is not an object, and only an object has names.
    let _ = serde_json::Deserializer::from_slice(text).deserialize_map(&mut names);
    names.0
}

/// Returns the error without the number of the line. The text is one value, so its line is always 1.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Visitor that parses the values of an array one by one. So the values are never all in memory, and a value that is too long is
/// not parsed.
struct Items<'f, T> {
    /// Number of the next value, from 1.
    next: usize,
    take: T,
    faults: &'f mut Faults,
}

impl<'de, T: FnMut(Place, Value, &mut Faults)> Visitor<'de> for &mut Items<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of accounts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(text) = list.next_element::<&RawValue>()? {
            for_one(Place::Item(self.next), text.get().as_bytes(), self.faults, &mut self.take);
            self.next += 1;
        }
        Ok(())
    }
}
