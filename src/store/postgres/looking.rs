//! Looking at a database in PostgreSQL, and at the server.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Row};

use super::line::Lines;
use super::news::News;
use super::{Inner, Limits, Store, line};
use crate::store::StoreError;
use crate::store::looking::Keeping;

impl Store {
    pub(crate) async fn look(options: &PgConnectOptions, limits: Limits) -> Result<Self, StoreError> {
        let line = line(options, limits);
        let mut connection = line.connect().await?;
        let news = News::new(line.clone(), &mut connection).await;
        // A word of farewell to the server; it would notice by itself.
        let _ = connection.close().await;
        let lines = || Lines::new(line.clone(), 1);
        Ok(Self(Arc::new(Inner { accounts: lines(), write: lines(), follow: lines(), news })))
    }

    pub(crate) async fn keeping(&self) -> Result<Keeping, StoreError> {
        let mut reading = self.reading().await?;
        let query = sqlx::query(
            "SELECT current_setting('server_version') AS version,
                    current_setting('fsync') = 'on' AS fsync,
                    current_setting('full_page_writes') = 'on' AS full_page_writes,
                    (SELECT count(*) FROM pg_stat_replication) AS standbys,
                    current_setting('synchronous_standby_names') AS synchronous,
                    CAST(current_setting('max_connections') AS BIGINT)
                        - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS connections",
        );
        let row = query.fetch_one(&mut *reading.connection).await?;
        reading.finish();
        Ok(Keeping {
            version: row.try_get("version")?,
            fsync: row.try_get("fsync")?,
            full_page_writes: row.try_get("full_page_writes")?,
            standbys: row.try_get("standbys")?,
            synchronous: row.try_get("synchronous")?,
            connections: row.try_get("connections")?,
        })
    }
}
