//! Types that the two stores of a migration exchange: the state of the migration in each store, counts of rows, and counters.
//! The steps in `transaction.rs` read and write them.

use crate::store::error::StoreError;

/// State of a store with respect to migrations, from the tables `state` and `migration`.
#[derive(Debug, Clone)]
pub(crate) struct MigrationState {
    /// Random id of the store. A copy of the store has the same id.
    pub(crate) store_id: String,
    /// Address of the store to which the contents of this store were migrated, or `None` if they were not migrated.
    pub(crate) moved_to: Option<String>,
    /// Latest migration to this store, finished or not, or `None` if there was none.
    pub(crate) incoming: Option<IncomingMigration>,
}

impl MigrationState {
    /// Returns an error if a migration to this store is unfinished.
    pub(in crate::store) fn check_complete(&self) -> Result<(), StoreError> {
        match &self.incoming {
            Some(incoming) if !incoming.finished => Err(StoreError::Unfinished(incoming.source_address.clone())),
            _ => Ok(()),
        }
    }

    /// Returns an error if a migration to this store is unfinished, or if the contents of this store were migrated to another
    /// store.
    pub(in crate::store) fn check_in_use(&self) -> Result<(), StoreError> {
        self.check_complete()?;
        self.moved_to.clone().map_or(Ok(()), |to| Err(StoreError::out_of_use(to)))
    }
}

/// A migration from another store to this store, and its progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct IncomingMigration {
    /// `store_id` of the source.
    pub(crate) source_id: String,
    /// Address of the source, without a password.
    pub(crate) source_address: String,
    /// Summary of the source at the beginning of the migration; see `MigrationTransaction::summary`.
    pub(crate) source_summary: String,
    /// Subject of the last account that has been copied; empty if none has been. Accounts are copied in the order of their
    /// subjects.
    pub(crate) last_copied_sub: String,
    /// Number, in the log of the source, of the last row that has been copied; 0 if none has been.
    pub(crate) last_copied_seq: i64,
    /// Whether everything has been copied.
    pub(crate) finished: bool,
}

/// Numbers of accounts and of revocations, either to be copied or already copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowCounts {
    pub(crate) accounts: usize,
    pub(crate) revocations: usize,
}

impl RowCounts {
    pub(super) fn is_empty(self) -> bool {
        self == Self { accounts: 0, revocations: 0 }
    }
}

/// Counters of a store. The target of a migration gets the counters of the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) global_generation: i64,
    /// Time in Unix seconds. Entries that expired before it may have been deleted from the log.
    pub(crate) pruned_through: i64,
    /// Highest time in Unix seconds that a node has recorded.
    pub(crate) clock_reached: i64,
    /// Highest number that was assigned to a row of the store's log. The row itself may have been pruned. Generations are
    /// computed from this number.
    pub(crate) last_seq: i64,
}

/// Row of the table `lifetime_in_use`. The members are, in this order:
///
/// 1. `remembered`: whether the lifetimes are those of remembered sessions.
/// 2. `idle_secs`: idle timeout in seconds.
/// 3. `absolute_secs`: absolute timeout in seconds.
/// 4. `lag_secs`: lag in seconds.
/// 5. `fail_open`: whether the node may accept sessions with a stale list.
/// 6. `used_until`: time in Unix seconds until which the lifetimes are used.
pub(crate) type LifetimeInUse = (bool, i64, i64, i64, bool, i64);
