//! A connection pool that closes a connection after any failure.
//!
//! sqlx's own pool pings each connection that comes back, in a task without a time limit. In a network that drops packets, this
//! holds one of few places until TCP gives up, which takes a quarter of an hour.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::revocation::retention::COMMITTED_WITHIN;
use crate::store::error::StoreError;

/// Time limit of a call, including waiting for a connection and connecting. A commit does not count after this.
pub(in crate::store) const CALL_TIMEOUT: Duration = COMMITTED_WITHIN;
/// Time limit of a ping before a connection is used again.
const PING_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a transaction may wait for its client: one that holds the lock of the log delays every node.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Limits of this node's use of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections for sign-ins. There are five more: three for writing, one for following the log and one for notifications.
    pub(crate) connections: usize,
    pub(crate) statement_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// Connects to the server.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) options: PgConnectOptions,
    pub(super) limits: Limits,
}

impl Connector {
    pub(super) fn new(options: &PgConnectOptions, limits: Limits) -> Self {
        // The server logs slow statements itself. There are no floats, and PgBouncer does not take their parameter.
        Self { options: options.clone().disable_statement_logging().extra_float_digits(None), limits }
    }

    /// Opens a connection to the primary, with the settings that we rely on.
    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let failed = |reason| StoreError::Connect { server: self.server(), reason };
        let connect = async {
            let mut connection = self.options.connect().await?;
            let settings = format!(
                "SET client_min_messages = warning; SET statement_timeout = {statement}; SET lock_timeout = {statement};
                 SET idle_in_transaction_session_timeout = {idle}",
                statement = self.limits.statement_timeout.as_millis(),
                idle = IDLE_IN_TRANSACTION_TIMEOUT.as_millis(),
            );
            connection.execute(sqlx::AssertSqlSafe(settings)).await?;
            let row = connection.fetch_one("SHOW transaction_read_only").await?;
            Ok((connection, row.try_get::<String, _>(0)?))
        };
        let outcome = tokio::time::timeout(self.limits.connect_timeout, connect).await;
        let (connection, read_only) = match outcome {
            Ok(Ok(connected)) => connected,
            // The server's own message is complete without sqlx's preface.
            Ok(Err(sqlx::Error::Database(error))) => return Err(failed(error.message().to_owned())),
            Ok(Err(sqlx::Error::Io(error))) => return Err(failed(error.to_string())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("no answer within postgres.connect_timeout".to_owned())),
        };
        if read_only == "on" { Err(StoreError::Standby(self.server())) } else { Ok(connection) }
    }

    /// Fails if `connection` and a second one share a session of the server. A pooler that does this (PgBouncer's mode `transaction`)
    /// loses settings, prepared statements, advisory locks and `LISTEN`, or gives them to another client.
    pub(super) async fn check_session(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        // All rows, because a pooler takes the session back after the end of the answer, which `fetch_one` does not wait for.
        let session = async |connection: &mut PgConnection| -> Result<i32, StoreError> {
            let rows = connection.fetch_all("SELECT pg_backend_pid()").await?;
            Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
        };
        let mut second = self.connect().await?;
        let before = session(connection).await?;
        let after = session(connection).await?;
        // A pooler that gives out the session that was free for longest changes that of the first connection. One that gives out the
        // session that was used last gives it to both.
        let is_shared = before != after || after == session(&mut second).await?;
        // Says goodbye to the server; it does not matter whether this arrives.
        let _ = second.close().await;
        if is_shared { Err(StoreError::SharedSession) } else { Ok(()) }
    }

    /// Returns the address of the server, without a password.
    pub(super) fn server(&self) -> String {
        let database = self.options.get_database().unwrap_or(self.options.get_username());
        match self.options.get_socket() {
            Some(socket) => format!("{}, database {database}", socket.display()),
            None => format!("{}:{}, database {database}", self.options.get_host(), self.options.get_port()),
        }
    }
}

/// A pool of connections, which are opened when they are needed.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Pool {
    pub(super) fn new(connector: Connector, size: usize) -> Self {
        Self { connector, permits: Semaphore::new(size), idle: Mutex::default() }
    }

    /// Returns a live connection for exclusive use. It is pinged each time, which costs a round trip: without that, a failover or
    /// the restart of a pooler fails as many requests as there are connections.
    pub(super) async fn get(&self) -> Result<PooledConnection<'_>, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| StoreError::TimedOut)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(mut connection) => match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
                Ok(Ok(())) => connection,
                // The others have most likely failed for the same reason.
                _ => {
                    self.idle().clear();
                    self.connector.connect().await?
                }
            },
            None => self.connector.connect().await?,
        };
        Ok(PooledConnection { connection: Some(connection), pool: self, _permit: permit })
    }

    /// Closes idle connections, and hands out none any more.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            // Says goodbye to the server; it does not matter whether this arrives.
            let _ = connection.close().await;
        }
    }

    /// A poisoned lock is harmless: the list is consistent between any two operations on it.
    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. It is closed unless `finish` is called, because it may be in the middle of something.
#[derive(Debug)]
pub(super) struct PooledConnection<'p> {
    connection: Option<PgConnection>,
    pool: &'p Pool,
    _permit: SemaphorePermit<'p>,
}

impl PooledConnection<'_> {
    /// Returns the connection to the pool.
    pub(super) fn finish(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle().push(connection);
        }
    }
}

impl Deref for PooledConnection<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("taken by `finish` alone, which consumes it")
    }
}

impl DerefMut for PooledConnection<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("taken by `finish` alone, which consumes it")
    }
}
