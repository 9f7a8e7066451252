//! `sealjar doctor`: whether what `docs/security/promises.md` promises can be kept with the configuration that `serve` would use, on this
//! machine, with these keys and this store, and whether the server that runs is well.
//!
//! Each check stands alone, so that a store that cannot be read hides nothing about the keys. Nothing is changed: no table is
//! brought up to date, no file made. What could not be looked at is said too, and never counts as well.

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
    /// Returns the failure if the settings cannot be read at all.
    pub(super) fn without_settings(error: ConfigError) -> CliError {
        let failure = CliError::from(error);
        let message = format!("{}; nothing was checked, because each check needs the settings", failure.message);
        CliError { message, ..failure }
    }

    /// Looks at everything, and prints what it found. `refused` is why `serve` would not start with this configuration. A setting
    /// whose value cannot be used has the value of the layer below.
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
        let well = report.is_well(self.strict);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(CliError::FAILED) })
    }
}
