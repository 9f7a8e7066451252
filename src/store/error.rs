//! Errors of the store, and the functions that return its two timeout errors.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::{Now, UnixTime};
use crate::revocation::retention::MAX_COMMIT_DURATION;

/// Reason why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    #[error(
        "the database file {} was replaced or removed while it was in use: put the same file back; \
         if the new file is the right one, restart the server, but revocations that were not stored are then lost",
        .0.display()
    )]
    Replaced(PathBuf),
    #[error(
        "there is no database at {path}, but its log {path}-wal: it was moved or removed, perhaps under a running server. \
         Put the file back; or, if it is lost, remove {path}-wal and {path}-shm first",
        path = .0.display()
    )]
    LogWithoutDatabase(PathBuf),
    #[error("the database {} cannot be written{reason}", path.display())]
    ReadOnly { path: PathBuf, reason: String },
    #[error("there is no space left for the database {}", .0.display())]
    Full(PathBuf),
    #[error("another process has been writing to the database {} for 5 s", .0.display())]
    Busy(PathBuf),
    #[error("{} is not a file, so it is not a database", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is not an SQLite database", .0.display())]
    NoDatabase(PathBuf),
    #[error("the database {} is damaged", .0.display())]
    Damaged(PathBuf),
    #[error("{} is the database of another program: it has tables, and none of Sealjar's", .0.display())]
    Foreign(PathBuf),
    #[error("the path {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    #[error("the user {user} of PostgreSQL at {server} lacks a privilege: {reason}")]
    MissingPrivilege { server: String, user: String, reason: String },
    #[error("{0} has none of Sealjar's tables")]
    WithoutTables(String),
    #[error("cannot open the database {}: {source}", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot create the database {}: {source}", path.display())]
    Create { path: PathBuf, source: std::io::Error },
    #[error("cannot use PostgreSQL at {server}: {reason}")]
    Connect { server: String, reason: String },
    #[error("PostgreSQL at {0} is read-only: it is a standby")]
    Standby(String),
    #[error("a connection pooler in front of PostgreSQL lets clients share one session")]
    SharedSession,
    #[error("the database did not respond in time")]
    TimedOut,
    #[error("the database took too long to commit: the change may have been made or not")]
    CommitTooLate,
    #[error("this machine's clock shows {here}, the database's clock shows {there}")]
    ClocksDiffer { here: UnixTime, there: UnixTime },
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database's tables need a newer Sealjar (they require migration {needs}, this version has {known})")]
    TooNew { needs: i64, known: i64 },
    #[error("the database failed: {0}")]
    Failed(sqlx::Error),
    #[error("corrupt database: {0}")]
    Corrupt(&'static str),
    #[error("the database contains an unfinished migration from {0}")]
    Unfinished(String),
    #[error("the contents of this database were moved to {0}")]
    Moved(String),
    #[error("this database is a backup of {0}, and lacks the logouts since then")]
    Backup(String),
    #[error("there is an account named {0} already")]
    NameTaken(String),
    #[error("an account with one of these names was added meanwhile")]
    AddedMeanwhile,
    #[error("there is no account named {0}")]
    NoSuchAccount(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        /// PostgreSQL's error codes for a prepared statement that does not exist in this session, and for one that another
        /// client has created.
        const SHARED_SESSION: [&str; 2] = ["26000", "42P05"];
        match error.as_database_error().and_then(|error| error.code()) {
            Some(code) if SHARED_SESSION.contains(&&*code) => Self::SharedSession,
            _ => Self::Failed(error),
        }
    }
}

/// Prefix of `state.moved_to` in a backup. The time of the backup follows it.
pub(super) const BACKUP_MARK: &str = "backup of ";

impl StoreError {
    /// Returns the error for a database with this value of `state.moved_to`.
    pub(super) fn out_of_use(moved_to: String) -> Self {
        match moved_to.strip_prefix(BACKUP_MARK) {
            Some(time) => Self::Backup(time.to_owned()),
            None => Self::Moved(moved_to),
        }
    }
}

/// Returns [`StoreError::TimedOut`] if the work takes longer than `timeout`. The work is then dropped, which closes its
/// connection. It is unknown whether the database has made the change.
pub(super) async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(StoreError::TimedOut))
}

/// Returns [`StoreError::CommitTooLate`] for a commit that timed out or took longer than [`MAX_COMMIT_DURATION`], because
/// the expiry of its entries may be too early. `started` is the time before the commit.
pub(super) fn in_time<T>(started: Now, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
    match outcome {
        Ok(done) if Now::read().boot.saturating_sub(started.boot) <= MAX_COMMIT_DURATION => Ok(done),
        Ok(_) | Err(StoreError::TimedOut) => Err(StoreError::CommitTooLate),
        Err(error) => Err(error),
    }
}
