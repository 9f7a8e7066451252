//! PostgreSQL, which several nodes share. It uses tables, transactions and row locks. `NOTIFY` is optional: it only reduces
//! the lag of followers.
//!
//! Invariant: a follower that reads the log from its last number on does not miss a row. Every transaction that writes
//! revocations first locks the only row of `state`, which contains the last number of the log, and holds the lock until its
//! commit. PostgreSQL makes a transaction visible before it releases its locks. So when a number is assigned, all rows with
//! lower numbers are visible. If a node stops or is suspended while it holds the lock, `idle_in_transaction_session_timeout`
//! closes its connection.

mod inspect;
mod nodes;
mod notifications;
pub(super) mod pool;
mod revocations;
mod statements;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Connection, Executor, Row};

use super::error::StoreError;
use super::log::unsigned;
use super::records::{EmptyPolicy, State};
use super::versions;
use crate::clock::UnixTime;
use notifications::{NOTIFY_AND_COMMIT, Notifications};
use pool::{Connector, Limits, Pool, PooledConnection};
pub(super) use revocations::rows;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| versions::migrations(versions::POSTGRES));

/// Connection pools of a database. There is a separate pool for each purpose, so that many logins do not delay logouts.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    accounts: Pool,
    write: Pool,
    follow: Pool,
    notifications: Notifications,
}

impl Store {
    pub(crate) async fn open(
        options: &PgConnectOptions,
        limits: Limits,
        empty: EmptyPolicy,
    ) -> Result<Self, StoreError> {
        let connector = Connector::new(options, limits);
        let mut connection = connector.connect().await?;
        connector.check_session(&mut connection).await?;
        let is_usable = empty == EmptyPolicy::Filled || has_tables(&mut connection).await?;
        // Sends the termination message. Its delivery is not required.
        let _ = connection.close().await;
        if !is_usable {
            return Err(StoreError::WithoutTables(connector.server()));
        }
        let mut connection = migrate(&connector).await?;
        versions::check(&MIGRATIONS, connection.fetch_one("SELECT needs FROM state").await?.try_get(0)?, None)?;
        let notifications = Notifications::new(connector.clone(), &mut connection).await;
        // Sends the termination message. Its delivery is not required.
        let _ = connection.close().await;
        Ok(Self(Arc::new(Inner {
            accounts: Pool::new(connector.clone(), limits.connections),
            write: Pool::new(connector.clone(), 3),
            follow: Pool::new(connector, 1),
            notifications,
        })))
    }

    /// Closes idle connections. After this, no connection can be taken from a pool.
    pub(crate) async fn close(&self) {
        self.0.notifications.stop();
        for pool in [&self.0.accounts, &self.0.write, &self.0.follow] {
            pool.close().await;
        }
    }

    pub(crate) async fn notified(&self) {
        self.0.notifications.wait().await;
    }

    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        let mut reading = self.reading().await?;
        let state = state(&mut reading.connection).await?;
        reading.finish();
        Ok(state)
    }

    pub(crate) async fn generation(&self) -> Result<u64, StoreError> {
        let mut reading = self.reading().await?;
        let query = sqlx::query_scalar("SELECT global_generation + last_seq FROM state");
        let generation = query.fetch_one(&mut *reading.connection).await?;
        reading.finish();
        unsigned(generation)
    }

    /// Returns a connection for reading, from the pool `accounts`.
    async fn reading(&self) -> Result<Reading<'_>, StoreError> {
        Ok(Reading { connection: self.0.accounts.get().await? })
    }

    /// Begins a transaction that is the only writer from its start.
    async fn begin(&self) -> Result<WriteTransaction<'_>, StoreError> {
        let (writing, state) = self.lock().await?;
        versions::check(&MIGRATIONS, state.try_get("needs")?, state.try_get("moved_to")?)?;
        Ok(writing)
    }

    /// Begins a transaction like [`Self::begin`], but without time limits, for work on the whole store, and even if the store
    /// is out of use.
    pub(super) async fn begin_unchecked(&self) -> Result<WriteTransaction<'_>, StoreError> {
        let (mut writing, _) = self.lock().await?;
        let no_time_limits = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
        writing.connection.execute(no_time_limits).await?;
        Ok(writing)
    }

    /// Begins a transaction, and waits until it is the only writer.
    async fn lock(&self) -> Result<(WriteTransaction<'_>, PgRow), StoreError> {
        let mut connection = self.0.write.get().await?;
        // A commit must be durable when a logout is confirmed, regardless of the settings of the server and of a pooler.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on;
                     SELECT needs, moved_to FROM state FOR UPDATE";
        let state = connection.fetch_one(begin).await?;
        Ok((WriteTransaction { connection, notify: self.0.notifications.supported }, state))
    }
}

/// Applies missing schema migrations, without a time limit for the statements.
///
/// While a migration waits for the lock of a table, all polls of all nodes wait for the migration. So the migration waits at
/// most one second for the lock, and is then tried again.
async fn migrate(connector: &Connector) -> Result<PgConnection, StoreError> {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const MAX_TRIES: usize = 120;
    let mut tries = 1;
    loop {
        let mut connection = connector.connect().await?;
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 1000").await?;
        match MIGRATIONS.run(&mut connection).await {
            Err(
                MigrateError::Execute(sqlx::Error::Database(error))
                | MigrateError::ExecuteMigration(sqlx::Error::Database(error), _),
            ) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) && tries < MAX_TRIES => {
                if tries == 1 {
                    tracing::info!("the tables must be migrated, but another transaction uses them; waiting");
                }
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome.map(|()| connection).map_err(|error| explain_privilege(connector, error)),
        }
    }
}

/// Adds the user and the database to the error if the migration failed because the user lacks a privilege.
fn explain_privilege(connector: &Connector, error: MigrateError) -> StoreError {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    match &error {
        MigrateError::Execute(sqlx::Error::Database(database_error))
        | MigrateError::ExecuteMigration(sqlx::Error::Database(database_error), _)
            if database_error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) =>
        {
            let user = connector.options.get_username().to_owned();
            StoreError::MissingPrivilege {
                server: connector.server(),
                user,
                reason: database_error.message().to_owned(),
            }
        }
        _ => error.into(),
    }
}

/// Returns whether the database has Sealjar's tables.
async fn has_tables(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar("SELECT to_regclass('revocation') IS NOT NULL");
    Ok(query.fetch_one(connection).await?)
}

/// Reads the counters. Fails if the store is out of use or needs a newer program.
async fn state(connection: &mut PgConnection) -> Result<State, StoreError> {
    let query = sqlx::query_as(
        "SELECT global_generation, pruned_through, CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT),
                needs, moved_to
         FROM state",
    );
    let (generation, pruned, clock, needs, moved_to): (i64, i64, i64, i64, Option<String>) =
        query.fetch_one(connection).await?;
    // A server that was suspended during a migration must not continue to use the store.
    versions::check(&MIGRATIONS, needs, moved_to)?;
    Ok(State {
        global_generation: unsigned(generation)?,
        pruned_through: UnixTime(unsigned(pruned)?),
        clock: Some(UnixTime(unsigned(clock)?)),
    })
}

/// A connection for reading. If it is dropped without `finish`, it is closed.
struct Reading<'s> {
    connection: PooledConnection<'s>,
}

impl Reading<'_> {
    /// Returns the connection to its pool.
    fn finish(self) {
        self.connection.finish();
    }
}

/// A running transaction. If it is not committed, its connection is closed, which rolls it back.
pub(super) struct WriteTransaction<'s> {
    connection: PooledConnection<'s>,
    /// Whether to notify followers of the commit.
    notify: bool,
}

impl WriteTransaction<'_> {
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.connection.execute(if self.notify { NOTIFY_AND_COMMIT } else { "COMMIT" }).await?;
        self.connection.finish();
        Ok(())
    }
}
