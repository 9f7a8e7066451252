//! Parts of the revocation log that both engines share: the expiry of an entry, and the encoding of an entry in columns.

use std::time::Duration;

use super::error::StoreError;
use super::records::Revocation;
use crate::clock::UnixTime;
use crate::id::{Kid, Sid};
use crate::revocation::Entry;
use crate::revocation::retention::{self, MaxLifetimes};

/// Facts from which a transaction that writes revocations computes their expiries. They are read in the same transaction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) committed_at: UnixTime,
    /// Lowest generation above the generations of all sessions that subjects without an account have at the commit; see
    /// [`super::Store::generation`].
    next_generation: u64,
    ordinary: MaxLifetimes,
    remembered: MaxLifetimes,
}

impl Facts {
    /// Returns the facts for a commit at this time, without any recorded lifetimes. `generation` is the generation before
    /// the commit.
    pub(super) fn at(committed_at: UnixTime, generation: i64) -> Result<Self, StoreError> {
        let next_generation = unsigned(generation)?.saturating_add(1);
        Ok(Self { committed_at, next_generation, ..Self::default() })
    }

    /// Returns the entry for a revocation, with its expiry.
    pub(super) fn entry(&self, revocation: &Revocation) -> Entry {
        let maximum_of_both = || self.ordinary.max(self.remembered);
        let subject = |sub: &str, below| {
            let expires_at = retention::expiry(self.committed_at, None, maximum_of_both());
            Entry::Subject { sub: sub.into(), below, expires_at }
        };
        match revocation {
            Revocation::Session { sid, token } => {
                let longest = token.map_or_else(maximum_of_both, |token| match token.remembered {
                    false => self.ordinary,
                    true => self.remembered,
                });
                let deadline = token.map(|token| token.absolute_deadline);
                Entry::Session { sid: *sid, expires_at: retention::expiry(self.committed_at, deadline, longest) }
            }
            Revocation::Subject { sub, below } => subject(sub, *below),
            Revocation::SubjectUntilCommit { sub, min_below } => subject(sub, self.next_generation.max(*min_below)),
        }
    }

    /// Sets the maximum lifetimes of ordinary or remembered sessions: idle timeout, absolute timeout and lag in seconds, and
    /// whether a node may fail open.
    pub(super) fn set_longest(&mut self, remembered: bool, row: (i64, i64, i64, bool)) -> Result<(), StoreError> {
        let duration = |secs| Ok::<_, StoreError>(Duration::from_secs(unsigned(secs)?));
        let longest = if remembered { &mut self.remembered } else { &mut self.ordinary };
        *longest = MaxLifetimes {
            idle: duration(row.0)?,
            absolute: duration(row.1)?,
            lag: duration(row.2)?,
            fail_open: row.3,
        };
        Ok(())
    }
}

/// Converts a counter or a time that was read from the database.
pub(super) fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt("negative counter or time"))
}

/// Converts a counter or a time for the database. A value that is too large becomes the largest possible value.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns whole seconds, rounded up, so that an entry is not removed a fraction of a second too early.
pub(super) fn whole_secs(span: Duration) -> i64 {
    signed(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

/// Columns of a row of the log.
pub(super) struct Row<'r> {
    pub(super) sid: Option<&'r [u8]>,
    pub(super) sub: Option<String>,
    pub(super) below: Option<i64>,
    pub(super) kid: Option<&'r [u8]>,
    pub(super) expires_at: i64,
}

impl Row<'_> {
    /// Decodes the entry.
    pub(super) fn entry(self) -> Result<Entry, StoreError> {
        let expires_at = UnixTime(unsigned(self.expires_at)?);
        match (self.sid, self.sub, self.below, self.kid) {
            (Some(sid), None, None, None) => {
                let sid = sid.try_into().map_err(|_| StoreError::Corrupt("session id of the wrong length"))?;
                Ok(Entry::Session { sid: Sid::from_bytes(sid), expires_at })
            }
            (None, Some(sub), Some(below), None) => {
                Ok(Entry::Subject { sub: sub.into(), below: unsigned(below)?, expires_at })
            }
            (None, None, None, Some(kid)) => {
                let kid = kid.try_into().map_err(|_| StoreError::Corrupt("key id of the wrong length"))?;
                Ok(Entry::Key { kid: Kid::from_bytes(kid) })
            }
            _ => Err(StoreError::Corrupt("revocation of no object, or of several")),
        }
    }
}
