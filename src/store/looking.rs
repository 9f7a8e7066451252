//! Looking at a store without changing anything in it: it is neither made nor brought up to date, whatever its tables are like.

use super::url::StoreUrl;
use super::{Limits, Store, StoreError, postgres, sqlite, within};
use crate::clock::UnixTime;

/// Of which version the tables are, in migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) applied: i64,
    /// The last that this program knows.
    pub(crate) known: i64,
}

/// What a PostgreSQL server says of how it keeps what was committed.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    pub(crate) version: String,
    pub(crate) fsync: bool,
    pub(crate) full_page_writes: bool,
    pub(crate) standbys: i64,
    /// Which of them confirm commits.
    pub(crate) synchronous: String,
    /// Connections that are not kept for the server's own administrators.
    pub(crate) connections: i64,
}

/// Gives an engine what is the same for both.
macro_rules! looking {
    ($store:ident) => {
        impl $store {
            pub(super) async fn tables(&self) -> Result<Option<crate::store::looking::Tables>, StoreError> {
                let mut reading = self.reading().await?;
                if !has_tables(&mut reading.connection).await? {
                    reading.finish();
                    return Ok(None);
                }
                let query = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations");
                let applied: Option<i64> = query.fetch_one(&mut *reading.connection).await?;
                reading.finish();
                let known = MIGRATIONS.iter().map(|migration| migration.version).max();
                Ok(Some(crate::store::looking::Tables {
                    applied: applied.unwrap_or_default(),
                    known: known.unwrap_or_default(),
                }))
            }

            pub(super) async fn revoked_keys(&self) -> Result<Vec<crate::id::Kid>, StoreError> {
                let mut reading = self.reading().await?;
                let query = sqlx::query_scalar("SELECT DISTINCT kid FROM revocation WHERE kid IS NOT NULL");
                let kids: Vec<Vec<u8>> = query.fetch_all(&mut *reading.connection).await?;
                reading.finish();
                let kid = |bytes: Vec<u8>| bytes.try_into().map(crate::id::Kid::from_bytes);
                let kids = kids.into_iter().map(kid).collect::<Result<_, _>>();
                kids.map_err(|_| StoreError::Corrupt("a key id of another length"))
            }

            pub(super) async fn clock_reached(&self) -> Result<UnixTime, StoreError> {
                let mut reading = self.reading().await?;
                let query = sqlx::query_scalar("SELECT clock_reached FROM state");
                let reached = query.fetch_one(&mut *reading.connection).await?;
                reading.finish();
                Ok(UnixTime(unsigned(reached)?))
            }
        }
    };
}

pub(super) use looking;

impl Store {
    /// Opens a database to be looked at, in whatever standing. Nothing but reading may be asked of it.
    ///
    /// # Errors
    /// [`StoreError`] if it is not there, or cannot be read.
    pub(crate) async fn look(url: &StoreUrl, limits: Limits) -> Result<Self, StoreError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => Self::Sqlite(sqlite::Store::look(path).await?),
            StoreUrl::Postgres(options) => Self::Postgres(postgres::Store::look(options, limits).await?),
        })
    }

    /// Of which version its tables are; `None` if it has none.
    pub(crate) async fn tables(&self) -> Result<Option<Tables>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.tables().await,
            Self::Postgres(engine) => within(postgres::PATIENCE, engine.tables()).await,
        }
    }

    /// Refuses a store that is out of use, because a move from it is finished, or one to it is not.
    pub(crate) async fn check_in_use(&self) -> Result<(), StoreError> {
        self.standing().await?.is_in_use()
    }

    /// The latest that a server has taken for now.
    pub(crate) async fn clock_reached(&self) -> Result<UnixTime, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.clock_reached().await,
            Self::Postgres(engine) => within(postgres::PATIENCE, engine.clock_reached()).await,
        }
    }

    /// What is damaged in an SQLite file, if anything is; PostgreSQL looks after its own.
    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.damage().await,
            Self::Postgres(_) => Ok(None),
        }
    }

    /// What a PostgreSQL server says of itself; nothing for SQLite.
    pub(crate) async fn keeping(&self) -> Result<Option<Keeping>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(engine) => within(postgres::PATIENCE, engine.keeping()).await.map(Some),
        }
    }
}
