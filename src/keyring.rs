//! The key ring: which key seals, which keys open.
//!
//! A key's state is a function of the ring and the clock, so that nodes which see the same files agree without talking:
//!
//! * **published**: not yet active. It opens, so that a node which seals with it early is understood everywhere;
//! * **active**: the unrevoked key with the greatest (activates_at ≤ now, kid). It seals, and opens;
//! * **retired**: a later activation replaced it. It opens, and becomes active again if its successor is revoked;
//! * **revoked**: opens nothing, whatever the clock.
//!
//! A key that the store's revocation log refuses is revoked as well, whatever its file says ([`KeyRing::refusing`]).

pub mod file;
pub(crate) mod permissions;
pub mod rotate;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::id::Kid;
use crate::seal::Sealer;
use crate::secret::Secret;
pub use file::RingError;

/// One key and its way through life.
#[derive(Debug)]
pub struct Key {
    secret: Secret,
    sealer: Sealer,
    dates: Dates,
    /// Whether the revocation log refuses it.
    refused: bool,
}

/// What a key file says besides the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// When the key was made.
    pub created_at: UnixTime,
    /// From when it seals; absent while it is published and not scheduled.
    pub activates_at: Option<UnixTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<UnixTime>,
    /// No token sealed with it lives longer than this.
    pub max_lifetime: Duration,
}

impl Key {
    /// The key with this secret and these dates.
    pub fn new(secret: Secret, dates: Dates) -> Self {
        Self { sealer: Sealer::new(&secret), secret, dates, refused: false }
    }

    /// Its id.
    pub const fn kid(&self) -> Kid {
        self.sealer.kid()
    }

    /// Its dates.
    pub const fn dates(&self) -> &Dates {
        &self.dates
    }

    /// Its ciphers.
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Whether it was revoked, by its file or by the revocation log.
    pub const fn is_revoked(&self) -> bool {
        self.refused || self.dates.revoked_at.is_some()
    }

    /// Whether it would seal at `now`, were there no later key.
    fn may_seal(&self, now: UnixTime) -> bool {
        !self.is_revoked() && self.dates.activates_at.is_some_and(|instant| instant <= now)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.refused == other.refused && self.dates == other.dates && self.secret == other.secret
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Opens; will seal later.
    Published,
    /// Seals and opens.
    Active,
    /// Opens; a later key seals.
    Retired,
    /// Opens nothing.
    Revoked,
}

impl KeyState {
    /// The state's name, as the command line prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

/// Why the ring has no key to open a token with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// No key of this id is held.
    Unknown,
    /// The key of this id was revoked.
    Revoked,
}

/// All keys held, the latest activation first.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    /// How many entries of the revocation log have been applied to the keys.
    refusals: usize,
}

/// Two rings are the same if their keys are.
impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(mut keys: Vec<Key>) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse((key.dates.activates_at, key.kid())));
        Self { keys, refusals: 0 }
    }

    /// The same ring, in which the keys that the revocation log refuses are revoked.
    #[must_use]
    pub fn refusing(mut self, kids: &[Kid]) -> Self {
        self.keys.iter_mut().for_each(|key| key.refused = kids.contains(&key.kid()));
        self.refusals = kids.len();
        self
    }

    /// How many kids were passed to [`KeyRing::refusing`].
    pub(crate) const fn refusals(&self) -> usize {
        self.refusals
    }

    /// Another ring of the same keys, as their files have them.
    pub(crate) fn copy(&self) -> Self {
        let keys = self.keys.iter().map(|key| Key::new(key.secret.clone(), key.dates));
        Self { keys: keys.collect(), refusals: 0 }
    }

    /// Reads every `*.key` file of the directory.
    ///
    /// # Errors
    /// [`RingError`] names the file and the reason. A ring is whole or it is not loaded; an empty one is an error too, and so is a
    /// directory into which others can put keys.
    pub fn load(directory: &Path) -> Result<Self, RingError> {
        permissions::check_directory(directory)?;
        let ring = settled(|| Ok(Self::new(file::read_all(directory)?)))?;
        if ring.keys.is_empty() {
            return Err(RingError::Empty { directory: directory.to_owned() });
        }
        Ok(ring)
    }

    /// All keys, the latest activation first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key to open a token of this id with.
    ///
    /// # Errors
    /// [`NoKey`] if it is not held, or revoked.
    pub fn opening_key(&self, kid: Kid) -> Result<&Key, NoKey> {
        let key = self.keys.iter().find(|key| key.kid() == kid).ok_or(NoKey::Unknown)?;
        if key.is_revoked() { Err(NoKey::Revoked) } else { Ok(key) }
    }

    /// The active key, if there is one.
    pub fn sealing_key(&self, now: UnixTime) -> Option<&Key> {
        self.keys.iter().find(|key| key.may_seal(now))
    }

    /// Where a key of this ring is in its life.
    pub fn state(&self, key: &Key, now: UnixTime) -> KeyState {
        if key.is_revoked() {
            KeyState::Revoked
        } else if !key.may_seal(now) {
            KeyState::Published
        } else if self.sealing_key(now).is_some_and(|active| active.kid() == key.kid()) {
            KeyState::Active
        } else {
            KeyState::Retired
        }
    }

    /// When the first unrevoked successor replaced a retired key.
    pub fn retired_at(&self, key: &Key, now: UnixTime) -> Option<UnixTime> {
        let order = |key: &Key| (key.dates.activates_at, key.kid());
        (self.state(key, now) == KeyState::Retired)
            .then(|| {
                let successors = self.keys.iter().filter(|other| other.may_seal(now) && order(other) > order(key));
                successors.filter_map(|other| other.dates.activates_at).min()
            })
            .flatten()
    }

    /// The other keys that are not revoked and have sealed since this one was made: it opens from then on until it is revoked, and a
    /// session of it that is renewed goes on under the key that is active at that moment.
    fn renewing(&self, key: &Key, now: UnixTime) -> Vec<Kid> {
        let order = |key: &Key| (key.dates.activates_at, key.kid());
        let sealed_since = |other: &Key| {
            let counts = |next: &&Key| next.may_seal(now) || next.kid() == key.kid();
            let replaced = self.keys.iter().filter(counts).filter(|next| order(next) > order(other));
            let replaced_at = replaced.filter_map(|next| next.dates.activates_at).min();
            replaced_at.is_none_or(|instant| instant > key.dates.created_at)
        };
        let was_there = |other: &Key| key.dates.revoked_at.is_none_or(|revoked_at| other.dates.created_at < revoked_at);
        let others = self.keys.iter().filter(|other| other.kid() != key.kid() && other.may_seal(now));
        others.filter(|other| was_there(other) && sealed_since(other)).map(Key::kid).collect()
    }

    /// Until when a token that was sealed with a retired or revoked key may be alive; `None` for a key that may yet seal.
    pub fn needed_until(&self, key: &Key, now: UnixTime) -> Option<UnixTime> {
        let last_sealed = match self.state(key, now) {
            KeyState::Retired => self.retired_at(key, now),
            KeyState::Revoked => key.dates.revoked_at,
            KeyState::Published | KeyState::Active => None,
        };
        // A node whose clock is slow, or that read the ring late, sealed with it a little longer.
        let grace = key.dates.max_lifetime.saturating_add(CLOCK_SKEW);
        Some(last_sealed?.plus(grace))
    }
}

/// Reads until two reads agree, so that what was read was there at one moment. A key is revoked before its successor becomes active;
/// one read may see the first file as it was before and the second as it is after, and a ring of both would renew sessions of the
/// revoked key.
fn settled(read: impl Fn() -> Result<KeyRing, RingError>) -> Result<KeyRing, RingError> {
    /// Nobody changes the files that often.
    const MOST_READS: usize = 10;
    let mut ring = read()?;
    for _ in 1..MOST_READS {
        let again = read()?;
        if again == ring {
            break;
        }
        ring = again;
    }
    Ok(ring)
}
