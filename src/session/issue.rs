//! Seals session tokens: with a new session id (sid) at a login, and with the same sid at a renewal.
//!
//! Invariant: a session whose sid, account generation or key is revoked is not renewed. The list and the ring are checked again
//! just before sealing, without an `await` in between.

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

/// A new session token, with the facts that a response needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSession {
    /// Token, which becomes the value of the session cookie.
    pub token: SealedToken,
    /// Session id.
    pub sid: Sid,
    /// Type of the session: ordinary or remembered.
    pub flags: Flags,
    /// Time at which the session began or was last renewed.
    pub sealed_at: UnixTime,
    /// Deadlines of the session.
    pub deadlines: Deadlines,
}

impl Sessions {
    /// Begins a session, with a new sid and a new token chain.
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
        self.seal(&self.keys(), time, |cap, random| {
            let deadlines = Deadlines::at_sign_in(time, self.lifetimes.of(flags), cap);
            Claims {
                sid: random.sid,
                chain: random.chain,
                renewals: 0,
                link: random.link,
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

    /// Checks whether a session may begin at `now` for an identity that was read from the store at `read`.
    ///
    /// # Errors
    /// [`Refusal::Stale`] if the list is too old for the check. [`Refusal::Revoked`] if the sessions of these generations were
    /// ended after `read`, or may have been.
    #[cfg(feature = "salvo")]
    pub(crate) fn may_begin(&self, identity: &Identity<'_>, read: Now, now: Now) -> Result<(), Refusal> {
        let Identity { sub, account_generation, global_generation, .. } = *identity;
        let list = &self.revocations;
        if !list.is_current(now) {
            return Err(Refusal::Stale);
        }
        // The generations may have been ended after the store was read. A current list has that entry, unless the entry is
        // newer than the last update of the list. But if `read` is too long ago, the entry may already have been removed.
        if !list.is_recent(read, now) || list.refuses_generation(sub, account_generation, global_generation) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Renews a session that is due: the new token has the same sid and chain, a new link, and a later idle deadline.
    ///
    /// Returns `None` if it is too early for a response with this window, or if the session or its key was revoked after the
    /// verification. The list is checked again just before sealing.
    ///
    /// Inlined, because it is called after every verification.
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
        self.reseal(verified, |cap, random| self.child(verified, cap, random))
    }

    /// Replaces the application data of a session.
    ///
    /// If the session is due, it is also renewed, regardless of the request method. The response sets the cookie anyway, and a
    /// child token that arrives late is less harmful than a parent token that arrives late. Returns `None` if the session or
    /// its key was revoked after the verification.
    ///
    /// With copy detection, call [`Sessions::verify_and_detect`] with [`RenewalWindow::WhenDue`] just before. Otherwise, the
    /// holder of a token that has just become due would get a child token that copy detection has not approved.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn replace_app_data(
        &self,
        verified: &Verified<'_>,
        app_data: &[u8],
    ) -> Result<Option<SealedSession>, SealError> {
        let Verified { claims, checked_at, is_due, .. } = verified;
        self.reseal(verified, |cap, random| {
            let claims = if *is_due {
                self.child(verified, cap, random)
            } else {
                Claims { idle_deadline: claims.idle_deadline.min(checked_at.plus(cap)), ..claims.clone() }
            };
            Claims { app_data, ..claims }
        })
    }

    /// Returns the claims of the next token in the chain, which renews `verified`.
    fn child<'c>(&self, verified: &Verified<'c>, cap: Duration, random: &RandomValues) -> Claims<'c> {
        let Verified { claims, checked_at, .. } = verified;
        let renewed = deadlines(claims).renewed(*checked_at, self.lifetimes.of(claims.flags), cap);
        Claims {
            renewals: claims.renewals.saturating_add(1),
            link: random.link,
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
        claims: impl FnOnce(Duration, &RandomValues) -> Claims<'c>,
    ) -> Result<Option<SealedSession>, SealError> {
        let Verified { token, claims: before, checked_at, .. } = verified;
        // The same ring opens and seals. If this ring refuses the key of the old token, another key must not seal the new token.
        let ring = self.keys();
        let is_opened = token.kid().is_some_and(|kid| ring.opening_key(kid).is_ok());
        if !is_opened || self.is_revoked(before) {
            return Ok(None);
        }
        self.seal(&ring, *checked_at, claims).map(Some)
    }

    /// Seals the claims that `claims` returns. The arguments of `claims` are the maximum lifetime that the active key allows,
    /// and new random values.
    fn seal<'c>(
        &self,
        ring: &KeyRing,
        now: UnixTime,
        claims: impl FnOnce(Duration, &RandomValues) -> Claims<'c>,
    ) -> Result<SealedSession, SealError> {
        let key = ring.sealing_key(now).ok_or(SealError::NoActiveKey)?;
        let random = RandomValues::random();
        let claims = claims(key.dates().max_lifetime, &random);
        let token = key.sealer().seal(Purpose::Session, &self.cookie, &random.nonce, &claims.encode()?)?;
        Ok(SealedSession {
            token,
            sid: claims.sid,
            flags: claims.flags,
            sealed_at: claims.sealed_at,
            deadlines: deadlines(&claims),
        })
    }
}

/// Random values for one new token. They come from one system call, because that call is a large part of the cost of sealing.
struct RandomValues {
    sid: Sid,
    chain: Chain,
    link: Link,
    nonce: [u8; NONCE_BYTES],
}

impl RandomValues {
    fn random() -> Self {
        let bytes: [u8; 16 + 16 + 8 + NONCE_BYTES] = id::random();
        let (sid, rest) = bytes.split_first_chunk().expect("the first 16 of 64 bytes");
        let (chain, rest) = rest.split_first_chunk().expect("the next 16 of 48 bytes");
        let (link, rest) = rest.split_first_chunk().expect("the next 8 of 32 bytes");
        let nonce = *rest.first_chunk().expect("the remaining 24 bytes");
        Self { sid: Sid::from_bytes(*sid), chain: Chain::from_bytes(*chain), link: Link::from_bytes(*link), nonce }
    }
}
