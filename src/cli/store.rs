//! `sealjar store`: what is seldom needed, and then for the store as a whole.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::config::settings::Settings;
use crate::store;
use crate::store::records::Empty;

#[derive(Subcommand, Debug)]
pub(super) enum Store {
    /// End every session after a backup was restored or a failover lost commits
    ///
    /// Without this, sessions that were ended after the backup was made would be accepted again. Stop the server first. Accounts
    /// stay as they are in the backup. docs/backup.md has the steps.
    #[command(after_help = "Examples:\n  sealjar store restored --config /etc/sealjar/sealjar.toml")]
    Restored,
}

impl Store {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        match self {
            Self::Restored => {
                let url = &settings.store;
                let limits = settings.store_limits;
                store::Store::open_in_any_state(url, limits, Empty::Refused).await?.restored().await?;
                record(settings, Change::StoreRestored, Changed::Store(&settings.store_name));
                errln!("every session is over, those too that the store knows nothing of any more");
                errln!("accounts are as they were then: look after passwords, roles, and who should not be there");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
