//! `sealjar serve`, and the demo that needs nothing prepared.

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

/// How long work on files may go on after the server has stopped.
const LAST_WORK: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Try it out with temporary keys and a temporary account, which are removed at the end
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

impl Serve {
    /// The demo's directory, if this is to be one.
    pub(super) fn demo_home(&self) -> Result<Option<DemoHome>, CliError> {
        let make = || TempDir::with_prefix("sealjar-demo-");
        let home = self.demo.then(make).transpose();
        Ok(home.map_err(|error| CliError::io(format!("cannot make a temporary directory: {error}")))?.map(DemoHome))
    }
}

/// Where the demo keeps its keys and accounts; removed when dropped.
#[derive(Debug)]
pub(super) struct DemoHome(TempDir);

impl DemoHome {
    const FLAG: &str = "--demo";
    const LOGIN: &str = "demo";

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the values that take the place of defaults.
    pub(super) fn settings(&self) -> Vec<Flag> {
        let store = format!("sqlite://{}", self.store().display());
        vec![
            flag(Self::FLAG, "keys.dir", &self.keys().to_string_lossy()),
            flag(Self::FLAG, "store", &store),
            // There is no application.
            flag(Self::FLAG, "pages.home", "/auth/status"),
        ]
    }

    /// Refuses a store and keys that are not the demo's own: a demo on them would change what is not deleted at its end, and without
    /// them it would not be what the operator asked for.
    pub(super) fn check(layers: &Layers) -> Result<(), CliError> {
        let own = Source::Flag(Self::FLAG.to_owned());
        match ["store", "keys.dir"].into_iter().find(|setting| *layers.source(setting) != own) {
            Some(setting) => {
                let from = layers.source(setting);
                Err(CliError::usage(format!(
                    "{} has temporary keys and accounts, and {setting} is set ({from})",
                    Self::FLAG
                ))
                .hint(format!("leave out {}, or {setting} there", Self::FLAG)))
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

    /// Makes the key and the account; returns the account's password.
    async fn prepare(&self, settings: &Settings) -> Result<Zeroizing<String>, CliError> {
        let now = Now::read().wall;
        LockedRing::init(&self.keys(), settings.lifetimes.longest(), now)?;
        let (store, _) = Store::open_or_create(&StoreUrl::file(self.store()), settings.store_limits).await?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(id::random::<15>()));
        let hash = password::hash(settings.cost, &Password::new(text.clone()));
        let profile = Profile {
            login_name: Self::LOGIN.parse().expect("a constant that is a login name"),
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
    // Before there are other threads: it holds for the one that asks, and those that it starts.
    let limited = limit(&settings, demo.as_ref());
    let (log, _drain) = Log::start(&settings).map_err(|error| CliError::io(format!("cannot log: {error}")))?;
    match serve(settings, config, sources, demo, log, limited) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            let CliError { code, message, hint } = failure;
            tracing::error!(target: log::EXIT_TARGET, error = message, hint, exit_code = code, "the server ended with an error");
            Ok(ExitCode::from(code))
        }
    }
}

/// Limits with Landlock what this process can change and execute, unless the settings say otherwise.
fn limit(settings: &Settings, demo: Option<&DemoHome>) -> Result<LandlockStatus, RulesetError> {
    if !settings.landlock {
        return Ok(LandlockStatus::Off);
    }
    hardening::restrict_thread(&writable::directories(settings, demo.map(DemoHome::path)))
}

/// Returns which hardening is in force.
fn hardening(limited: Result<LandlockStatus, RulesetError>) -> Hardening {
    let landlock = limited.unwrap_or_else(|error| {
        tracing::warn!(%error, "Landlock cannot be applied; the server can change every file that its user can");
        LandlockStatus::Failed
    });
    Hardening { dumpable: hardening::is_dumpable(), landlock }
}

/// Serves until it is told to stop. The log is in force, so nothing else writes to standard error.
fn serve(
    settings: Settings,
    config: Config,
    sources: ConfigSources,
    demo: Option<DemoHome>,
    log: Log,
    limited: Result<LandlockStatus, RulesetError>,
) -> Result<(), CliError> {
    let hardening = hardening(limited);
    warn_of_password_file(&config);
    let inherited = InheritedSockets::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io(format!("cannot start: {error}")))?;
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
                    warn_without_accounts(&ready)
                })
                .await?
            }
        }
        Ok(())
    });
    // A file that cannot be read or written must not hold up the end.
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

fn warn_of_password_file(config: &Config) {
    if let Some(IgnoredPasswordFile { path, reason }) = password_file::find_ignored(&config.store) {
        let path = path.display();
        let hint = password_file::REMEDY;
        tracing::warn!(%path, error = reason, hint, "the password file of PostgreSQL is not used");
    }
}

fn warn_without_accounts(ready: &Ready<'_>) {
    if !ready.has_accounts {
        tracing::warn!("nobody can sign in yet; add an account with: sealjar users add NAME");
    }
}

fn print_demo(home: &DemoHome, password: &str, ready: &Ready<'_>) {
    let login = DemoHome::LOGIN;
    let home = home.path();
    let Some(origin) = ready.hosts.first() else {
        return;
    };
    // Its certificate is one that nobody vouches for.
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

Rotate the key, which signs nobody out:

  {program} --keys {keys} keys rotate --activate-in 0s

Stop with Ctrl-C.",
        home = home.display(),
        keys = home.join("keys").display(),
        program = std::env::args_os().next().map_or_else(|| "sealjar".into(), |path| Path::new(&path).display().to_string()),
    ));
    // On a thread of its own, because this waits if standard output is a pipe that nobody reads. Whoever closed it does not want
    // to know.
    tokio::task::spawn_blocking(move || {
        let _ = writeln!(std::io::stdout(), "{}", *text);
    });
}
