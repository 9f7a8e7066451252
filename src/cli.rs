//! The command line: data on standard output, talk on standard error, documented exit codes
//! (`manual.rs`).
//!
//! A reader that closes standard output changes neither what a command does nor its exit code.

// They panic when the reader is gone: see `output`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod completions;
mod doctor;
mod error;
mod inspect;
mod keys;
mod manual;
mod migrate;
mod openapi;
mod output;
mod revoke;
mod runtime;
mod serve;
mod store;
mod users;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::layers::Origins;
use arguments::{Settings, environment};
use doctor::Doctor;
use error::CliError;
use output::{errln, outln};
use runtime::block_on;
use serve::Serve;

/// A session server with no session table
#[derive(Parser, Debug)]
#[command(name = "sealjar", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve sign-in, status and sign-out
    Serve(Serve),
    /// Make, rotate and revoke sealing keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Manage accounts; a running server follows within a second
    #[command(subcommand)]
    Users(users::Users),
    /// End sessions; a running server follows within a second
    Revoke(revoke::Revoke),
    /// Look after the store
    #[command(subcommand)]
    Store(store::Store),
    /// Move everything from one store into another, with no session lost and none revived
    Migrate(migrate::Migrate),
    /// Tell what a token from standard input holds, and whether it would be accepted
    Inspect(inspect::Inspect),
    /// Print the settings in force and where each value came from
    Config,
    /// Check what `serve` would use, and what runs, against what SECURITY.md promises
    Doctor(Doctor),
    /// Print the OpenAPI description of the routes, as the server has it at /openapi.json
    Openapi(openapi::Openapi),
    /// Print the script that makes a shell complete these commands
    Completions(completions::Completions),
    /// Write the manual pages into a directory
    Man(manual::Manual),
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let outcome = Cli::parse().run();
    let written = output::finish();
    match outcome.and_then(|code| written.map(|()| code)) {
        Ok(code) => code,
        Err(failure) => {
            errln!("{}", failure.text());
            ExitCode::from(failure.code)
        }
    }
}

impl Cli {
    fn run(self) -> Result<ExitCode, CliError> {
        let mut flags = self.settings.flags()?;
        if let Command::Serve(Serve { listeners, .. }) | Command::Doctor(Doctor { listeners, .. }) = &self.command {
            flags.extend(listeners.flags());
        }
        let demo = match &self.command {
            Command::Serve(serve) => serve.demo_home()?,
            _ => None,
        };
        if let Some(home) = &demo {
            flags.extend(home.flags());
        }
        let environment = environment()?;
        let origins = Origins::new(self.settings.config, environment, flags);
        let (layers, config) = origins.read()?;
        let settings = config.parse(&layers);
        match self.command {
            // It reports what stops the others.
            Command::Doctor(doctor) => block_on(doctor.run(&config, settings.err())),
            Command::Serve(_) => serve::run(settings?, config, origins, demo),
            Command::Keys(keys) => keys.run(&settings?),
            Command::Users(users) => block_on(users.run(&settings?)),
            Command::Revoke(revoke) => block_on(revoke.run(&settings?)),
            Command::Store(store) => block_on(store.run(&settings?)),
            Command::Migrate(migrate) => block_on(migrate.run(&settings?)),
            Command::Inspect(inspect) => block_on(inspect.run(&settings?)),
            Command::Openapi(openapi) => Ok(openapi.run(&settings?)),
            Command::Config => {
                settings?;
                layers.lines().for_each(|line| outln!("{line}"));
                Ok(ExitCode::SUCCESS)
            }
            Command::Completions(completions) => {
                settings?;
                Ok(completions.run(&mut Self::command()))
            }
            Command::Man(manual) => {
                settings?;
                manual.run(Self::command())
            }
        }
    }
}
