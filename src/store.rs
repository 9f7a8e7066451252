//! The store: accounts, generations, the revocation log, the lifetimes in use, the nodes' reports of their keys, and the
//! state of a migration. It contains no sessions, and a request that only verifies a session does not use it.
//!
//! There are two engines: SQLite, embedded, for one machine; and PostgreSQL, which several nodes share.
//!
//! Invariant: each engine allows only one writer of the log at a time. The numbers of the log's rows therefore increase in
//! the order of the commits, and a follower of the log does not miss a row.

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
    AccountChanged, Change, EmptyPolicy, Logged, Page, PasswordChanged, ProfileChange, ProfileChanged, SealingRecord,
    Undecoded,
};

pub(crate) use error::StoreError;
pub(crate) use node::Node;
pub(crate) use postgres::pool::Limits;
pub(crate) use records::{Account, Revocation, State};
pub(crate) use url::StoreUrl;

/// Open store, with either engine. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

/// Calls the same method of either engine. SQLite's errors are explained, and PostgreSQL's calls have a time limit.
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
    /// Opens an existing database that is in use, and applies missing schema migrations. If several servers do this at the
    /// same time, they do it one after the other.
    pub(crate) async fn open(url: &StoreUrl, limits: Limits, empty: EmptyPolicy) -> Result<Self, StoreError> {
        let store = Self::open_in_any_state(url, limits, empty).await?;
        match store.check_in_use().await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Opens an existing database like [`Self::open`], even if it is out of use; see [`Self::check_in_use`].
    pub(crate) async fn open_in_any_state(
        url: &StoreUrl,
        limits: Limits,
        empty: EmptyPolicy,
    ) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => Self::Sqlite(sqlite::Store::open(path, empty).await?),
            StoreUrl::Postgres(options) => Self::Postgres(postgres::Store::open(options, limits, empty).await?),
        })
    }

    /// Creates an SQLite database if it is missing, and opens the store. Returns whether it was created.
    pub(crate) async fn open_or_create(url: &StoreUrl, limits: Limits) -> Result<(Self, bool), StoreError> {
        let is_new = Self::create(url)?;
        Ok((Self::open(url, limits, EmptyPolicy::Filled).await?, is_new))
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

    /// Returns an error if the store is out of use: its contents were migrated to another store, it is a backup, or a
    /// migration to it is unfinished.
    pub(crate) async fn check_in_use(&self) -> Result<(), StoreError> {
        self.migration_state().await?.check_in_use()
    }

    /// Returns the state of this store with respect to migrations.
    async fn migration_state(&self) -> Result<MigrationState, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.explain(engine.migration_state().await),
            Self::Postgres(engine) => engine.migration_state().await,
        }
    }

    /// Returns the counters of the store.
    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        StoreCall::State.measure(async { call!(self, engine => engine.state()) }).await
    }

    /// Returns the generation for a new session of a subject that has no account in this store.
    ///
    /// It grows with every committed revocation. It is never lower than a generation that was returned before, by this store
    /// or by a lost or migrated store that it replaces.
    pub(crate) async fn generation(&self) -> Result<u64, StoreError> {
        call!(self, engine => engine.generation())
    }

    /// Adds an account.
    pub(crate) async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        call!(self, engine => engine.add_account(account))
    }

    /// Adds all these accounts in one transaction, or none. Their names and subjects must be unique.
    pub(crate) async fn import(&self, accounts: &[Account]) -> Result<(), StoreError> {
        // No time limit, because the time depends on the number of accounts.
        match self {
            Self::Sqlite(engine) => engine.explain(engine.import(accounts).await),
            Self::Postgres(engine) => engine.import(accounts).await,
        }
    }

    /// Returns the account with this login name, or `None` if there is none.
    pub(crate) async fn account(&self, name: &LoginName) -> Result<Option<Account>, StoreError> {
        StoreCall::Account.measure(async { call!(self, engine => engine.account(name)) }).await
    }

    /// Returns the account with this login name.
    ///
    /// # Errors
    /// [`StoreError::NoSuchAccount`] if there is none.
    pub(crate) async fn require_account(&self, name: &LoginName) -> Result<Account, StoreError> {
        self.account(name).await?.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))
    }

    /// Returns all accounts, ordered by name.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        // No time limit, because the time depends on the number of accounts.
        match self {
            Self::Sqlite(engine) => engine.explain(engine.accounts().await),
            Self::Postgres(engine) => engine.accounts().await,
        }
    }

    /// Returns whether there is any account.
    pub(crate) async fn has_accounts(&self) -> Result<bool, StoreError> {
        call!(self, engine => engine.has_accounts())
    }

    /// Changes an account, unless it already has the new value; see [`Change`].
    pub(crate) async fn change_account(&self, name: &LoginName, change: &Change) -> Result<AccountChanged, StoreError> {
        let started = Now::read();
        in_time(started, call!(self, engine => engine.change_account(name, change, started.wall)))
    }

    /// Changes the names and the email address of an account, and ends all its sessions, because they contain the old ones.
    /// If nothing would change, it ends no session.
    pub(crate) async fn change_profile(
        &self,
        name: &LoginName,
        change: &ProfileChange,
    ) -> Result<ProfileChanged, StoreError> {
        let started = Now::read();
        in_time(started, call!(self, engine => engine.change_profile(name, change, started.wall)))
    }

    /// Replaces the password of an account and ends all its sessions. Fails if the account's generation has changed since
    /// `account` was read, or if the account is disabled or deleted.
    pub(crate) async fn change_own_password(
        &self,
        account: &Account,
        hash: &str,
    ) -> Result<PasswordChanged, StoreError> {
        let started = Now::read();
        in_time(started, call!(self, engine => engine.change_own_password(account, hash, started.wall)))
    }

    /// Replaces a password hash with another hash of the same password, if the stored hash is still `old`. No session ends.
    pub(crate) async fn rehash(&self, sub: &str, old: &str, new: &str) -> Result<(), StoreError> {
        call!(self, engine => engine.rehash(sub, old, new))
    }

    /// Commits a batch of revocations in one transaction, and returns their entries. They are on disk when this returns.
    pub(crate) async fn revoke(&self, batch: &[Revocation]) -> Result<Vec<Entry>, StoreError> {
        let started = Now::read();
        let commit = async { in_time(started, call!(self, engine => engine.revoke(batch, started.wall))) };
        StoreCall::Commit.measure(commit).await
    }

    /// Revokes a key permanently, for every node of this store. The entry is on disk when this returns.
    pub(crate) async fn revoke_key(&self, kid: Kid) -> Result<(), StoreError> {
        call!(self, engine => engine.revoke_key(kid))
    }

    /// Returns the ids of all revoked keys.
    pub(crate) async fn revoked_keys(&self) -> Result<Vec<Kid>, StoreError> {
        call!(self, engine => engine.revoked_keys())
    }

    /// Ends every session: raises the global generation, and returns it.
    pub(crate) async fn revoke_everyone(&self) -> Result<u64, StoreError> {
        call!(self, engine => engine.revoke_everyone())
    }

    /// Raises every generation above all generations that were ever used. These include the generations of commits that were
    /// lost, because the store was restored from a backup or failed over to a standby that lagged.
    /// `sealjar store restored` calls this.
    ///
    /// This ends every earlier session. It also allows every account to log in, even on a server that still refuses earlier
    /// generations of the account. A generation begins at the Unix time in milliseconds or at 1, and grows by one, so the
    /// present Unix time in milliseconds is above it. If the clock has been set back, the generation grows by one.
    ///
    /// A store that was migrated to another is in use again after this. It lacks the changes that were made in the other.
    pub(crate) async fn restored(&self) -> Result<(), StoreError> {
        self.migration_state().await?.check_complete()?;
        // No time limit, because the time depends on the number of accounts.
        match self {
            Self::Sqlite(engine) => engine.explain(engine.restored().await),
            Self::Postgres(engine) => engine.restored().await,
        }
    }

    /// Returns at most `limit` rows of the log. The first row has the number `seq` or the next higher number.
    pub(crate) async fn read_log(&self, seq: i64, limit: i64) -> Result<Page, StoreError> {
        StoreCall::Poll.measure(async { call!(self, engine => engine.read_log(seq, limit)) }).await
    }

    /// Returns the interval between two polls of the log. It is well below one second, the time in which commands such as
    /// `sealjar revoke` promise to take effect. With PostgreSQL, polls also find the logouts whose notifications do not arrive.
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

    /// Records the lifetimes with which this server seals tokens from now until `until`, and `reached`, the latest time that
    /// its clock has shown.
    pub(crate) async fn record_sealing(
        &self,
        sealing: &SealingRecord,
        reached: UnixTime,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        call!(self, engine => engine.record_sealing(sealing, reached, until))
    }

    /// Records that the time is at least `instant`. After this, entries that expired before `instant` may be deleted.
    pub(crate) async fn record_pruned_through(&self, instant: UnixTime) -> Result<(), StoreError> {
        call!(self, engine => engine.record_pruned_through(instant))
    }

    /// Records a node's report of its keys. Deletes reports that are older than both an hour and their own `serves_for`.
    pub(crate) async fn report_node(&self, report: &NodeReport) -> Result<(), StoreError> {
        call!(self, engine => engine.report_node(report))
    }

    /// Returns the latest report of every node that has one. A report is deleted when the node stops, or when it is older
    /// than both an hour and its own `serves_for`.
    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        call!(self, engine => engine.nodes())
    }

    /// Deletes the report of a node that stops.
    pub(crate) async fn delete_node_report(&self, id: NodeId) -> Result<(), StoreError> {
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
