//! Copying of a database that is in use. Called by `store/backup.rs`.
//!
//! [`VACUUM INTO`](https://www.sqlite.org/lang_vacuum.html) reads the database in one transaction: the copy has every commit
//! before the start of the transaction, and no later commit. With a write-ahead log, readers and writers do not wait for each
//! other, so the server can commit during the copy.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::{BUSY_TIMEOUT, Store, faults, files, has_tables};
use crate::store::error::StoreError;

impl Store {
    /// Copies the database at `path` into `copy`, an empty file. The database may be out of use. `mark` becomes
    /// `state.moved_to` of the copy. It takes the copy out of use until `restored` is called, because the copy lacks later
    /// revocations.
    pub(crate) async fn back_up(path: &Path, copy: &Path, mark: &str) -> Result<(), StoreError> {
        if !files::is_there(path)? {
            return Err(StoreError::Missing(path.to_owned()));
        }
        copy_into(path, copy).await.map_err(|error| match faults::explain(path, error) {
            // `copy_into` writes only to the copy, so the space is missing there.
            StoreError::Full(_) => StoreError::Full(copy.to_owned()),
            error => error,
        })?;
        finish(copy, mark).await.map_err(|error| faults::explain(copy, error))
    }
}

/// Copies the database at `path` into the empty file `copy`. Opens the database read-only.
async fn copy_into(path: &Path, copy: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let open_error = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = options.connect().await.map_err(open_error)?;
    if !has_tables(&mut connection).await? {
        return Err(StoreError::WithoutTables(path.display().to_string()));
    }
    let target = copy.to_str().ok_or_else(|| StoreError::NotUtf8(copy.to_owned()))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await;
    close(connection).await;
    copied.map(drop).map_err(StoreError::from)
}

/// Marks the copy as a backup, and checks that it can be read.
async fn finish(copy: &Path, mark: &str) -> Result<(), StoreError> {
    // The journal is in memory, because a journal file would remain if the backup is interrupted.
    let options = SqliteConnectOptions::new().filename(copy).journal_mode(SqliteJournalMode::Memory);
    let mut connection = options.synchronous(SqliteSynchronous::Full).connect().await?;
    sqlx::query("UPDATE state SET moved_to = coalesce(moved_to, ?)").bind(mark).execute(&mut connection).await?;
    // The node reports are deleted, because no server uses the copy.
    sqlx::query("DELETE FROM node").execute(&mut connection).await?;
    let check_result: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    close(connection).await;
    if check_result == "ok" { Ok(()) } else { Err(StoreError::Damaged(copy.to_owned())) }
}

/// Closes a connection, and ignores errors.
async fn close(connection: SqliteConnection) {
    // All data has been written, so an error has no consequence.
    let _ = connection.close().await;
}
