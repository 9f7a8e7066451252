//! The revocation log, as far as both engines do the same: the expiry of an entry, and the columns that it is kept in.

use std::time::Duration;

use super::error::StoreError;
use super::records::Revoke;
use crate::clock::UnixTime;
use crate::id::{Kid, Sid};
use crate::revocation::Entry;
use crate::revocation::retention::{self, Longest};

/// What a transaction that writes refusals must know, read in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) committed_at: UnixTime,
    /// Higher than the generation of every sign-in without an account so far; see [`super::Store::generation`].
    next_generation: u64,
    ordinary: Longest,
    remembered: Longest,
}

impl Facts {
    /// Nothing is recorded yet for a commit at this time, before which the generation was this.
    pub(super) fn at(committed_at: UnixTime, generation: i64) -> Result<Self, StoreError> {
        let next_generation = unsigned(generation)?.saturating_add(1);
        Ok(Self { committed_at, next_generation, ..Self::default() })
    }

    /// A refusal with the expiry that this transaction fixes.
    pub(super) fn entry(&self, revoke: &Revoke) -> Entry {
        let either = || self.ordinary.or(self.remembered);
        let subject = |sub: &str, below| {
            let expires_at = retention::expiry(self.committed_at, None, either());
            Entry::Subject { sub: sub.into(), below, expires_at }
        };
        match revoke {
            Revoke::Session { sid, token } => {
                let longest = token.map_or_else(either, |token| match token.remembered {
                    false => self.ordinary,
                    true => self.remembered,
                });
                let deadline = token.map(|token| token.absolute_deadline);
                Entry::Session { sid: *sid, expires_at: retention::expiry(self.committed_at, deadline, longest) }
            }
            Revoke::Subject { sub, below } => subject(sub, *below),
            Revoke::SubjectSoFar { sub, at_least } => subject(sub, self.next_generation.max(*at_least)),
        }
    }

    /// Takes a row of what was recorded for one kind of session.
    pub(super) fn learn(&mut self, remembered: bool, row: (i64, i64, i64, bool)) -> Result<(), StoreError> {
        let span = |secs| Ok::<_, StoreError>(Duration::from_secs(unsigned(secs)?));
        let kind = if remembered { &mut self.remembered } else { &mut self.ordinary };
        *kind = Longest { idle: span(row.0)?, absolute: span(row.1)?, lag: span(row.2)?, fail_open: row.3 };
        Ok(())
    }
}

pub(super) fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt("a negative counter or instant"))
}

/// For binding: instants and counters past the engines' range count as its end.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A whole number of seconds, rounded up: an entry must not go a fraction of a second too early.
pub(super) fn whole_secs(span: Duration) -> i64 {
    signed(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

/// A row of the log.
pub(super) struct Row<'r> {
    pub(super) sid: Option<&'r [u8]>,
    pub(super) sub: Option<String>,
    pub(super) below: Option<i64>,
    pub(super) kid: Option<&'r [u8]>,
    pub(super) expires_at: i64,
}

impl Row<'_> {
    /// The entry that the columns stand for.
    pub(super) fn entry(self) -> Result<Entry, StoreError> {
        let expires_at = UnixTime(unsigned(self.expires_at)?);
        match (self.sid, self.sub, self.below, self.kid) {
            (Some(sid), None, None, None) => {
                let sid = sid.try_into().map_err(|_| StoreError::Corrupt("a session id of another length"))?;
                Ok(Entry::Session { sid: Sid::from_bytes(sid), expires_at })
            }
            (None, Some(sub), Some(below), None) => {
                Ok(Entry::Subject { sub: sub.into(), below: unsigned(below)?, expires_at })
            }
            (None, None, None, Some(kid)) => {
                let kid = kid.try_into().map_err(|_| StoreError::Corrupt("a key id of another length"))?;
                Ok(Entry::Key { kid: Kid::from_bytes(kid) })
            }
            _ => Err(StoreError::Corrupt("a revocation of nothing, or of two things")),
        }
    }
}
