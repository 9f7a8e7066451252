//! Sealing and opening: XChaCha20-Poly1305 under a key that is good for one purpose.
//!
//! * The key for a purpose is `HKDF-SHA256(key, info = "sealjar v1 " ‖ purpose)` (RFC 5869, no salt, 32 bytes).
//! * The associated data is version, kid, purpose and cookie name, in this order, each with a one-byte length before it. So a
//!   token made for one purpose or one cookie never opens as another.
//! * The key id commits to the key, so one key is tried, never several (no partitioning oracle, RFC 9771 section 4.3.4).
//!
//! The token's bytes are in [`token`].

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
use form_mac::FormMac;
pub use form_mac::SteadyToken;
use token::{Envelope, MAX_COOKIE_BYTES, NONCE_BYTES, TAG_BYTES, VERSION};

/// What a token is for. Each purpose has its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session, in the session cookie.
    Session,
    /// The sign-in form's own cookie, before anybody is signed in.
    LoginForm,
    /// The hidden field of a form, against cross-site request forgery.
    FormToken,
}

impl Purpose {
    /// The purpose's name in the key derivation and the associated data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::LoginForm => "login form",
            Self::FormToken => "form token",
        }
    }
}

/// A cookie's name: an RFC 6265 token of 1 to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieName {
    name: Box<str>,
    /// As associated data has it: the length, the name, and zeros.
    field: [u8; 1 + Self::MAX_BYTES],
}

impl CookieName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Takes `name` if it is a token (RFC 9110 section 5.6.2) of a fitting length.
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

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CookieName").field(&self.name).finish()
    }
}

/// The ciphers of one key of the ring, one for each purpose.
pub struct Sealer {
    kid: Kid,
    session: Purposed,
    login_form: Purposed,
    form_token: Purposed,
    form_mac: FormMac,
}

/// What is the same for all tokens of one purpose.
struct Purposed {
    cipher: Cipher,
    /// All but the cookie's name.
    associated_data: AssociatedData,
}

impl Sealer {
    /// Derives the ciphers from the key.
    pub fn new(secret: &Secret) -> Self {
        let kid = Kid::of_key(secret.expose());
        let derived = |purpose: &str| {
            let mut key = Zeroizing::new([0; 32]);
            Hkdf::<Sha256>::new(None, secret.expose())
                .expand_multi_info(&[b"sealjar v1 ", purpose.as_bytes()], key.as_mut())
                .expect("32 bytes are far below HKDF's limit of 255 blocks");
            key
        };
        let purposed = |purpose: Purpose| Purposed {
            cipher: Cipher::new(derived(purpose.name())),
            associated_data: AssociatedData::new(kid, purpose),
        };
        Self {
            kid,
            session: purposed(Purpose::Session),
            login_form: purposed(Purpose::LoginForm),
            form_token: purposed(Purpose::FormToken),
            form_mac: FormMac::new(kid, &derived("form token mac")),
        }
    }

    /// The id of the key.
    pub const fn kid(&self) -> Kid {
        self.kid
    }

    /// Seals `plaintext` for one purpose and one cookie. The nonce must be random and used once.
    ///
    /// # Errors
    /// [`TooLarge`] if a browser could drop the cookie for its length.
    pub fn seal(
        &self,
        purpose: Purpose,
        cookie: &CookieName,
        nonce: &[u8; NONCE_BYTES],
        plaintext: &[u8],
    ) -> Result<SealedToken, TooLarge> {
        let mut bytes = token::unsealed(self.kid, nonce, plaintext);
        let chars = ((bytes.len() + TAG_BYTES) * 4).div_ceil(3) + cookie.as_str().len();
        if chars > MAX_COOKIE_BYTES {
            return Err(TooLarge { bytes: chars });
        }
        let Purposed { cipher, associated_data } = self.of(purpose);
        let mut buffer = [0; _];
        let tag = cipher.seal(nonce, associated_data.with(cookie, &mut buffer), token::body_of(&mut bytes));
        bytes.extend_from_slice(&tag);
        Ok(SealedToken(token::encode(&bytes)))
    }

    /// What makes and checks steady form tokens under this key.
    pub(crate) const fn form_mac(&self) -> &FormMac {
        &self.form_mac
    }

    /// Verifies and decrypts an envelope that names this key, in place.
    ///
    /// # Errors
    /// [`NotAuthentic`] if it was not sealed by this key for this purpose and cookie.
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
        let Purposed { cipher, associated_data } = self.of(purpose);
        let mut buffer = [0; _];
        let associated_data = associated_data.with(cookie, &mut buffer);
        cipher.open(nonce, associated_data, ciphertext, tag).map_err(|BadTag| NotAuthentic)?;
        Ok(ciphertext)
    }

    const fn of(&self, purpose: Purpose) -> &Purposed {
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

/// A sealed token's text: a credential, so it never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(String);

impl SealedToken {
    /// The text, for the cookie's value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken(..)")
    }
}

/// The cookie would be longer than browsers keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cookie would have {bytes} bytes of name and value; browsers keep {MAX_COOKIE_BYTES}")]
pub struct TooLarge {
    /// Name and value together, in bytes.
    pub bytes: usize,
}

/// The token was not sealed by this key for this purpose and cookie, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not authentic")]
pub struct NotAuthentic;

/// version, kid, purpose, cookie name: each after its length in one byte. This is all but the cookie's name, and zeros.
struct AssociatedData {
    bytes: [u8; Self::MAX_BYTES],
    length: usize,
}

impl AssociatedData {
    const MAX_PURPOSE_BYTES: usize = 32;
    const MAX_BYTES: usize = 2 + 9 + (1 + Self::MAX_PURPOSE_BYTES) + (1 + CookieName::MAX_BYTES);

    fn new(kid: Kid, purpose: Purpose) -> Self {
        let (mut bytes, mut end) = ([0; _], 0);
        for field in [&[VERSION], kid.as_bytes().as_slice(), purpose.name().as_bytes()] {
            bytes[end] = length(field);
            bytes[end + 1..][..field.len()].copy_from_slice(field);
            end += 1 + field.len();
        }
        Self { bytes, length: end }
    }

    /// All of it, in the buffer. To copy the zeros, too, is a few moves; a length that is known only here would be a call each.
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

    fn opens(sealer: &Sealer, purpose: Purpose, name: &CookieName, token: &str) -> Option<Vec<u8>> {
        let mut buffer = token_buffer();
        let envelope = UntrustedToken::from_cookie_value(token.as_bytes())?.decode(&mut buffer).ok()?;
        (envelope.kid == sealer.kid()).then(|| sealer.open(purpose, name, envelope).ok().map(<[u8]>::to_vec))?
    }

    #[test]
    fn opens_what_it_sealed_for_the_same_purpose_and_cookie_only() {
        let (sealer, name) = (Sealer::new(&Secret::random()), cookie("__Host-sealjar"));
        let token = sealer.seal(Purpose::Session, &name, &[7; 24], b"claims").expect("short");
        assert_eq!(opens(&sealer, Purpose::Session, &name, token.expose()).as_deref(), Some(&b"claims"[..]));
        assert_eq!(opens(&sealer, Purpose::LoginForm, &name, token.expose()), None);
        assert_eq!(opens(&sealer, Purpose::Session, &cookie("sealjar"), token.expose()), None);
        assert_eq!(opens(&Sealer::new(&Secret::random()), Purpose::Session, &name, token.expose()), None);
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_truncation() {
        let (sealer, name) = (Sealer::new(&Secret::random()), cookie("c"));
        let token = sealer.seal(Purpose::Session, &name, &[7; 24], b"claims").expect("short").0;
        for end in 0..token.len() {
            assert_eq!(opens(&sealer, Purpose::Session, &name, &token[..end]), None, "cut at {end}");
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
    fn seals_up_to_4096_bytes_of_name_and_value_and_not_one_more() {
        let (sealer, name) = (Sealer::new(&Secret::random()), cookie("__Host-sealjar"));
        let largest = (MAX_COOKIE_BYTES - name.as_str().len()) * 3 / 4 - 1 - 8 - NONCE_BYTES - TAG_BYTES;
        let token = sealer.seal(Purpose::Session, &name, &[7; 24], &vec![1; largest]).expect("fits");
        assert!(name.as_str().len() + token.expose().len() <= MAX_COOKIE_BYTES);
        assert!(opens(&sealer, Purpose::Session, &name, token.expose()).is_some());
        let refusal = sealer.seal(Purpose::Session, &name, &[7; 24], &vec![1; largest + 1]);
        assert!(refusal.is_err_and(|error| error.bytes > MAX_COOKIE_BYTES));
    }

    #[test]
    fn never_prints_a_token_or_a_key() {
        let sealer = Sealer::new(&Secret::random());
        let token = sealer.seal(Purpose::Session, &cookie("c"), &[7; 24], b"claims").expect("short");
        assert_eq!(format!("{token:?}"), "SealedToken(..)");
        assert_eq!(format!("{sealer:?}"), format!("Sealer {{ kid: {:?}, .. }}", sealer.kid()));
    }
}
