//! Command line of `sealjar`: parses the arguments, loads the configuration and runs one command.
//!
//! Data goes to standard output, and messages go to standard error. `manual.rs` lists the exit codes. If the reader of standard
//! output closes it, the command still has the same effect and the same exit code (`output.rs`). The doc comments of commands and
//! arguments are also their `--help`, their manual pages and `docs/reference/cli.md` (by `make reference`).

// `print!` and `println!` panic if the reader has closed standard output: see `output`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod admin_listener;
mod arguments;
mod audit;
mod completions;
mod config;
mod confirm;
mod doctor;
mod error;
mod inspect;
mod keys;
mod manual;
mod migrate;
mod openapi;
mod output;
mod ready;
#[cfg(test)]
mod reference;
mod revoke;
mod runtime;
mod serve;
mod store;
mod users;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::layers::Layers;
use crate::config::sources::ConfigSources;
use crate::hardening::DumpProtection;
use arguments::{Settings, check_contradictions, environment};
use doctor::Doctor;
use error::CliError;
use output::errln;
use ready::Ready;
use runtime::block_on;
use serve::{DemoHome, Serve};

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
    /// Run the server until it is stopped
    ///
    /// SIGTERM and SIGINT stop it: it finishes open requests first. It reads the keys, the certificate and the configuration file
    /// again when they change, and at once on SIGHUP. The log goes to standard error.
    #[command(after_help = "Examples:\n  sealjar serve --demo\n  sealjar serve --config /etc/sealjar/sealjar.toml")]
    Serve(Serve),
    /// Create, rotate and revoke the keys that encrypt sessions
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Manage accounts; a running server applies changes within a second
    #[command(subcommand)]
    Users(users::Users),
    /// End sessions; a running server applies this within a second
    #[command(
        after_help = "Examples:\n  sealjar revoke --user alice\n  sealjar revoke --session 4f6d1c0b9a8e7d6c5b4a392817060504\n  sealjar revoke --everyone"
    )]
    Revoke(revoke::Revoke),
    /// Maintain the database
    #[command(subcommand)]
    Store(store::Store),
    /// Move all data to another database; live sessions stay valid, and ended sessions stay ended
    ///
    /// Stop all servers first, and start them with the new address afterwards. If the command is interrupted, run it again.
    /// docs/backup.md has the steps.
    #[command(
        after_help = "Examples:\n  sealjar migrate --from sqlite://sealjar.db --to postgres://sealjar@db.example.com/sealjar"
    )]
    Migrate(migrate::Migrate),
    /// Print the content of a token, and whether a server would accept it
    ///
    /// Reads the token from standard input, with or without the name of the cookie and "=" in front. The configured keys and
    /// store decide whether it is accepted. The exit code is 0 if the token is accepted, and 1 if it is refused.
    #[command(after_help = "Examples:\n  sealjar inspect <cookie")]
    Inspect(inspect::Inspect),
    /// Print the settings in force and the source of each value
    ///
    /// The output is TOML. A password in the address of the store is not shown. With --explain this also works if the
    /// configuration cannot be used. The output then has the values that could be read, the defaults for all others, and the
    /// error at the end.
    #[command(
        after_help = "Examples:\n  sealjar config --config /etc/sealjar/sealjar.toml\n  sealjar config --explain session"
    )]
    Config(config::ShowConfig),
    /// Check the configuration, the keys, the store, the clock and the running server
    ///
    /// Run it as the server runs: as the same user, with the same configuration file, environment and flags. It changes nothing.
    /// It hashes a password twice to measure the time, and requests /readyz at http.admin_listen. docs/running.md describes the
    /// output.
    ///
    /// The exit code is 0 if there is no problem, 1 if there is one, and 78 if the configuration cannot be read at all.
    #[command(
        after_help = "Examples:\n  sealjar doctor --config /etc/sealjar/sealjar.toml\n  sealjar doctor --json --strict"
    )]
    Doctor(Doctor),
    /// Check whether the running server is ready
    ///
    /// Requests /readyz at http.admin_listen, waits for at most two seconds, and prints the result in one line. It opens neither
    /// keys nor store, and errors in other settings do not matter. So it can be the health check of a container.
    ///
    /// The exit code is 0 if the server is ready, also if it is degraded. It is 1 if the server is not ready, or if no Sealjar
    /// server responds.
    #[command(
        after_help = "Examples:\n  sealjar ready --config /etc/sealjar/sealjar.toml\n  sealjar ready --admin-listen 127.0.0.1:8081"
    )]
    Ready(Ready),
    /// Print the OpenAPI description of the routes, which the server also returns at /openapi.json
    #[command(after_help = "Examples:\n  sealjar openapi >openapi.json")]
    Openapi(openapi::Openapi),
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  sealjar completions bash >/usr/share/bash-completion/completions/sealjar\n  sealjar completions zsh >/usr/local/share/zsh/site-functions/_sealjar\n  sealjar completions fish >~/.config/fish/completions/sealjar.fish"
    )]
    Completions(completions::Completions),
    /// Write the manual pages into a directory
    #[command(after_help = "Examples:\n  sealjar man /usr/local/share/man")]
    Man(manual::Manual),
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    // This is the first step, because every command can hold keys and passwords in memory.
    let memory = DumpProtection::protect();
    let outcome = match Cli::try_parse() {
        Ok(cli) => cli.run(&memory),
        Err(error) => Ok(output::print_clap_error(&error)),
    };
    let report = |failure: CliError| {
        errln!("{}", failure.text());
        ExitCode::from(failure.code)
    };
    // This runs also after a failure: if the output is incomplete, the user must get an error.
    let written = output::finish(outcome.as_ref().err());
    let code = outcome.unwrap_or_else(report);
    written.map_or_else(report, |()| code)
}

impl Cli {
    fn run(self, memory: &DumpProtection) -> Result<ExitCode, CliError> {
        // Flags of the command come after the global ones.
        let mut flags = self.settings.flags()?;
        match &self.command {
            Command::Serve(Serve { listeners, .. }) | Command::Doctor(Doctor { listeners, .. }) => {
                flags.extend(listeners.flags());
            }
            Command::Ready(Ready { listener }) => flags.extend(listener.flag()),
            _ => {}
        }
        check_contradictions(&flags)?;
        // In the demo, other values replace some defaults.
        let demo = match &self.command {
            Command::Serve(serve) => serve.demo_home()?,
            _ => None,
        };
        let base = demo.as_ref().map(DemoHome::settings).unwrap_or_default();
        let sources = ConfigSources::new(self.settings.config, environment()?, flags).with_base(base);
        let read = match &self.command {
            Command::Ready(_) => sources.read_alone(Ready::SETTING),
            _ => sources.read_usable(),
        };
        let (layers, config, errors) = match (read, &self.command) {
            // `config` can explain the settings even if the configuration file cannot be read.
            (Err(error), Command::Config(config)) => return config.run(&Layers::defaults(), Err(error)),
            (Err(error), Command::Doctor(_)) => return Err(Doctor::without_settings(error)),
            (read, _) => read?,
        };
        let mut errors = errors.into_iter();
        if demo.is_some() {
            DemoHome::check(&layers)?;
        }
        if config.process.dumpable {
            memory.unprotect();
        }
        let settings = errors.next().map_or_else(|| config.parse(&layers), Err);
        match self.command {
            // `doctor` reports the errors that stop the other commands.
            Command::Doctor(doctor) => block_on(doctor.run(&config, settings.err().into_iter().chain(errors))),
            Command::Serve(_) => serve::run(settings?, config, sources, demo),
            Command::Keys(keys) => keys.run(&settings?),
            Command::Users(users) => block_on(users.run(&settings?)),
            Command::Revoke(revoke) => block_on(revoke.run(&settings?)),
            Command::Store(store) => block_on(store.run(&settings?)),
            Command::Migrate(migrate) => block_on(migrate.run(&settings?)),
            Command::Inspect(inspect) => block_on(inspect.run(&settings?)),
            Command::Ready(ready) => block_on(ready.run(&config.http.admin_listen)),
            Command::Openapi(openapi) => Ok(openapi.run(&settings?)),
            Command::Config(config) => config.run(&layers, settings.map(drop)),
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
