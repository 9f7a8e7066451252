//! Read-only inspection of a store, for `sealjar doctor` and similar commands. A missing database is not created, and no
//! schema migration is applied. So tables of any version can be inspected.

use super::error::{StoreError, within};
use super::postgres::pool::{CALL_TIMEOUT, Limits};
use super::records::{ServerSettings, Tables};
use super::url::StoreUrl;
use super::{Store, call, postgres, sqlite};
use crate::clock::UnixTime;

impl Store {
    /// Opens a database for reading only, in any state.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not exist or cannot be read.
    pub(crate) async fn open_to_inspect(url: &StoreUrl, limits: Limits) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => Self::Sqlite(sqlite::Store::open_to_inspect(path).await?),
            StoreUrl::Postgres(options) => Self::Postgres(postgres::Store::open_to_inspect(options, limits).await?),
        })
    }

    /// Returns the version of the tables, or `None` if there are none.
    pub(crate) async fn tables(&self) -> Result<Option<Tables>, StoreError> {
        call!(self, engine => engine.tables())
    }

    /// Returns whether an SQLite file without Sealjar's tables has tables of another program.
    pub(crate) async fn has_other_tables(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.has_other_tables().await,
            Self::Postgres(_) => Ok(false),
        }
    }

    /// Returns the latest time of a server's clock that the store has recorded.
    pub(crate) async fn clock_reached(&self) -> Result<UnixTime, StoreError> {
        call!(self, engine => engine.clock_reached())
    }

    /// Returns the first damage that a check of an SQLite file finds, or `None`. For PostgreSQL, which checks its own files,
    /// the result is always `None`.
    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.explain(engine.damage().await),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// Returns the settings of a PostgreSQL server, or `None` for SQLite.
    pub(crate) async fn server_facts(&self) -> Result<Option<ServerSettings>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(engine) => within(CALL_TIMEOUT, engine.server_facts()).await.map(Some),
        }
    }
}
