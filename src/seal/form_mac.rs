//! Steady form tokens: they hide nothing, take no random bytes, and are the same each time under one key.
//!
//! ```text
//! token = lower-case hexadecimal of
//!
//!   bytes  field
//!       1  version = 1
//!       8  kid, the key id
//!      16  the id that the form is bound to
//!      16  AES-256 of the id, under HKDF-SHA256(key, "sealjar v1 form token mac")
//! ```
//!
//! One block of AES is a message authentication code for messages of exactly one block (CBC-MAC, Bellare, Kilian and Rogaway
//! 2000). Hexadecimal is longer than base64, and quicker to write.

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use subtle::ConstantTimeEq;

use super::token::VERSION;
use crate::id::{Kid, decode_hex, encode_hex};

const BLOCK: usize = 16;
const KID_BYTES: usize = size_of::<Kid>();
const HEAD_CHARS: usize = 2 * (1 + KID_BYTES);
const CHARS: usize = HEAD_CHARS + 2 * 2 * BLOCK;

/// Makes and checks the tokens under one key.
pub(crate) struct FormMac {
    /// What all of them begin with.
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

    /// The token for this id.
    pub(crate) fn token(&self, id: [u8; BLOCK]) -> SteadyToken {
        let mut text = [0; CHARS];
        let (head, rest) = text.split_at_mut(HEAD_CHARS);
        let (id_text, mac_text) = rest.split_at_mut(2 * BLOCK);
        head.copy_from_slice(&self.head);
        encode_hex(&id, id_text);
        encode_hex(&self.mac(id), mac_text);
        SteadyToken(text)
    }

    /// The id that a token is for, if it is one of this key's.
    pub(crate) fn id_of(&self, token: &SteadyToken) -> Option<[u8; BLOCK]> {
        let (head, rest) = token.0.split_first_chunk()?;
        let mut bytes = [0; 2 * BLOCK];
        decode_hex(rest, &mut bytes).ok()?;
        let (id, mac) = bytes.split_first_chunk()?;
        let is_ours: bool = self.mac(*id).ct_eq(mac).into();
        (*head == self.head && is_ours).then_some(*id)
    }

    fn mac(&self, id: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = id.into();
        self.cipher.encrypt_block(&mut block);
        block.into()
    }
}

/// A steady token's text. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SteadyToken([u8; CHARS]);

impl SteadyToken {
    /// Takes a text for one by its length, which no sealed form token has. Nothing in it may be believed.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    /// The key that it names, if it is of version 1.
    pub(crate) fn kid(&self) -> Option<Kid> {
        let mut bytes = [0; 1 + KID_BYTES];
        decode_hex(&self.0[..HEAD_CHARS], &mut bytes).ok()?;
        let [version, kid @ ..] = bytes;
        (version == VERSION).then_some(Kid::from_bytes(kid))
    }

    /// The text, ASCII, for the form.
    pub const fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SteadyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SteadyToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix C.3: a key of the bytes 0 to 31 makes 8ea2b7ca… of the block 00112233…
    #[test]
    fn the_code_is_one_block_of_aes_256() {
        let key = std::array::from_fn(|at| u8::try_from(at).expect("32 bytes"));
        let mac = FormMac::new(Kid::from_bytes([0xab; 8]), &key);
        let id = std::array::from_fn(|at| u8::try_from(at * 0x11).expect("16 bytes"));
        let token = mac.token(id);
        let expected = "01abababababababab00112233445566778899aabbccddeeff8ea2b7ca516745bfeafc49904b496089";
        assert_eq!(str::from_utf8(token.expose()), Ok(expected));
        assert_eq!((token.kid(), mac.id_of(&token)), (Some(Kid::from_bytes([0xab; 8])), Some(id)));
        assert_eq!(format!("{token:?}"), "SteadyToken(..)");
    }
}
