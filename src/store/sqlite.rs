//! SQLite: one database file with a [write-ahead log](https://www.sqlite.org/wal.html).
//!
//! Invariant: a commit is on disk before it is confirmed (`synchronous=FULL`), and in the file that is at the configured path
//! (`files.rs`).

mod backup;
mod faults;
mod files;
mod inspect;
mod nodes;
mod page;
mod revocations;
mod statements;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::Sqlite;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::error::StoreError;
use super::log::unsigned;
use super::records::{EmptyPolicy, State};
use super::versions;
use crate::clock::UnixTime;
use crate::file_owner::{Owner, PinnedDirectory, directory_of};
use files::Files;
pub(super) use page::rows;

/// SQL expression for the generation: a column of `state` plus the number of the log's last row; see
/// [`super::Store::generation`].
macro_rules! generation {
    () => {
        "global_generation + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'revocation'), 0)"
    };
}
use generation;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| versions::migrations(versions::SQLITE));

/// Maximum time that a writer waits for the transaction of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of connections for reading.
const READERS: u32 = 4;

/// Open database, with one connection for writing and at most [`READERS`] connections for reading.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    write: SqlitePool,
    read: SqlitePool,
    files: Arc<Files>,
}

impl Store {
    pub(crate) async fn open(path: &Path, empty: EmptyPolicy) -> Result<Self, StoreError> {
        Self::open_file(path, empty).await.map_err(|error| faults::explain(path, error))
    }

    /// Adds the file and the cause to an error, if the cause is known.
    pub(crate) fn explain<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        outcome.map_err(|error| faults::explain(self.files.database(), error))
    }

    async fn open_file(path: &Path, empty: EmptyPolicy) -> Result<Self, StoreError> {
        if !files::is_there(path)? {
            return Err(StoreError::Missing(path.to_owned()));
        }
        refuse_other(path, empty).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            // Landlock does not allow the server to create temporary files in other directories.
            .pragma("temp_store", "memory");
        let files = Arc::new(Files::of(path)?);
        let pool = async |size: u32| {
            let files = files.clone();
            // Idle or old connections are not closed: see `files.rs`. A new connection could open another file, and would
            // still be used after the right file is put back.
            let pool = SqlitePoolOptions::new().max_connections(size).idle_timeout(None).max_lifetime(None);
            // No test before use: there is no server that could close the connection, and sqlx tests a connection when it is
            // returned.
            let pool = pool.test_before_acquire(false);
            let pool = pool.after_connect(move |_, _| {
                let files = files.clone();
                Box::pin(async move { files.check_for_reading().await.map_err(|error| io::Error::other(error).into()) })
            });
            let pool = pool.connect_with(options.clone()).await;
            pool.map_err(|source| StoreError::Open { path: path.to_owned(), source })
        };
        let write = pool(1).await?;
        MIGRATIONS.run(&write).await?;
        let needs = sqlx::query_scalar("SELECT needs FROM state").fetch_one(&write).await?;
        versions::check(&MIGRATIONS, needs, None)?;
        Ok(Self { write, read: pool(READERS).await?, files })
    }

    /// Creates the file if it is missing, readable by its owner only. Returns whether it was created.
    ///
    /// A file that root creates gets the owner of its directory, because the server runs as this user. SQLite gives the same
    /// owner to the files that it creates next to it.
    pub(crate) fn create(path: &Path) -> Result<bool, StoreError> {
        let failed = |source| StoreError::Create { path: path.to_owned(), source };
        if files::is_there(path)? {
            return Ok(false);
        }
        let directory = PinnedDirectory::open(directory_of(path)).map_err(failed)?;
        let pinned = directory.path().join(path.file_name().unwrap_or_default());
        let file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&pinned) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        if rustix::process::geteuid().is_root() {
            let changed = Owner::of_directory(directory.path()).and_then(|owner| owner.give(&file));
            if let Err(error) = changed {
                fs::remove_file(&pinned).map_err(failed)?;
                return Err(failed(error));
            }
        }
        Ok(true)
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        let query = sqlx::query_as("SELECT global_generation, pruned_through, needs, moved_to FROM state");
        state(query.fetch_one(&mut *self.reading().await?.connection).await?)
    }

    pub(crate) async fn generation(&self) -> Result<u64, StoreError> {
        let query = sqlx::query_scalar(concat!("SELECT ", generation!(), " FROM state"));
        unsigned(query.fetch_one(&mut *self.reading().await?.connection).await?)
    }

    /// Returns whether the last commit or poll found that the files in use are no longer those at their paths.
    #[cfg(feature = "server")]
    pub(crate) fn is_replaced(&self) -> bool {
        self.files.are_replaced()
    }

    /// Returns a connection for reading. Fails if another file is at one of the paths.
    async fn reading(&self) -> Result<Reading, StoreError> {
        self.files.check_for_reading().await?;
        Ok(Reading { connection: self.read.acquire().await? })
    }

    /// Begins a transaction that is the only writer from its start, so that it cannot fail later because of another writer.
    async fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut writing = self.begin_unchecked().await?;
        let query = sqlx::query_as("SELECT needs, moved_to FROM state");
        let (needs, moved_to) = query.fetch_one(&mut *writing.connection).await?;
        versions::check(&MIGRATIONS, needs, moved_to)?;
        Ok(writing)
    }

    /// Begins a transaction like [`Self::begin`], even if the store is out of use.
    pub(super) async fn begin_unchecked(&self) -> Result<WriteTransaction, StoreError> {
        // Checked first, because a new connection must not create a log next to another file at the path.
        self.files.check_for_commit().await?;
        let connection = self.write.acquire().await?;
        // The guard is created before BEGIN, because sqlx executes BEGIN even if this future is dropped.
        let mut writing = WriteTransaction { connection, files: self.files.clone(), committed: false };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *writing.connection).await?;
        Ok(writing)
    }
}

/// Decodes the columns `global_generation`, `pruned_through`, `needs` and `moved_to` of the table `state`.
fn state((generation, pruned, needs, moved_to): (i64, i64, i64, Option<String>)) -> Result<State, StoreError> {
    // A server that was suspended during a migration must not continue to use the store.
    versions::check(&MIGRATIONS, needs, moved_to)?;
    Ok(State { global_generation: unsigned(generation)?, pruned_through: UnixTime(unsigned(pruned)?), clock: None })
}

/// Fails if the database has tables of another program and none of Sealjar's, or no tables at all and `empty` refuses it. The
/// database is opened read-only, because opening it for writing would change the journal mode of another program's database.
async fn refuse_other(path: &Path, empty: EmptyPolicy) -> Result<(), StoreError> {
    let store = Store::open_to_inspect(path).await?;
    let inspect = async {
        let mut connection = store.read.acquire().await?;
        Ok::<_, StoreError>((has_tables(&mut connection).await?, has_other_tables(&mut connection).await?))
    };
    let tables = inspect.await;
    store.close().await;
    match tables? {
        (true, _) => Ok(()),
        (false, true) => Err(StoreError::Foreign(path.to_owned())),
        (false, false) if empty == EmptyPolicy::Refused => Err(StoreError::WithoutTables(path.display().to_string())),
        (false, false) => Ok(()),
    }
}

/// Returns whether the database has Sealjar's tables.
async fn has_tables(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let query =
        sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'revocation'");
    Ok(query.fetch_one(connection).await?)
}

/// Returns whether a database without Sealjar's tables has tables of another program. The table of sqlx does not count,
/// because it is the only table if the first migration was interrupted.
async fn has_other_tables(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar(
        "SELECT count(*) > 0 FROM sqlite_schema
         WHERE type = 'table' AND name <> '_sqlx_migrations' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'",
    );
    Ok(query.fetch_one(connection).await?)
}

/// A connection for reading. It can be used again even if a query failed.
struct Reading {
    connection: PoolConnection<Sqlite>,
}

impl Reading {
    /// Does nothing. The shared statements call this method, because a PostgreSQL connection must be returned to its pool.
    fn finish(self) {}
}

/// A running transaction. If it is dropped without a successful commit, its connection is closed. After a failed COMMIT,
/// SQLite may have rolled back or not, and closing the connection is correct in both cases. (sqlx's own `Transaction` keeps
/// such a connection, and every later BEGIN on it fails.)
pub(super) struct WriteTransaction {
    connection: PoolConnection<Sqlite>,
    files: Arc<Files>,
    committed: bool,
}

impl WriteTransaction {
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.files.check_for_commit().await?;
        sqlx::query("COMMIT").execute(&mut *self.connection).await?;
        self.files.check_committed().await?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for WriteTransaction {
    fn drop(&mut self) {
        if !self.committed {
            self.connection.close_on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Sid;
    use crate::revocation::Entry;
    use crate::store::records::Revocation;

    /// Landlock allows the server to write only in the directory of the database.
    #[cfg(feature = "server")]
    #[test]
    fn a_large_sort_needs_no_file_in_another_directory() {
        use crate::hardening::{AllowedChanges, LandlockStatus, WritableDirectory, restrict_thread};
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        assert!(Store::create(&path).expect("a new file"));
        let sort = async move {
            let store = Store::open(&path, EmptyPolicy::Filled).await.expect("a database");
            let mut reading = store.reading().await.expect("a connection");
            let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                         SELECT length(text) FROM (SELECT randomblob(1000) AS text FROM n)
                         ORDER BY text LIMIT 1 OFFSET 19999";
            let length: i64 = sqlx::query_scalar(query).fetch_one(&mut *reading.connection).await.expect("sorted");
            assert_eq!(length, 1000);
        };
        let directory = home.path().to_owned();
        let restricted_thread = std::thread::spawn(move || {
            if restrict_thread(&[WritableDirectory { directory, change: AllowedChanges::Files }]).expect("rules")
                == LandlockStatus::Unsupported
            {
                eprintln!("SKIPPED: this kernel does not have Landlock");
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(sort);
        });
        restricted_thread.join().expect("the thread does not panic");
    }

    /// Schema migration 6 recreates the table of the log.
    #[tokio::test]
    async fn migrations_keep_the_log_and_its_last_number() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        assert!(Store::create(&path).expect("a new file"));
        let before =
            SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.expect("an empty file");
        versions::migrations(&versions::SQLITE[..5]).run(&before).await.expect("the first five migrations");
        for (number, sid) in [[1; 16], [2; 16], [3; 16]].iter().enumerate() {
            let query = sqlx::query("INSERT INTO revocation (sid, expires_at) VALUES (?, ?)");
            query.bind(sid.as_slice()).bind(100 + number as i64).execute(&before).await.expect("written");
        }
        sqlx::query("DELETE FROM revocation WHERE seq = 3").execute(&before).await.expect("pruned");
        before.close().await;

        let store = Store::open(&path, EmptyPolicy::Refused).await.expect("migrated");
        store
            .revoke(&[Revocation::Session { sid: Sid::from_bytes([4; 16]), token: None }], UnixTime(1))
            .await
            .expect("committed");
        let rows = store.read_log(0, 10).await.expect("read").rows().expect("decoded");
        let numbers: Vec<_> = rows.iter().map(|row| row.seq).collect();
        assert_eq!(numbers, [1, 2, 4], "the number 3 of the deleted row is not used again");
        assert_eq!(rows[1].entry, Entry::Session { sid: Sid::from_bytes([2; 16]), expires_at: UnixTime(101) });
    }
}
