//! `sealjar migrate`: moves all data of one store to another. No server may use either of them (`store::migrate` checks this).

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::store::Store;
use crate::store::migrate::{Endpoint, MigrationError, MigrationOutcome, Progress, migrate};
use crate::store::records::EmptyPolicy;
use crate::store::url::StoreUrl;
use crate::store::url::without_password;

/// Interval between two lines that show the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// Address of the old database, such as sqlite://sealjar.db
    #[arg(long, value_name = "URL")]
    from: String,
    /// Address of the new database, such as postgres://sealjar@db.example.com/sealjar; it must not have accounts
    #[arg(long, value_name = "URL")]
    to: String,
}

impl Migrate {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let limits = settings.store_limits;
        let from_url = parse("--from", &self.from)?;
        let to_url = parse("--to", &self.to)?;
        let from_name = without_password(&self.from);
        let to_name = without_password(&self.to);
        let source = Store::open_in_any_state(&from_url, limits, EmptyPolicy::Refused).await?;
        Store::create(&to_url)?;
        let target = Store::open_in_any_state(&to_url, limits, EmptyPolicy::Filled).await?;
        let from = Endpoint { store: &source, name: &from_name };
        let to = Endpoint { store: &target, name: &to_name };
        let mut next = Now::read().boot.saturating_add(PROGRESS_INTERVAL);
        let moved = migrate(from, to, |progress| {
            let now = Now::read().boot;
            if now >= next {
                print_progress(progress);
                next = now.saturating_add(PROGRESS_INTERVAL);
            }
        })
        .await?;
        source.close().await;
        target.close().await;
        match moved {
            MigrationOutcome::Now(all) => {
                record(settings, Change::StoreMoved, Changed::Store(&to_name));
                let accounts = all.accounts;
                let revocations = all.revocations;
                errln!(
                    "moved everything from {from_name} to {to_name} (accounts: {accounts}, revocations: {revocations})"
                );
                errln!("set {to_name} as the store, and start the servers; {from_name} can no longer be used");
            }
            MigrationOutcome::Before => errln!("{from_name} was already moved to {to_name}; nothing was changed"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn parse(flag: &str, url: &str) -> Result<StoreUrl, CliError> {
    StoreUrl::parse(url).map_err(|reason| CliError::usage(format!("{flag}: {reason}")))
}

fn print_progress(Progress { copied, all }: Progress) {
    errln!(
        "copied: accounts {} of {}, revocations {} of {}",
        copied.accounts,
        all.accounts,
        copied.revocations,
        all.revocations
    );
}

impl From<MigrationError> for CliError {
    fn from(error: MigrationError) -> Self {
        match error {
            MigrationError::Store(error) => error.into(),
            MigrationError::Served { .. } => Self::failed(&error).hint(
                "stop these servers, and start them with the new store afterwards; a killed server counts for 30 s",
            ),
            MigrationError::NotEmpty(_) => {
                Self::failed(&error).hint("nothing is overwritten: name an empty database in --to")
            }
            MigrationError::OtherUnfinished { .. } => {
                Self::failed(&error).hint("finish that migration, or name an empty database in --to")
            }
            MigrationError::Same => Self::failed(&error).hint("name another database in --to"),
            MigrationError::Disturbed(_) => {
                Self::failed(&error).hint("stop the program that changes it, and run this again")
            }
        }
    }
}
