//! A copy of a database that is in use.
//!
//! [`VACUUM INTO`](https://www.sqlite.org/lang_vacuum.html) reads the database in one transaction: the copy has every commit before
//! its start, and none after. In a write-ahead log, readers and writers do not wait for each other, so the server goes on committing.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::{BUSY_TIMEOUT, Store, faults, files, has_tables};
use crate::store::error::StoreError;

impl Store {
    /// Copies the database at `path` into `copy`, an empty file, in whatever state it is. `mark` takes the copy out of use until
    /// `restored` is called for it, because it lacks the revocations that follow.
    pub(crate) async fn back_up(path: &Path, copy: &Path, mark: &str) -> Result<(), StoreError> {
        if !files::is_there(path)? {
            return Err(StoreError::Missing(path.to_owned()));
        }
        copy_into(path, copy).await.map_err(|error| match faults::explain(path, error) {
            // The copy is the only file that this writes.
            StoreError::Full(_) => StoreError::Full(copy.to_owned()),
            error => error,
        })?;
        finish(copy, mark).await.map_err(|error| faults::explain(copy, error))
    }
}

async fn copy_into(path: &Path, copy: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = options.connect().await.map_err(open)?;
    if !has_tables(&mut connection).await? {
        return Err(StoreError::WithoutTables(path.display().to_string()));
    }
    let target = copy.to_str().ok_or_else(|| StoreError::NotUtf8(copy.to_owned()))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await;
    close(connection).await;
    copied.map(drop).map_err(StoreError::from)
}

/// Marks the copy, and checks that it can be read.
async fn finish(copy: &Path, mark: &str) -> Result<(), StoreError> {
    // Without a file beside it, which would stay behind if this is interrupted.
    let options = SqliteConnectOptions::new().filename(copy).journal_mode(SqliteJournalMode::Memory);
    let mut connection = options.synchronous(SqliteSynchronous::Full).connect().await?;
    sqlx::query("UPDATE state SET moved_to = coalesce(moved_to, ?)").bind(mark).execute(&mut connection).await?;
    // The reports are of servers that use the database, and none uses the copy.
    sqlx::query("DELETE FROM node").execute(&mut connection).await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    close(connection).await;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged(copy.to_owned())) }
}

async fn close(connection: SqliteConnection) {
    // Nothing is left to write, so an error here has no consequence.
    let _ = connection.close().await;
}
