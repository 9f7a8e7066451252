//! `sealjar store`: what is seldom needed, and then for the store as a whole.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, open_store};
use crate::config::Config;

#[derive(Subcommand, Debug)]
pub(super) enum Store {
    /// End every session, because a backup was put back or a failover lost commits
    Restored,
}

impl Store {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        match self {
            Self::Restored => {
                open_store(config).await?.restored().await?;
                eprintln!("every session is over, those too that the store knows nothing of any more");
                eprintln!("accounts are as they were then: look after passwords, roles, and who should not be there");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
