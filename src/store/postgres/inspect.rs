//! Read-only inspection of a PostgreSQL database and its server.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Row};

use super::notifications::Notifications;
use super::pool::{Connector, Limits, Pool};
use super::{Inner, Store};
use crate::store::error::StoreError;
use crate::store::records::ServerSettings;

impl Store {
    /// Connects to a database without a schema migration. Each pool has at most one connection.
    pub(crate) async fn open_to_inspect(options: &PgConnectOptions, limits: Limits) -> Result<Self, StoreError> {
        let connector = Connector::new(options, limits);
        let mut connection = connector.connect().await?;
        connector.check_session(&mut connection).await?;
        let notifications = Notifications::new(connector.clone(), &mut connection).await;
        // Sends the termination message. Its delivery is not required.
        let _ = connection.close().await;
        let pool = || Pool::new(connector.clone(), 1);
        Ok(Self(Arc::new(Inner { accounts: pool(), write: pool(), follow: pool(), notifications })))
    }

    /// Reads the settings of the server that determine how safe its commits are.
    pub(crate) async fn server_facts(&self) -> Result<ServerSettings, StoreError> {
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
        Ok(ServerSettings {
            version: row.try_get("version")?,
            fsync: row.try_get("fsync")?,
            full_page_writes: row.try_get("full_page_writes")?,
            standbys: row.try_get("standbys")?,
            synchronous: row.try_get("synchronous")?,
            connections: row.try_get("connections")?,
        })
    }
}
