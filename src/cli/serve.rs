//! `sealjar serve`: applies the hardening, starts the log, and runs the server (`server::serve`).
//!
//! With `--demo` it first creates temporary keys and a temporary account, which are removed when the server stops.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use landlock::RulesetError;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::account::password;
use crate::account::{DisplayName, Email, Password, Profile, Roles};
use crate::cli::arguments::{Listeners, flag};
use crate::cli::error::CliError;
use crate::clock::Now;
use crate::config::Config;
use crate::config::error::Source;
use crate::config::layers::{Flag, Layers};
use crate::config::settings::Settings;
use crate::config::sources::ConfigSources;
use crate::hardening::{self, Hardening, LandlockStatus};
use crate::id;
use crate::keyring::rotate::LockedRing;
use crate::server::listener::InheritedSockets;
use crate::server::log::{self, Log};
use crate::server::{self, Ready, writable};
use crate::store::Store;
use crate::store::password_file::{self, IgnoredPasswordFile};
use crate::store::records::Account;
use crate::store::url::StoreUrl;

/// Maximum time to wait for blocking work on files after the server has stopped.
const FILE_WORK_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Try it out with temporary keys and a temporary account, which are removed at the end
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

impl Serve {
    /// Creates the directory of the demo. Returns `None` without `--demo`.
    pub(super) fn demo_home(&self) -> Result<Option<DemoHome>, CliError> {
        let create = || TempDir::with_prefix("sealjar-demo-");
        let home = self.demo.then(create).transpose();
        Ok(home.map_err(|error| CliError::io(format!("cannot create a temporary directory: {error}")))?.map(DemoHome))
    }
}

/// Temporary directory with the keys and accounts of the demo. It is removed when this value is dropped.
#[derive(Debug)]
pub(super) struct DemoHome(TempDir);

impl DemoHome {
    const FLAG: &str = "--demo";
    const LOGIN: &str = "demo";

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the settings that replace defaults in the demo.
    pub(super) fn settings(&self) -> Vec<Flag> {
        let store = format!("sqlite://{}", self.store().display());
        vec![
            flag(Self::FLAG, "keys.dir", &self.keys().to_string_lossy()),
            flag(Self::FLAG, "store", &store),
            // There is no application to which a login could lead.
            flag(Self::FLAG, "pages.home", "/auth/status"),
        ]
    }

    /// Returns an error if the operator has set the store or the key directory. A demo that used them would change data that is
    /// not removed at its end, and a demo that ignored them would not do what the operator requested.
    pub(super) fn check(layers: &Layers) -> Result<(), CliError> {
        let demo = Source::Flag(Self::FLAG.to_owned());
        match ["store", "keys.dir"].into_iter().find(|setting| *layers.source(setting) != demo) {
            Some(setting) => {
                let from = layers.source(setting);
                Err(CliError::usage(format!(
                    "{} uses temporary keys and accounts, so {setting} must not be set ({from})",
                    Self::FLAG
                ))
                .hint(format!("leave out {}, or remove {setting} from this source", Self::FLAG)))
            }
            None => Ok(()),
        }
    }

    fn keys(&self) -> PathBuf {
        self.path().join("keys")
    }

    fn store(&self) -> PathBuf {
        self.path().join("sealjar.db")
    }

    /// Creates the key and the account, and returns the password of the account.
    async fn prepare(&self, settings: &Settings) -> Result<Zeroizing<String>, CliError> {
        let now = Now::read().wall;
        LockedRing::init(&self.keys(), settings.lifetimes.longest(), now)?;
        let (store, _) = Store::open_or_create(&StoreUrl::file(self.store()), settings.store_limits).await?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(id::random::<15>()));
        let hash = password::hash(settings.cost, &Password::new(text.clone()));
        let profile = Profile {
            login_name: Self::LOGIN.parse().expect("the constant is a valid login name"),
            display_name: DisplayName::default(),
            email: Email::default(),
            roles: Roles::default(),
        };
        store.add_account(&Account::new(profile, hash, false, now)).await?;
        store.close().await;
        Ok(text)
    }
}

pub(super) fn run(
    settings: Settings,
    config: Config,
    sources: ConfigSources,
    demo: Option<DemoHome>,
) -> Result<ExitCode, CliError> {
    // Landlock restricts the calling thread and the threads that it starts. So this comes before any other thread is started.
    let landlock = restrict(&settings, demo.as_ref());
    let (log, _drain) =
        Log::start(&settings).map_err(|error| CliError::io(format!("cannot start the log: {error}")))?;
    match serve(settings, config, sources, demo, log, landlock) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            let CliError { code, message, hint } = failure;
            tracing::error!(target: log::EXIT_TARGET, error = message, hint, exit_code = code, "the server ended with an error");
            Ok(ExitCode::from(code))
        }
    }
}

/// Restricts with [Landlock](https://docs.kernel.org/userspace-api/landlock.html) which files this process can change and
/// execute. Does nothing if the setting `process.landlock` is false.
fn restrict(settings: &Settings, demo: Option<&DemoHome>) -> Result<LandlockStatus, RulesetError> {
    if !settings.landlock {
        return Ok(LandlockStatus::Off);
    }
    hardening::restrict_thread(&writable::directories(settings, demo.map(DemoHome::path)))
}

/// Returns the hardening that is in force. Logs a warning if Landlock could not be applied.
fn hardening_in_force(landlock: Result<LandlockStatus, RulesetError>) -> Hardening {
    let landlock = landlock.unwrap_or_else(|error| {
        tracing::warn!(%error, "Landlock cannot be applied; the server can change every file that its user can");
        LandlockStatus::Failed
    });
    Hardening { dumpable: hardening::is_dumpable(), landlock }
}

/// Runs the server until a signal stops it. The log uses standard error, so nothing else is written there.
fn serve(
    settings: Settings,
    config: Config,
    sources: ConfigSources,
    demo: Option<DemoHome>,
    log: Log,
    landlock: Result<LandlockStatus, RulesetError>,
) -> Result<(), CliError> {
    let hardening = hardening_in_force(landlock);
    warn_about_ignored_password_file(&config);
    let inherited = InheritedSockets::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io(format!("cannot start the Tokio runtime: {error}")))?;
    let outcome: Result<(), CliError> = runtime.block_on(async {
        match demo {
            Some(home) => {
                let password = home.prepare(&settings).await?;
                server::serve(settings, config, sources, log, inherited, hardening, |ready| {
                    print_demo(&home, &password, &ready)
                })
                .await?;
            }
            None => {
                server::serve(settings, config, sources, log, inherited, hardening, |ready| {
                    warn_if_there_is_no_account(&ready)
                })
                .await?
            }
        }
        Ok(())
    });
    // Work on a file that does not respond, such as one on a network, must not delay the exit.
    runtime.shutdown_timeout(FILE_WORK_TIMEOUT);
    outcome
}

fn warn_about_ignored_password_file(config: &Config) {
    if let Some(IgnoredPasswordFile { path, reason }) = password_file::find_ignored(&config.store) {
        let path = path.display();
        let hint = password_file::REMEDY;
        tracing::warn!(%path, error = reason, hint, "the password file of PostgreSQL is not used");
    }
}

fn warn_if_there_is_no_account(ready: &Ready<'_>) {
    if !ready.has_accounts {
        tracing::warn!("there is no account, so no user can log in yet; add one with: sealjar users add NAME");
    }
}

fn print_demo(home: &DemoHome, password: &str, ready: &Ready<'_>) {
    let login = DemoHome::LOGIN;
    let home = home.path();
    let Some(origin) = ready.hosts.first() else {
        return;
    };
    // No authority has signed the certificate of a demo, so curl would reject it.
    let curl = if origin.is_secure() { "curl -k" } else { "curl" };
    let text = Zeroizing::new(format!(
        "\
sealjar demo at {origin}
The key and the accounts are in {home}. This directory is deleted when the demo stops.

  login     {login}
  password  {password}

In a browser: {origin}/auth/login

With curl: sign in, use the session, show it, sign out, and try a copy of the cookie:

  {curl} -c jar -H 'Content-Type: application/json' -d '{{\"login\":\"{login}\",\"password\":\"{password}\"}}' {origin}/auth/login
  {curl} -b jar -c jar {origin}/protected
  {curl} -b jar -c jar {origin}/auth/status
  cp jar copy
  {curl} -b jar -c jar -X POST {origin}/auth/logout
  {curl} -b copy {origin}/auth/status

Rotate the key; no session ends:

  {program} --keys {keys} keys rotate --activate-in 0s

Stop with Ctrl-C.",
        home = home.display(),
        keys = home.join("keys").display(),
        program = std::env::args_os().next().map_or_else(|| "sealjar".into(), |path| Path::new(&path).display().to_string()),
    ));
    // This runs on another thread, because the write blocks if standard output is a pipe that is not read. An error is ignored:
    // if standard output is closed, the text is not wanted.
    tokio::task::spawn_blocking(move || {
        let _ = writeln!(std::io::stdout(), "{}", *text);
    });
}
