//! Byte format of a sealed token.
//!
//! Invariant: this module uses no key, so everything that it reads is unauthenticated. Only [`Sealer::open`](super::Sealer::open)
//! authenticates a token.
//!
//! ```text
//! token = base64url, no padding, exactly one encoding per token, of
//!
//!   bytes  field
//!       1  version = 1 (determines all algorithms; nothing is negotiated)
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

/// Version of the token format. There is only one version.
pub const VERSION: u8 = 1;
/// Length of the nonce of XChaCha20, in bytes.
pub const NONCE_BYTES: usize = 24;
/// Length of the tag of Poly1305, in bytes.
pub const TAG_BYTES: usize = 16;
/// Maximum length of a cookie's name and value together. Browsers may reject a longer cookie
/// ([RFC 6265bis section 5.6](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-5.6)).
pub const MAX_COOKIE_BYTES: usize = 4096;

const KID_BYTES: usize = 8;
/// Number of base64 characters of version and kid. Three bytes have four characters, so these 9 bytes have exactly 12.
const HEAD_CHARS: usize = (1 + KID_BYTES) / 3 * 4;
const HEADER_BYTES: usize = 1 + KID_BYTES + NONCE_BYTES;
const MIN_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// Number of bytes that the longest cookie value contains after decoding.
const MAX_BYTES: usize = MAX_COOKIE_BYTES / 4 * 3;
/// Number of characters of the shortest token. In base64 without padding, 3 bytes have 4 characters, rounded up.
const MIN_CHARS: usize = (MIN_BYTES * 4).div_ceil(3);

/// base64url with exactly one encoding for all bytes: no padding, and unused bits must be zero. With AVX2 or NEON, the engine
/// `Simd` takes a third of the time.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Offset of the token in a buffer. After the header come 56 bytes of ids and one byte for the number of renewals. With this
/// offset, the texts of a session then begin at an address that is a multiple of 8, and their validation takes half the time.
const TOKEN_OFFSET: usize = 6;

/// Buffer in which a token is decoded and opened in place. The default size is enough for every token that fits into a cookie.
#[repr(align(8))]
pub struct TokenBuffer<const N: usize = { TOKEN_OFFSET + MAX_BYTES }>([u8; N]);

/// Buffer that is large enough for most tokens. Clearing a larger buffer takes more time than opening such a token.
pub(crate) type ShortBuffer = TokenBuffer<512>;

/// Creates an empty [`TokenBuffer`].
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

/// A cookie value that may be a token. Only its length has been checked.
#[derive(Clone, Copy)]
pub struct UntrustedToken<'a>(&'a [u8]);

impl fmt::Debug for UntrustedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UntrustedToken(..)")
    }
}

impl<'a> UntrustedToken<'a> {
    /// Accepts a cookie value if its length is plausible for a token.
    pub fn from_cookie_value(value: &'a [u8]) -> Option<Self> {
        (MIN_CHARS..=MAX_COOKIE_BYTES).contains(&value.len()).then_some(Self(value))
    }

    /// Returns the id of the key that the token names, or `None` if it is not a token of version 1. Decodes only the first
    /// characters.
    pub fn kid(self) -> Option<Kid> {
        let mut head = [0; 1 + KID_BYTES];
        let length = BASE64.decode_slice(self.0.get(..HEAD_CHARS)?, &mut head).ok()?;
        let (version, kid) = head.get(..length)?.split_first()?;
        (*version == VERSION).then_some(Kid::from_bytes(kid.try_into().ok()?))
    }

    /// Whether the token fits into a [`ShortBuffer`].
    pub(crate) const fn is_short(self) -> bool {
        self.0.len() <= (size_of::<ShortBuffer>() - TOKEN_OFFSET) / 3 * 4
    }

    /// Decodes the base64url into `buffer` and splits the fields.
    ///
    /// # Errors
    /// [`Malformed`] if the text is not the one valid encoding of its bytes, if the bytes are not a token of version 1, or if
    /// `buffer` is too small. A [`TokenBuffer`] of the default size is never too small.
    pub fn decode(self, buffer: &mut [u8]) -> Result<Envelope<'_>, Malformed> {
        let buffer = buffer.get_mut(TOKEN_OFFSET..).ok_or(Malformed)?;
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

/// Fields of a token, decoded but not authenticated.
pub struct Envelope<'b> {
    /// Id of the key that the token names.
    pub kid: Kid,
    /// Nonce of the AEAD.
    pub nonce: &'b [u8; NONCE_BYTES],
    /// Ciphertext, which is opened in place.
    pub ciphertext: &'b mut [u8],
    /// Authentication tag.
    pub tag: &'b [u8; TAG_BYTES],
}

/// Error for bytes that are not a token of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of version 1")]
pub struct Malformed;

/// Returns the bytes of a token with `plaintext` at the position of the ciphertext, with spare capacity for the tag. The caller
/// then encrypts in place.
pub(super) fn unsealed(kid: Kid, nonce: &[u8; NONCE_BYTES], plaintext: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(kid.as_bytes());
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(plaintext);
    bytes
}

/// Returns the part of the [`unsealed`] bytes that the cipher encrypts in place.
pub(super) fn body_of(bytes: &mut [u8]) -> &mut [u8] {
    &mut bytes[HEADER_BYTES..]
}

/// Encodes the bytes of a token as base64url.
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
        fn decodes_like_the_engine_without_simd(
            mut text in "[A-Za-z0-9_-]{0,400}", noise in "\\PC{0,2}", position: usize,
        ) {
            text.insert_str(position % (text.len() + 1), &noise);
            prop_assert_eq!(BASE64.decode(&text).ok(), URL_SAFE_NO_PAD.decode(&text).ok());
        }

        #[test]
        fn kid_returns_the_same_key_id_as_decode(
            mut bytes in proptest::collection::vec(any::<u8>(), MIN_BYTES..200), has_version_1: bool,
        ) {
            if has_version_1 {
                bytes[0] = VERSION;
            }
            let text = encode(&bytes);
            let token = UntrustedToken::from_cookie_value(text.as_bytes()).expect("a plausible length");
            let mut buffer = token_buffer();
            let decoded = token.decode(&mut buffer).ok().map(|envelope| envelope.kid);
            prop_assert_eq!(token.kid(), decoded);
            prop_assert!(decoded.is_some() == (bytes[0] == VERSION));
        }

        #[test]
        fn bytes_have_exactly_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &URL_SAFE_NO_PAD.encode(&bytes));
            prop_assert_eq!(BASE64.decode(&text).ok(), Some(bytes));
        }
    }
}
