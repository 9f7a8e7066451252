//! A line of the log: its kind, and the limit of its length.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Longer lines are cut.
pub(super) const MAX_LINE_BYTES: usize = 16 * 1024;
/// Size of one line in memory besides its text.
pub(super) const LINE_OVERHEAD: usize = 64;
/// End of a text that was cut.
const END: &str = " [cut]";
/// Fields that a line keeps that is too long however much its texts are cut.
const KEPT: [&str; 4] = ["timestamp", "level", "target", "message"];
/// The longest that a text of a cut line may be, and the least that it is cut to.
const TEXT_BYTES: std::ops::RangeInclusive<usize> = 64..=MAX_LINE_BYTES / 2;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::server) enum Format {
    #[default]
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Audit,
    Other,
    /// Tells of lost lines. Only the writing thread makes it, and writes it next.
    Notice,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) text: Box<[u8]>,
}

impl Line {
    pub(super) const fn cost(&self) -> usize {
        self.text.len() + LINE_OVERHEAD
    }
}

/// Returns the line, or a shorter one if it is too long. A text loses its end; a JSON object stays one, with the field `cut`.
pub(super) fn shorten(line: &[u8], format: Format) -> Cow<'_, [u8]> {
    if line.len() <= MAX_LINE_BYTES {
        return Cow::Borrowed(line);
    }
    match format {
        Format::Text => Cow::Owned([beginning(line, MAX_LINE_BYTES - END.len() - 1), END.as_bytes(), b"\n"].concat()),
        Format::Json => Cow::Owned(shorten_object(line)),
    }
}

/// Cuts the texts in it to the greatest length at which all of them fit.
fn shorten_object(line: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    fields.insert("cut".to_owned(), Value::Bool(true));
    let mut longest = *TEXT_BYTES.end();
    while longest >= *TEXT_BYTES.start() {
        fields.values_mut().for_each(|value| shorten_texts(value, longest));
        let text = as_line(&fields);
        if text.len() <= MAX_LINE_BYTES {
            return text;
        }
        longest /= 2;
    }
    fields.retain(|name, value| name == "cut" || KEPT.contains(&name.as_str()) && value.is_string());
    as_line(&fields)
}

fn shorten_texts(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest => {
            let kept = beginning(text.as_bytes(), longest - END.len()).len();
            text.truncate(kept);
            text.push_str(END);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shorten_texts(value, longest)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten_texts(value, longest)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn as_line(fields: &Map<String, Value>) -> Vec<u8> {
    let mut line = serde_json::to_vec(fields).expect("texts as keys, so it can be written");
    line.push(b'\n');
    line
}

/// Returns at most this many bytes, cut between two characters.
fn beginning(text: &[u8], longest: usize) -> &[u8] {
    let is_boundary = |at: &usize| text[*at] & 0xC0 != 0x80;
    &text[..(0..=longest).rev().find(is_boundary).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shortened(line: &Value) -> Value {
        let line = format!("{line}\n");
        assert!(line.len() > MAX_LINE_BYTES);
        let text = shorten(line.as_bytes(), Format::Json);
        assert!(text.len() <= MAX_LINE_BYTES && text.ends_with(b"\n"), "{} bytes", text.len());
        serde_json::from_slice(&text).expect("JSON")
    }

    #[test]
    fn a_line_that_is_not_too_long_stays_as_it_is() {
        let line = [b'x'; MAX_LINE_BYTES];
        assert_eq!(*shorten(&line, Format::Text), line);
        assert_eq!(*shorten(&line, Format::Json), line);
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let long = "ä".repeat(MAX_LINE_BYTES);
        let text = shorten(long.as_bytes(), Format::Text);
        assert!(text.len() <= MAX_LINE_BYTES && text.len() > MAX_LINE_BYTES - 16);
        assert!(str::from_utf8(&text).is_ok_and(|text| text.ends_with(" [cut]\n")));
    }

    #[test]
    fn a_long_object_stays_json_and_loses_only_the_ends_of_texts() {
        for long in ["ä", "\u{1}", "\"", "x"] {
            let text = long.repeat(MAX_LINE_BYTES);
            let line = json!({"level": "ERROR", "backtrace": text, "error": "why", "span": {"path": text}, "count": 3});
            let cut = shortened(&line);
            for name in ["level", "error", "count"] {
                assert_eq!(cut[name], line[name]);
            }
            for text in [&cut["backtrace"], &cut["span"]["path"]] {
                assert!(text.as_str().is_some_and(|text| text.starts_with(long) && text.ends_with(END)), "{cut}");
            }
            assert_eq!(cut["cut"], true);
        }
    }

    #[test]
    fn an_object_with_too_many_fields_keeps_what_it_is_about() {
        let mut line: Map<String, Value> = (0..5_000).map(|number| (number.to_string(), json!([number]))).collect();
        line.extend(KEPT.map(|name| (name.to_owned(), json!(name))));
        let cut = shortened(&line.into());
        assert_eq!(
            cut,
            json!({"timestamp": "timestamp", "level": "level", "target": "target", "message": "message", "cut": true})
        );
    }

    #[test]
    fn a_long_line_that_is_no_json_is_replaced_by_json() {
        assert_eq!(*shorten(&[b'x'; MAX_LINE_BYTES + 1], Format::Json), *b"{\"cut\":true}\n");
    }
}
