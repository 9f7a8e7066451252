//! `sealjar doctor`: checks whether this installation can keep the promises of `docs/security/promises.md`: configuration, keys,
//! store, clock, machine and running server.
//!
//! It uses the configuration that `serve` would use. The checks are independent: if the store cannot be read, the keys are checked
//! all the same. Nothing is changed: no table is migrated, and no file is created. A check that could not be made is reported as
//! skipped, and never as ok.

mod clock;
mod files;
mod keys;
mod machine;
mod origins;
mod pages;
mod passwords;
mod report;
mod server;
mod sessions;
mod store;
mod tls;

use std::process::ExitCode;

use clap::Args;

use crate::cli::arguments::Listeners;
use crate::cli::error::CliError;
use crate::clock::Now;
use crate::config::Config;
use crate::config::error::ConfigError;
use report::Report;

#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// Print one JSON object: `version`, `counts` and `findings`
    #[arg(long)]
    json: bool,
    /// Exit with 1 also if there is a warning
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

impl Doctor {
    /// Returns the error of the command if the settings cannot be read at all.
    pub(super) fn without_settings(error: ConfigError) -> CliError {
        let failure = CliError::from(error);
        let message = format!("{}; nothing was checked, because each check needs the settings", failure.message);
        CliError { message, ..failure }
    }

    /// Runs all checks, and prints their findings. `refused` has the errors for which `serve` would not start with this
    /// configuration. A setting with an invalid value has the value of the next lower source.
    pub(super) async fn run(
        self,
        config: &Config,
        refused: impl Iterator<Item = ConfigError>,
    ) -> Result<ExitCode, CliError> {
        let mut report = Report::default();
        for error in refused {
            report.failure("config", error.into(), "change the setting");
        }
        report.ok_otherwise("config", "no setting contradicts another");
        let ring = keys::check(config, Now::read().wall, &mut report);
        sessions::check(config, &mut report);
        origins::check(config, &mut report);
        tls::check(config, &mut report);
        pages::check(config, &mut report);
        let store = store::check(config, ring.as_ref(), &mut report).await;
        clock::check(ring.as_ref(), store.as_ref(), &mut report).await;
        passwords::check(config, store.as_ref(), &mut report).await;
        if let Some(store) = store {
            store.close().await;
        }
        machine::check(config, &mut report);
        server::check(config, &mut report).await;
        report.print(self.json);
        let has_passed = report.has_passed(self.strict);
        Ok(if has_passed { ExitCode::SUCCESS } else { ExitCode::from(CliError::FAILED) })
    }
}
