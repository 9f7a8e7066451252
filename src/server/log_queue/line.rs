//! A log line in the queue: its kind, and the code that shortens lines that are too long.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Maximum length of a line. A longer line is cut.
pub(super) const MAX_LINE_BYTES: usize = 16 * 1024;
/// Size of a line in memory in addition to its text.
pub(super) const LINE_OVERHEAD: usize = 64;
/// Marker at the end of a text that was cut.
const CUT_MARKER: &str = " [cut]";
/// Fields that remain in a line if it is still too long after all its texts were cut to the minimum length.
const KEPT_FIELDS: [&str; 4] = ["timestamp", "level", "target", "message"];
/// Maximum length of each text in a JSON line that is cut. The first attempt uses the end of the range. Each further attempt
/// halves the length, down to the start of the range.
const TEXT_LIMITS: std::ops::RangeInclusive<usize> = 64..=MAX_LINE_BYTES / 2;

/// Format of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::server) enum Format {
    /// Text for a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Kind of a line. It determines the line's share of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    /// Audit event, or the reason for the exit.
    Audit,
    /// Any other line.
    Other,
    /// Report of dropped lines. Only the writing thread logs such a line. It is put in front of all waiting lines.
    Notice,
}

/// A line in the queue.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: LineKind,
    pub(super) text: Box<[u8]>,
}

impl Line {
    /// Returns the size of the line in memory.
    pub(super) const fn cost(&self) -> usize {
        self.text.len() + LINE_OVERHEAD
    }
}

/// Returns the line, or a shorter line if it is too long. In the text format, the end of the line is removed. In the JSON
/// format, the line stays a valid object: the texts in it are cut, and it gets the field `cut`.
pub(super) fn shorten(line: &[u8], format: Format) -> Cow<'_, [u8]> {
    if line.len() <= MAX_LINE_BYTES {
        return Cow::Borrowed(line);
    }
    match format {
        Format::Text => {
            Cow::Owned([beginning(line, MAX_LINE_BYTES - CUT_MARKER.len() - 1), CUT_MARKER.as_bytes(), b"\n"].concat())
        }
        Format::Json => Cow::Owned(shorten_object(line)),
    }
}

/// Cuts the texts in a JSON object. The maximum length of each text is halved until the line is short enough.
fn shorten_object(line: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    fields.insert("cut".to_owned(), Value::Bool(true));
    let mut max_bytes = *TEXT_LIMITS.end();
    while max_bytes >= *TEXT_LIMITS.start() {
        fields.values_mut().for_each(|value| shorten_texts(value, max_bytes));
        let text = as_line(&fields);
        if text.len() <= MAX_LINE_BYTES {
            return text;
        }
        max_bytes /= 2;
    }
    fields.retain(|name, value| name == "cut" || KEPT_FIELDS.contains(&name.as_str()) && value.is_string());
    as_line(&fields)
}

/// Cuts all texts in a value to this length.
fn shorten_texts(value: &mut Value, max_bytes: usize) {
    match value {
        Value::String(text) if text.len() > max_bytes => {
            let kept = beginning(text.as_bytes(), max_bytes - CUT_MARKER.len()).len();
            text.truncate(kept);
            text.push_str(CUT_MARKER);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shorten_texts(value, max_bytes)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten_texts(value, max_bytes)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn as_line(fields: &Map<String, Value>) -> Vec<u8> {
    let mut line = serde_json::to_vec(fields).expect("an object whose keys are strings can be serialized");
    line.push(b'\n');
    line
}

/// Returns the beginning of a text: at most this many bytes, cut between two characters.
fn beginning(text: &[u8], max_bytes: usize) -> &[u8] {
    let is_boundary = |index: &usize| text[*index] & 0xC0 != 0x80;
    &text[..(0..=max_bytes).rev().find(is_boundary).unwrap_or_default()]
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
    fn a_line_of_the_maximum_length_is_not_changed() {
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
            let line =
                json!({"level": "ERROR", "backtrace": text, "error": "reason", "span": {"path": text}, "count": 3});
            let cut = shortened(&line);
            for name in ["level", "error", "count"] {
                assert_eq!(cut[name], line[name]);
            }
            for text in [&cut["backtrace"], &cut["span"]["path"]] {
                assert!(
                    text.as_str().is_some_and(|text| text.starts_with(long) && text.ends_with(CUT_MARKER)),
                    "{cut}"
                );
            }
            assert_eq!(cut["cut"], true);
        }
    }

    #[test]
    fn an_object_with_too_many_fields_keeps_the_main_fields() {
        let mut line: Map<String, Value> = (0..5_000).map(|number| (number.to_string(), json!([number]))).collect();
        line.extend(KEPT_FIELDS.map(|name| (name.to_owned(), json!(name))));
        let cut = shortened(&line.into());
        assert_eq!(
            cut,
            json!({"timestamp": "timestamp", "level": "level", "target": "target", "message": "message", "cut": true})
        );
    }

    #[test]
    fn a_long_line_that_is_not_json_is_replaced_by_json() {
        assert_eq!(*shorten(&[b'x'; MAX_LINE_BYTES + 1], Format::Json), *b"{\"cut\":true}\n");
    }
}
