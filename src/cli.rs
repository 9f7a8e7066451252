//! The command line: data on standard output, talk on standard error, documented exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed; for `inspect`, the token is refused; for `keys status`, a server's keys differ; for `doctor`, something is wrong |
//! | 2 | usage |
//! | 74 | a file, a database, a socket or standard output could not be used |
//! | 78 | the configuration cannot be used |
//!
//! A reader that closes standard output changes neither what a command does nor its exit code.

// They panic when the reader is gone: see `output`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod completions;
mod doctor;
mod inspect;
mod keys;
mod manual;
mod migrate;
mod openapi;
mod output;
mod revoke;
mod serve;
mod store;
mod users;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::access_denied::AccessDenied;
use crate::cli::output::{errln, outln};
use crate::config::layers::{ENV_PREFIX, Flag, Origins};
use crate::config::listen::Listen;
use crate::config::{Config, ConfigError};
use crate::keyring::RingError;
use crate::keyring::rotate::ChangeError;
use crate::server::error::ServeError;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::Empty;

/// A session server with no session table
#[derive(Parser, Debug)]
#[command(name = "sealjar", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug, Default)]
struct Settings {
    /// Read settings from this TOML file [env: SEALJAR_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key ring's directory (keys.dir)
    #[arg(long, global = true, value_name = "DIR")]
    keys: Option<String>,
    /// The store, such as sqlite://sealjar.db
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// Any setting, such as session.idle=15m; `sealjar config` lists them
    #[arg(long, global = true, value_name = "SETTING=VALUE")]
    set: Vec<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve sign-in, status and sign-out
    Serve(serve::Serve),
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
    Doctor(doctor::Doctor),
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
    fn run(self) -> Result<ExitCode, Failure> {
        let mut flags = self.settings.flags()?;
        match &self.command {
            Command::Serve(serve) => flags.extend(serve.flags()),
            Command::Doctor(doctor) => flags.extend(doctor.flags()),
            _ => {}
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
        // The doctor reports what stops the others.
        let is_doctor = matches!(self.command, Command::Doctor(_));
        let (layers, config) = if is_doctor { origins.read_unchecked()? } else { origins.read()? };
        match self.command {
            Command::Serve(_) => serve::run(config, origins, demo),
            Command::Keys(keys) => keys.run(&config),
            Command::Users(users) => block_on(users.run(&config)),
            Command::Revoke(revoke) => block_on(revoke.run(&config)),
            Command::Store(store) => block_on(store.run(&config)),
            Command::Migrate(migrate) => block_on(migrate.run(&config)),
            Command::Inspect(inspect) => block_on(inspect.run(&config)),
            Command::Openapi(openapi) => Ok(openapi.run(&config)),
            Command::Config => {
                layers.lines().for_each(|line| outln!("{line}"));
                Ok(ExitCode::SUCCESS)
            }
            Command::Doctor(doctor) => block_on(doctor.run(&config, config.check(&layers).err())),
            Command::Completions(completions) => Ok(completions.run()),
            Command::Man(manual) => manual.run(),
        }
    }
}

impl Settings {
    fn flags(&self) -> Result<Vec<Flag>, Failure> {
        let named = [("--keys", "keys.dir", &self.keys), ("--store", "store", &self.store)];
        let mut flags: Vec<Flag> = named
            .into_iter()
            .filter_map(|(flag, setting, text)| Some(self::flag(flag, setting, text.as_ref()?)))
            .collect();
        for assignment in &self.set {
            let (setting, text) = assignment
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--set {assignment}: expected SETTING=VALUE")))?;
            flags.push(flag("--set", setting, text));
        }
        Ok(flags)
    }
}

/// The variables that may be settings. Names that are not UTF-8 are none of ours; a value that is not is an error, for it cannot
/// be what was meant.
fn environment() -> Result<Vec<(String, String)>, Failure> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Failure::new(Failure::CONFIG, format!("the value of {name} is not UTF-8"))),
        })
        .collect()
}

fn flag(flag: &str, setting: &str, text: &str) -> Flag {
    Flag { flag: flag.to_owned(), setting: setting.to_owned(), text: text.to_owned() }
}

/// Runs a command that needs the store, on one thread.
fn block_on<T>(task: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::io(format!("cannot start: {error}")))?.block_on(task)
}

/// The store, which must exist and have its tables.
async fn open_store(config: &Config) -> Result<Store, Failure> {
    Ok(Store::open(&config.store_url(), config.store_limits(), Empty::Refused).await?)
}

/// A command that did not do what it was asked.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    const FAILED: u8 = 1;
    const USAGE: u8 = 2;
    const IO: u8 = 74;
    const CONFIG: u8 = 78;

    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None }
    }

    fn failed(message: impl fmt::Display) -> Self {
        Self::new(Self::FAILED, message)
    }

    fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, message)
    }

    fn io(message: impl fmt::Display) -> Self {
        Self::new(Self::IO, message)
    }

    /// Returns the lines for standard error.
    fn text(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}"));
        format!("sealjar: {}{}", self.message, hint.unwrap_or_default())
    }

    fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match error {
            ConfigError::File { .. } => {
                "mend the file, or its path in --config or SEALJAR_CONFIG; the README explains the settings"
            }
            ConfigError::Unknown { .. } | ConfigError::BadValue { .. } => {
                "the README explains the settings; `sealjar config` lists them when this one is right"
            }
        };
        Self::new(Self::CONFIG, error).hint(hint)
    }
}

impl From<RingError> for Failure {
    fn from(error: RingError) -> Self {
        let failure = Self::io(&error);
        match error {
            RingError::Empty { .. } => failure.hint(
                "first check whether a server uses these keys: if so, put the files back, because a new key ends every session; else make the first key with: sealjar keys init",
            ),
            RingError::Directory { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                failure.hint(
                    "first check whether a server uses these keys: if so, put the directory back, because a new key ends every session; else make it, and the first key, with: sealjar keys init; or name another with --keys",
                )
            }
            _ => failure,
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Ring(error) => error.into(),
            // It says itself what to do.
            ChangeError::Write { ref source, .. } if AccessDenied::of(source).is_some() => Self::io(&error),
            ChangeError::Write { .. } => {
                Self::io(&error).hint("keys are changed where the directory is writable, and read everywhere else")
            }
            ChangeError::NotEmpty(_) => Self::failed(&error).hint("add another key with: sealjar keys rotate"),
            ChangeError::NoSuchKey(_) | ChangeError::Revoked(_) => {
                Self::failed(&error).hint("`sealjar keys list` shows the keys")
            }
            ChangeError::OnlyActive(_) => Self::failed(&error).hint("make a successor in the same step with --replace"),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Connect { .. } => Self::io(&error).hint(
                "the server must run and the database exist; the README says what the address may hold, and how to use TLS",
            ),
            StoreError::ClocksApart { .. } => Self::io(&error).hint("set the clock that is wrong, and keep both by NTP"),
            StoreError::Standby(_) => Self::io(&error).hint("name the primary in the store's address"),
            StoreError::Migrate(_) => Self::io(&error).hint("the database's user must be allowed to make and change tables"),
            StoreError::TooNew { .. } => Self::io(&error).hint(
                "start the newer version; to go back to this one, put back a backup from before, then run: sealjar store restored",
            ),
            StoreError::Unfinished(_) => Self::io(&error)
                .hint("finish it by running the same `sealjar migrate` again; to give it up, empty this database and go on with the other"),
            StoreError::Moved(_) => Self::io(&error).hint(
                "name that one as the store; to go back to this one as it was then, ending every session: sealjar store restored",
            ),
            StoreError::TooLate => Self::io(&error).hint(
                "run it again: doing it twice does no harm; if an account is deleted by then, end what it may have left with: sealjar revoke --everyone",
            ),
            StoreError::WithoutTables(_) => Self::io(&error).hint(
                "name the database that the servers use; in a new one, `sealjar users add NAME` makes the tables, with the first account",
            ),
            StoreError::Missing(_) => Self::io(&error)
                .hint("first check whether a server uses this store: if so, put the file back, or a backup as docs/backup.md says, and restart it; else `sealjar users add NAME` makes it, with the first account; or name another with --store"),
            StoreError::NameTaken(_) => Self::failed(&error).hint("change its password with: sealjar users passwd"),
            StoreError::NoSuchAccount(_) => Self::failed(&error).hint("`sealjar users list` shows the accounts"),
            _ => Self::io(&error),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Ring(error) => error.into(),
            ServeError::Store(error) => error.into(),
            ServeError::Listen { listen: Listen::Systemd(_), .. } => Self::io(&error).hint(
                "the sockets come from a socket unit; deploy/sealjar.socket is one, and elsewhere http.listen names an address",
            ),
            ServeError::Listen { setting, .. } => {
                let flag = if setting == "http.listen" { "--listen" } else { "--admin-listen" };
                Self::io(&error).hint(format!("choose another address with {flag}, such as 127.0.0.1:9000"))
            }
            ServeError::Tls(_) => Self::io(&error).hint(
                "tls.certificate and tls.private_key name PEM files that fit each other; --tls-self-signed tries it without any",
            ),
            ServeError::NotFlushed => {
                Self::io(&error).hint("once the store works, end them with: sealjar revoke --everyone")
            }
            ServeError::System(_) => Self::io(&error),
        }
    }
}
