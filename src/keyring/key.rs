//! A key of the ring.

use std::time::Duration;

use crate::clock::UnixTime;
use crate::id::Kid;
use crate::seal::Sealer;
use crate::secret::Secret;

/// A key, and its dates.
#[derive(Debug)]
pub struct Key {
    pub(super) secret: Secret,
    sealer: Sealer,
    pub(super) dates: Dates,
    /// Whether the revocation log refuses the key.
    pub(super) refused: bool,
}

/// The fields of a key file besides the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// Time of creation.
    pub created_at: UnixTime,
    /// Time from which it seals; `None` while it is published and not scheduled.
    pub activates_at: Option<UnixTime>,
    /// Time of revocation, or `None`.
    pub revoked_at: Option<UnixTime>,
    /// Maximum lifetime of a token sealed with it.
    pub max_lifetime: Duration,
}

impl Key {
    /// Makes a key.
    pub fn new(secret: Secret, dates: Dates) -> Self {
        Self { sealer: Sealer::new(&secret), secret, dates, refused: false }
    }

    /// Returns its id.
    pub const fn kid(&self) -> Kid {
        self.sealer.kid()
    }

    /// Returns its dates.
    pub const fn dates(&self) -> &Dates {
        &self.dates
    }

    /// Returns its ciphers.
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Returns whether it was revoked, by its file or by the revocation log.
    pub const fn is_revoked(&self) -> bool {
        self.refused || self.dates.revoked_at.is_some()
    }

    /// Returns whether it would seal at `now` if there were no later key.
    pub(super) fn may_seal(&self, now: UnixTime) -> bool {
        !self.is_revoked() && self.dates.activates_at.is_some_and(|instant| instant <= now)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.refused == other.refused && self.dates == other.dates && self.secret == other.secret
    }
}
