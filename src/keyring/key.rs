//! Key of the ring: the secret, the ciphers that are derived from it, and the dates that determine its state.

use std::time::Duration;

use crate::clock::UnixTime;
use crate::id::Kid;
use crate::seal::Sealer;
use crate::secret::Secret;

/// A key and its dates.
#[derive(Debug)]
pub struct Key {
    pub(super) secret: Secret,
    sealer: Sealer,
    pub(super) dates: Dates,
    /// Whether the revocation log refuses the key.
    pub(super) is_refused: bool,
}

/// Fields of a key file except the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// Time of creation.
    pub created_at: UnixTime,
    /// Time from which the key seals, or `None` if the key is published without a scheduled activation.
    pub activates_at: Option<UnixTime>,
    /// Time of revocation, or `None` if the key is not revoked.
    pub revoked_at: Option<UnixTime>,
    /// Maximum lifetime of a token that is sealed with the key.
    pub max_lifetime: Duration,
}

impl Key {
    /// Creates a key from its secret, and derives its ciphers.
    pub fn new(secret: Secret, dates: Dates) -> Self {
        Self { sealer: Sealer::new(&secret), secret, dates, is_refused: false }
    }

    /// Returns the id of the key.
    pub const fn kid(&self) -> Kid {
        self.sealer.kid()
    }

    /// Returns the dates of the key.
    pub const fn dates(&self) -> &Dates {
        &self.dates
    }

    /// Returns the ciphers of the key.
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Returns whether the key is revoked, in its file or by the revocation log.
    pub const fn is_revoked(&self) -> bool {
        self.is_refused || self.dates.revoked_at.is_some()
    }

    /// Returns whether the key may seal at `now`, if no later key is active.
    pub(super) fn may_seal(&self, now: UnixTime) -> bool {
        !self.is_revoked() && self.dates.activates_at.is_some_and(|instant| instant <= now)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.is_refused == other.is_refused && self.dates == other.dates && self.secret == other.secret
    }
}
