//! Read-only inspection of an SQLite file, which may be damaged.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::files::{self, Files};
use super::{BUSY_TIMEOUT, Store, faults, has_other_tables};
use crate::store::error::StoreError;

impl Store {
    /// Opens a database for reading only, with one connection. Creates no file if no other process uses the database.
    pub(crate) async fn open_to_inspect(path: &Path) -> Result<Self, StoreError> {
        if !files::is_there(path)? {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let files = Files::of(path)?;
        // If there is no write-ahead log, no process has the database open. SQLite then opens the database as immutable, and
        // does not create a log.
        let is_unused = !files.have_log();
        let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(is_unused);
        let options = options.busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let pool = pool.map_err(|source| faults::explain(path, StoreError::Open { path: path.to_owned(), source }))?;
        Ok(Self { write: pool.clone(), read: pool, files: Arc::new(files) })
    }

    /// Returns whether there are tables of another program.
    pub(crate) async fn has_other_tables(&self) -> Result<bool, StoreError> {
        has_other_tables(&mut *self.read.acquire().await?).await
    }

    /// Returns the first damage that a check of the file finds, or `None`.
    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar("PRAGMA quick_check(1)");
        let check_result: String = query.fetch_one(&self.read).await?;
        Ok((check_result != "ok").then_some(check_result))
    }
}
