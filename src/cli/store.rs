//! `sealjar store`: backs up the database, and marks a restored backup as the store in use.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::store;
use crate::store::backup::{BackupError, back_up};
use crate::store::records::EmptyPolicy;
use crate::store::url::StoreUrl;

#[derive(Subcommand, Debug)]
pub(super) enum Store {
    /// Copy an SQLite database into a new file, also while the server runs
    ///
    /// The copy contains everything that was committed before the command began. It contains password hashes, and only its owner
    /// can read it. A server refuses to use it until `sealjar store restored` was run for it. For PostgreSQL, use pg_dump.
    /// docs/backup.md has the steps.
    #[command(after_help = "Examples:\n  sealjar store backup /var/backups/sealjar/sealjar.db")]
    Backup {
        /// File to create; it must not exist
        file: PathBuf,
    },
    /// End every session after a backup was restored or a failover lost commits
    ///
    /// Without this, sessions that were ended after the backup was made would be accepted again. Stop the server first. Accounts
    /// keep their state from the backup. docs/backup.md has the steps.
    #[command(after_help = "Examples:\n  sealjar store restored --config /etc/sealjar/sealjar.toml")]
    Restored,
}

impl Store {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        match self {
            Self::Backup { file } => {
                let StoreUrl::Sqlite(database) = &settings.store else {
                    let failure = CliError::failed("the store is PostgreSQL, which has its own tools for backups");
                    return Err(failure.hint("use pg_dump --clean --if-exists, as docs/backup.md says"));
                };
                with_cancellation(back_up(database, &file, Now::read().wall)).await?;
                let shown = file.display();
                errln!("copied {} to {shown}", settings.store_name);
                errln!(
                    "the copy contains password hashes: keep it where no other user can read it, and separate from the keys"
                );
            }
            Self::Restored => {
                let url = &settings.store;
                let limits = settings.store_limits;
                store::Store::open_in_any_state(url, limits, EmptyPolicy::Refused).await?.restored().await?;
                record(settings, Change::StoreRestored, Changed::Store(&settings.store_name));
                errln!("ended every session, also sessions that this database has no record of");
                errln!(
                    "accounts are in the state of this database: check passwords, roles, and accounts that should not exist"
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits for the copy. SIGINT and SIGTERM cancel it, and the incomplete copy is then removed.
async fn with_cancellation(copy: impl Future<Output = Result<(), BackupError>>) -> Result<(), CliError> {
    let failed = |error| CliError::io(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        copied = copy => Ok(copied?),
        _ = interrupt.recv() => Err(CliError::failed("interrupted; no copy was created")),
        _ = terminate.recv() => Err(CliError::failed("interrupted; no copy was created")),
    }
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Exists(_) => {
                Self::failed(&error).hint("a backup never replaces a file: name another file, such as one with the date")
            }
            BackupError::SqliteFileExists(_) => Self::failed(&error)
                .hint("if it belongs to no database, remove it; or name another file for the backup, in a directory that no other user can write"),
            BackupError::OfDatabase(_) => Self::failed(&error).hint("name another file, such as one with the date"),
            BackupError::Write { .. } => {
                Self::io(&error).hint("the directory must exist, be writable, and have enough space for the whole database")
            }
        }
    }
}
