//! Sessions: from a request's cookies to a verified session, and from a sign-in or a renewal to a sealed token.
//!
//! One direction: cookie header → [`UntrustedToken`] → one key by its id → claims → deadlines → revocation list → [`Verified`].
//! Nothing here waits, reads a file or a clock, or logs: the verdict is returned, and the caller renders it.

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
use crate::seal::{CookieName, SteadyToken};
use claims::{Claims, Flags};
use copy_detection::Chains;
pub use identity::Identity;
pub use issue::SealedSession;
use lifetime::Deadlines;
pub use lifetime::Lifetimes;
pub use refusal::{Cause, Refusal, SealError};

/// A session whose token passed every check. Only [`Sessions::verify`] and [`Sessions::verify_and_detect`] make one.
#[derive(Debug)]
pub struct Verified<'a> {
    token: UntrustedToken<'a>,
    claims: Claims<'a>,
    checked_at: UnixTime,
    /// Whether it is due for renewal, and copy detection does not stand against it.
    is_due: bool,
}

impl<'a> Verified<'a> {
    /// What the token holds.
    pub const fn claims(&self) -> &Claims<'a> {
        &self.claims
    }

    /// When it ends.
    pub const fn deadlines(&self) -> Deadlines {
        deadlines(&self.claims)
    }
}

/// A token that opened and may be before its absolute deadline on some node, whatever else: what a sign-out or sign-in must revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The session.
    pub sid: Sid,
    /// Whose it is.
    pub sub: Box<str>,
    /// The name that this account signs in with.
    pub login_name: Box<str>,
    /// The account's generation when it signed in.
    pub account_generation: u64,
    /// Whether the account's sign-ins of that generation were ended.
    pub generation_ended: bool,
    /// Whether the list refuses it, for whatever reason.
    pub is_ended: bool,
    /// Whether it was idle for too long. The list may have forgotten by then that it was ended.
    pub is_idle: bool,
    /// When it ends in any case.
    pub absolute_deadline: UnixTime,
    /// Its kind.
    pub flags: Flags,
}

/// Verifies and seals sessions: the key ring, the revocation list and the rules between them.
#[derive(Debug)]
pub struct Sessions {
    ring: ArcSwap<KeyRing>,
    revocations: Arc<RevocationList>,
    cookie: CookieName,
    lifetimes: Lifetimes,
    max_candidates: usize,
    /// `None` while copies are not looked for.
    chains: ArcSwapOption<Chains>,
}

impl Sessions {
    /// Sessions under these keys, refused by this list.
    ///
    /// Every candidate in a request is looked at, that is every cookie of our name with a plausible length: others can plant cookies
    /// before ours. So the caller bounds the `Cookie` fields (32 KiB have 400 candidates at most), or the number of candidates by
    /// [`Sessions::with_max_candidates`].
    pub fn new(ring: KeyRing, revocations: Arc<RevocationList>, cookie: CookieName, lifetimes: Lifetimes) -> Self {
        let chains = ArcSwapOption::empty();
        Self { ring: ArcSwap::from_pointee(ring), revocations, cookie, lifetimes, max_candidates: usize::MAX, chains }
    }

    /// Looks at the first `max_candidates` of a request only. A sign-out must then ask [`Sessions::has_too_many_candidates`].
    #[must_use]
    pub fn with_max_candidates(self, max_candidates: usize) -> Self {
        Self { max_candidates, ..self }
    }

    /// The ring in use. Keys that the list refuses are revoked in it, whatever their files say.
    pub fn ring(&self) -> Arc<KeyRing> {
        Guard::into_inner(self.keys())
    }

    /// Returns the id of the key that new tokens are sealed with, or `None`: then no session can begin or be renewed.
    pub fn active_key(&self, now: Now) -> Option<Kid> {
        self.keys().sealing_key(self.revocations.time(now)).map(Key::kid)
    }

    /// Swaps the whole ring at once, if its keys are not those in use.
    pub fn replace_ring(&self, ring: KeyRing) {
        let ring = ring.refusing(&self.revocations.refused_keys());
        if **self.ring.load() != ring {
            self.ring.store(Arc::new(ring));
        }
    }

    /// The ring to open and seal with. Every use of a key asks here, so that none is used after the list has learned that it is
    /// refused: a ring to which not all refusals were applied is replaced first.
    fn keys(&self) -> Guard<Arc<KeyRing>> {
        loop {
            let ring = self.ring.load();
            if ring.refusals() == self.revocations.refused_key_count() {
                return ring;
            }
            self.refuse_keys();
        }
    }

    /// Applies the refusals that the list has learned since the ring was put in use. Another ring that was put in use meanwhile
    /// stays.
    #[cold]
    fn refuse_keys(&self) {
        self.ring.rcu(|ring| {
            let refused = self.revocations.refused_keys();
            if ring.refusals() == refused.len() {
                return ring.clone();
            }
            Arc::new(ring.copy().refusing(&refused))
        });
    }

    /// The list that refuses.
    pub const fn revocations(&self) -> &Arc<RevocationList> {
        &self.revocations
    }

    /// The cookie's name.
    pub const fn cookie(&self) -> &CookieName {
        &self.cookie
    }

    /// Whether a request has more candidates than are looked at. A sign-out or sign-in that went on would leave sessions behind.
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

    /// Whether one of the tokens that would be tried names a key that is not held: perhaps one that is in the ring's directory by now.
    pub fn lacks_key_of_cookies<'h>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        cookie: &CookieName,
    ) -> bool {
        self.keys_not_opened(cookie_fields, cookie).any(|(_, reason)| reason == NoKey::Unknown)
    }

    /// Whether a session may have been refused because its key was not held: perhaps one that is in the ring's directory by now, or
    /// in the ring, if that was replaced since.
    pub fn lacked_key<'h>(&self, cookie_fields: impl IntoIterator<Item = &'h [u8]>, refusal: Refusal) -> bool {
        refusal == Refusal::Invalid(Cause::UnknownKey) || self.lacks_key_of_cookies(cookie_fields, &self.cookie)
    }

    /// The keys that nothing is opened with here, because they are not held or were revoked, of those that the tokens name that
    /// would be tried. Such a token may be a live session on another node.
    pub fn keys_not_opened<'h>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'h [u8]>,
        cookie: &CookieName,
    ) -> impl Iterator<Item = (Kid, NoKey)> {
        let ring = self.ring();
        let tokens = self.candidates(cookie_fields, cookie).take(self.max_candidates);
        tokens.filter_map(UntrustedToken::kid).filter_map(move |kid| Some((kid, ring.opening_key(kid).err()?)))
    }

    /// Whether a form token of either kind names a key that is not held.
    pub fn lacks_key_of_form(&self, token: &[u8]) -> bool {
        let kid = match SteadyToken::parse(token) {
            Some(steady) => steady.kid(),
            None => UntrustedToken::from_cookie_value(token).and_then(UntrustedToken::kid),
        };
        kid.is_some_and(|kid| self.lacks_key(kid))
    }

    fn lacks_key(&self, kid: Kid) -> bool {
        self.keys().opening_key(kid).is_err_and(|reason| reason == NoKey::Unknown)
    }

    /// Looks for copies from now on, with this many bytes of memory at most; or no longer, with `None`. Nothing is forgotten if the
    /// limit stays the same.
    pub fn detect_copies(&self, memory_bytes: Option<usize>) {
        if self.chains.load().as_ref().map(|chains| chains.memory()) != memory_bytes {
            self.chains.store(memory_bytes.map(|bytes| Arc::new(Chains::new(bytes))));
        }
    }

    /// Returns how much copy detection remembers, or `None` if it is off.
    pub fn copy_detection(&self) -> Option<copy_detection::Memory> {
        self.chains.load().as_ref().map(|chains| chains.usage())
    }

    /// Every presented token that opens and is before its absolute deadline, be it by the slowest node's clock: idle-expired ones
    /// too, and however stale the list is, else a thief who kept renewing a copy would survive the owner's late sign-out.
    pub fn presented<'h>(&self, cookie_fields: impl IntoIterator<Item = &'h [u8]>, now: Now) -> Vec<Presented> {
        let ring = self.keys();
        let mut buffer = token_buffer();
        let time = self.revocations.time(now);
        let mut found: Vec<Presented> = Vec::new();
        for token in self.candidates(cookie_fields, &self.cookie).take(self.max_candidates) {
            let Ok(claims) = self.open_with(&ring, token, &mut buffer) else {
                continue;
            };
            let is_alive = time < claims.absolute_deadline.plus(CLOCK_SKEW);
            if is_alive && found.iter().all(|other| other.sid != claims.sid) {
                found.push(self.presented_by(&claims, time));
            }
        }
        found
    }

    fn presented_by(&self, claims: &Claims<'_>, time: UnixTime) -> Presented {
        let Identity { sub, login_name, account_generation, .. } = claims.identity;
        Presented {
            sid: claims.sid,
            sub: sub.into(),
            login_name: login_name.into(),
            account_generation,
            generation_ended: self.revocations.refuses_account(sub, account_generation),
            is_ended: self.is_revoked(claims),
            is_idle: deadlines(claims).passed(time),
            absolute_deadline: claims.absolute_deadline,
            flags: claims.flags,
        }
    }
}

const fn deadlines(claims: &Claims<'_>) -> Deadlines {
    Deadlines { idle: claims.idle_deadline, absolute: claims.absolute_deadline }
}
