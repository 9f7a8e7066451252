//! `sealjar openapi`: prints the OpenAPI description of the routes. It needs the settings only, and no store or keys.

use std::process::ExitCode;

use clap::Args;

use super::output;
use crate::config::settings::Settings;
use crate::http::openapi;

#[derive(Args, Debug)]
pub(super) struct Openapi {
    /// Describe the routes of the admin listener instead
    #[arg(long)]
    admin: bool,
}

impl Openapi {
    pub(super) fn run(self, settings: &Settings) -> ExitCode {
        let hosts = || settings.hosts(settings.listen.port());
        let text =
            if self.admin { openapi::of_admin() } else { openapi::of_public(&hosts(), &settings.sites.cookies()) };
        output::bytes(text.as_bytes());
        ExitCode::SUCCESS
    }
}
