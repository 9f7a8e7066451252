//! Simple implementations of base64url ([RFC 4648, section 5](https://www.rfc-editor.org/rfc/rfc4648#section-5), without
//! padding) and hexadecimal. The reference implementation uses them, so that it shares no code with the library.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes bytes in base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    // `bits` ends with the six bits to encode.
    let character = |bits: u32| char::from(ALPHABET[(bits & 0x3f) as usize]);
    // A chunk of n bytes becomes n + 1 characters. Missing bytes count as zero.
    let encode_chunk = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | u32::from(*chunk.get(index).unwrap_or(&0)));
        (0..=chunk.len()).map(move |index| character(bits >> (18 - 6 * index))).collect::<String>()
    };
    bytes.chunks(3).map(encode_chunk).collect()
}

/// Decodes base64url without padding. The error is the detail in the table of refusals in README.md.
pub(crate) fn from_base64url(text: &str) -> Result<Vec<u8>, &'static str> {
    // Bits that were read. Only the last `bit_count` of them are not yet part of `bytes`.
    let mut bits = 0u32;
    let mut bit_count = 0;
    let mut bytes = Vec::new();
    for character in text.bytes() {
        let sextet = ALPHABET.iter().position(|letter| *letter == character).ok_or("alphabet")?;
        bits = bits << 6 | u32::try_from(sextet).expect("six bits");
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push(u8::try_from(bits >> bit_count & 0xff).expect("eight bits"));
        }
    }
    // A single character remains after the last group of four. It has too few bits for a byte.
    if bit_count == 6 {
        return Err("length");
    }
    // The unused bits of the last character must be zero, so that each token has only one encoding.
    if bits & ((1 << bit_count) - 1) == 0 { Ok(bytes) } else { Err("spare bits") }
}

/// Lower-case hexadecimal, the encoding of bytes in the vector files.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, de::Error};

    /// Encodes bytes in lower-case hexadecimal.
    pub(crate) fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Deserializes a string of lower-case hexadecimal, for serde's attribute `with`.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
        // `from_str_radix` also accepts upper-case digits, and `+` before a digit.
        bytes.filter(|bytes| encode(bytes) == text).ok_or_else(|| D::Error::custom("not lower-case hexadecimal"))
    }
}
