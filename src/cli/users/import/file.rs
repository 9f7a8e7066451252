//! Takes a file of accounts apart: one JSON object per line, or one JSON array of objects.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use super::faults::{Faults, Place};

/// Maximum length of a line, in bytes. The longest account is shorter, however it is escaped.
const MAX_LINE: usize = 16 << 10;

/// Calls `take` for each value, with its place.
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
        let place = Place::Line(index + 1);
        let line = line.trim_ascii();
        if line.len() > MAX_LINE {
            faults.add(place, &format!("it is longer than {MAX_LINE} bytes; each account is a line of its own"));
        } else if !line.is_empty() {
            match serde_json::from_slice(line) {
                Ok(value) => take(place, value, faults),
                Err(error) => faults.add(place, &format!("it is not well-formed JSON: {}", without_line(&error))),
            }
        }
    }
}

/// The error of a text of one line.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Takes the values of an array one by one, so that they are not in memory together.
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
        while let Some(value) = list.next_element()? {
            (self.take)(Place::Item(self.next), value, self.faults);
            self.next += 1;
        }
        Ok(())
    }
}
