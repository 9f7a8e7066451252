//! The identifiers that sessions and keys go by, and the one source of randomness.
//!
//! None of them is a credential: a session id names what logout revokes, a key id names a file. They are printed in
//! lower-case hexadecimal, so that each can stand in a file name, a log line or a command without quoting.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The identifier with exactly these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Its bytes, in the order in which they are printed.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// As it is printed.
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
    /// A session id: 128 random bits, fresh at each sign-in and change of privilege. What logout revokes.
    Sid, 16
);
hex_id!(
    /// Id of a chain of renewals: 128 random bits, fresh at each sign-in. Renewals keep it. No check of a session looks it up.
    Chain, 16
);
hex_id!(
    /// Id of one token within its chain: 64 random bits, fresh at each renewal.
    Link, 8
);
hex_id!(
    /// A sign-in form before anybody is signed in: 128 random bits in a cookie of its own.
    FormId, 16
);
hex_id!(
    /// A key id: the first 8 bytes of `SHA-256("sealjar kid v1" ‖ key)`, so that the id commits to the key.
    Kid, 8
);
hex_id!(
    /// The host that a session belongs to: the first 8 bytes of `SHA-256(host)`, the host in lower case and without a
    /// port (cookies do not tell ports apart, RFC 6265 section 8.5).
    Site, 8
);

hex_id!(
    /// A server's process, as it reports to the store: 128 random bits.
    NodeId, 16
);

impl NodeId {
    /// A fresh process.
    pub fn random() -> Self {
        Self(random())
    }
}

impl Sid {
    /// A fresh session id.
    pub fn random() -> Self {
        Self(random())
    }
}

impl FormId {
    /// A fresh form.
    pub fn random() -> Self {
        Self(random())
    }
}

/// Session ids are random and arrive authenticated, so their own bits serve as their hash (see `IdHasher`).
impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(leading(&self.0)));
    }
}

/// Like a session id.
impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(leading(&self.0)));
    }
}

/// Uses the bits of a [`Sid`] or a [`Chain`] as its hash: they are random, and only those of tokens that opened are looked up.
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
    /// The id of the key with these bytes.
    pub fn of_key(key: &[u8; 32]) -> Self {
        Self(leading(&Sha256::new().chain_update(b"sealjar kid v1").chain_update(key).finalize()))
    }
}

impl Site {
    /// The site of `host`, which is a host name or address without a port, in any case.
    pub fn of_host(host: &str) -> Self {
        Self(leading(&Sha256::digest(host.to_ascii_lowercase())))
    }
}

/// The text is not such an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {digits} lower-case hexadecimal digits")]
pub struct NotAnId {
    digits: usize,
}

/// `N` bytes from the kernel's random number generator, in one call.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .expect("getrandom(2) cannot fail once the kernel's pool is seeded, and waits until it is");
    bytes
}

/// The first eight bytes.
fn leading(bytes: &[u8]) -> [u8; 8] {
    *bytes.first_chunk().expect("every caller passes a digest or an id of at least 16 bytes")
}

/// Writes two digits for each byte.
pub(crate) fn encode_hex(bytes: &[u8], text: &mut [u8]) {
    // Without a table, so that it goes many bytes at a time.
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
}

/// Reads what [`encode_hex`] writes, if the text has exactly the digits for `out`.
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
    fn an_id_survives_printing() {
        let sid = Sid::random();
        assert_eq!(sid.to_string().parse(), Ok(sid));
    }

    #[test]
    fn refuses_all_but_lower_case_hexadecimal_of_the_right_length() {
        for text in ["", "00", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0", "0123456789abcde\u{e9}"] {
            assert!(text.parse::<Kid>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_site_is_that_of_the_host_in_any_case() {
        assert_eq!(Site::of_host("Example.COM"), Site::of_host("example.com"));
        assert_ne!(Site::of_host("example.com"), Site::of_host("example.org"));
    }
}
