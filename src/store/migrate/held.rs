//! A transaction of either engine that excludes all other writers until it ends, and the steps of a migration in it.

use super::state::{Contents, Counters, Incoming, LifetimeInUse, MigrationState};
use crate::revocation::Entry;
use crate::store::error::StoreError;
use crate::store::records::Account;
use crate::store::{Store, postgres, sqlite};

/// A transaction that excludes all other writers until it ends.
pub(crate) enum Held<'s> {
    Sqlite(sqlite::Writing),
    Postgres(postgres::Writing<'s>),
}

impl Store {
    /// Begins the transaction.
    pub(super) async fn hold(&self) -> Result<Held<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(engine) => Held::Sqlite(engine.hold().await?),
            Self::Postgres(engine) => Held::Postgres(engine.hold().await?),
        })
    }
}

/// Implements methods that call the method of the same name of the engine; see `statements/migrate.rs`.
macro_rules! forward_to_engine {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        impl Held<'_> {
            $($(#[$doc])* pub(super) async fn $name(&mut self, $($argument: $type),*) -> Result<$output, StoreError> {
                match self {
                    Self::Sqlite(writing) => writing.$name($($argument),*).await,
                    Self::Postgres(writing) => writing.$name($($argument),*).await,
                }
            })*

            pub(super) async fn commit(self) -> Result<(), StoreError> {
                match self {
                    Self::Sqlite(writing) => writing.commit().await,
                    Self::Postgres(writing) => writing.commit().await,
                }
            }
        }
    };
}

forward_to_engine! {
    fn migration_state() -> MigrationState;

    /// Returns a summary of the store as text: the counters and some counts of rows. A changed summary shows that the store
    /// was changed.
    fn state_in_words() -> String;

    /// Counts the rows to migrate, without entries that expired before `pruned_through`.
    fn contents(pruned_through: i64) -> Contents;

    fn counters() -> Counters;

    fn lifetimes() -> Vec<LifetimeInUse>;

    /// Returns the next accounts, in the order of their subjects.
    fn accounts_after(sub: &str, limit: i64) -> Vec<Account>;

    /// Returns the next rows of the log, in the order of their numbers, without entries that expired before `pruned_through`.
    /// The clock is not used, because an entry may be dropped only after the store has recorded `pruned_through`.
    fn log_after(seq: i64, pruned_through: i64, limit: i64) -> Vec<(i64, Entry)>;

    /// Empties the store, and records the migration that begins.
    fn begin_incoming(incoming: &Incoming) -> ();

    fn add_accounts(accounts: &[Account]) -> ();

    fn add_entries(entries: &[Entry]) -> ();

    /// Records the progress of the migration. Returns `false` if the recorded progress was not `from`.
    fn advance(from: &Incoming, to: &Incoming) -> bool;

    fn set_counters(counters: Counters) -> ();

    fn set_lifetimes(lifetimes: &[LifetimeInUse]) -> ();

    /// Marks the store as moved to the address `to`, which takes it out of use.
    fn mark_moved(to: &str) -> ();
}
