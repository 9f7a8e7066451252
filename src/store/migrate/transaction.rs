//! Transaction of a migration, for both engines, and the steps of a migration. The transaction is the only writer of its store
//! until it ends. Called by `migrate.rs`. The SQL statements are in `statements/migrate.rs`.

use super::state::{Counters, IncomingMigration, LifetimeInUse, MigrationState, RowCounts};
use crate::revocation::Entry;
use crate::store::error::StoreError;
use crate::store::records::Account;
use crate::store::{Store, postgres, sqlite};

/// Transaction that excludes all other writers until it ends. It is rolled back if it is dropped without a commit.
pub(crate) enum MigrationTransaction<'s> {
    Sqlite(sqlite::WriteTransaction),
    Postgres(postgres::WriteTransaction<'s>),
}

impl Store {
    /// Begins a transaction, even if the store is out of use.
    pub(super) async fn begin_unchecked(&self) -> Result<MigrationTransaction<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(engine) => MigrationTransaction::Sqlite(engine.begin_unchecked().await?),
            Self::Postgres(engine) => MigrationTransaction::Postgres(engine.begin_unchecked().await?),
        })
    }
}

/// Implements methods of [`MigrationTransaction`]. Each calls the method of the same name of the engine's transaction, which
/// `statements/migrate.rs` defines.
macro_rules! forward_to_engine {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        impl MigrationTransaction<'_> {
            $($(#[$doc])* pub(super) async fn $name(&mut self, $($argument: $type),*) -> Result<$output, StoreError> {
                match self {
                    Self::Sqlite(transaction) => transaction.$name($($argument),*).await,
                    Self::Postgres(transaction) => transaction.$name($($argument),*).await,
                }
            })*

            pub(super) async fn commit(self) -> Result<(), StoreError> {
                match self {
                    Self::Sqlite(transaction) => transaction.commit().await,
                    Self::Postgres(transaction) => transaction.commit().await,
                }
            }
        }
    };
}

forward_to_engine! {
    /// Returns the state of this store with respect to migrations.
    fn migration_state() -> MigrationState;

    /// Returns a summary of the store as text: the counters, some counts of rows, and the latest end of recorded lifetimes. If
    /// two summaries differ, the store was changed in between.
    fn summary() -> String;

    /// Counts the accounts, and the entries of the log that did not expire before `pruned_through`.
    fn row_counts(pruned_through: i64) -> RowCounts;

    /// Returns the counters of the store.
    fn counters() -> Counters;

    /// Returns all rows of the table `lifetime_in_use`.
    fn lifetimes() -> Vec<LifetimeInUse>;

    /// Returns at most `limit` accounts with a subject after `sub`, in the order of their subjects.
    fn accounts_after(sub: &str, limit: i64) -> Vec<Account>;

    /// Returns at most `limit` rows of the log with a number above `seq`, in the order of their numbers. Omits entries that
    /// expired before `pruned_through`. This is the value in the store and not the present time, because an entry may be
    /// dropped only after the store has recorded a later `pruned_through`.
    fn log_after(seq: i64, pruned_through: i64, limit: i64) -> Vec<(i64, Entry)>;

    /// Deletes all accounts, log rows and lifetimes of the store, and records that the migration has begun.
    fn begin_migration(incoming: &IncomingMigration) -> ();

    /// Adds accounts without changing them.
    fn add_accounts(accounts: &[Account]) -> ();

    /// Appends entries to the log without changing their expiries.
    fn add_entries(entries: &[Entry]) -> ();

    /// Changes the recorded progress of the migration from `previous` to `next`. Returns `false`, and changes nothing, if the
    /// recorded progress is not `previous`, or if the migration is finished.
    fn advance(previous: &IncomingMigration, next: &IncomingMigration) -> bool;

    /// Sets the counters of the store.
    fn set_counters(counters: Counters) -> ();

    /// Adds rows to the table `lifetime_in_use`.
    fn set_lifetimes(lifetimes: &[LifetimeInUse]) -> ();

    /// Records that the contents were moved to the store with the address `target`. The store is then out of use.
    fn mark_moved(target: &str) -> ();
}
