//! An entry of the revocation list, as it is in the store's log.

use crate::clock::UnixTime;
use crate::id::{Kid, Sid};

/// An entry of the revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Refuses a session.
    Session {
        /// Id of the session.
        sid: Sid,
        /// Time after which the entry may be removed.
        expires_at: UnixTime,
    },
    /// Refuses the sessions of an account below a generation.
    Subject {
        /// Id of the account.
        sub: Box<str>,
        /// Lowest generation that is not refused.
        below: u64,
        /// Time after which the entry may be removed.
        expires_at: UnixTime,
    },
    /// Refuses a key: no node seals or opens with it, regardless of its key files. The entry is never removed; `retention.rs`
    /// has the reason.
    Key {
        /// Id of the key.
        kid: Kid,
    },
}

impl Entry {
    /// Returns the time after which the entry may be removed. For a key, this is the largest possible time.
    pub const fn expires_at(&self) -> UnixTime {
        match self {
            Self::Session { expires_at, .. } | Self::Subject { expires_at, .. } => *expires_at,
            Self::Key { .. } => UnixTime(u64::MAX),
        }
    }
}
