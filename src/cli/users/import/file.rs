//! Takes a file of accounts apart: one JSON object per line, or one JSON array of objects.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::faults::{Faults, Place};

/// Maximum length of an account, in bytes. The longest one is shorter, however it is escaped.
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

/// Calls `take` for one value, unless it is too long or says something twice.
fn for_one(place: Place, text: &[u8], faults: &mut Faults, take: &mut impl FnMut(Place, Value, &mut Faults)) {
    if text.len() > MAX_LENGTH {
        return faults.add(
            place,
            &format!("it is longer than {MAX_LENGTH} bytes; each account is a line or an object of its own"),
        );
    }
    match serde_json::from_slice(text) {
        Ok(value) => match repeated(text) {
            Some(name) => faults.add(place, &format!("{}: it is there twice; remove one of them", shown(&name))),
            None => take(place, value, faults),
        },
        Err(error) => faults.add(place, &format!("it is not well-formed JSON: {}", without_line(&error))),
    }
}

/// Returns the name of a field, from a file, for a message.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(32).flat_map(char::escape_debug).collect()
}

/// Returns a name that an object has twice. Of two values, `serde_json` takes the last, and other programs may take the first.
fn repeated(text: &[u8]) -> Option<String> {
    struct Names(Option<String>);
    impl<'de> Visitor<'de> for &mut Names {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut known = BTreeSet::new();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
                if known.contains(&name) {
                    self.0 = Some(name);
                } else {
                    known.insert(name);
                }
            }
            Ok(())
        }
    }
    let mut names = Names(None);
    // Only an object has names.
    let _ = serde_json::Deserializer::from_slice(text).deserialize_map(&mut names);
    names.0
}

/// The error of a text of one line.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Takes the values of an array one by one, so that they are not in memory together, and a long one is not at all.
struct Items<'f, T> {
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
