//! Records: the values that the store returns and takes, for both engines.

use std::time::Duration;

use sqlx::postgres::PgRow;

use super::error::StoreError;
use crate::account::{DisplayName, Email, LoginName, Profile, Roles, new_subject};
use crate::clock::{STORE_CLOCK_SKEW, UnixTime};
use crate::id::Sid;
use crate::revocation::Entry;
use crate::session::claims::Flags;
use crate::session::{Lifetimes, Presented};

/// Policy for a database that has none of our tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// It is not opened, because it is most likely not the database that is meant.
    Refused,
    /// The tables are created.
    Filled,
}

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
    /// Makes a new account, enabled, with a subject of its own.
    pub(crate) fn new(profile: Profile, password_hash: String, must_change: bool, now: UnixTime) -> Self {
        let sub = new_subject();
        Self { sub, profile, password_hash, disabled: false, must_change, generation: 1, created_at: now }
    }
}

/// A change of an account. Every change but `Enable` ends all its sessions, unless it is in force already.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Password { hash: String, must_change: bool },
    Roles(Roles),
    Disable,
    Enable,
    EndSessions,
    Delete,
}

impl Change {
    /// Returns whether an account with these columns is already as it would be after the change.
    pub(super) fn is_in_force(&self, roles: &str, disabled: bool) -> bool {
        match self {
            Self::Roles(new) => new.as_str() == roles,
            Self::Disable => disabled,
            Self::Enable => !disabled,
            Self::Password { .. } | Self::EndSessions | Self::Delete => false,
        }
    }
}

/// Result of a change of an account.
#[derive(Debug, Clone)]
pub(crate) struct AccountChanged {
    pub(crate) sub: String,
    /// False if the change was in force already. Then no session ended either.
    pub(crate) is_different: bool,
}

/// New names and addresses of an account. A field that is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProfileChange {
    pub(crate) login_name: Option<LoginName>,
    pub(crate) display_name: Option<DisplayName>,
    pub(crate) email: Option<Email>,
}

impl ProfileChange {
    /// Returns the profile after this change.
    pub(super) fn applied_to(&self, profile: &Profile) -> Profile {
        Profile {
            login_name: self.login_name.as_ref().unwrap_or(&profile.login_name).clone(),
            display_name: self.display_name.as_ref().unwrap_or(&profile.display_name).clone(),
            email: self.email.as_ref().unwrap_or(&profile.email).clone(),
            roles: profile.roles.clone(),
        }
    }
}

/// Result of a change of names and addresses.
#[derive(Debug, Clone)]
pub(crate) struct ProfileChanged {
    pub(crate) sub: String,
    pub(crate) before: Profile,
    /// Equal to `before` if nothing changed. Then no session ended either.
    pub(crate) after: Profile,
}

/// Result of a password change by the account's owner.
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
    /// The time by the store's clock, if it has one of its own.
    pub(crate) clock: Option<UnixTime>,
}

impl State {
    /// Returns by how many whole seconds this machine's clock and the store's differ at least, if the store has a clock. This
    /// machine's clock said `asked` before the counters were read, and `answered` after. The real difference is less than a second
    /// more than this, and than the time that the store took to answer.
    pub(crate) fn clock_difference(&self, asked: UnixTime, answered: UnixTime) -> Option<Duration> {
        self.clock.map(|clock| asked.since(clock).max(clock.since(answered)))
    }

    /// Returns an error if this machine's clock is not within [`STORE_CLOCK_SKEW`] of the store's.
    pub(crate) fn check_clock(&self, asked: UnixTime, answered: UnixTime) -> Result<(), StoreError> {
        match (self.clock, self.clock_difference(asked, answered)) {
            (Some(there), Some(apart)) if apart >= STORE_CLOCK_SKEW => {
                Err(StoreError::ClocksApart { here: answered, there })
            }
            _ => Ok(()),
        }
    }
}

/// A page of the revocation log, and the counters as they were after its rows were read.
#[derive(Debug)]
pub(crate) struct Page {
    pub(super) rows: Undecoded,
    pub(super) count: usize,
    /// The number of the last row.
    pub(super) last: Option<i64>,
    pub(crate) state: State,
}

/// Rows before decoding. Decoding takes as long as reading, so the caller does it, and can read the next page meanwhile.
#[derive(Debug)]
pub(super) enum Undecoded {
    Sqlite(String),
    Postgres(Vec<PgRow>),
}

impl Page {
    /// Returns where the next page begins if this one was cut off at `limit`: at its last row, which is read again.
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
    /// Time since it was written, if the store can tell.
    pub(crate) age: Option<Duration>,
}

/// A refusal, before its expiry is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Revoke {
    /// One session, and the facts of its token if they are known.
    Session { sid: Sid, token: Option<TokenFacts> },
    /// All sessions of an account that are below this generation.
    Subject { sub: Box<str>, below: u64 },
    /// All sessions of a subject without an account here that begin before the commit. Only the transaction knows which generation
    /// that is. Until then it refuses those below `at_least`.
    SubjectSoFar { sub: Box<str>, at_least: u64 },
}

/// The facts of a token that decide how long its refusal is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenFacts {
    pub(crate) absolute_deadline: UnixTime,
    pub(crate) remembered: bool,
}

/// How this server seals and how it follows the log. It is recorded, so that all servers keep entries long enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealing {
    pub(crate) lifetimes: Lifetimes,
    pub(crate) lag: Duration,
    pub(crate) fail_open: bool,
}

/// Version of the tables: the number of a schema migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) applied: i64,
    /// The latest that this program knows.
    pub(crate) known: i64,
}

/// Settings of a PostgreSQL server that decide how safe its commits are.
#[derive(Debug, Clone)]
pub(crate) struct ServerFacts {
    pub(crate) version: String,
    pub(crate) fsync: bool,
    pub(crate) full_page_writes: bool,
    pub(crate) standbys: i64,
    /// Names of the standbys that confirm commits.
    pub(crate) synchronous: String,
    /// Maximum number of connections, without those reserved for superusers.
    pub(crate) connections: i64,
}

impl From<&Presented> for Revoke {
    fn from(presented: &Presented) -> Self {
        let remembered = Flags::remembered(presented.flags);
        let token = TokenFacts { absolute_deadline: presented.absolute_deadline, remembered };
        Self::Session { sid: presented.sid, token: Some(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_half_a_minute_from_the_store_is_an_error() {
        let state = |clock| State { global_generation: 0, pruned_through: UnixTime(0), clock };
        for (clock, asked, answered, is_near) in [
            (1_000, 1_029, 1_029, true),
            (1_000, 1_030, 1_030, false),
            (1_000, 971, 971, true),
            (1_000, 970, 970, false),
            // The store took long to answer, and its clock was read at an unknown time meanwhile.
            (1_000, 980, 1_040, true),
            (1_000, 1_030, 1_040, false),
        ] {
            let checked = state(Some(UnixTime(clock))).check_clock(UnixTime(asked), UnixTime(answered));
            assert_eq!(checked.is_ok(), is_near, "{clock} {asked} {answered}");
        }
        assert!(state(None).check_clock(UnixTime(0), UnixTime(0)).is_ok(), "SQLite has no clock of its own");
    }
}
