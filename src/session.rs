//! Sessions: verifies the cookies of a request, and seals a token at a login or a renewal.
//!
//! The steps of a verification are: `Cookie` header, [`UntrustedToken`], the key that the token names, claims, site, deadlines,
//! revocation list, [`Verified`].
//!
//! Invariant: the code in this module does not wait, read a file or a clock, or log. It takes the time as an argument and
//! returns a verdict.
//!
//! Uses [`crate::keyring`] for the keys and [`crate::revocation`] for the list. Called by the HTTP routes and by `embed`.

pub mod claims;
pub mod cookie_header;
pub mod copy_detection;
pub mod form;
pub(crate) mod identity;
mod issue;
pub mod lifetime;
mod refusal;
mod verify;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::clock::{CLOCK_SKEW, Now, UnixTime};
use crate::id::{Kid, Sid};
use crate::keyring::{Key, KeyRing, NoKey};
use crate::revocation::RevocationList;
use crate::seal::token::{UntrustedToken, token_buffer};
use crate::seal::{CookieName, DeterministicFormToken};
use claims::{Claims, Flags};
use copy_detection::Chains;
pub use identity::Identity;
pub use issue::SealedSession;
use lifetime::Deadlines;
pub use lifetime::Lifetimes;
pub use refusal::{Cause, Refusal, SealError};

/// A session whose token passed every check. Only [`Sessions::verify`] and [`Sessions::verify_and_detect`] create it.
#[derive(Debug)]
pub struct Verified<'a> {
    token: UntrustedToken<'a>,
    claims: Claims<'a>,
    checked_at: UnixTime,
    /// Whether the token is due for renewal and copy detection allows the renewal.
    is_due: bool,
}

impl<'a> Verified<'a> {
    /// Returns the claims of the token.
    pub const fn claims(&self) -> &Claims<'a> {
        &self.claims
    }

    /// Returns the idle deadline and the absolute deadline of the session.
    pub const fn deadlines(&self) -> Deadlines {
        deadlines(&self.claims)
    }
}

/// A session that a login or logout must revoke, because a request presented a token of it.
///
/// The token was opened, and its absolute deadline may not have passed yet by the clock of some node. Nothing else is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedSession {
    /// Session id.
    pub sid: Sid,
    /// Account id.
    pub sub: Box<str>,
    /// Login name of the account.
    pub login_name: Box<str>,
    /// Generation of the account at the login.
    pub account_generation: u64,
    /// Whether the list refuses all sessions of that account generation.
    pub is_generation_revoked: bool,
    /// Whether the list refuses the session, for any reason.
    pub is_ended: bool,
    /// Whether the token is past a deadline, usually the idle deadline. The list may have removed the entry of a revoked
    /// session by then.
    pub is_idle: bool,
    /// Time at which the session ends in any case.
    pub absolute_deadline: UnixTime,
    /// Type of the session: ordinary or remembered.
    pub flags: Flags,
}

/// Verifies and seals sessions, with a key ring and a revocation list.
#[derive(Debug)]
pub struct Sessions {
    ring: ArcSwap<KeyRing>,
    revocations: Arc<RevocationList>,
    cookie: CookieName,
    lifetimes: Lifetimes,
    max_candidates: usize,
    /// Tokens that copy detection remembers, or `None` while copy detection is off.
    chains: ArcSwapOption<Chains>,
}

impl Sessions {
    /// Creates a verifier and issuer of sessions with these keys and this revocation list.
    ///
    /// A candidate is a cookie with the name of the session cookie and a plausible length. Every candidate in a request is
    /// tried, because another application can set cookies of this name, and the browser may send them first. So the caller must
    /// limit the size of the `Cookie` fields (32 KiB contain at most 400 candidates), or the number of candidates with
    /// [`Sessions::with_max_candidates`].
    pub fn new(ring: KeyRing, revocations: Arc<RevocationList>, cookie: CookieName, lifetimes: Lifetimes) -> Self {
        let chains = ArcSwapOption::empty();
        Self { ring: ArcSwap::from_pointee(ring), revocations, cookie, lifetimes, max_candidates: usize::MAX, chains }
    }

    /// Limits the check to the first `max_candidates` candidates of a request. A logout must then call
    /// [`Sessions::has_too_many_candidates`] first.
    #[must_use]
    pub fn with_max_candidates(self, max_candidates: usize) -> Self {
        Self { max_candidates, ..self }
    }

    /// Returns the ring in use. A key that the list refuses is revoked in this ring, even if its file has no revocation date.
    pub fn ring(&self) -> Arc<KeyRing> {
        Guard::into_inner(self.keys())
    }

    /// Returns the id of the key that seals new tokens, or `None` if no key is active. Without an active key, no session can
    /// begin or be renewed.
    pub fn active_key(&self, now: Now) -> Option<Kid> {
        self.keys().sealing_key(self.revocations.time(now)).map(Key::kid)
    }

    /// Replaces the ring in one atomic step, unless the new ring is equal to the ring in use.
    pub fn replace_ring(&self, ring: KeyRing) {
        let ring = ring.with_refused_keys(&self.revocations.refused_keys());
        if **self.ring.load() != ring {
            self.ring.store(Arc::new(ring));
        }
    }

    /// Returns the ring for opening and sealing. If the list refuses keys that are not yet revoked in the ring, the ring is
    /// replaced first. Every use of a key calls this function, so no key is used after its entry was added to the list.
    fn keys(&self) -> Guard<Arc<KeyRing>> {
        loop {
            let ring = self.ring.load();
            if ring.refused_key_count() == self.revocations.refused_key_count() {
                return ring;
            }
            self.refuse_keys();
        }
    }

    /// Revokes the keys in the ring that the list refuses. If another thread replaces the ring meanwhile, the refusals are
    /// applied to the new ring.
    #[cold]
    fn refuse_keys(&self) {
        self.ring.rcu(|ring| {
            let refused = self.revocations.refused_keys();
            if ring.refused_key_count() == refused.len() {
                return ring.clone();
            }
            Arc::new(ring.without_refusals().with_refused_keys(&refused))
        });
    }

    /// Returns the revocation list.
    pub const fn revocations(&self) -> &Arc<RevocationList> {
        &self.revocations
    }

    /// Returns the name of the session cookie.
    pub const fn cookie(&self) -> &CookieName {
        &self.cookie
    }

    /// Whether a request has more candidates than are checked. A login or logout must then be refused, because it cannot end all
    /// sessions of the request.
    pub fn has_too_many_candidates<'h>(&self, cookie_fields: impl IntoIterator<Item = &'h [u8]>) -> bool {
        self.candidates(cookie_fields, &self.cookie).nth(self.max_candidates).is_some()
    }

    fn candidates<'h>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        cookie: &CookieName,
    ) -> impl Iterator<Item = UntrustedToken<'h>> {
        cookie_header::values(cookie_fields, cookie).filter_map(UntrustedToken::from_cookie_value)
    }

    /// Whether one of the candidates names an unknown key. The key directory may have that key by now, so the caller should
    /// read the directory again.
    pub fn lacks_key_of_cookies<'h>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        cookie: &CookieName,
    ) -> bool {
        self.unusable_keys(cookie_fields, cookie).any(|(_, reason)| reason == NoKey::Unknown)
    }

    /// Whether a session may have been refused because its key was unknown. By now the key may be in the key directory, or in
    /// the ring if the ring was replaced since the refusal.
    pub fn may_have_lacked_key<'h>(&self, cookie_fields: impl IntoIterator<Item = &'h [u8]>, refusal: Refusal) -> bool {
        refusal == Refusal::Invalid(Cause::UnknownKey) || self.lacks_key_of_cookies(cookie_fields, &self.cookie)
    }

    /// Returns the key ids in the candidates whose key is unknown or revoked on this node, with the reason. Such a candidate
    /// may be a live session on another node.
    pub fn unusable_keys<'h>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        cookie: &CookieName,
    ) -> impl Iterator<Item = (Kid, NoKey)> {
        let ring = self.ring();
        let tokens = self.candidates(cookie_fields, cookie).take(self.max_candidates);
        tokens.filter_map(UntrustedToken::kid).filter_map(move |kid| Some((kid, ring.opening_key(kid).err()?)))
    }

    /// Whether a form token, sealed or deterministic, names an unknown key.
    pub fn lacks_key_of_form(&self, token: &[u8]) -> bool {
        let kid = match DeterministicFormToken::parse(token) {
            Some(deterministic) => deterministic.kid(),
            None => UntrustedToken::from_cookie_value(token).and_then(UntrustedToken::kid),
        };
        kid.is_some_and(|kid| self.lacks_key(kid))
    }

    fn lacks_key(&self, kid: Kid) -> bool {
        self.keys().opening_key(kid).is_err_and(|reason| reason == NoKey::Unknown)
    }

    /// Turns copy detection on with a memory limit in bytes, or off with `None`. An unchanged limit keeps the remembered tokens.
    pub fn detect_copies(&self, memory_bytes: Option<usize>) {
        if self.chains.load().as_ref().map(|chains| chains.memory_limit()) != memory_bytes {
            self.chains.store(memory_bytes.map(|bytes| Arc::new(Chains::new(bytes))));
        }
    }

    /// Returns the memory usage of copy detection, or `None` if it is off.
    pub fn copy_detection(&self) -> Option<copy_detection::MemoryUsage> {
        self.chains.load().as_ref().map(|chains| chains.usage())
    }

    /// Returns the session of every presented token that opens and is before its absolute deadline by the clock of the slowest
    /// node.
    ///
    /// Idle-expired and revoked tokens count too, and the age of the list is not checked. Otherwise, a thief who keeps renewing
    /// a copy would still have a session after the late logout of the owner.
    pub fn presented<'h>(&self, cookie_fields: impl IntoIterator<Item = &'h [u8]>, now: Now) -> Vec<PresentedSession> {
        let ring = self.keys();
        let mut buffer = token_buffer();
        let time = self.revocations.time(now);
        let mut presented: Vec<PresentedSession> = Vec::new();
        for token in self.candidates(cookie_fields, &self.cookie).take(self.max_candidates) {
            let Ok(claims) = self.open_with(&ring, token, &mut buffer) else {
                continue;
            };
            let may_be_live = time < claims.absolute_deadline.plus(CLOCK_SKEW);
            if may_be_live && presented.iter().all(|other| other.sid != claims.sid) {
                presented.push(self.presented_session(&claims, time));
            }
        }
        presented
    }

    fn presented_session(&self, claims: &Claims<'_>, time: UnixTime) -> PresentedSession {
        let Identity { sub, login_name, account_generation, .. } = claims.identity;
        PresentedSession {
            sid: claims.sid,
            sub: sub.into(),
            login_name: login_name.into(),
            account_generation,
            is_generation_revoked: self.revocations.refuses_account(sub, account_generation),
            is_ended: self.is_revoked(claims),
            is_idle: deadlines(claims).is_expired(time),
            absolute_deadline: claims.absolute_deadline,
            flags: claims.flags,
        }
    }
}

const fn deadlines(claims: &Claims<'_>) -> Deadlines {
    Deadlines { idle: claims.idle_deadline, absolute: claims.absolute_deadline }
}
