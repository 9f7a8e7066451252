//! Types of the values that callers pass to the store and receive from it. Both engines use them.

use std::time::Duration;

use sqlx::postgres::PgRow;

use super::error::StoreError;
use crate::account::{DisplayName, Email, LoginName, Profile, Roles, new_subject};
use crate::clock::{STORE_CLOCK_SKEW, UnixTime};
use crate::id::Sid;
use crate::revocation::Entry;
use crate::session::claims::Flags;
use crate::session::{Lifetimes, PresentedSession};

/// Policy for a database that has none of Sealjar's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmptyPolicy {
    /// The database is not opened, because its address is most likely wrong.
    Refused,
    /// Sealjar's tables are created in the database.
    Filled,
}

/// Account as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) sub: String,
    pub(crate) profile: Profile,
    pub(crate) password_hash: String,
    pub(crate) disabled: bool,
    /// Whether the password must be changed before a session can begin.
    pub(crate) must_change: bool,
    pub(crate) generation: u64,
    pub(crate) created_at: UnixTime,
}

impl Account {
    /// Creates an enabled account with a new subject id.
    pub(crate) fn new(profile: Profile, password_hash: String, must_change: bool, now: UnixTime) -> Self {
        let sub = new_subject();
        Self { sub, profile, password_hash, disabled: false, must_change, generation: 1, created_at: now }
    }
}

/// Change of an account. Every change except `Enable` ends all sessions of the account, unless the account already has the
/// new value.
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
    /// Returns whether an account with these columns already has the new value, so that there is nothing to change.
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
    /// Whether the account was changed. If this is `false`, no session ended.
    pub(crate) is_different: bool,
}

/// New names and email address of an account. A field with `None` is not changed.
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

/// Result of a change of names and email address.
#[derive(Debug, Clone)]
pub(crate) struct ProfileChanged {
    pub(crate) sub: String,
    pub(crate) before: Profile,
    /// Profile after the change. If it is equal to `before`, no session ended.
    pub(crate) after: Profile,
}

/// Result of a password change by the account's owner.
#[derive(Debug, Clone)]
pub(crate) struct PasswordChanged {
    /// Generation of the account from now on.
    pub(crate) generation: u64,
    /// Entry that refuses all earlier sessions of the account.
    pub(crate) ended: Entry,
}

/// Counters of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) global_generation: u64,
    pub(crate) pruned_through: UnixTime,
    /// Time of the store's own clock; `None` for SQLite, which uses the clock of this machine.
    pub(crate) clock: Option<UnixTime>,
}

impl State {
    /// Returns the minimum difference between this machine's clock and the store's, in whole seconds, or `None` if the store
    /// has no clock. `before` is the time of this machine before the counters were read, and `after` the time after that. The
    /// real difference is larger by less than one second plus the time that reading took.
    pub(crate) fn clock_difference(&self, before: UnixTime, after: UnixTime) -> Option<Duration> {
        self.clock.map(|clock| before.since(clock).max(clock.since(after)))
    }

    /// Returns an error if this machine's clock is not within [`STORE_CLOCK_SKEW`] of the store's clock. `before` and `after`
    /// are as in [`State::clock_difference`].
    pub(crate) fn check_clock(&self, before: UnixTime, after: UnixTime) -> Result<(), StoreError> {
        match (self.clock, self.clock_difference(before, after)) {
            (Some(store), Some(difference)) if difference >= STORE_CLOCK_SKEW => {
                Err(StoreError::ClocksDiffer { here: after, there: store })
            }
            _ => Ok(()),
        }
    }
}

/// Page of the revocation log, and the counters of the store. The counters were read together with the rows or after them.
#[derive(Debug)]
pub(crate) struct Page {
    pub(super) rows: Undecoded,
    pub(super) count: usize,
    /// Number of the last row.
    pub(super) last: Option<i64>,
    pub(crate) state: State,
}

/// Rows of a page before decoding. Decoding takes as long as reading, so the caller can decode a page while it reads the
/// next page.
#[derive(Debug)]
pub(super) enum Undecoded {
    Sqlite(String),
    Postgres(Vec<PgRow>),
}

impl Page {
    /// Returns the number at which the next page begins, or `None` if this page has fewer rows than `limit`. The next page
    /// begins with the last row of this one.
    pub(crate) fn next(&self, limit: i64) -> Option<i64> {
        self.last.filter(|_| i64::try_from(self.count).is_ok_and(|count| count >= limit))
    }
}

/// One row of the revocation log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Number of the row. Rows are committed in the order of their numbers.
    pub(crate) seq: i64,
    pub(crate) entry: Entry,
    /// Time since the row was written; `None` for SQLite, which does not record it.
    pub(crate) age: Option<Duration>,
}

/// A revocation before it has an expiry. The transaction that writes it computes the expiry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Revocation {
    /// Revokes one session. `token` has the facts of its token, if they are known.
    Session { sid: Sid, token: Option<TokenFacts> },
    /// Revokes all sessions of an account below this generation.
    Subject { sub: Box<str>, below: u64 },
    /// Revokes all sessions of a subject without an account in this store that begin before the commit. Only the transaction
    /// can determine their generation. Until then, the pending entry refuses generations below `min_below`.
    SubjectUntilCommit { sub: Box<str>, min_below: u64 },
}

/// Facts of a token that determine how long its revocation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenFacts {
    pub(crate) absolute_deadline: UnixTime,
    pub(crate) remembered: bool,
}

/// Lifetimes with which this server seals tokens, and its maximum lag. Each server records its own in the store, so that all
/// servers keep entries long enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SealingRecord {
    pub(crate) lifetimes: Lifetimes,
    pub(crate) lag: Duration,
    pub(crate) fail_open: bool,
}

/// Versions of the tables. A version is the number of a schema migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Latest schema migration that was applied to the database.
    pub(crate) applied: i64,
    /// Latest schema migration that this program has.
    pub(crate) known: i64,
}

/// Settings of a PostgreSQL server that determine how safe its commits are.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    pub(crate) version: String,
    pub(crate) fsync: bool,
    pub(crate) full_page_writes: bool,
    /// Number of standbys that are connected.
    pub(crate) standbys: i64,
    /// Names of the standbys that confirm commits.
    pub(crate) synchronous: String,
    /// Maximum number of connections. Connections that are reserved for superusers are not counted.
    pub(crate) connections: i64,
}

impl From<&PresentedSession> for Revocation {
    fn from(presented: &PresentedSession) -> Self {
        let remembered = Flags::is_remembered(presented.flags);
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
        for (clock, before, after, is_near) in [
            (1_000, 1_029, 1_029, true),
            (1_000, 1_030, 1_030, false),
            (1_000, 971, 971, true),
            (1_000, 970, 970, false),
            // The query took long, and the store's clock was read at an unknown time meanwhile.
            (1_000, 980, 1_040, true),
            (1_000, 1_030, 1_040, false),
        ] {
            let checked = state(Some(UnixTime(clock))).check_clock(UnixTime(before), UnixTime(after));
            assert_eq!(checked.is_ok(), is_near, "{clock} {before} {after}");
        }
        assert!(
            state(None).check_clock(UnixTime(0), UnixTime(0)).is_ok(),
            "the clock of an SQLite store is the clock of this machine"
        );
    }
}
