//! `sealjar openapi`: the description of the routes, from the settings alone.

use std::process::ExitCode;

use clap::Args;

use super::output;
use crate::config::Config;
use crate::http::openapi;

#[derive(Args, Debug)]
pub(super) struct Openapi {
    /// Of the admin listener's routes
    #[arg(long)]
    admin: bool,
}

impl Openapi {
    pub(super) fn run(self, config: &Config) -> ExitCode {
        let hosts = || config.hosts(config.http.listen.port());
        let text = if self.admin { openapi::of_admin() } else { openapi::of_public(&hosts(), &config.cookies()) };
        output::bytes(text.as_bytes());
        ExitCode::SUCCESS
    }
}
