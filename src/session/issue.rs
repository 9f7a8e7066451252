//! Issuing tokens: at sign-in under a fresh sid, and at renewal under the same one.

use std::time::Duration;

#[cfg(feature = "salvo")]
use super::Refusal;
use super::claims::{Claims, Flags, Methods};
use super::identity::Identity;
use super::lifetime::{Deadlines, RenewalWindow};
use super::{SealError, Sessions, Verified, deadlines};
use crate::clock::{Now, UnixTime};
use crate::id::{self, Chain, Link, Sid, Site};
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
    /// Begins a session, always under a fresh sid and in a fresh chain.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign_in(
        &self,
        identity: &Identity<'_>,
        methods: Methods,
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
                chain: fresh.chain,
                renewals: 0,
                link: fresh.link,
                parent: Link::from_bytes([0; 8]),
                site,
                identity: *identity,
                authenticated_at: time,
                sealed_at: time,
                idle_deadline: deadlines.idle,
                absolute_deadline: deadlines.absolute,
                methods,
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

    /// Renews a session that is due: the same sid and chain, a fresh link, a later idle deadline. `None` if it is too early for
    /// this answer, or if the session or its key was revoked since it was verified: the list is looked at again, just before
    /// sealing.
    ///
    /// Inlined, because it is asked after every check.
    ///
    /// # Errors
    /// [`SealError`].
    #[inline(always)]
    pub fn renew(&self, verified: &Verified<'_>, window: RenewalWindow) -> Result<Option<SealedSession>, SealError> {
        if verified.is_due { self.renew_due(verified, window) } else { Ok(None) }
    }

    #[cold]
    fn renew_due(&self, verified: &Verified<'_>, window: RenewalWindow) -> Result<Option<SealedSession>, SealError> {
        let Verified { claims, checked_at, .. } = verified;
        if !deadlines(claims).may_renew(claims.sealed_at, *checked_at, window) {
            return Ok(None);
        }
        self.reseal(verified, |cap, fresh| self.child(verified, cap, fresh))
    }

    /// Seals other application data into a session, and changes nothing else. A session that is due is renewed, whatever the
    /// method of the request: the answer sets the cookie anyway, and a late child is less harmful than a late parent. `None` if
    /// the session or its key was revoked since it was verified.
    ///
    /// Where copies are looked for, verify it by [`Sessions::verify_and_detect`] with [`RenewalWindow::WhenDue`] just before.
    /// Otherwise, a holder could have data replaced when the token has just become due, and get a child that nobody has judged.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn replace_app_data(
        &self,
        verified: &Verified<'_>,
        app_data: &[u8],
    ) -> Result<Option<SealedSession>, SealError> {
        let Verified { claims, checked_at, is_due, .. } = verified;
        self.reseal(verified, |cap, fresh| {
            let claims = if *is_due {
                self.child(verified, cap, fresh)
            } else {
                Claims { idle_deadline: claims.idle_deadline.min(checked_at.plus(cap)), ..claims.clone() }
            };
            Claims { app_data, ..claims }
        })
    }

    /// The claims of a token that renews this one.
    fn child<'c>(&self, verified: &Verified<'c>, cap: Duration, fresh: &Fresh) -> Claims<'c> {
        let Verified { claims, checked_at, .. } = verified;
        let renewed = deadlines(claims).renewed(*checked_at, self.lifetimes.of(claims.flags), cap);
        Claims {
            renewals: claims.renewals.saturating_add(1),
            link: fresh.link,
            parent: claims.link,
            sealed_at: *checked_at,
            idle_deadline: renewed.idle,
            absolute_deadline: renewed.absolute,
            ..claims.clone()
        }
    }

    fn reseal<'c>(
        &self,
        verified: &Verified<'_>,
        claims: impl FnOnce(Duration, &Fresh) -> Claims<'c>,
    ) -> Result<Option<SealedSession>, SealError> {
        let Verified { token, claims: before, checked_at, .. } = verified;
        // One ring for both: a session of a key that this ring refuses must not go on under another.
        let ring = self.keys();
        let is_opened = token.kid().is_some_and(|kid| ring.opening_key(kid).is_ok());
        if !is_opened || self.is_revoked(before) {
            return Ok(None);
        }
        self.seal(&ring, *checked_at, claims).map(Some)
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
    chain: Chain,
    link: Link,
    nonce: [u8; NONCE_BYTES],
}

impl Fresh {
    fn random() -> Self {
        let bytes: [u8; 16 + 16 + 8 + NONCE_BYTES] = id::random();
        let (sid, rest) = bytes.split_first_chunk().expect("the first 16 of 64 bytes");
        let (chain, rest) = rest.split_first_chunk().expect("the next 16 of 48 bytes");
        let (link, rest) = rest.split_first_chunk().expect("the next 8 of 32 bytes");
        let nonce = *rest.first_chunk().expect("the 24 bytes that are left");
        Self { sid: Sid::from_bytes(*sid), chain: Chain::from_bytes(*chain), link: Link::from_bytes(*link), nonce }
    }
}
