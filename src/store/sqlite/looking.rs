//! Looking at an SQLite file, and at one that is damaged.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::files::{self, Files};
use super::{BUSY_TIMEOUT, Store};
use crate::store::StoreError;

impl Store {
    pub(crate) async fn look(path: &Path) -> Result<Self, StoreError> {
        if !files::is_there(path)? {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let files = Files::of(path)?;
        // Nobody has the file open if there is no log beside it; to read it as such leaves no log behind, either.
        let unused = !files.have_log();
        let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(unused);
        let options = options.busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let pool = pool.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Ok(Self { write: pool.clone(), read: pool, files: Arc::new(files) })
    }

    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar("PRAGMA quick_check(1)");
        let found: String = query.fetch_one(&self.read).await?;
        Ok((found != "ok").then_some(found))
    }
}
