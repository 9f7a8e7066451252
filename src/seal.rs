//! Seals and opens tokens: encrypts and authenticates them with XChaCha20-Poly1305, with a separate key for each purpose.
//!
//! * The key for a purpose is `HKDF-SHA256(key, info = "sealjar v1 " ‖ purpose)`, without a salt, with 32 bytes
//!   ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)).
//! * The associated data is version, kid, purpose and cookie name, in this order, each after its length in one byte. So a token
//!   for one purpose or cookie cannot be opened for another purpose or cookie.
//! * The key id commits to the key, so exactly one key is tried. Otherwise, an attacker could test many keys with one token
//!   (partitioning oracle, [RFC 9771 section 4.3.4](https://www.rfc-editor.org/rfc/rfc9771#section-4.3.4)).
//!
//! The byte format of a token is in [`token`]. Called by [`crate::session`] with a key of the [`crate::keyring`].

mod aead;
pub(crate) mod form_mac;
pub mod token;

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::id::Kid;
use crate::secret::Secret;
use aead::{BadTag, Cipher};
pub use form_mac::DeterministicFormToken;
use form_mac::FormMac;
use token::{Envelope, MAX_COOKIE_BYTES, NONCE_BYTES, TAG_BYTES, VERSION};

/// Purpose of a token. Each purpose has its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Token in the session cookie.
    Session,
    /// Token in the cookie of the login form, before there is a session.
    LoginForm,
    /// Token in the hidden field of a form, against cross-site request forgery.
    FormToken,
}

impl Purpose {
    /// Returns the name of the purpose in the key derivation and the associated data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::LoginForm => "login form",
            Self::FormToken => "form token",
        }
    }
}

/// Name of a cookie: a token of 1 to 64 bytes ([RFC 6265 section 4.1.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1)).
#[derive(Clone, PartialEq, Eq)]
pub struct CookieName {
    name: Box<str>,
    /// Field of the associated data: the length, the name, and zeros as padding.
    field: [u8; 1 + Self::MAX_BYTES],
}

impl CookieName {
    /// Maximum length of a name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Creates a cookie name. Returns `None` if `name` is empty, too long, or not a token
    /// ([RFC 9110 section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
    pub fn new(name: &str) -> Option<Self> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_name = (1..=Self::MAX_BYTES).contains(&name.len()) && name.bytes().all(is_token);
        is_name.then(|| {
            let mut field = [0; _];
            field[0] = length(name.as_bytes());
            field[1..=name.len()].copy_from_slice(name.as_bytes());
            Self { name: name.into(), field }
        })
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CookieName").field(&self.name).finish()
    }
}

/// Ciphers of one key of the ring, one for each purpose.
pub struct Sealer {
    kid: Kid,
    session: PurposeCipher,
    login_form: PurposeCipher,
    form_token: PurposeCipher,
    form_mac: FormMac,
}

/// Cipher for one purpose.
struct PurposeCipher {
    cipher: Cipher,
    /// Associated data without the name of the cookie.
    associated_data: AssociatedData,
}

impl Sealer {
    /// Derives the ciphers from a key.
    pub fn new(secret: &Secret) -> Self {
        let kid = Kid::of_key(secret.expose());
        let derive_key = |purpose: &str| {
            let mut key = Zeroizing::new([0; 32]);
            Hkdf::<Sha256>::new(None, secret.expose())
                .expand_multi_info(&[b"sealjar v1 ", purpose.as_bytes()], key.as_mut())
                .expect("32 bytes are far below HKDF's limit of 255 blocks");
            key
        };
        let cipher_for = |purpose: Purpose| PurposeCipher {
            cipher: Cipher::new(derive_key(purpose.name())),
            associated_data: AssociatedData::new(kid, purpose),
        };
        Self {
            kid,
            session: cipher_for(Purpose::Session),
            login_form: cipher_for(Purpose::LoginForm),
            form_token: cipher_for(Purpose::FormToken),
            form_mac: FormMac::new(kid, &derive_key("form token mac")),
        }
    }

    /// Returns the id of the key.
    pub const fn kid(&self) -> Kid {
        self.kid
    }

    /// Seals `plaintext` for one purpose and one cookie. The nonce must be random and must not be used again.
    ///
    /// # Errors
    /// [`TooLarge`] if the cookie is longer than [`MAX_COOKIE_BYTES`], so that browsers may reject it.
    pub fn seal(
        &self,
        purpose: Purpose,
        cookie: &CookieName,
        nonce: &[u8; NONCE_BYTES],
        plaintext: &[u8],
    ) -> Result<SealedToken, TooLarge> {
        let mut bytes = token::unsealed(self.kid, nonce, plaintext);
        let cookie_bytes = ((bytes.len() + TAG_BYTES) * 4).div_ceil(3) + cookie.as_str().len();
        if cookie_bytes > MAX_COOKIE_BYTES {
            return Err(TooLarge { bytes: cookie_bytes });
        }
        let PurposeCipher { cipher, associated_data } = self.for_purpose(purpose);
        let mut buffer = [0; _];
        let tag = cipher.seal(nonce, associated_data.with(cookie, &mut buffer), token::body_of(&mut bytes));
        bytes.extend_from_slice(&tag);
        Ok(SealedToken(token::encode(&bytes)))
    }

    /// Returns the object that creates and verifies deterministic form tokens with this key.
    pub(crate) const fn form_mac(&self) -> &FormMac {
        &self.form_mac
    }

    /// Verifies an envelope that names this key, decrypts it in place, and returns the plaintext.
    ///
    /// # Errors
    /// [`NotAuthentic`] if the token was not sealed with this key for this purpose and cookie.
    pub fn open<'b>(
        &self,
        purpose: Purpose,
        cookie: &CookieName,
        envelope: Envelope<'b>,
    ) -> Result<&'b [u8], NotAuthentic> {
        let Envelope { kid, nonce, ciphertext, tag } = envelope;
        if kid != self.kid {
            return Err(NotAuthentic);
        }
        let PurposeCipher { cipher, associated_data } = self.for_purpose(purpose);
        let mut buffer = [0; _];
        let associated_data = associated_data.with(cookie, &mut buffer);
        cipher.open(nonce, associated_data, ciphertext, tag).map_err(|BadTag| NotAuthentic)?;
        Ok(ciphertext)
    }

    const fn for_purpose(&self, purpose: Purpose) -> &PurposeCipher {
        match purpose {
            Purpose::Session => &self.session,
            Purpose::LoginForm => &self.login_form,
            Purpose::FormToken => &self.form_token,
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Text of a sealed token. It is a credential, so `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(String);

impl SealedToken {
    /// Returns the text, for the value of the cookie.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken(..)")
    }
}

/// Error for a cookie that browsers may reject, because it is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cookie is too large: its name and value have {bytes} bytes, and browsers accept at most {MAX_COOKIE_BYTES}"
)]
pub struct TooLarge {
    /// Length of name and value together, in bytes.
    pub bytes: usize,
}

/// Error for a token that was changed, or that was not sealed with this key for this purpose and cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not authentic")]
pub struct NotAuthentic;

/// Associated data of a purpose: version, kid and purpose, each after its length in one byte. Zeros follow, as space for the
/// field of the cookie name.
struct AssociatedData {
    bytes: [u8; Self::MAX_BYTES],
    length: usize,
}

impl AssociatedData {
    const MAX_PURPOSE_BYTES: usize = 32;
    const MAX_BYTES: usize = 2 + 9 + (1 + Self::MAX_PURPOSE_BYTES) + (1 + CookieName::MAX_BYTES);

    fn new(kid: Kid, purpose: Purpose) -> Self {
        let mut bytes = [0; _];
        let mut end = 0;
        for field in [&[VERSION], kid.as_bytes().as_slice(), purpose.name().as_bytes()] {
            bytes[end] = length(field);
            bytes[end + 1..][..field.len()].copy_from_slice(field);
            end += 1 + field.len();
        }
        Self { bytes, length: end }
    }

    /// Writes the complete associated data, with the cookie name, into `buffer`. Both copies include the zeros. So their length
    /// is constant, and they take a few instructions. A copy of variable length would be a function call.
    #[inline]
    fn with<'b>(&self, cookie: &CookieName, buffer: &'b mut [u8; Self::MAX_BYTES]) -> &'b [u8] {
        *buffer = self.bytes;
        buffer[self.length..][..cookie.field.len()].copy_from_slice(&cookie.field);
        &buffer[..self.length + 1 + cookie.name.len()]
    }
}

fn length(field: &[u8]) -> u8 {
    u8::try_from(field.len()).expect("the longest field, a cookie name, has at most 64 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use token::{UntrustedToken, token_buffer};

    fn cookie(name: &str) -> CookieName {
        CookieName::new(name).expect("a token")
    }

    fn open(sealer: &Sealer, purpose: Purpose, name: &CookieName, token: &str) -> Option<Vec<u8>> {
        let mut buffer = token_buffer();
        let envelope = UntrustedToken::from_cookie_value(token.as_bytes())?.decode(&mut buffer).ok()?;
        (envelope.kid == sealer.kid()).then(|| sealer.open(purpose, name, envelope).ok().map(<[u8]>::to_vec))?
    }

    #[test]
    fn opens_a_token_only_for_the_same_purpose_and_cookie() {
        let sealer = Sealer::new(&Secret::random());
        let name = cookie("__Host-sealjar");
        let token = sealer.seal(Purpose::Session, &name, &[7; 24], b"claims").expect("short");
        assert_eq!(open(&sealer, Purpose::Session, &name, token.expose()).as_deref(), Some(&b"claims"[..]));
        assert_eq!(open(&sealer, Purpose::LoginForm, &name, token.expose()), None);
        assert_eq!(open(&sealer, Purpose::Session, &cookie("sealjar"), token.expose()), None);
        assert_eq!(open(&Sealer::new(&Secret::random()), Purpose::Session, &name, token.expose()), None);
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_truncation() {
        let sealer = Sealer::new(&Secret::random());
        let name = cookie("c");
        let token = sealer.seal(Purpose::Session, &name, &[7; 24], b"claims").expect("short").0;
        for end in 0..token.len() {
            assert_eq!(open(&sealer, Purpose::Session, &name, &token[..end]), None, "cut at {end}");
        }
        for index in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                let mut buffer = token_buffer();
                let opened = UntrustedToken::from_cookie_value(&bytes)
                    .and_then(|token| token.decode(&mut buffer).ok())
                    .is_some_and(|envelope| sealer.open(Purpose::Session, &name, envelope).is_ok());
                assert!(!opened, "bit {bit} of character {index}");
            }
        }
    }

    #[test]
    fn refuses_more_than_4096_bytes_of_name_and_value() {
        let sealer = Sealer::new(&Secret::random());
        let name = cookie("__Host-sealjar");
        let largest = (MAX_COOKIE_BYTES - name.as_str().len()) * 3 / 4 - 1 - 8 - NONCE_BYTES - TAG_BYTES;
        let token = sealer.seal(Purpose::Session, &name, &[7; 24], &vec![1; largest]).expect("fits");
        assert!(name.as_str().len() + token.expose().len() <= MAX_COOKIE_BYTES);
        assert!(open(&sealer, Purpose::Session, &name, token.expose()).is_some());
        let refused = sealer.seal(Purpose::Session, &name, &[7; 24], &vec![1; largest + 1]);
        assert!(refused.is_err_and(|error| error.bytes > MAX_COOKIE_BYTES));
    }

    #[test]
    fn never_prints_a_token_or_a_key() {
        let sealer = Sealer::new(&Secret::random());
        let token = sealer.seal(Purpose::Session, &cookie("c"), &[7; 24], b"claims").expect("short");
        assert_eq!(format!("{token:?}"), "SealedToken(..)");
        assert_eq!(format!("{sealer:?}"), format!("Sealer {{ kid: {:?}, .. }}", sealer.kid()));
    }
}
