//! Issuing tokens: at sign-in under a fresh sid, and at renewal under the same one.

use std::time::Duration;

#[cfg(feature = "salvo")]
use super::Refusal;
use super::claims::{Claims, Flags};
use super::identity::Identity;
use super::lifetime::Deadlines;
use super::{SealError, Sessions, Verified, deadlines};
use crate::clock::{Now, UnixTime};
use crate::id::{self, SessionNonce, Sid, Site};
use crate::keyring::KeyRing;
use crate::seal::token::NONCE_BYTES;
use crate::seal::{Purpose, SealedToken};

/// A fresh token, and what to tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSession {
    /// For the cookie.
    pub token: SealedToken,
    /// The session.
    pub sid: Sid,
    /// Its kind.
    pub flags: Flags,
    /// When it was sealed.
    pub sealed_at: UnixTime,
    /// Its deadlines.
    pub deadlines: Deadlines,
}

impl Sessions {
    /// Begins a session, always under a fresh sid.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign_in(
        &self,
        identity: &Identity<'_>,
        remember: bool,
        app_data: &[u8],
        site: Site,
        now: Now,
    ) -> Result<SealedSession, SealError> {
        let flags = if remember { Flags::REMEMBERED } else { Flags::default() };
        let time = self.revocations.time(now);
        self.seal(&self.keys(), time, |cap, fresh| {
            let deadlines = Deadlines::at_sign_in(time, self.lifetimes.of(flags), cap);
            Claims {
                sid: fresh.sid,
                session_nonce: fresh.session_nonce,
                site,
                identity: *identity,
                authenticated_at: time,
                sealed_at: time,
                idle_deadline: deadlines.idle,
                absolute_deadline: deadlines.absolute,
                flags,
                app_data,
            }
        })
    }

    /// Whether a session may begin at `now` for whom the store knew at `read`.
    ///
    /// # Errors
    /// [`Refusal::Stale`] if the list is too old to tell, [`Refusal::Revoked`] if these generations were ended since, or may have
    /// been.
    #[cfg(feature = "salvo")]
    pub(crate) fn may_begin(&self, identity: &Identity<'_>, read: Now, now: Now) -> Result<(), Refusal> {
        let Identity { sub, account_generation, global_generation, .. } = *identity;
        let list = &self.revocations;
        if !list.is_current(now) {
            return Err(Refusal::Stale);
        }
        // Ended since the store was asked: a list that is current knows of it, or has had no time to.
        if !list.is_recent(read, now) || list.refuses_generation(sub, account_generation, global_generation) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Renews a session of which a tenth of the idle time has gone: the same sid, a fresh nonce, a later idle deadline. `None`
    /// if it is too early, or if the session or its key was revoked since it was verified: the list is looked at again, just
    /// before sealing.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn renew(&self, verified: &Verified<'_>) -> Result<Option<SealedSession>, SealError> {
        let claims = &verified.claims;
        if !deadlines(claims).due_for_renewal(claims.sealed_at, verified.checked_at) {
            return Ok(None);
        }
        self.reseal(verified, claims.app_data)
    }

    /// Renews a session at once, with other application data. `None` if it or its key was revoked since it was verified.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn replace_app_data(
        &self,
        verified: &Verified<'_>,
        app_data: &[u8],
    ) -> Result<Option<SealedSession>, SealError> {
        self.reseal(verified, app_data)
    }

    fn reseal(&self, verified: &Verified<'_>, app_data: &[u8]) -> Result<Option<SealedSession>, SealError> {
        let Verified { token, claims, checked_at } = verified;
        // One ring for both: a session of a key that this ring refuses must not go on under another.
        let ring = self.keys();
        let is_opened = token.kid().is_some_and(|kid| ring.opening_key(kid).is_ok());
        if !is_opened || self.is_revoked(claims) {
            return Ok(None);
        }
        let sealed = self.seal(&ring, *checked_at, |cap, fresh| {
            let renewed = deadlines(claims).renewed(*checked_at, self.lifetimes.of(claims.flags), cap);
            Claims {
                session_nonce: fresh.session_nonce,
                sealed_at: *checked_at,
                idle_deadline: renewed.idle,
                absolute_deadline: renewed.absolute,
                app_data,
                ..claims.clone()
            }
        })?;
        Ok(Some(sealed))
    }

    /// Seals the claims that `claims` makes of the longest lifetime that the active key allows, and of fresh random values.
    fn seal<'c>(
        &self,
        ring: &KeyRing,
        now: UnixTime,
        claims: impl FnOnce(Duration, &Fresh) -> Claims<'c>,
    ) -> Result<SealedSession, SealError> {
        let key = ring.sealing_key(now).ok_or(SealError::NoActiveKey)?;
        let fresh = Fresh::random();
        let claims = claims(key.dates().max_lifetime, &fresh);
        let token = key.sealer().seal(Purpose::Session, &self.cookie, &fresh.nonce, &claims.encode()?)?;
        Ok(SealedSession {
            token,
            sid: claims.sid,
            flags: claims.flags,
            sealed_at: claims.sealed_at,
            deadlines: deadlines(&claims),
        })
    }
}

/// The random values of one sealing, by one call of the system: that call is much of what sealing costs.
struct Fresh {
    sid: Sid,
    session_nonce: SessionNonce,
    nonce: [u8; NONCE_BYTES],
}

impl Fresh {
    fn random() -> Self {
        let bytes: [u8; 16 + 16 + NONCE_BYTES] = id::random();
        let (sid, rest) = bytes.split_first_chunk().expect("the first 16 of 56 bytes");
        let (session_nonce, rest) = rest.split_first_chunk().expect("the next 16 of 40 bytes");
        let nonce = *rest.first_chunk().expect("the 24 bytes that are left");
        Self { sid: Sid::from_bytes(*sid), session_nonce: SessionNonce::from_bytes(*session_nonce), nonce }
    }
}
