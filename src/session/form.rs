//! Form tokens, which bind a form to the session for which it was rendered, against
//! [cross-site request forgery](https://owasp.org/www-community/attacks/csrf).
//!
//! The hidden field of a form contains a *form token*: the sealed id to which the form is bound. The token is valid only for that
//! id, and opens only with a key in the ring. It is different at each rendering, so that an attacker cannot determine it from the
//! length of compressed responses ([BREACH](https://en.wikipedia.org/wiki/BREACH)).
//!
//! After the login, the id is the session id, so the form token is useless when the session ends. Before the login, there is no
//! session. So the login form has its own cookie, with a random [`FormId`]. The cookie is not necessary if the browser reports
//! that a page of the same origin has sent the form (`Sender::SameOrigin` in `web/csrf.rs`). Every token of a login form is
//! then accepted.
//!
//! The JSON status is requested very often, and contains no text that an attacker can choose. It has a *deterministic* form
//! token instead: the session id, which is not a secret, and an authentication code for it (`seal/form_mac.rs`). This needs no
//! random bytes, which would cost as much time as opening the session.
//!
//! ```text
//! plaintext of a form token          1 byte  type: 0 session, 1 login form
//!                                   16 bytes the sid or form id
//! plaintext of the form's cookie    16 bytes form id
//!                                    8 bytes deadline, Unix seconds, big-endian
//! ```

use std::time::Duration;

use super::{SealError, Sessions};
use crate::clock::{CLOCK_SKEW, Now, UnixTime};
use crate::id::{self, FormId, Sid};
use crate::seal::token::{TokenBuffer, UntrustedToken, token_buffer};
use crate::seal::{CookieName, DeterministicFormToken, Purpose, SealedToken};

/// Maximum time between the rendering and the submission of a login form, for a browser that needs the form's cookie.
pub const SIGN_IN_FORM_LIFETIME: Duration = Duration::from_secs(600);

/// Id to which a form is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormBinding {
    /// Session for which the form was rendered.
    Session(Sid),
    /// Login form, which has no session yet.
    SignIn(FormId),
}

impl FormBinding {
    fn bytes(self) -> [u8; 17] {
        let (form_type, id) = match self {
            Self::Session(sid) => (0, *sid.as_bytes()),
            Self::SignIn(form) => (1, *form.as_bytes()),
        };
        let mut bytes = [form_type; 17];
        bytes[1..].copy_from_slice(&id);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (form_type, id) = bytes.split_first()?;
        let id = id.try_into().ok()?;
        match form_type {
            0 => Some(Self::Session(Sid::from_bytes(id))),
            1 => Some(Self::SignIn(FormId::from_bytes(id))),
            _ => None,
        }
    }
}

impl Sessions {
    /// Returns a new sealed token for a form with this binding.
    ///
    /// # Errors
    /// [`SealError::NoActiveKey`].
    pub fn form_token(&self, binding: FormBinding, now: Now) -> Result<SealedToken, SealError> {
        self.seal_bytes(Purpose::FormToken, &self.cookie, &binding.bytes(), now)
    }

    /// Returns the deterministic form token of this session: it is the same each time while the same key is active. Only for
    /// responses that contain no text that an attacker can choose.
    ///
    /// # Errors
    /// [`SealError::NoActiveKey`].
    pub fn deterministic_form_token(&self, sid: Sid, now: Now) -> Result<DeterministicFormToken, SealError> {
        let ring = self.keys();
        let key = ring.sealing_key(self.revocations.time(now)).ok_or(SealError::NoActiveKey)?;
        Ok(key.sealer().form_mac().token(*sid.as_bytes()))
    }

    /// Returns the id to which a form token is bound, or `None` if the token is not valid. The caller must compare the id with
    /// the session or the login form of the request.
    pub fn open_form_token(&self, token: &[u8]) -> Option<FormBinding> {
        if let Some(deterministic) = DeterministicFormToken::parse(token) {
            let ring = self.keys();
            let key = ring.opening_key(deterministic.kid()?).ok()?;
            return key.sealer().form_mac().id_of(&deterministic).map(|id| FormBinding::Session(Sid::from_bytes(id)));
        }
        let token = UntrustedToken::from_cookie_value(token)?;
        let mut buffer = token_buffer();
        FormBinding::from_bytes(self.open_bytes(Purpose::FormToken, &self.cookie, token, &mut buffer)?)
    }

    /// Returns the value of the login form's cookie. It is valid for [`SIGN_IN_FORM_LIFETIME`] from `now`.
    ///
    /// # Errors
    /// [`SealError::NoActiveKey`].
    pub fn seal_sign_in_form(&self, form: FormId, cookie: &CookieName, now: Now) -> Result<SealedToken, SealError> {
        let deadline = self.revocations.time(now).plus(SIGN_IN_FORM_LIFETIME);
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(form.as_bytes());
        bytes[16..].copy_from_slice(&deadline.0.to_be_bytes());
        self.seal_bytes(Purpose::LoginForm, cookie, &bytes, now)
    }

    /// Returns the id in the cookie of a login form, or `None` if no such cookie in the request is valid.
    pub fn sign_in_form<'h>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        cookie: &CookieName,
        now: Now,
    ) -> Option<FormId> {
        let mut buffer = token_buffer();
        let time = self.revocations.time(now);
        self.candidates(cookie_fields, cookie).take(self.max_candidates).find_map(|token| {
            let bytes = self.open_bytes(Purpose::LoginForm, cookie, token, &mut buffer)?;
            let (form, deadline) = bytes.split_first_chunk()?;
            let deadline = UnixTime(u64::from_be_bytes(deadline.try_into().ok()?));
            let sealed_in_time = deadline <= time.plus(SIGN_IN_FORM_LIFETIME + CLOCK_SKEW);
            (time < deadline && sealed_in_time).then(|| FormId::from_bytes(*form))
        })
    }

    fn seal_bytes(
        &self,
        purpose: Purpose,
        cookie: &CookieName,
        plaintext: &[u8],
        now: Now,
    ) -> Result<SealedToken, SealError> {
        let ring = self.keys();
        let key = ring.sealing_key(self.revocations.time(now)).ok_or(SealError::NoActiveKey)?;
        Ok(key.sealer().seal(purpose, cookie, &id::random(), plaintext)?)
    }

    fn open_bytes<'b>(
        &self,
        purpose: Purpose,
        cookie: &CookieName,
        token: UntrustedToken<'_>,
        buffer: &'b mut TokenBuffer,
    ) -> Option<&'b [u8]> {
        let ring = self.keys();
        let envelope = token.decode(buffer).ok()?;
        let key = ring.opening_key(envelope.kid).ok()?;
        key.sealer().open(purpose, cookie, envelope).ok()
    }
}
