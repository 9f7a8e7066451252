//! A transaction of either engine that keeps all other writers out for as long as it takes, and what a move does in it.

use super::super::{Account, Store, StoreError, postgres, sqlite};
use crate::revocation::Entry;

/// How a store stands in moves.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// The store's own; a copy of it has the same.
    pub(crate) store_id: String,
    /// Where everything in it went.
    pub(crate) moved_to: Option<String>,
    /// What came, or comes, from another.
    pub(crate) incoming: Option<Incoming>,
}

impl Standing {
    /// Refuses a store that is not all there yet.
    pub(in crate::store) fn is_whole(&self) -> Result<(), StoreError> {
        match &self.incoming {
            Some(incoming) if !incoming.finished => Err(StoreError::Unfinished(incoming.source.clone())),
            _ => Ok(()),
        }
    }

    /// Refuses that, and a store whose contents are elsewhere.
    pub(in crate::store) fn is_in_use(&self) -> Result<(), StoreError> {
        self.is_whole()?;
        self.moved_to.clone().map_or(Ok(()), |to| Err(StoreError::Moved(to)))
    }
}

/// What comes from another store, and how far it has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incoming {
    pub(crate) source_id: String,
    /// Its address, without a password.
    pub(crate) source: String,
    /// What it held.
    pub(crate) state: String,
    /// Accounts up to this subject are here.
    pub(crate) last_account: String,
    /// The source's log up to this row is here.
    pub(crate) last_seq: i64,
    pub(crate) finished: bool,
}

/// How much there is to move.
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
    /// The last number that the log has given out: generations count on it.
    pub(crate) last_seq: i64,
}

/// A row of the lifetimes in use: remembered, idle, absolute and lag in seconds, whether it fails open, and until when.
pub(crate) type LifetimeInUse = (bool, i64, i64, i64, bool, i64);

/// The transaction.
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

    /// How the store stands in moves.
    pub(in crate::store) async fn standing(&self) -> Result<Standing, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.standing().await,
            Self::Postgres(engine) => engine.standing().await,
        }
    }
}

/// Passes each of these on to the engine; see `statements.rs`.
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
    fn standing() -> Standing;

    /// All that changes when the store is used, in few words.
    fn state_in_words() -> String;

    /// How much there is to move: entries that expired before `pruned_through` are none.
    fn contents(pruned_through: i64) -> Contents;

    fn counters() -> Counters;

    fn lifetimes() -> Vec<LifetimeInUse>;

    /// The next accounts in the order of their subjects.
    fn accounts_after(sub: &str, limit: i64) -> Vec<Account>;

    /// The next rows of the log, by their numbers, without entries that expired before `pruned_through`. That, and not a clock:
    /// an entry may only be dropped when time has moved past it for good.
    fn log_after(seq: i64, pruned_through: i64, limit: i64) -> Vec<(i64, Entry)>;

    /// Empties the store, and notes what is to come.
    fn begin_incoming(incoming: &Incoming) -> ();

    fn add_accounts(accounts: &[Account]) -> ();

    fn add_entries(entries: &[Entry]) -> ();

    /// Notes how far it has come; false if it was not where we left it.
    fn advance(from: &Incoming, to: &Incoming) -> bool;

    fn set_counters(counters: Counters) -> ();

    fn set_lifetimes(lifetimes: &[LifetimeInUse]) -> ();

    /// Puts the store out of use.
    fn mark_moved(to: &str) -> ();
}
