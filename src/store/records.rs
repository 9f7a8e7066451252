//! What the store keeps, and what it is told, whichever engine it is.

use std::time::Duration;

use sqlx::postgres::PgRow;

use crate::account::{Profile, Roles, new_subject};
use crate::clock::UnixTime;
use crate::id::Sid;
use crate::revocation::Entry;
use crate::session::claims::Flags;
use crate::session::{Lifetimes, Presented};

/// An account as stored.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) sub: String,
    pub(crate) profile: Profile,
    pub(crate) password_hash: String,
    pub(crate) disabled: bool,
    /// The password must be changed before a session can begin.
    pub(crate) must_change: bool,
    pub(crate) generation: u64,
    pub(crate) created_at: UnixTime,
}

impl Account {
    /// A new one, enabled, under a subject of its own.
    pub(crate) fn new(profile: Profile, password_hash: String, must_change: bool, now: UnixTime) -> Self {
        let sub = new_subject();
        Self { sub, profile, password_hash, disabled: false, must_change, generation: 1, created_at: now }
    }
}

/// What changes an account. Every one but `Enable` ends all its sessions.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Password { hash: String, must_change: bool },
    Roles(Roles),
    Disable,
    Enable,
    EndSessions,
    Delete,
}

/// A password was changed by its owner.
#[derive(Debug, Clone)]
pub(crate) struct PasswordChanged {
    /// The account's generation from now on.
    pub(crate) generation: u64,
    /// The refusal of all sessions before.
    pub(crate) ended: Entry,
}

/// The store's own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) global_generation: u64,
    pub(crate) pruned_through: UnixTime,
    /// What the store's clock said, if it has one of its own.
    pub(crate) clock: Option<UnixTime>,
}

/// Some rows of the revocation log, as the engine hands them over, and the counters as they were after these were read.
#[derive(Debug)]
pub(crate) struct Page {
    pub(super) rows: Undecoded,
    pub(super) count: usize,
    /// The number of the last row.
    pub(super) last: Option<i64>,
    pub(crate) state: State,
}

/// To make entries of rows takes as long as to read them, so that is left to whoever takes them, and can be done beside reading.
#[derive(Debug)]
pub(super) enum Undecoded {
    Sqlite(String),
    Postgres(Vec<PgRow>),
}

impl Page {
    /// Where the next page begins, if this one was cut off at `limit`: with its last row, which is read again.
    pub(crate) fn next(&self, limit: i64) -> Option<i64> {
        self.last.filter(|_| i64::try_from(self.count).is_ok_and(|count| count >= limit))
    }
}

/// One row of the revocation log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Rows are committed in the order of their numbers.
    pub(crate) seq: i64,
    pub(crate) entry: Entry,
    /// How long ago it was written, if the store can tell.
    pub(crate) age: Option<Duration>,
}

/// Something to refuse, before its expiry is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Revoke {
    /// One session; what its token says, where the token is at hand.
    Session { sid: Sid, token: Option<TokenFacts> },
    /// All sessions of an account that are below this generation.
    Subject { sub: Box<str>, below: u64 },
}

/// What retention needs to know of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenFacts {
    pub(crate) absolute_deadline: UnixTime,
    pub(crate) remembered: bool,
}

/// How this server seals and how it follows the log: recorded, so that entries are kept long enough whoever writes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealing {
    pub(crate) lifetimes: Lifetimes,
    pub(crate) lag: Duration,
    pub(crate) fail_open: bool,
}

impl From<&Presented> for Revoke {
    fn from(presented: &Presented) -> Self {
        let remembered = Flags::remembered(presented.flags);
        let token = TokenFacts { absolute_deadline: presented.absolute_deadline, remembered };
        Self::Session { sid: presented.sid, token: Some(token) }
    }
}
