//! SQLite: one file, write-ahead log, every commit on disk before it is answered (`synchronous=FULL`).

mod accounts;
mod revocations;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use sqlx::Sqlite;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::{State, StoreError, StoreUrl};
use crate::clock::UnixTime;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Sign-ins that look an account up at once.
const READERS: u32 = 4;

/// An open database: one connection that writes, a few that read.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    write: SqlitePool,
    read: SqlitePool,
}

impl Store {
    /// Opens a database that exists, and brings its tables up to date.
    pub(crate) async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        if !url.path.exists() {
            return Err(StoreError::Missing(url.path.clone()));
        }
        let options = SqliteConnectOptions::new()
            .filename(&url.path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = async |size: u32| {
            let pool = SqlitePoolOptions::new().max_connections(size).connect_with(options.clone()).await;
            pool.map_err(|source| StoreError::Open { path: url.path.clone(), source })
        };
        let write = pool(1).await?;
        MIGRATIONS.run(&write).await?;
        Ok(Self { write, read: pool(READERS).await? })
    }

    /// Makes the database if it is missing, readable by its owner only, and opens it. Says whether it made it.
    pub(crate) async fn open_or_create(url: &StoreUrl) -> Result<(Self, bool), StoreError> {
        let made = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&url.path) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(StoreError::Create { path: url.path.clone(), source }),
        };
        Ok((Self::open(url).await?, made))
    }

    /// Finishes what is under way and closes the file.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// The counters.
    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        let query = sqlx::query_as("SELECT global_generation, pruned_through FROM state");
        let (generation, pruned): (i64, i64) = query.fetch_one(&self.read).await?;
        Ok(State { global_generation: unsigned(generation)?, pruned_through: UnixTime(unsigned(pruned)?) })
    }

    /// A transaction that is the only writer from its start, so that it never fails half-way for another's sake.
    async fn begin(&self) -> Result<Writing, StoreError> {
        let mut connection = self.write.acquire().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        Ok(Writing { connection, committed: false })
    }
}

/// A transaction under way. Its connection is thrown away unless it commits: after a failed COMMIT, SQLite may have rolled back
/// by itself or not, and closing is the one thing that is right in both cases. (sqlx's own `Transaction` keeps such a
/// connection, and refuses every later BEGIN on it.)
struct Writing {
    connection: PoolConnection<Sqlite>,
    committed: bool,
}

impl Writing {
    async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(&mut *self.connection).await?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.committed {
            self.connection.close_on_drop();
        }
    }
}

fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt("a negative counter or instant"))
}

/// For binding: instants and counters past SQLite's range count as its end.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
