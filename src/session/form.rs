//! Forms: what binds a form to whom it was rendered for, so that no other site can have sent it.
//!
//! A form's hidden field is a *form token*: the id that the form is bound to, sealed. It opens only under a key that is held, is
//! good for that id alone, and differs at each rendering, so that compression cannot leak it (BREACH). After sign-in the id is
//! the session's, so the token dies with the session. Before sign-in there is none, so the sign-in form has a cookie of its own
//! with a random [`FormId`]. That cookie is not needed if the browser says that a page of the same origin has sent the form
//! (`Sender::SameOrigin` in `web/csrf.rs`): then any token of a sign-in form will do.
//!
//! The status as JSON, which is asked for all the time and holds nothing of a stranger's choosing, has a *steady* token: the sid,
//! which is no secret, and a code for it (`seal/form_mac.rs`). That takes no random bytes, whose price is that of opening the session.
//!
//! ```text
//! plaintext of a form token          1 byte  kind: 0 session, 1 sign-in form
//!                                   16 bytes the sid or form id
//! plaintext of the form's cookie    16 bytes form id
//!                                    8 bytes deadline, Unix seconds, big-endian
//! ```

use std::time::Duration;

use super::{SealError, Sessions};
use crate::clock::{CLOCK_SKEW, Now, UnixTime};
use crate::id::{self, FormId, Sid};
use crate::seal::token::{TokenBuffer, UntrustedToken, token_buffer};
use crate::seal::{CookieName, Purpose, SealedToken, SteadyToken};

/// How long a sign-in form may stay open in a browser that needs its cookie.
pub const SIGN_IN_FORM_LIFETIME: Duration = Duration::from_secs(600);

/// What a form is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A form of a signed-in user.
    Session(Sid),
    /// A form to sign in with.
    SignIn(FormId),
}

impl Bound {
    fn bytes(self) -> [u8; 17] {
        let (kind, id) = match self {
            Self::Session(sid) => (0, *sid.as_bytes()),
            Self::SignIn(form) => (1, *form.as_bytes()),
        };
        let mut bytes = [kind; 17];
        bytes[1..].copy_from_slice(&id);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        let id = id.try_into().ok()?;
        match kind {
            0 => Some(Self::Session(Sid::from_bytes(id))),
            1 => Some(Self::SignIn(FormId::from_bytes(id))),
            _ => None,
        }
    }
}

impl Sessions {
    /// A fresh token for a form that is bound to `bound`.
    ///
    /// # Errors
    /// [`SealError::NoActiveKey`].
    pub fn form_token(&self, bound: Bound, now: Now) -> Result<SealedToken, SealError> {
        self.seal_bytes(Purpose::FormToken, &self.cookie, &bound.bytes(), now)
    }

    /// The token for forms of this session that is the same each time under one key: for answers in which nothing else is of a
    /// stranger's choosing.
    ///
    /// # Errors
    /// [`SealError::NoActiveKey`].
    pub fn steady_form_token(&self, sid: Sid, now: Now) -> Result<SteadyToken, SealError> {
        let ring = self.keys();
        let key = ring.sealing_key(self.revocations.time(now)).ok_or(SealError::NoActiveKey)?;
        Ok(key.sealer().form_mac().token(*sid.as_bytes()))
    }

    /// What a form's token is bound to, if it is one of ours. Whether that is what the form acts on is the caller's to compare.
    pub fn open_form_token(&self, token: &[u8]) -> Option<Bound> {
        if let Some(steady) = SteadyToken::parse(token) {
            let ring = self.keys();
            let key = ring.opening_key(steady.kid()?).ok()?;
            return key.sealer().form_mac().id_of(&steady).map(|id| Bound::Session(Sid::from_bytes(id)));
        }
        let token = UntrustedToken::from_cookie_value(token)?;
        let mut buffer = token_buffer();
        Bound::from_bytes(self.open_bytes(Purpose::FormToken, &self.cookie, token, &mut buffer)?)
    }

    /// The value of the sign-in form's cookie, good for [`SIGN_IN_FORM_LIFETIME`] from now.
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

    /// The sign-in form whose cookie came with the request, if it is still good.
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
