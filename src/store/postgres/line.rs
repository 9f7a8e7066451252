//! Connections that are kept for the next use, and closed at once after any failure.
//!
//! Not sqlx's pool, which asks each connection that comes back whether it is alive, in a task without a limit of time: where a
//! network swallows packets, that holds one of few places until TCP gives up, which takes a quarter of an hour.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::StoreError;

/// How long a connection may take to say that it is alive.
const LIFE_SIGN: Duration = Duration::from_millis(500);
/// How long a transaction may wait for its client: one that holds the lock of the log holds up every node.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);

/// How to reach the server.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) options: PgConnectOptions,
    pub(super) statement_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl Line {
    /// A connection to the primary, with the settings that we rely on.
    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let failed = |reason| StoreError::Connect { server: self.server(), reason };
        let connect = async {
            let mut connection = self.options.connect().await?;
            let settings = format!(
                "SET client_min_messages = warning; SET statement_timeout = {statement}; SET lock_timeout = {statement};
                 SET idle_in_transaction_session_timeout = {idle}",
                statement = self.statement_timeout.as_millis(),
                idle = IDLE_IN_TRANSACTION.as_millis(),
            );
            connection.execute(sqlx::AssertSqlSafe(settings)).await?;
            let row = connection.fetch_one("SHOW transaction_read_only").await?;
            Ok((connection, row.try_get::<String, _>(0)?))
        };
        let outcome = tokio::time::timeout(self.connect_timeout, connect).await;
        let (connection, read_only) = match outcome {
            Ok(Ok(connected)) => connected,
            // What the server itself says needs no preface.
            Ok(Err(sqlx::Error::Database(error))) => return Err(failed(error.message().to_owned())),
            Ok(Err(sqlx::Error::Io(error))) => return Err(failed(error.to_string())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("no answer within postgres.connect_timeout".to_owned())),
        };
        if read_only == "on" { Err(StoreError::Standby(self.server())) } else { Ok(connection) }
    }

    /// Where that is, without a password.
    pub(super) fn server(&self) -> String {
        let database = self.options.get_database().unwrap_or(self.options.get_username());
        match self.options.get_socket() {
            Some(socket) => format!("{}, database {database}", socket.display()),
            None => format!("{}:{}, database {database}", self.options.get_host(), self.options.get_port()),
        }
    }
}

/// So many connections at most, made when they are needed.
#[derive(Debug)]
pub(super) struct Lines {
    line: Line,
    places: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Lines {
    pub(super) fn new(line: Line, size: usize) -> Self {
        Self { line, places: Semaphore::new(size), idle: Mutex::default() }
    }

    /// A live connection, which nobody else uses meanwhile. It is asked each time: it costs one message there and back, and without
    /// it a pooler that was restarted, or a failover, fails as many requests as there are connections.
    pub(super) async fn borrow(&self) -> Result<Borrowed<'_>, StoreError> {
        let place = self.places.acquire().await.map_err(|_| StoreError::TimedOut)?;
        let held = self.idle().pop();
        let connection = match held {
            Some(mut connection) => match tokio::time::timeout(LIFE_SIGN, connection.ping()).await {
                Ok(Ok(())) => connection,
                // What was made at the same time has most likely died with it.
                _ => {
                    self.idle().clear();
                    self.line.connect().await?
                }
            },
            None => self.line.connect().await?,
        };
        Ok(Borrowed { connection: Some(connection), lines: self, _place: place })
    }

    /// Closes what is not in use, and lends nothing any more.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            // A farewell; the server would notice by itself.
            let _ = connection.close().await;
        }
    }

    /// A list of connections is whole between any two operations on it.
    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. Unless its work is finished, it is closed: nobody knows what it is in the middle of.
#[derive(Debug)]
pub(super) struct Borrowed<'l> {
    connection: Option<PgConnection>,
    lines: &'l Lines,
    _place: SemaphorePermit<'l>,
}

impl Borrowed<'_> {
    /// The work is done, and the connection good for the next.
    pub(super) fn finish(mut self) {
        if let Some(connection) = self.connection.take() {
            self.lines.idle().push(connection);
        }
    }
}

impl Deref for Borrowed<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("taken by `finish` alone, which consumes it")
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("taken by `finish` alone, which consumes it")
    }
}
