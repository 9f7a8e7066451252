//! Simple implementations of base64url and hexadecimal, for the reference implementation.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(crate) fn base64url(bytes: &[u8]) -> String {
    let character = |sextet: u32| char::from(ALPHABET[(sextet & 0x3f) as usize]);
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | u32::from(*chunk.get(index).unwrap_or(&0)));
        (0..=chunk.len()).map(move |index| character(bits >> (18 - 6 * index))).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

pub(crate) fn from_base64url(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bits = 0u32;
    let mut bit_count = 0;
    let mut bytes = Vec::new();
    for character in text.bytes() {
        let sextet = ALPHABET.iter().position(|known| *known == character).ok_or("alphabet")?;
        bits = bits << 6 | u32::try_from(sextet).expect("six bits");
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push(u8::try_from(bits >> bit_count & 0xff).expect("eight bits"));
        }
    }
    if bit_count == 6 {
        return Err("length");
    }
    if bits & ((1 << bit_count) - 1) == 0 { Ok(bytes) } else { Err("spare bits") }
}

/// Lower-case hexadecimal, the encoding of bytes in the vector files.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, de::Error};

    pub(crate) fn of(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
        bytes.filter(|bytes| of(bytes) == text).ok_or_else(|| D::Error::custom("not lower-case hexadecimal"))
    }
}
