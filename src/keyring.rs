//! Key ring: determines which key seals and which keys open.
//!
//! Invariant: the state of a key depends only on the ring and the clock. So nodes with the same key files agree without
//! communication.
//!
//! * **published**: not yet active. It opens, so that a token of a node that seals with it too early is valid on every node.
//! * **active**: the key with the latest `activates_at` of the keys that are not revoked and whose `activates_at` has passed. The
//!   greater kid wins a tie. It seals and opens.
//! * **retired**: a key that was activated later replaced it. It opens. It becomes active again if its replacement is revoked.
//! * **revoked**: it opens nothing, at any time.
//!
//! A key that the revocation log in the store refuses is revoked too, even if its file has no revocation date
//! ([`KeyRing::with_refused_keys`]).
//!
//! `rotate.rs` changes the key files. [`crate::session`] seals and opens with the keys.

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
    /// The key opens, but does not seal yet.
    Published,
    /// The key seals and opens.
    Active,
    /// The key opens, but a later key seals.
    Retired,
    /// The key opens nothing.
    Revoked,
}

impl KeyState {
    /// Returns the name of the state that the command line prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

/// Reason why the ring has no key that opens a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The ring has no key with this id.
    #[error("no key with this id is in the key ring")]
    Unknown,
    /// The key with this id is revoked.
    #[error("the key is revoked")]
    Revoked,
}

/// Keys of a server, sorted by activation, the latest first.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    /// Number of kids that were passed to [`KeyRing::with_refused_keys`].
    refused_key_count: usize,
}

/// Two rings are equal if their keys are equal.
impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl KeyRing {
    /// Creates a ring of these keys.
    pub fn new(mut keys: Vec<Key>) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse((key.dates.activates_at, key.kid())));
        Self { keys, refused_key_count: 0 }
    }

    /// Revokes the keys that the revocation log refuses.
    #[must_use]
    pub fn with_refused_keys(mut self, kids: &[Kid]) -> Self {
        self.keys.iter_mut().for_each(|key| key.is_refused = kids.contains(&key.kid()));
        self.refused_key_count = kids.len();
        self
    }

    /// Returns the number of kids that were passed to [`KeyRing::with_refused_keys`].
    pub(crate) const fn refused_key_count(&self) -> usize {
        self.refused_key_count
    }

    /// Copies the ring without the refusals of the revocation log.
    pub(crate) fn without_refusals(&self) -> Self {
        let keys = self.keys.iter().map(|key| Key::new(key.secret.clone(), key.dates));
        Self { keys: keys.collect(), refused_key_count: 0 }
    }

    /// Reads every `*.key` file of the directory.
    ///
    /// # Errors
    /// [`RingError`], which names the file and the reason, if a key file cannot be used, if there is no key file, or if other
    /// users can add keys to the directory. A ring is loaded completely or not at all.
    pub fn load(directory: &Path) -> Result<Self, RingError> {
        permissions::check_directory(directory)?;
        let ring = read_until_stable(|| Ok(Self::new(file::read_all(directory)?)))?;
        if ring.keys.is_empty() {
            return Err(RingError::Empty { directory: directory.to_owned() });
        }
        Ok(ring)
    }

    /// Returns all keys, sorted by activation, the latest first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the key that opens tokens with this kid.
    ///
    /// # Errors
    /// [`NoKey`] if the key is not in the ring or is revoked.
    pub fn opening_key(&self, kid: Kid) -> Result<&Key, NoKey> {
        let key = self.keys.iter().find(|key| key.kid() == kid).ok_or(NoKey::Unknown)?;
        if key.is_revoked() { Err(NoKey::Revoked) } else { Ok(key) }
    }

    /// Returns the active key, or `None` if no key is active.
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

    /// Returns the time at which another key replaced a retired key, or `None` if `key` is not retired. Revoked keys do not
    /// count as replacements.
    pub fn retired_at(&self, key: &Key, now: UnixTime) -> Option<UnixTime> {
        let order = |key: &Key| (key.dates.activates_at, key.kid());
        (self.state(key, now) == KeyState::Retired)
            .then(|| {
                let later_keys = self.keys.iter().filter(|other| other.may_seal(now) && order(other) > order(key));
                later_keys.filter_map(|other| other.dates.activates_at).min()
            })
            .flatten()
    }

    /// Returns the other keys that are not revoked and may have sealed renewed tokens of sessions of `key`.
    ///
    /// `key` opens tokens from its creation until its revocation. A renewal in this period seals with the key that is active at
    /// that time.
    fn keys_that_renewed(&self, key: &Key, now: UnixTime) -> Vec<Kid> {
        let order = |key: &Key| (key.dates.activates_at, key.kid());
        // Whether another key was active at some time after the creation of `key`.
        let was_active_after_creation = |other: &Key| {
            let may_replace = |next: &&Key| next.may_seal(now) || next.kid() == key.kid();
            let later_keys = self.keys.iter().filter(may_replace).filter(|next| order(next) > order(other));
            let replaced_at = later_keys.filter_map(|next| next.dates.activates_at).min();
            replaced_at.is_none_or(|instant| instant > key.dates.created_at)
        };
        // Whether another key existed before the revocation of `key`.
        let existed_before_revocation =
            |other: &Key| key.dates.revoked_at.is_none_or(|revoked_at| other.dates.created_at < revoked_at);
        let others = self.keys.iter().filter(|other| other.kid() != key.kid() && other.may_seal(now));
        others
            .filter(|other| existed_before_revocation(other) && was_active_after_creation(other))
            .map(Key::kid)
            .collect()
    }

    /// Returns the time until which a token that was sealed with a retired or revoked key may be valid, or `None` for a key that
    /// may still seal.
    pub fn needed_until(&self, key: &Key, now: UnixTime) -> Option<UnixTime> {
        let last_sealed = match self.state(key, now) {
            KeyState::Retired => self.retired_at(key, now),
            KeyState::Revoked => key.dates.revoked_at,
            KeyState::Published | KeyState::Active => None,
        };
        // A node with a slow clock, or a node that read the ring late, has sealed with the key a little longer.
        let grace = key.dates.max_lifetime.saturating_add(CLOCK_SKEW);
        Some(last_sealed?.plus(grace))
    }
}

/// Reads the ring until two consecutive reads agree, so that the result is a consistent snapshot.
///
/// A revocation first changes the file of the revoked key, and then the file of its replacement. A single read could return the
/// first file before the change and the second file after the change. With such a ring, the replacement would renew sessions of
/// the revoked key.
fn read_until_stable(read: impl Fn() -> Result<KeyRing, RingError>) -> Result<KeyRing, RingError> {
    /// Maximum number of reads. It is never reached in practice, because key files change rarely.
    const MAX_READS: usize = 10;
    let mut ring = read()?;
    for _ in 1..MAX_READS {
        let next = read()?;
        if next == ring {
            break;
        }
        ring = next;
    }
    Ok(ring)
}
