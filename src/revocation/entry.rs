//! What a list is made of.

use crate::clock::UnixTime;
use crate::id::{Kid, Sid};

/// One refusal, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Refuses a session.
    Session {
        /// Which.
        sid: Sid,
        /// When it may be thrown away.
        expires_at: UnixTime,
    },
    /// Refuses an account's sessions of a lower generation.
    Subject {
        /// Which account.
        sub: Box<str>,
        /// Tokens of a generation below this are dead.
        below: u64,
        /// When it may be thrown away.
        expires_at: UnixTime,
    },
    /// Refuses a key, for ever (`retention.rs` says why): no node opens or seals with it, whatever its key files say.
    Key {
        /// The key's id.
        kid: Kid,
    },
}

impl Entry {
    /// When it may be thrown away; the end of time, if never.
    pub const fn expires_at(&self) -> UnixTime {
        match self {
            Self::Session { expires_at, .. } | Self::Subject { expires_at, .. } => *expires_at,
            Self::Key { .. } => UnixTime(u64::MAX),
        }
    }
}
