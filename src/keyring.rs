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

pub(crate) mod error;
pub mod file;
mod key;
pub(crate) mod permissions;
pub mod rotate;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::id::Kid;
pub use error::{KeyFileError, RingError};
pub use key::{Dates, Key};

/// State of a key.
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

/// Reason why the ring has no key to open a token with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// No key of this id is held.
    #[error("there is no key of this id in the ring")]
    Unknown,
    /// The key of this id was revoked.
    #[error("the key was revoked")]
    Revoked,
}

/// All keys held, the latest activation first.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    /// Number of entries of the revocation log that have been applied to the keys.
    refusals: usize,
}

/// Two rings are the same if their keys are.
impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl KeyRing {
    /// Makes a ring of these keys.
    pub fn new(mut keys: Vec<Key>) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse((key.dates.activates_at, key.kid())));
        Self { keys, refusals: 0 }
    }

    /// Revokes the keys that the revocation log refuses.
    #[must_use]
    pub fn refusing(mut self, kids: &[Kid]) -> Self {
        self.keys.iter_mut().for_each(|key| key.refused = kids.contains(&key.kid()));
        self.refusals = kids.len();
        self
    }

    /// Returns the number of kids that were passed to [`KeyRing::refusing`].
    pub(crate) const fn refusals(&self) -> usize {
        self.refusals
    }

    /// Copies the ring without the refusals of the revocation log.
    pub(crate) fn copy(&self) -> Self {
        let keys = self.keys.iter().map(|key| Key::new(key.secret.clone(), key.dates));
        Self { keys: keys.collect(), refusals: 0 }
    }

    /// Reads every `*.key` file of the directory.
    ///
    /// # Errors
    /// [`RingError`] names the file and the reason. A ring is whole or it is not loaded; an empty one is an error too, and so is
    /// a directory into which others can put keys.
    pub fn load(directory: &Path) -> Result<Self, RingError> {
        permissions::check_directory(directory)?;
        let ring = settled(|| Ok(Self::new(file::read_all(directory)?)))?;
        if ring.keys.is_empty() {
            return Err(RingError::Empty { directory: directory.to_owned() });
        }
        Ok(ring)
    }

    /// Returns all keys, the latest activation first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the key that opens tokens of this kid.
    ///
    /// # Errors
    /// [`NoKey`] if it is not held, or revoked.
    pub fn opening_key(&self, kid: Kid) -> Result<&Key, NoKey> {
        let key = self.keys.iter().find(|key| key.kid() == kid).ok_or(NoKey::Unknown)?;
        if key.is_revoked() { Err(NoKey::Revoked) } else { Ok(key) }
    }

    /// Returns the active key, or `None`.
    pub fn sealing_key(&self, now: UnixTime) -> Option<&Key> {
        self.keys.iter().find(|key| key.may_seal(now))
    }

    /// Returns the state of a key of this ring.
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

    /// Returns the time when the first unrevoked successor replaced a retired key.
    pub fn retired_at(&self, key: &Key, now: UnixTime) -> Option<UnixTime> {
        let order = |key: &Key| (key.dates.activates_at, key.kid());
        (self.state(key, now) == KeyState::Retired)
            .then(|| {
                let successors = self.keys.iter().filter(|other| other.may_seal(now) && order(other) > order(key));
                successors.filter_map(|other| other.dates.activates_at).min()
            })
            .flatten()
    }

    /// The other keys that are not revoked and have sealed since this one was made: it opens from then on until it is revoked,
    /// and a session of it that is renewed goes on under the key that is active at that moment.
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

    /// Returns the time until which a token that was sealed with a retired or revoked key may be alive, or `None` for a key that
    /// may still seal.
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

/// Reads until two reads agree, so that what was read was there at one moment. A key is revoked before its successor becomes
/// active; one read may see the first file as it was before and the second as it is after, and a ring of both would renew
/// sessions of the revoked key.
fn settled(read: impl Fn() -> Result<KeyRing, RingError>) -> Result<KeyRing, RingError> {
    /// Nobody changes the files this often.
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
