//! Ids of sessions, keys and sites, and the only source of random bytes.
//!
//! Invariant: no id is a credential. A session id identifies the session that a logout revokes, and a key id identifies a key
//! file. Ids may therefore be logged.
//!
//! Ids are printed as lower-case hexadecimal, which needs no quoting in a file name, a log line or a command.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Declares an id type with this number of bytes, which is printed and parsed as hexadecimal digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Creates the id with these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes of the id, in the order in which they are printed.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Returns the hexadecimal digits of the id.
            pub(crate) fn digits(self) -> [u8; 2 * $bytes] {
                let mut digits = [0; _];
                encode_hex(&self.0, &mut digits);
                digits
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(str::from_utf8(&self.digits()).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let mut bytes = [0; $bytes];
                decode_hex(text.as_bytes(), &mut bytes).map_err(|()| NotAnId { digits: 2 * $bytes })?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_id!(
    /// Session id: 128 random bits, new at each login and step-up. A logout revokes it.
    Sid, 16
);
hex_id!(
    /// Id of a token chain: 128 random bits, new at each login. Renewals keep it. Only copy detection uses it.
    Chain, 16
);
hex_id!(
    /// Id of one token in its chain: 64 random bits, new at each renewal.
    Link, 8
);
hex_id!(
    /// Id of a login form, for which there is no session yet: 128 random bits in the cookie of the form.
    FormId, 16
);
hex_id!(
    /// Key id: the first 8 bytes of `SHA-256("sealjar kid v1" ‖ key)`, so that the id commits to the key.
    Kid, 8
);
hex_id!(
    /// Id of the host or cookie domain of a session: the first 8 bytes of `SHA-256(host)`. The host is in lower case and
    /// without a port, because cookies do not distinguish ports ([RFC 6265 section
    /// 8.5](https://www.rfc-editor.org/rfc/rfc6265#section-8.5)).
    Site, 8
);

hex_id!(
    /// Id of a server process in its reports to the store: 128 random bits.
    NodeId, 16
);

impl NodeId {
    /// Creates a random id for a server process.
    pub fn random() -> Self {
        Self(random())
    }
}

impl Sid {
    /// Creates a random session id.
    pub fn random() -> Self {
        Self(random())
    }
}

impl FormId {
    /// Creates a random id for a login form.
    pub fn random() -> Self {
        Self(random())
    }
}

/// Session ids are random and come from authenticated tokens, so their own bits can be used as the hash (see `IdHasher`).
impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(first_eight(&self.0)));
    }
}

/// Like session ids, chain ids are random and come from authenticated tokens. Their own bits are the hash.
impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(first_eight(&self.0)));
    }
}

/// Hasher that uses the bits of a [`Sid`] or a [`Chain`] as their hash. An attacker cannot choose colliding ids, because ids
/// are random and only ids of authenticated tokens are looked up.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("an id hashes as one u64, not as {} bytes", bytes.len());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Kid {
    /// Computes the id of the key with these bytes.
    pub fn of_key(key: &[u8; 32]) -> Self {
        Self(first_eight(&Sha256::new().chain_update(b"sealjar kid v1").chain_update(key).finalize()))
    }
}

impl Site {
    /// Computes the site of `host`, a host name or an IP address without a port. Upper and lower case are equivalent.
    pub fn of_host(host: &str) -> Self {
        Self(first_eight(&Sha256::digest(host.to_ascii_lowercase())))
    }
}

/// Error for a text that is not an id of the expected length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {digits} lower-case hexadecimal digits")]
pub struct NotAnId {
    digits: usize,
}

/// Returns `N` bytes from the random number generator of the kernel, with one system call.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .expect("getrandom(2) cannot fail once the kernel's pool is seeded, and waits until it is");
    bytes
}

/// Returns the first eight bytes.
fn first_eight(bytes: &[u8]) -> [u8; 8] {
    *bytes.first_chunk().expect("every caller passes a digest or an id of at least 16 bytes")
}

/// Writes two hexadecimal digits for each byte.
pub(crate) fn encode_hex(bytes: &[u8], text: &mut [u8]) {
    // No lookup table, so that the compiler can use SIMD instructions.
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
}

/// Decodes the format of [`encode_hex`]. Returns an error if the text has another length than `out` requires, or other
/// characters than lower-case hexadecimal digits.
pub(crate) fn decode_hex(text: &[u8], out: &mut [u8]) -> Result<(), ()> {
    if text.len() != 2 * out.len() {
        return Err(());
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(()),
    };
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_id_that_was_printed() {
        let sid = Sid::random();
        assert_eq!(sid.to_string().parse(), Ok(sid));
    }

    #[test]
    fn accepts_only_lower_case_hexadecimal_of_the_right_length() {
        for text in ["", "00", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0", "0123456789abcde\u{e9}"] {
            assert!(text.parse::<Kid>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_site_does_not_depend_on_the_case_of_the_host() {
        assert_eq!(Site::of_host("Example.COM"), Site::of_host("example.com"));
        assert_ne!(Site::of_host("example.com"), Site::of_host("example.org"));
    }
}
