//! The store: accounts, generations, the revocation log, the lifetimes in use, what nodes say of their keys, and whether the store
//! is in use or moved. Nothing else is kept, and no request that only verifies waits for it.
//!
//! There are two engines: SQLite, embedded, for one machine; and PostgreSQL, which several nodes share. Both do the same: writers
//! come one after the other, so that the log's numbers grow in the order of the commits, and whoever follows them misses nothing.

mod accounts;
#[cfg(test)]
mod dropped;
mod log;
mod looking;
pub(crate) mod moving;
mod node;
mod postgres;
pub(crate) mod records;
mod sqlite;
pub(crate) mod url;
mod versions;

use std::path::PathBuf;
use std::time::Duration;

use crate::account::LoginName;
use crate::clock::{Now, UnixTime};
use crate::id::{Kid, NodeId};
use crate::metrics::StoreCall;
use crate::revocation::Entry;
use crate::revocation::retention::COMMITTED_WITHIN;
#[cfg(feature = "server")]
pub(crate) use looking::Keeping;
#[cfg(test)]
pub(crate) use node::MAY_SERVE;
#[cfg(feature = "server")]
pub(crate) use node::{LIVE, serves_for};
pub(crate) use node::{Node, NodeReport};
pub(crate) use postgres::Limits;
#[cfg(test)]
pub(crate) use records::TokenFacts;
use records::Undecoded;
pub(crate) use records::{Account, Change, Logged, Page, PasswordChanged, Revoke, Sealing, State};
pub(crate) use url::StoreUrl;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    #[error(
        "the database file {} was replaced or removed while it was in use: put the same file back; restart the server only if the one that is there now is meant, because what was not stored is lost then",
        .0.display()
    )]
    Replaced(PathBuf),
    #[error(
        "there is no database at {path}, but its log {path}-wal: it was moved or removed, perhaps under a running server. \
         Put the file back; or, if it is lost, remove {path}-wal and {path}-shm first",
        path = .0.display()
    )]
    Left(PathBuf),
    #[error("{0} has none of Sealjar's tables")]
    WithoutTables(String),
    #[error("cannot open the database {}: {source}", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot create the database {}: {source}", path.display())]
    Create { path: PathBuf, source: std::io::Error },
    #[error("cannot use PostgreSQL at {server}: {reason}")]
    Connect { server: String, reason: String },
    #[error("PostgreSQL at {0} only reads: it is a standby")]
    Standby(String),
    #[error("the database did not answer in time")]
    TimedOut,
    #[error("the database took too long to commit: the change may have been made or not")]
    TooLate,
    #[error("this machine's clock says {here}, the database's says {there}")]
    ClocksApart { here: UnixTime, there: UnixTime },
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database's tables need a newer Sealjar (they ask for migration {needs}, this one knows {known})")]
    TooNew { needs: i64, known: i64 },
    #[error("the database failed: {0}")]
    Failed(#[from] sqlx::Error),
    #[error("the database holds a value that cannot be: {0}")]
    Corrupt(&'static str),
    #[error("the database holds an unfinished migration from {0}")]
    Unfinished(String),
    #[error("what was in this database was moved to {0}")]
    Moved(String),
    #[error("there is an account named {0} already")]
    NameTaken(String),
    #[error("there is no account named {0}")]
    NoSuchAccount(String),
}

/// Whether a database that has none of our tables gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// It is not opened: whatever is asked of it, or to be written there, is meant for another.
    Refused,
    /// It gets them.
    Filled,
}

/// An open store.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

/// The same question to whichever engine it is.
macro_rules! ask {
    ($store:expr, $engine:ident => $call:expr) => {
        match $store {
            Store::Sqlite($engine) => $call.await,
            Store::Postgres($engine) => within(postgres::PATIENCE, $call).await,
        }
    };
}

impl Page {
    /// The rows in the order of their numbers.
    pub(crate) fn rows(&self) -> Result<Vec<Logged>, StoreError> {
        match &self.rows {
            Undecoded::Sqlite(text) => sqlite::rows(text),
            Undecoded::Postgres(rows) => postgres::rows(rows),
        }
    }
}

impl Store {
    /// Opens a database that exists and is in use, and brings its tables up to date. Servers that do this at once take turns.
    pub(crate) async fn open(url: &StoreUrl, limits: Limits, empty: Empty) -> Result<Self, StoreError> {
        let store = Self::open_in_any_standing(url, limits, empty).await?;
        match store.standing().await.and_then(|standing| standing.is_in_use()) {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Opens it even if it is out of use, because a move from it is finished, or one to it is not.
    pub(crate) async fn open_in_any_standing(url: &StoreUrl, limits: Limits, empty: Empty) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => Self::Sqlite(sqlite::Store::open(path, empty).await?),
            StoreUrl::Postgres(options) => Self::Postgres(postgres::Store::open(options, limits, empty).await?),
        })
    }

    /// Makes an SQLite database if it is missing, and opens the store. Says whether it made it.
    pub(crate) async fn open_or_create(url: &StoreUrl, limits: Limits) -> Result<(Self, bool), StoreError> {
        let made = Self::create(url)?;
        Ok((Self::open(url, limits, Empty::Filled).await?, made))
    }

    /// Makes an SQLite database if it is missing. Says whether it made it.
    pub(crate) fn create(url: &StoreUrl) -> Result<bool, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::Store::create(path),
            StoreUrl::Postgres(_) => Ok(false),
        }
    }

    /// Finishes what is under way and closes it.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close().await,
            Self::Postgres(engine) => engine.close().await,
        }
    }

    /// The counters.
    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        StoreCall::State.watch(async { ask!(self, engine => engine.state()) }).await
    }

    /// The generation of a sign-in now for somebody who has no account here; it grows with every refusal that is committed, and is
    /// never lower than one that was given out before, by this store or one that was lost or moved.
    pub(crate) async fn generation(&self) -> Result<u64, StoreError> {
        ask!(self, engine => engine.generation())
    }

    /// Adds an account.
    pub(crate) async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        ask!(self, engine => engine.add_account(account))
    }

    /// The account of this name, if there is one.
    pub(crate) async fn account(&self, name: &LoginName) -> Result<Option<Account>, StoreError> {
        StoreCall::Account.watch(async { ask!(self, engine => engine.account(name)) }).await
    }

    /// The account of this name; fails if there is none.
    pub(crate) async fn require(&self, name: &LoginName) -> Result<Account, StoreError> {
        self.account(name).await?.ok_or_else(|| StoreError::NoSuchAccount(name.to_string()))
    }

    /// All accounts, by name.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        // However many there are, and so however long it takes.
        match self {
            Self::Sqlite(engine) => engine.accounts().await,
            Self::Postgres(engine) => engine.accounts().await,
        }
    }

    /// Whether there is an account at all.
    pub(crate) async fn has_accounts(&self) -> Result<bool, StoreError> {
        ask!(self, engine => engine.has_accounts())
    }

    /// Changes an account; see [`Change`].
    pub(crate) async fn change_account(&self, name: &LoginName, change: &Change) -> Result<(), StoreError> {
        let began = Now::read();
        in_time(began, ask!(self, engine => engine.change_account(name, change, began.wall)))
    }

    /// Replaces the password of an account that is as it was read, and ends all its sessions.
    pub(crate) async fn change_own_password(
        &self,
        account: &Account,
        hash: &str,
    ) -> Result<PasswordChanged, StoreError> {
        let began = Now::read();
        in_time(began, ask!(self, engine => engine.change_own_password(account, hash, began.wall)))
    }

    /// Replaces a password's hash by one of the same password, if it is still the same. Sessions live on.
    pub(crate) async fn rehash(&self, sub: &str, old: &str, new: &str) -> Result<(), StoreError> {
        ask!(self, engine => engine.rehash(sub, old, new))
    }

    /// Commits a batch of refusals in one transaction. Durable when this returns.
    pub(crate) async fn revoke(&self, batch: &[Revoke]) -> Result<Vec<Entry>, StoreError> {
        let began = Now::read();
        let commit = async { in_time(began, ask!(self, engine => engine.revoke(batch, began.wall))) };
        StoreCall::Commit.watch(commit).await
    }

    /// Refuses a key for ever, on every node of this store. Durable when this returns.
    pub(crate) async fn revoke_key(&self, kid: Kid) -> Result<(), StoreError> {
        ask!(self, engine => engine.revoke_key(kid))
    }

    /// The keys that the log refuses.
    pub(crate) async fn revoked_keys(&self) -> Result<Vec<Kid>, StoreError> {
        ask!(self, engine => engine.revoked_keys())
    }

    /// Ends every session there is: raises the global generation, and returns it.
    pub(crate) async fn revoke_everyone(&self) -> Result<u64, StoreError> {
        ask!(self, engine => engine.revoke_everyone())
    }

    /// Raises every generation above any that was ever given out, also by commits that this store has lost: it was restored from
    /// a backup, or failed over to a standby that lagged. So no session from before lives, and every account can sign in, even
    /// where a server still refuses its generations of then. A generation begins at the Unix time in milliseconds, or at 1, and
    /// grows by one, so the Unix time is above it; unless the clock has been set back, and then at least it grows.
    ///
    /// A store whose contents were moved to another is thereby in use again: all that happened in the other is lost to it.
    pub(crate) async fn restored(&self) -> Result<(), StoreError> {
        self.standing().await?.is_whole()?;
        // However many accounts there are, and so however long it takes.
        match self {
            Self::Sqlite(engine) => engine.restored().await,
            Self::Postgres(engine) => engine.restored().await,
        }
    }

    /// The log from `seq` on, at most `limit` rows.
    pub(crate) async fn read_log(&self, seq: i64, limit: i64) -> Result<Page, StoreError> {
        StoreCall::Poll.watch(async { ask!(self, engine => engine.read_log(seq, limit)) }).await
    }

    /// Returns when another server may have written to the log; never, if the store cannot tell.
    pub(crate) async fn news(&self) {
        match self {
            Self::Sqlite(_) => std::future::pending().await,
            Self::Postgres(engine) => engine.news().await,
        }
    }

    /// Records what this server seals from now until `until`, and that its clock has reached `reached`.
    pub(crate) async fn record_sealing(
        &self,
        sealing: &Sealing,
        reached: UnixTime,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        ask!(self, engine => engine.record_sealing(sealing, reached, until))
    }

    /// Records that time has come to `instant`: after this, what expired before may go.
    pub(crate) async fn record_pruned_through(&self, instant: UnixTime) -> Result<(), StoreError> {
        ask!(self, engine => engine.record_pruned_through(instant))
    }

    /// Records what a node says of its keys, and throws away what nobody has said for an hour.
    pub(crate) async fn report_node(&self, report: &NodeReport) -> Result<(), StoreError> {
        ask!(self, engine => engine.report_node(report))
    }

    /// What every node said last: the live ones, and those that have been silent for less than an hour.
    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        ask!(self, engine => engine.nodes())
    }

    /// Takes back what a node said, because it stops.
    pub(crate) async fn forget_node(&self, id: NodeId) -> Result<(), StoreError> {
        ask!(self, engine => engine.forget_node(id))
    }

    /// Whether the database file in use is not the one at its path any more, as far as the last commit or poll could tell.
    #[cfg(feature = "server")]
    pub(crate) fn is_replaced(&self) -> bool {
        match self {
            Self::Sqlite(engine) => engine.is_replaced(),
            Self::Postgres(_) => false,
        }
    }

    /// Deletes some of what expired before `instant`; says whether there may be more.
    pub(crate) async fn delete_expired(&self, instant: UnixTime) -> Result<bool, StoreError> {
        ask!(self, engine => engine.delete_expired(instant))
    }
}

/// Gives up on what takes too long. The connection under it is closed, and what it was doing is undone or done.
async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(StoreError::TimedOut))
}

/// A commit that fixed an expiry counts only if it is known soon: retention allows no more time for an entry to become visible.
fn in_time<T>(began: Now, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
    match outcome {
        Ok(done) if Now::read().boot.saturating_sub(began.boot) <= COMMITTED_WITHIN => Ok(done),
        Ok(_) | Err(StoreError::TimedOut) => Err(StoreError::TooLate),
        Err(error) => Err(error),
    }
}
