//! The sealed token's bytes. No key is needed to read this far, and nothing read here may be believed.
//!
//! ```text
//! token = base64url, no padding, one spelling per token, of
//!
//!   bytes  field
//!       1  version = 1 (fixes the whole suite; no algorithm is ever negotiated)
//!       8  kid, the key id
//!      24  nonce, random (XChaCha20)
//!       n  ciphertext of the plaintext, n ≥ 1
//!      16  Poly1305 tag
//! ```

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::{Simd, general_purpose::NO_PAD};

use crate::id::Kid;

/// The only version there is.
pub const VERSION: u8 = 1;
/// XChaCha20's nonce, in bytes.
pub const NONCE_BYTES: usize = 24;
/// Poly1305's tag, in bytes.
pub const TAG_BYTES: usize = 16;
/// A browser may drop a cookie whose name and value are longer than this together (RFC 6265bis section 5.6).
pub const MAX_COOKIE_BYTES: usize = 4096;

const KID_BYTES: usize = 8;
/// Version and kid in base64, which end together: every 3 bytes are 4 characters.
const HEAD_CHARS: usize = (1 + KID_BYTES) / 3 * 4;
const HEADER_BYTES: usize = 1 + KID_BYTES + NONCE_BYTES;
const MIN_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// What the longest cookie value decodes to.
const MAX_BYTES: usize = MAX_COOKIE_BYTES / 4 * 3;
/// base64 without padding: every 3 bytes are 4 characters, rounded up.
const MIN_CHARS: usize = (MIN_BYTES * 4).div_ceil(3);

/// base64url with one spelling for everything: no padding, no spare bits. A third of the time where the machine has AVX2 or
/// NEON.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Where in a buffer a token begins. After the header, 56 bytes of identifiers and one of the number of renewals, a session's texts
/// are then at an address that 8 divides, and are checked in half the time.
const START: usize = 6;

/// Where a token is decoded and opened, in place: by default as large as any token that fits a cookie.
#[repr(align(8))]
pub struct TokenBuffer<const N: usize = { START + MAX_BYTES }>([u8; N]);

/// As large as most tokens; a larger one costs more to clear than to open them.
pub(crate) type ShortBuffer = TokenBuffer<512>;

/// An empty [`TokenBuffer`].
pub const fn token_buffer() -> TokenBuffer {
    TokenBuffer::empty()
}

impl<const N: usize> TokenBuffer<N> {
    pub(crate) const fn empty() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Deref for TokenBuffer<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> DerefMut for TokenBuffer<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A cookie value that may be a token: nothing about it has been checked but its length.
#[derive(Clone, Copy)]
pub struct UntrustedToken<'a>(&'a [u8]);

impl fmt::Debug for UntrustedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UntrustedToken(..)")
    }
}

impl<'a> UntrustedToken<'a> {
    /// Takes a cookie value for a token if its length is plausible.
    pub fn from_cookie_value(value: &'a [u8]) -> Option<Self> {
        (MIN_CHARS..=MAX_COOKIE_BYTES).contains(&value.len()).then_some(Self(value))
    }

    /// The key that it names, if it is of version 1: these are the first characters, and the only ones looked at.
    pub fn kid(self) -> Option<Kid> {
        let mut head = [0; 1 + KID_BYTES];
        let length = BASE64.decode_slice(self.0.get(..HEAD_CHARS)?, &mut head).ok()?;
        let (version, kid) = head.get(..length)?.split_first()?;
        (*version == VERSION).then_some(Kid::from_bytes(kid.try_into().ok()?))
    }

    /// Whether a [`ShortBuffer`] has room for it.
    pub(crate) const fn is_short(self) -> bool {
        self.0.len() <= (size_of::<ShortBuffer>() - START) / 3 * 4
    }

    /// Decodes the base64url into `buffer` and splits the fields.
    ///
    /// # Errors
    /// [`Malformed`] if the text is not the one spelling of some bytes, if these are not of version 1, or if there is no room for
    /// them; in a [`TokenBuffer`] there is.
    pub fn decode(self, buffer: &mut [u8]) -> Result<Envelope<'_>, Malformed> {
        let buffer = buffer.get_mut(START..).ok_or(Malformed)?;
        let length = BASE64.decode_slice(self.0, buffer).map_err(|_| Malformed)?;
        let (header, rest) = buffer[..length].split_first_chunk_mut::<HEADER_BYTES>().ok_or(Malformed)?;
        let (ciphertext, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(Malformed)?;
        let (&mut version, fields) = header.split_first_mut().ok_or(Malformed)?;
        let (kid, nonce) = fields.split_first_chunk::<KID_BYTES>().ok_or(Malformed)?;
        let nonce = nonce.first_chunk::<NONCE_BYTES>().ok_or(Malformed)?;
        if version != VERSION || ciphertext.is_empty() {
            return Err(Malformed);
        }
        Ok(Envelope { kid: Kid::from_bytes(*kid), nonce, ciphertext, tag })
    }
}

/// A token's fields, decoded and unauthenticated.
pub struct Envelope<'b> {
    /// Which key claims to have sealed it.
    pub kid: Kid,
    /// The AEAD nonce.
    pub nonce: &'b [u8; NONCE_BYTES],
    /// The sealed bytes, opened in place.
    pub ciphertext: &'b mut [u8],
    /// The authentication tag.
    pub tag: &'b [u8; TAG_BYTES],
}

/// Not the bytes of a token of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of version 1")]
pub struct Malformed;

/// Room for a token's bytes with `plaintext` in the place of the ciphertext, ready to be sealed in place.
pub(super) fn unsealed(kid: Kid, nonce: &[u8; NONCE_BYTES], plaintext: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(kid.as_bytes());
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(plaintext);
    bytes
}

/// The part of [`unsealed`] bytes that the cipher works on.
pub(super) fn body_of(bytes: &mut [u8]) -> &mut [u8] {
    &mut bytes[HEADER_BYTES..]
}

/// The token's text.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn accepts_and_reads_what_the_engine_without_vectors_does(
            mut text in "[A-Za-z0-9_-]{0,400}", noise in "\\PC{0,2}", at: usize,
        ) {
            text.insert_str(at % (text.len() + 1), &noise);
            prop_assert_eq!(BASE64.decode(&text).ok(), URL_SAFE_NO_PAD.decode(&text).ok());
        }

        #[test]
        fn a_tokens_key_is_read_from_its_head_as_from_the_whole(
            mut bytes in proptest::collection::vec(any::<u8>(), MIN_BYTES..200), is_ours: bool,
        ) {
            if is_ours {
                bytes[0] = VERSION;
            }
            let text = encode(&bytes);
            let token = UntrustedToken::from_cookie_value(text.as_bytes()).expect("a plausible length");
            let mut buffer = token_buffer();
            let whole = token.decode(&mut buffer).ok().map(|envelope| envelope.kid);
            prop_assert_eq!(token.kid(), whole);
            prop_assert!(whole.is_some() == (bytes[0] == VERSION));
        }

        #[test]
        fn a_text_is_the_one_spelling_of_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &URL_SAFE_NO_PAD.encode(&bytes));
            prop_assert_eq!(BASE64.decode(&text).ok(), Some(bytes));
        }
    }
}
