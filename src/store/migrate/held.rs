//! A transaction of either engine that keeps all other writers out until it ends, and the steps of a migration in it.

use super::state::{Contents, Counters, Incoming, LifetimeInUse, MigrationState};
use crate::revocation::Entry;
use crate::store::error::StoreError;
use crate::store::records::Account;
use crate::store::{Store, postgres, sqlite};

/// A transaction that keeps all other writers out until it ends.
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

/// Passes each of these calls on to the engine; see `statements/migrate.rs`.
macro_rules! pass_on {
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

pass_on! {
    fn migration_state() -> MigrationState;

    /// Returns counters and counts as text. It differs if the store was changed by anything but an added account.
    fn state_in_words() -> String;

    /// Counts what is to be migrated, without entries that expired before `pruned_through`.
    fn contents(pruned_through: i64) -> Contents;

    fn counters() -> Counters;

    fn lifetimes() -> Vec<LifetimeInUse>;

    /// Returns the next accounts, in the order of their subjects.
    fn accounts_after(sub: &str, limit: i64) -> Vec<Account>;

    /// Returns the next rows of the log, in the order of their numbers, without entries that expired before `pruned_through`.
    /// That decides, and not a clock: an entry may be dropped only when the store has recorded that its time is over.
    fn log_after(seq: i64, pruned_through: i64, limit: i64) -> Vec<(i64, Entry)>;

    /// Empties the store, and records the migration that begins.
    fn begin_incoming(incoming: &Incoming) -> ();

    fn add_accounts(accounts: &[Account]) -> ();

    fn add_entries(entries: &[Entry]) -> ();

    /// Records the progress of the migration. Returns false if it was not at `from`.
    fn advance(from: &Incoming, to: &Incoming) -> bool;

    fn set_counters(counters: Counters) -> ();

    fn set_lifetimes(lifetimes: &[LifetimeInUse]) -> ();

    /// Puts the store out of use.
    fn mark_moved(to: &str) -> ();
}
