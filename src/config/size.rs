//! The type of settings that are amounts of memory, such as `64MiB`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of memory in bytes, written as `64MiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Units with their sizes in bytes, the largest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Uses the largest unit that represents the size exactly: 2048 KiB is printed as `2MiB`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes));
        let (name, bytes) = unit.unwrap_or(("KiB", 1 << 10));
        write!(f, "{}{name}", self.0 / bytes)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = || {
            let (number, bytes) =
                UNITS.into_iter().find_map(|(name, bytes)| Some((text.strip_suffix(name)?, bytes)))?;
            let number = number.trim_end();
            // `parse` would accept a sign.
            let is_plain = number.starts_with(|first: char| first.is_ascii_digit());
            is_plain.then(|| number.parse::<u64>().ok()?.checked_mul(bytes)).flatten().map(Self)
        };
        parse().ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a size in KiB, MiB or GiB, such as 64MiB"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Size, toml::de::Error> {
        Size::deserialize(toml::Value::String(text.to_owned()))
    }

    #[test]
    fn a_size_is_printed_as_it_was_written() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1025MiB", 1025 << 20), ("3KiB", 3 << 10)] {
            let size = read(text).expect(text);
            assert_eq!((size, size.to_string().as_str()), (Size(bytes), text));
        }
        assert_eq!(read("2048 KiB").map(|size| size.to_string()), Ok("2MiB".to_owned()));
    }

    #[test]
    fn refuses_a_size_without_a_unit_or_a_valid_number() {
        for text in ["", "64", "MiB", "64MB", "64mib", "-1MiB", "1.5GiB", "+1MiB", "18446744073709551615KiB"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
