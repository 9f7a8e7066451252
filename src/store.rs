//! The store: accounts, generations, the revocation log, the lifetimes in use, the nodes' reports of their keys, and the state of
//! a migration. Nothing else is kept, and no request that only verifies waits for it.
//!
//! There are two engines: SQLite, embedded, for one machine; and PostgreSQL, which several nodes share. Both let one writer in at
//! a time, so that the log's numbers grow in the order of the commits, and a follower of the log misses nothing.

pub(crate) mod backup;
#[cfg(test)]
mod dropped;
pub(crate) mod error;
mod inspect;
mod log;
pub(crate) mod migrate;
pub(crate) mod node;
#[cfg(feature = "server")]
pub(crate) mod password_file;
mod postgres;
pub(crate) mod records;
mod sqlite;
mod statements;
pub(crate) mod url;
mod versions;

use std::time::Duration;

use crate::account::LoginName;
use crate::clock::{Now, UnixTime};
use crate::id::{Kid, NodeId};
use crate::metrics::StoreCall;
use crate::revocation::Entry;
use error::{in_time, within};
use migrate::state::MigrationState;
use node::NodeReport;
use postgres::pool::CALL_TIMEOUT;
use records::{
    AccountChanged, Change, Empty, Logged, Page, PasswordChanged, ProfileChange, ProfileChanged, Sealing, Undecoded,
};

pub(crate) use error::StoreError;
pub(crate) use node::Node;
pub(crate) use postgres::pool::Limits;
pub(crate) use records::{Account, Revoke, State};
pub(crate) use url::StoreUrl;

/// An open store.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

/// Calls the same method of either engine.
macro_rules! call {
    ($store:expr, $engine:ident => $call:expr) => {
        match $store {
            Store::Sqlite($engine) => $engine.explain($call.await),
            Store::Postgres($engine) => within(CALL_TIMEOUT, $call).await,
        }
    };
}
use call;

impl Page {
    /// Decodes the rows, in the order of their numbers.
    pub(crate) fn rows(&self) -> Result<Vec<Logged>, StoreError> {
        match &self.rows {
            Undecoded::Sqlite(text) => sqlite::rows(text),
            Undecoded::Postgres(rows) => postgres::rows(rows),
        }
    }
}

impl Store {
    /// Opens a database that exists and is in use, and brings its tables up to date. Servers that do this at the same time take
    /// turns.
    pub(crate) async fn open(url: &StoreUrl, limits: Limits, empty: Empty) -> Result<Self, StoreError> {
        let store = Self::open_in_any_state(url, limits, empty).await?;
        match store.check_in_use().await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Opens a database even if it is out of use: it was migrated to another, or a migration to it is unfinished.
    pub(crate) async fn open_in_any_state(url: &StoreUrl, limits: Limits, empty: Empty) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => Self::Sqlite(sqlite::Store::open(path, empty).await?),
            StoreUrl::Postgres(options) => Self::Postgres(postgres::Store::open(options, limits, empty).await?),
        })
    }

    /// Creates an SQLite database if it is missing, and opens the store. Returns whether it was created.
    pub(crate) async fn open_or_create(url: &StoreUrl, limits: Limits) -> Result<(Self, bool), StoreError> {
        let made = Self::create(url)?;
        Ok((Self::open(url, limits, Empty::Filled).await?, made))
    }

    /// Creates an SQLite database if it is missing. Returns whether it was created.
    pub(crate) fn create(url: &StoreUrl) -> Result<bool, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::Store::create(path),
            StoreUrl::Postgres(_) => Ok(false),
        }
    }

    /// Finishes running statements and closes the store.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close().await,
            Self::Postgres(engine) => engine.close().await,
        }
    }

    /// Returns an error if the store is out of use: it was migrated to another, or a migration to it is unfinished.
    pub(crate) async fn check_in_use(&self) -> Result<(), StoreError> {
        self.migration_state().await?.check_in_use()
    }

    async fn migration_state(&self) -> Result<MigrationState, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.explain(engine.migration_state().await),
            Self::Postgres(engine) => engine.migration_state().await,
        }
    }

    /// Returns the counters.
    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        StoreCall::State.watch(async { call!(self, engine => engine.state()) }).await
    }

    /// Returns the generation of a sign-in now by somebody without an account here. It grows with every refusal that is
    /// committed, and is never lower than one that was given out before, by this store or by one that was lost or migrated.
    pub(crate) async fn generation(&self) -> Result<u64, StoreError> {
        call!(self, engine => engine.generation())
    }

    /// Adds an account.
    pub(crate) async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        call!(self, engine => engine.add_account(account))
    }

    /// Adds all these accounts in one transaction, or none. Each must have other names and subjects than all others.
    pub(crate) async fn import(&self, accounts: &[Account]) -> Result<(), StoreError> {
        // No time limit: this takes as long as there are accounts.
        match self {
            Self::Sqlite(engine) => engine.explain(engine.import(accounts).await),
            Self::Postgres(engine) => engine.import(accounts).await,
        }
    }

    /// Returns the account of this name, or `None` if there is none.
    pub(crate) async fn account(&self, name: &LoginName) -> Result<Option<Account>, StoreError> {
        StoreCall::Account.watch(async { call!(self, engine => engine.account(name)) }).await
    }

    /// Returns the account of this name, or `NoSuchAccount` if there is none.
    pub(crate) async fn require(&self, name: &LoginName) -> Result<Account, StoreError> {
        self.account(name).await?.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))
    }

    /// Returns all accounts, ordered by name.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        // No time limit: this takes as long as there are accounts.
        match self {
            Self::Sqlite(engine) => engine.explain(engine.accounts().await),
            Self::Postgres(engine) => engine.accounts().await,
        }
    }

    /// Returns whether there is any account.
    pub(crate) async fn has_accounts(&self) -> Result<bool, StoreError> {
        call!(self, engine => engine.has_accounts())
    }

    /// Changes an account, unless the change is in force already; see [`Change`].
    pub(crate) async fn change_account(&self, name: &LoginName, change: &Change) -> Result<AccountChanged, StoreError> {
        let began = Now::read();
        in_time(began, call!(self, engine => engine.change_account(name, change, began.wall)))
    }

    /// Changes names and addresses of an account, and ends all its sessions, because they hold the old ones. If nothing would
    /// change, it ends none.
    pub(crate) async fn change_profile(
        &self,
        name: &LoginName,
        change: &ProfileChange,
    ) -> Result<ProfileChanged, StoreError> {
        let began = Now::read();
        in_time(began, call!(self, engine => engine.change_profile(name, change, began.wall)))
    }

    /// Replaces the password of an account that has not changed since it was read, and ends all its sessions.
    pub(crate) async fn change_own_password(
        &self,
        account: &Account,
        hash: &str,
    ) -> Result<PasswordChanged, StoreError> {
        let began = Now::read();
        in_time(began, call!(self, engine => engine.change_own_password(account, hash, began.wall)))
    }

    /// Replaces a password hash by another of the same password, if the stored hash is still `old`. Ends no sessions.
    pub(crate) async fn rehash(&self, sub: &str, old: &str, new: &str) -> Result<(), StoreError> {
        call!(self, engine => engine.rehash(sub, old, new))
    }

    /// Commits a batch of refusals in one transaction. Durable when this returns.
    pub(crate) async fn revoke(&self, batch: &[Revoke]) -> Result<Vec<Entry>, StoreError> {
        let began = Now::read();
        let commit = async { in_time(began, call!(self, engine => engine.revoke(batch, began.wall))) };
        StoreCall::Commit.watch(commit).await
    }

    /// Refuses a key for ever, on every node of this store. Durable when this returns.
    pub(crate) async fn revoke_key(&self, kid: Kid) -> Result<(), StoreError> {
        call!(self, engine => engine.revoke_key(kid))
    }

    /// Returns the keys that the log refuses.
    pub(crate) async fn revoked_keys(&self) -> Result<Vec<Kid>, StoreError> {
        call!(self, engine => engine.revoked_keys())
    }

    /// Ends every session: raises the global generation, and returns it.
    pub(crate) async fn revoke_everyone(&self) -> Result<u64, StoreError> {
        call!(self, engine => engine.revoke_everyone())
    }

    /// Raises every generation above all that were ever given out, including those of commits that this store has lost because it
    /// was restored from a backup, or failed over to a standby that lagged. This ends every earlier session, and lets every
    /// account sign in, even where a server still refuses its earlier generations. A generation begins at the Unix time in
    /// milliseconds, or at 1, and grows by one, so the Unix time is above it. If the clock has been set back, the generation
    /// grows by one.
    ///
    /// A store that was migrated to another is in use again after this; it does not have what happened in the other.
    pub(crate) async fn restored(&self) -> Result<(), StoreError> {
        self.migration_state().await?.check_complete()?;
        // No time limit: this takes as long as there are accounts.
        match self {
            Self::Sqlite(engine) => engine.explain(engine.restored().await),
            Self::Postgres(engine) => engine.restored().await,
        }
    }

    /// Returns at most `limit` rows of the log, from `seq` on.
    pub(crate) async fn read_log(&self, seq: i64, limit: i64) -> Result<Page, StoreError> {
        StoreCall::Poll.watch(async { call!(self, engine => engine.read_log(seq, limit)) }).await
    }

    /// Returns the time between two polls of the log: well within the second that the command line promises. With PostgreSQL, a poll
    /// also finds the logouts of other servers whose notifications do not arrive.
    pub(crate) const fn poll_interval(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::from_millis(500),
            Self::Postgres(_) => Duration::from_millis(250),
        }
    }

    /// Waits until another server may have written to the log. Never returns if the store has no notifications.
    pub(crate) async fn notified(&self) {
        match self {
            Self::Sqlite(_) => std::future::pending().await,
            Self::Postgres(engine) => engine.notified().await,
        }
    }

    /// Records how this server seals from now until `until`, and that its clock has reached `reached`.
    pub(crate) async fn record_sealing(
        &self,
        sealing: &Sealing,
        reached: UnixTime,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        call!(self, engine => engine.record_sealing(sealing, reached, until))
    }

    /// Records that the time is at least `instant`: entries that expired before may be deleted after this.
    pub(crate) async fn record_pruned_through(&self, instant: UnixTime) -> Result<(), StoreError> {
        call!(self, engine => engine.record_pruned_through(instant))
    }

    /// Records a node's report of its keys, and deletes reports that are older than both an hour and the time that they name.
    pub(crate) async fn report_node(&self, report: &NodeReport) -> Result<(), StoreError> {
        call!(self, engine => engine.report_node(report))
    }

    /// Returns the latest report of every node that has one. A report is deleted when the node stops, or when it is older than both
    /// an hour and the time that it names.
    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        call!(self, engine => engine.nodes())
    }

    /// Deletes the report of a node that stops.
    pub(crate) async fn forget_node(&self, id: NodeId) -> Result<(), StoreError> {
        call!(self, engine => engine.forget_node(id))
    }

    /// Returns whether the last commit or poll found that the database file in use is no longer the one at its path.
    #[cfg(feature = "server")]
    pub(crate) fn is_replaced(&self) -> bool {
        match self {
            Self::Sqlite(engine) => engine.is_replaced(),
            Self::Postgres(_) => false,
        }
    }

    /// Deletes a batch of entries that expired before `instant`. Returns whether there may be more.
    pub(crate) async fn delete_expired(&self, instant: UnixTime) -> Result<bool, StoreError> {
        call!(self, engine => engine.delete_expired(instant))
    }
}
