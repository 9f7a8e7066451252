//! PostgreSQL, which several nodes share. Plain SQL: tables, transactions and row locks; NOTIFY only makes followers quick.
//!
//! Every transaction that writes refusals begins by locking the one row of `state`, which also gives out the numbers of the log,
//! and holds the lock to its commit. PostgreSQL lets a transaction be seen before it lets its locks go; so when a later number
//! is given out, every row with an earlier one can be seen already, and a follower that reads from its last number on misses
//! nothing, in whatever order the nodes began. A node that dies or freezes with the lock in its hand is cut off by
//! `idle_in_transaction_session_timeout`.

mod line;
mod looking;
mod news;
mod nodes;
mod revocations;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Connection, Executor, Postgres, Row};

use super::accounts::{accounts, select_accounts};
use super::log::{self, signed, unsigned};
use super::looking::looking;
use super::moving::held::{Contents, Counters, Incoming, LifetimeInUse, Standing};
use super::moving::statements::moving;
use super::{Account, Change, Empty, PasswordChanged, Revoke, State, StoreError, versions};
use crate::account::{DisplayName, Email, LoginName, Profile, Roles};
use crate::clock::UnixTime;
use crate::revocation::Entry;
use crate::revocation::retention::COMMITTED_WITHIN;
use line::{Line, Lines};
use news::News;
pub(super) use revocations::rows;

static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| versions::migrations(sqlx::migrate!("src/store/migrations/postgres")));

/// How long one question may take in all, with waiting for a connection and making it. A commit does not count after that.
pub(super) const PATIENCE: Duration = COMMITTED_WITHIN;

/// How much of the server this node may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections for sign-ins. There are five more: three for writing, one for following the log and one for notices.
    pub(crate) connections: usize,
    pub(crate) statement_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// Connections to a database, each kind for one purpose, so that a flood of sign-ins holds up no sign-out.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    accounts: Lines,
    write: Lines,
    follow: Lines,
    news: News,
}

impl Store {
    pub(crate) async fn open(options: &PgConnectOptions, limits: Limits, empty: Empty) -> Result<Self, StoreError> {
        let line = line(options, limits);
        if empty == Empty::Refused {
            let mut connection = line.connect().await?;
            let has_tables = has_tables(&mut connection).await?;
            // A word of farewell to the server; it would notice by itself.
            let _ = connection.close().await;
            if !has_tables {
                return Err(StoreError::WithoutTables(line.server()));
            }
        }
        let mut connection = migrate(&line).await?;
        versions::check(&MIGRATIONS, connection.fetch_one("SELECT needs FROM state").await?.try_get(0)?, None)?;
        let news = News::new(line.clone(), &mut connection).await;
        // A word of farewell to the server; it would notice by itself.
        let _ = connection.close().await;
        Ok(Self(Arc::new(Inner {
            accounts: Lines::new(line.clone(), limits.connections),
            write: Lines::new(line.clone(), 3),
            follow: Lines::new(line, 1),
            news,
        })))
    }

    /// Closes what is not in use.
    pub(crate) async fn close(&self) {
        self.0.news.stop();
        for lines in [&self.0.accounts, &self.0.write, &self.0.follow] {
            lines.close().await;
        }
    }

    pub(crate) async fn news(&self) {
        self.0.news.wait().await;
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

    async fn reading(&self) -> Result<Reading<'_>, StoreError> {
        Ok(Reading { connection: self.0.accounts.borrow().await? })
    }

    /// A transaction that is the only writer from its start.
    async fn begin(&self) -> Result<Writing<'_>, StoreError> {
        let (writing, state) = self.lock().await?;
        versions::check(&MIGRATIONS, state.try_get("needs")?, state.try_get("moved_to")?)?;
        Ok(writing)
    }

    /// The same for work on everything there is, however long that takes, and though the store be out of use.
    pub(super) async fn hold(&self) -> Result<Writing<'_>, StoreError> {
        let (mut writing, _) = self.lock().await?;
        let unhurried = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
        writing.connection.execute(unhurried).await?;
        Ok(writing)
    }

    /// Begins a transaction, and returns when there is no other.
    async fn lock(&self) -> Result<(Writing<'_>, PgRow), StoreError> {
        let mut connection = self.0.write.borrow().await?;
        // An answer to a sign-out is a promise, whatever the server's default is, and whoever stands in between.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on;
                     SELECT needs, moved_to FROM state FOR UPDATE";
        let state = connection.fetch_one(begin).await?;
        Ok((Writing { connection, notify: self.0.news.known }, state))
    }
}

fn line(options: &PgConnectOptions, limits: Limits) -> Line {
    // What is slow is the server's to say. There are no floats, and PgBouncer takes no such parameter.
    let options = options.clone().disable_statement_logging().extra_float_digits(None);
    Line { options, statement_timeout: limits.statement_timeout, connect_timeout: limits.connect_timeout }
}

/// Brings the tables up to date, however long it takes; but while it waits for somebody to let go of one, every poll of every node
/// has to wait behind it. So it waits for a moment only, and tries again.
async fn migrate(line: &Line) -> Result<PgConnection, StoreError> {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const TRIES: usize = 120;
    let mut tries = 1;
    loop {
        let mut connection = line.connect().await?;
        connection.execute("SET statement_timeout = 0; SET lock_timeout = 1000").await?;
        match MIGRATIONS.run(&mut connection).await {
            Err(
                MigrateError::Execute(sqlx::Error::Database(error))
                | MigrateError::ExecuteMigration(sqlx::Error::Database(error), _),
            ) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) && tries < TRIES => {
                if tries == 1 {
                    tracing::info!("the tables are to be brought up to date, and in use; waiting");
                }
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome.map(|()| connection).map_err(StoreError::from),
        }
    }
}

async fn has_tables(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar("SELECT to_regclass('revocation') IS NOT NULL");
    Ok(query.fetch_one(connection).await?)
}

async fn state(connection: &mut PgConnection) -> Result<State, StoreError> {
    let query = sqlx::query_as(
        "SELECT global_generation, pruned_through, CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT),
                needs, moved_to
         FROM state",
    );
    let (generation, pruned, clock, needs, moved_to): (i64, i64, i64, i64, Option<String>) =
        query.fetch_one(connection).await?;
    // A server that was stopped in the middle of a move, and goes on, must not.
    versions::check(&MIGRATIONS, needs, moved_to)?;
    Ok(State {
        global_generation: unsigned(generation)?,
        pruned_through: UnixTime(unsigned(pruned)?),
        clock: Some(UnixTime(unsigned(clock)?)),
    })
}

accounts!(Store, PgConnection, PgRow);
looking!(Store);
moving!(Store, Writing<'_>, PgConnection, Postgres, "last_seq", "UPDATE state SET last_seq = greatest(last_seq, $1)");

/// A connection that reads; closed unless it has read to the end.
struct Reading<'s> {
    connection: line::Borrowed<'s>,
}

impl Reading<'_> {
    fn finish(self) {
        self.connection.finish();
    }
}

/// A transaction under way. If it is not committed, its connection is closed, which rolls it back.
pub(super) struct Writing<'s> {
    connection: line::Borrowed<'s>,
    /// Whether to tell followers, who then hear of it once it is committed.
    notify: bool,
}

impl Writing<'_> {
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.connection.execute(if self.notify { news::NOTIFY_AND_COMMIT } else { "COMMIT" }).await?;
        self.connection.finish();
        Ok(())
    }
}
