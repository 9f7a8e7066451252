//! Deterministic form tokens: an id and its authentication code. They are not encrypted, contain no random bytes, and are
//! always the same for the same id and key. Called by `session/form.rs`, which explains when they are used.
//!
//! ```text
//! token = lower-case hexadecimal of
//!
//!   bytes  field
//!       1  version = 1
//!       8  kid, the key id
//!      16  the id to which the form is bound
//!      16  AES-256 of the id, under HKDF-SHA256(key, "sealjar v1 form token mac")
//! ```
//!
//! One block of AES is a message authentication code for messages of exactly one block
//! ([CBC-MAC](https://en.wikipedia.org/wiki/CBC-MAC), Bellare, Kilian and Rogaway 2000). Hexadecimal is longer than base64, but
//! faster to encode.

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use subtle::ConstantTimeEq;

use super::token::VERSION;
use crate::id::{Kid, decode_hex, encode_hex};

const BLOCK_BYTES: usize = 16;
const KID_BYTES: usize = size_of::<Kid>();
const HEAD_CHARS: usize = 2 * (1 + KID_BYTES);
const CHARS: usize = HEAD_CHARS + 2 * 2 * BLOCK_BYTES;

/// Creates and verifies the deterministic form tokens of one key.
pub(crate) struct FormMac {
    /// Text at the beginning of every token of this key.
    head: [u8; HEAD_CHARS],
    cipher: Aes256,
}

impl FormMac {
    pub(super) fn new(kid: Kid, key: &[u8; 32]) -> Self {
        let mut bytes = [VERSION; 1 + KID_BYTES];
        bytes[1..].copy_from_slice(kid.as_bytes());
        let mut head = [0; _];
        encode_hex(&bytes, &mut head);
        Self { head, cipher: Aes256::new(key.into()) }
    }

    /// Returns the token for this id.
    pub(crate) fn token(&self, id: [u8; BLOCK_BYTES]) -> DeterministicFormToken {
        let mut text = [0; CHARS];
        let (head, rest) = text.split_at_mut(HEAD_CHARS);
        let (id_text, mac_text) = rest.split_at_mut(2 * BLOCK_BYTES);
        head.copy_from_slice(&self.head);
        encode_hex(&id, id_text);
        encode_hex(&self.mac(id), mac_text);
        DeterministicFormToken(text)
    }

    /// Returns the id in a token, or `None` if the token was not created with this key.
    pub(crate) fn id_of(&self, token: &DeterministicFormToken) -> Option<[u8; BLOCK_BYTES]> {
        let (head, rest) = token.0.split_first_chunk()?;
        let mut bytes = [0; 2 * BLOCK_BYTES];
        decode_hex(rest, &mut bytes).ok()?;
        let (id, mac) = bytes.split_first_chunk()?;
        let is_ours: bool = self.mac(*id).ct_eq(mac).into();
        (*head == self.head && is_ours).then_some(*id)
    }

    fn mac(&self, id: [u8; BLOCK_BYTES]) -> [u8; BLOCK_BYTES] {
        let mut block = id.into();
        self.cipher.encrypt_block(&mut block);
        block.into()
    }
}

/// Text of a deterministic form token. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct DeterministicFormToken([u8; CHARS]);

impl DeterministicFormToken {
    /// Accepts any text of the right length. No sealed form token has this length. The content is not verified.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    /// Returns the id of the key that the token names, or `None` if it is not a token of version 1.
    pub(crate) fn kid(&self) -> Option<Kid> {
        let mut bytes = [0; 1 + KID_BYTES];
        decode_hex(&self.0[..HEAD_CHARS], &mut bytes).ok()?;
        let [version, kid @ ..] = bytes;
        (version == VERSION).then_some(Kid::from_bytes(kid))
    }

    /// Returns the text of the token, in ASCII.
    pub const fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DeterministicFormToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeterministicFormToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix C.3: with the key of the bytes 0 to 31, the block 00112233… is encrypted to 8ea2b7ca…
    #[test]
    fn the_code_is_one_block_of_aes_256() {
        let key = std::array::from_fn(|index| u8::try_from(index).expect("32 bytes"));
        let mac = FormMac::new(Kid::from_bytes([0xab; 8]), &key);
        let id = std::array::from_fn(|index| u8::try_from(index * 0x11).expect("16 bytes"));
        let token = mac.token(id);
        let expected = "01abababababababab00112233445566778899aabbccddeeff8ea2b7ca516745bfeafc49904b496089";
        assert_eq!(str::from_utf8(token.expose()), Ok(expected));
        assert_eq!((token.kid(), mac.id_of(&token)), (Some(Kid::from_bytes([0xab; 8])), Some(id)));
        assert_eq!(format!("{token:?}"), "DeterministicFormToken(..)");
    }
}
