//! State of a migration, as it is stored in both of its stores.

use crate::store::error::StoreError;

/// State of a store in migrations.
#[derive(Debug, Clone)]
pub(crate) struct MigrationState {
    /// Random id of the store; a copy of it has the same.
    pub(crate) store_id: String,
    /// Address of the store that the contents were migrated to.
    pub(crate) moved_to: Option<String>,
    /// Finished or unfinished migration from another store.
    pub(crate) incoming: Option<Incoming>,
}

impl MigrationState {
    /// Returns an error if a migration to the store is unfinished.
    pub(in crate::store) fn check_complete(&self) -> Result<(), StoreError> {
        match &self.incoming {
            Some(incoming) if !incoming.finished => Err(StoreError::Unfinished(incoming.source.clone())),
            _ => Ok(()),
        }
    }

    /// Returns an error if a migration to the store is unfinished, or its contents were migrated to another.
    pub(in crate::store) fn check_in_use(&self) -> Result<(), StoreError> {
        self.check_complete()?;
        self.moved_to.clone().map_or(Ok(()), |to| Err(StoreError::out_of_use(to)))
    }
}

/// A migration from another store, and its progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incoming {
    pub(crate) source_id: String,
    /// Its address, without a password.
    pub(crate) source: String,
    /// Digest of what it held, in words; see `state_in_words`.
    pub(crate) state: String,
    /// Accounts up to this subject have been copied.
    pub(crate) last_account: String,
    /// The source's log has been copied up to this row.
    pub(crate) last_seq: i64,
    pub(crate) finished: bool,
}

/// Number of rows to migrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) accounts: usize,
    pub(crate) revocations: usize,
}

impl Contents {
    pub(super) fn is_empty(self) -> bool {
        self == Self { accounts: 0, revocations: 0 }
    }
}

/// The counters as they are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) global_generation: i64,
    pub(crate) pruned_through: i64,
    pub(crate) clock_reached: i64,
    /// The last number that the log has given out: generations are counted from it.
    pub(crate) last_seq: i64,
}

/// A row of the lifetimes in use: remembered; idle, absolute and lag in seconds; whether it fails open; used until.
pub(crate) type LifetimeInUse = (bool, i64, i64, i64, bool, i64);
