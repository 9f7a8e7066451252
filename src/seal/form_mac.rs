//! Steady form tokens: they hide nothing, take no random bytes, and are the same each time under one key.
//!
//! ```text
//! token = base64url, no padding, one spelling per token, of
//!
//!   bytes  field
//!       1  version = 1
//!       8  kid, the key id
//!      16  the id that the form is bound to
//!      16  AES-256 of the id, under HKDF-SHA256(key, "sealjar v1 form token mac")
//! ```
//!
//! One block of AES is a message authentication code for messages of exactly one block (CBC-MAC, Bellare, Kilian and Rogaway 2000).

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use subtle::ConstantTimeEq;

use super::token::{Head, decode_into, encode_into, head_of_kid};
use crate::id::Kid;

const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 16;
const HEAD_CHARS: usize = size_of::<Head>();
/// Of base64 without padding: every 3 bytes are 4 characters, rounded up.
const CHARS: usize = HEAD_CHARS + ((ID_BYTES + MAC_BYTES) * 4).div_ceil(3);

/// Makes and checks the tokens under one key.
pub(crate) struct FormMac {
    head: Head,
    cipher: Aes256,
}

impl FormMac {
    pub(super) fn new(kid: Kid, key: &[u8; 32]) -> Self {
        Self { head: head_of_kid(kid), cipher: Aes256::new(key.into()) }
    }

    /// The token for this id.
    pub(crate) fn token(&self, id: [u8; ID_BYTES]) -> SteadyToken {
        let mut bytes = [0; ID_BYTES + MAC_BYTES];
        bytes[..ID_BYTES].copy_from_slice(&id);
        bytes[ID_BYTES..].copy_from_slice(&self.mac(id));
        let mut text = [0; CHARS];
        text[..HEAD_CHARS].copy_from_slice(&self.head);
        encode_into(&bytes, &mut text[HEAD_CHARS..]);
        SteadyToken(text)
    }

    /// The id that a token is for, if it is one of this key's.
    pub(crate) fn id_of(&self, token: &[u8; CHARS]) -> Option<[u8; ID_BYTES]> {
        let (head, rest) = token.split_first_chunk()?;
        let mut bytes = [0; ID_BYTES + MAC_BYTES];
        decode_into(rest, &mut bytes)?;
        let (id, mac) = bytes.split_first_chunk()?;
        let is_ours: bool = self.mac(*id).ct_eq(mac).into();
        (*head == self.head && is_ours).then_some(*id)
    }

    fn mac(&self, id: [u8; ID_BYTES]) -> [u8; MAC_BYTES] {
        let mut block = id.into();
        self.cipher.encrypt_block(&mut block);
        block.into()
    }
}

/// A steady token's text. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SteadyToken([u8; CHARS]);

impl SteadyToken {
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
