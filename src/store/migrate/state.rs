//! State of a migration, as it is stored in the source and in the target.

use crate::store::error::StoreError;

/// State of a store in migrations.
#[derive(Debug, Clone)]
pub(crate) struct MigrationState {
    /// Random id of the store. A copy of the store has the same id.
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
    /// Address of the source, without a password.
    pub(crate) source: String,
    /// Summary of the source at the beginning of the migration; see `state_in_words`.
    pub(crate) state: String,
    /// Subject of the last account that has been copied. Accounts are copied in the order of their subjects.
    pub(crate) last_account: String,
    /// Number of the last row of the source's log that has been copied.
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

/// Counters of a store, as they are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) global_generation: i64,
    pub(crate) pruned_through: i64,
    pub(crate) clock_reached: i64,
    /// Last number that was assigned to a row of the log. Generations are computed from it.
    pub(crate) last_seq: i64,
}

/// A row of the table `lifetime_in_use`: whether it is for remembered sessions; idle timeout, absolute timeout and lag in
/// seconds; whether the node may fail open; the time until which the lifetimes are used.
pub(crate) type LifetimeInUse = (bool, i64, i64, i64, bool, i64);
