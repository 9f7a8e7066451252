//! Verifies the session of a request: reads the raw `Cookie` fields, and returns a [`Verified`] or a [`Refusal`].
//!
//! Invariant: only this module creates a [`Verified`], after every check. If every token of a request is refused, the result
//! is the refusal of the token that passed the most checks.

use super::claims::{BadClaims, Claims};
use super::copy_detection::{self, Verdict};
use super::lifetime::RenewalWindow;
use super::{Cause, Identity, PresentedSession, Refusal, Sessions, Verified, cookie_header, deadlines};
use crate::clock::{CLOCK_SKEW, Now, UnixTime};
use crate::id::Site;
use crate::keyring::{KeyRing, NoKey};
use crate::revocation::retention;
use crate::seal::Purpose;
use crate::seal::token::{ShortBuffer, TokenBuffer, UntrustedToken, token_buffer};

impl Sessions {
    /// Passes the first live session in the raw `Cookie` fields to `accept`. Does not detect copies.
    ///
    /// # Errors
    /// The [`Refusal`] of the token that passed the most checks.
    pub fn verify<'h, R>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        site: Site,
        now: Now,
        accept: impl FnOnce(&Verified<'_>) -> R,
    ) -> Result<R, Refusal> {
        self.find_live(cookie_fields, site, now, |_, _| Ok(true), accept)
    }

    /// Verifies like [`Sessions::verify`] and also detects copies ([`copy_detection`]). Call it at the beginning of a request.
    ///
    /// `window` is the renewal window of the response ([`Sessions::renew`]). A session that is used in two places is refused
    /// from now on. `on_copy` is called once for such a session and must make the revocation durable. Until then, only
    /// this process refuses the session, until the absolute deadline.
    ///
    /// # Errors
    /// The errors of [`Sessions::verify`]. A session with a copy gets [`Refusal::Revoked`].
    pub fn verify_and_detect<'h, R>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        site: Site,
        now: Now,
        window: RenewalWindow,
        mut on_copy: impl FnMut(PresentedSession),
        accept: impl FnOnce(&Verified<'_>) -> R,
    ) -> Result<R, Refusal> {
        let judge = |claims: &Claims<'_>, time| match self.judge_copy(claims, time, now, window) {
            Verdict::Renew => Ok(true),
            Verdict::Keep => Ok(false),
            Verdict::Copy => {
                let keep_until = retention::pending_until(claims.absolute_deadline);
                if self.revocations.add_pending(claims.sid, keep_until) {
                    on_copy(self.presented_session(claims, time));
                }
                Err(Refusal::Revoked)
            }
        };
        self.find_live(cookie_fields, site, now, judge, accept)
    }

    #[cold]
    fn judge_copy(&self, claims: &Claims<'_>, time: UnixTime, now: Now, window: RenewalWindow) -> Verdict {
        let deadlines = deadlines(claims);
        let sealed_at = claims.sealed_at;
        let may_renew = deadlines.may_renew(sealed_at, time, window);
        match &*self.chains.load() {
            Some(chains) if copy_detection::is_long_enough(deadlines.renewal_interval(sealed_at)) => {
                chains.judge(claims, may_renew, now)
            }
            _ => Verdict::Renew,
        }
    }

    /// Passes the first live session to `accept`. `judge` is called for a token that is due, and returns whether it may be
    /// renewed.
    #[inline(always)]
    fn find_live<'h, R>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        site: Site,
        now: Now,
        mut judge: impl FnMut(&Claims<'_>, UnixTime) -> Result<bool, Refusal>,
        accept: impl FnOnce(&Verified<'_>) -> R,
    ) -> Result<R, Refusal> {
        let ring = self.keys();
        let mut short = ShortBuffer::empty();
        // Initialized only for a token that does not fit into the short buffer, because clearing it takes time.
        let mut long: TokenBuffer;
        let mut greatest_refusal = Refusal::Missing;
        let mut tried = 0;
        for value in cookie_header::values(cookie_fields, &self.cookie) {
            let Some(token) = UntrustedToken::from_cookie_value(value) else {
                greatest_refusal = greatest_refusal.max(Refusal::Invalid(Cause::Malformed));
                continue;
            };
            let buffer: &mut [u8] = if token.is_short() {
                &mut short
            } else {
                long = token_buffer();
                &mut long
            };
            let refusal = match self.open_with(&ring, token, buffer) {
                Ok(claims) => match self.check_and_judge(&claims, site, now, &mut judge) {
                    Ok((checked_at, is_due)) => return Ok(accept(&Verified { token, claims, checked_at, is_due })),
                    Err(refusal) => refusal,
                },
                Err(refusal) => refusal,
            };
            greatest_refusal = greatest_refusal.max(refusal);
            tried += 1;
            if tried == self.max_candidates {
                break;
            }
        }
        Err(greatest_refusal)
    }

    /// Checks opened claims, and judges them if they are due. Returns the time at which the list was checked, and whether the
    /// token is due and may be renewed.
    #[inline(always)]
    fn check_and_judge(
        &self,
        claims: &Claims<'_>,
        site: Site,
        now: Now,
        mut judge: impl FnMut(&Claims<'_>, UnixTime) -> Result<bool, Refusal>,
    ) -> Result<(UnixTime, bool), Refusal> {
        let checked_at = self.check(claims, site, now)?;
        let is_due = deadlines(claims).is_due(claims.sealed_at, checked_at) && judge(claims, checked_at)?;
        Ok((checked_at, is_due))
    }

    /// Opens and decodes one token. Does not check deadlines and revocations.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn open<'b>(&self, token: UntrustedToken<'_>, buffer: &'b mut TokenBuffer) -> Result<Claims<'b>, Refusal> {
        self.open_with(&self.keys(), token, buffer)
    }

    /// Opens and decodes one token with the keys of `ring`. Inlined, like the decoding, so that the large claims are not copied.
    #[inline(always)]
    pub(super) fn open_with<'b>(
        &self,
        ring: &KeyRing,
        token: UntrustedToken<'_>,
        buffer: &'b mut [u8],
    ) -> Result<Claims<'b>, Refusal> {
        let envelope = token.decode(buffer).map_err(|_| Refusal::Invalid(Cause::Malformed))?;
        let key = ring.opening_key(envelope.kid).map_err(|reason| {
            Refusal::Invalid(match reason {
                NoKey::Unknown => Cause::UnknownKey,
                NoKey::Revoked => Cause::RevokedKey,
            })
        })?;
        let plaintext = key
            .sealer()
            .open(Purpose::Session, &self.cookie, envelope)
            .map_err(|_| Refusal::Invalid(Cause::NotAuthentic))?;
        Claims::decode(plaintext).map_err(|BadClaims| Refusal::Invalid(Cause::BadClaims))
    }

    /// Checks opened claims against the site, the deadlines and the revocation list. Returns the time at which the list was
    /// checked.
    ///
    /// # Errors
    /// The first [`Refusal`] in the order invalid, expired, revoked, stale.
    pub fn check(&self, claims: &Claims<'_>, site: Site, now: Now) -> Result<UnixTime, Refusal> {
        if claims.identity.global_generation > self.revocations.global_generation() {
            self.revocations.rollback().record_generation(claims.identity.global_generation);
        }
        // The list is read before the time. Pruning raises the time before it removes entries. So if the entry of this token was
        // removed before the list is read, the time that is read afterwards is past the deadline of the token.
        let revoked = self.is_revoked(claims);
        let time = self.revocations.time(now);
        if claims.site != site {
            return Err(Refusal::Invalid(Cause::WrongSite));
        }
        if claims.sealed_at > time.plus(CLOCK_SKEW) {
            return Err(Refusal::Invalid(Cause::FromTheFuture));
        }
        if deadlines(claims).is_expired(time) {
            return Err(Refusal::Expired);
        }
        if revoked {
            return Err(Refusal::Revoked);
        }
        if !self.revocations.may_accept_sessions(now) {
            return Err(Refusal::Stale);
        }
        Ok(time)
    }

    pub(super) fn is_revoked(&self, claims: &Claims<'_>) -> bool {
        let Identity { sub, account_generation, global_generation, .. } = claims.identity;
        self.revocations.refuses(claims.sid, sub, account_generation, global_generation)
    }
}
