//! A connection pool that closes a connection after any failure.
//!
//! sqlx's own pool pings each returned connection, in a task without a time limit. In a network that drops packets, this
//! occupies one of few slots of the pool until TCP times out, which takes 15 minutes.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::revocation::retention::MAX_COMMIT_DURATION;
use crate::store::error::StoreError;

/// Time limit of a call, including the wait for a connection and connecting. A commit that takes longer is reported as
/// failed.
pub(in crate::store) const CALL_TIMEOUT: Duration = MAX_COMMIT_DURATION;
/// Time limit of a ping before a connection is used again.
const PING_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum time that the server waits for the next statement of a transaction. A transaction that holds the lock of the log
/// delays the writes of all nodes.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Limits for this node's connections to the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of connections for logins. There are five more: three for writing, one for following the log and one for
    /// notifications.
    pub(crate) connections: usize,
    pub(crate) statement_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// Opens connections to the server.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) options: PgConnectOptions,
    pub(super) limits: Limits,
}

impl Connector {
    pub(super) fn new(options: &PgConnectOptions, limits: Limits) -> Self {
        // No logging of statements, because the server logs slow ones. No `extra_float_digits`, because PgBouncer does not
        // accept this parameter, and there are no floating-point values.
        Self { options: options.clone().disable_statement_logging().extra_float_digits(None), limits }
    }

    /// Opens a connection to the primary, with the timeouts that this program needs. Fails if the server is a standby.
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
            // `message` is the server's own message, without the prefix that sqlx adds.
            Ok(Err(sqlx::Error::Database(error))) => return Err(failed(error.message().to_owned())),
            Ok(Err(sqlx::Error::Io(error))) => return Err(failed(error.to_string())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("no response within postgres.connect_timeout".to_owned())),
        };
        if read_only == "on" { Err(StoreError::Standby(self.server())) } else { Ok(connection) }
    }

    /// Fails if `connection` and a second one share a session of the server. A pooler that does this (PgBouncer's mode
    /// `transaction`) loses settings, prepared statements, advisory locks and `LISTEN`, or gives them to another client.
    pub(super) async fn check_session(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        // `fetch_all`, because a pooler takes the session back after the end of the response, and `fetch_one` does not wait
        // for the end.
        let session = async |connection: &mut PgConnection| -> Result<i32, StoreError> {
            let rows = connection.fetch_all("SELECT pg_backend_pid()").await?;
            Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
        };
        let mut second = self.connect().await?;
        let before = session(connection).await?;
        let after = session(connection).await?;
        // There are two types of poolers. One uses the session that was idle for the longest time, so the first connection
        // gets another session. The other uses the session that was used last, so both connections get the same session.
        let is_shared = before != after || after == session(&mut second).await?;
        // Sends the termination message. Its delivery is not required.
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

/// A pool of connections, which are opened on demand.
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

    /// Returns an open connection for exclusive use. Waits until fewer connections are in use than the size of the pool. An
    /// idle connection is pinged before each use, which takes one round trip. Without the ping, one request for each idle
    /// connection would fail after a failover or after the restart of a pooler.
    pub(super) async fn get(&self) -> Result<PooledConnection<'_>, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| StoreError::TimedOut)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(mut connection) => match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
                Ok(Ok(())) => connection,
                // The other idle connections have most likely failed for the same reason.
                _ => {
                    self.idle().clear();
                    self.connector.connect().await?
                }
            },
            None => self.connector.connect().await?,
        };
        Ok(PooledConnection { connection: Some(connection), pool: self, _permit: permit })
    }

    /// Closes idle connections. After this, `get` returns an error.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            // Sends the termination message. Its delivery is not required.
            let _ = connection.close().await;
        }
    }

    /// Locks the list of idle connections. A poisoned lock is harmless, because each operation leaves the list consistent.
    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. If it is dropped without `finish`, it is closed, because a statement or a transaction may be
/// incomplete.
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
        self.connection.as_ref().expect("only `finish` takes the connection, and it consumes the value")
    }
}

impl DerefMut for PooledConnection<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("only `finish` takes the connection, and it consumes the value")
    }
}
