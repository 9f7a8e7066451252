//! `sealjar users`: accounts. Every change but `add` and `enable` ends the account's sessions, everywhere, within a second.

pub(super) mod calibrate;

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use crate::account::password;
use crate::account::{BadField, DisplayName, Email, LoginName, Password, Profile, Roles};
use crate::cli::audit::{Change as Audited, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::{errln, outln};
use crate::cli::runtime::open_store;
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::store::Store;
use crate::store::records::{Account, Change};

#[derive(Subcommand, Debug)]
pub(super) enum Users {
    /// Add an account
    ///
    /// Asks for the password on a terminal, else reads it as one line from standard input. Creates the database if it does not
    /// exist. The login name, the display name and the email address cannot be changed later.
    #[command(
        after_help = "Examples:\n  sealjar users add alice --role staff --display-name Alice --email alice@example.com\n  sealjar users add bob --must-change <password"
    )]
    Add {
        /// Login name of the account
        login: LoginName,
        /// Name to show
        #[arg(long, default_value = "")]
        display_name: DisplayName,
        /// Email address
        #[arg(long, default_value = "")]
        email: Email,
        /// Role; may be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// The user must choose another password at the next login
        #[arg(long)]
        must_change: bool,
    },
    /// Set a new password, and end the sessions of the account
    ///
    /// Asks for the password on a terminal, else reads it as one line from standard input.
    #[command(
        after_help = "Examples:\n  sealjar users passwd alice\n  sealjar users passwd alice --must-change <password"
    )]
    Passwd {
        /// Login name of the account
        login: LoginName,
        /// The user must choose another password at the next login
        #[arg(long)]
        must_change: bool,
    },
    /// Refuse logins of an account, and end its sessions
    #[command(after_help = "Examples:\n  sealjar users disable alice")]
    Disable {
        /// Login name of the account
        login: LoginName,
    },
    /// Allow logins of an account again
    #[command(after_help = "Examples:\n  sealjar users enable alice")]
    Enable {
        /// Login name of the account
        login: LoginName,
    },
    /// Replace all roles of an account, and end its sessions
    #[command(
        after_help = "Examples:\n  sealjar users roles alice staff admin\n  sealjar users roles alice  # no role"
    )]
    Roles {
        /// Login name of the account
        login: LoginName,
        /// The new roles; if there is none, the account has no role
        roles: Vec<String>,
    },
    /// Delete an account, and end its sessions
    #[command(after_help = "Examples:\n  sealjar users delete alice")]
    Delete {
        /// Login name of the account
        login: LoginName,
    },
    /// Measure this machine, and propose settings for hashing passwords
    ///
    /// Prints the section [password] for the configuration file. Stored passwords are hashed again with the new cost at the next
    /// login of their accounts.
    #[command(
        after_help = "Examples:\n  sealjar users calibrate\n  sealjar users calibrate --target 500ms --max-memory-kib 131072"
    )]
    Calibrate {
        /// Time that hashing one password may take, such as 250ms
        #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = humantime::parse_duration)]
        target: Duration,
        /// Maximum memory for one password, in KiB
        #[arg(long, value_name = "KIB", default_value_t = 65_536)]
        max_memory_kib: u32,
    },
    /// Print the accounts
    #[command(after_help = "Examples:\n  sealjar users list\n  sealjar users list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Users {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let (login, change, audited, done) = match self {
            Self::Add { login, display_name, email, roles, must_change } => {
                let roles = Roles::new(&roles)?;
                return add(settings, Profile { login_name: login, display_name, email, roles }, must_change).await;
            }
            Self::Calibrate { target, max_memory_kib } => {
                calibrate::run(target, max_memory_kib);
                return Ok(ExitCode::SUCCESS);
            }
            Self::List { json } => return list(settings, json).await,
            Self::Passwd { login, must_change } => {
                let account = open_store(settings).await?.require(&login).await?;
                let hash = password::hash(settings.cost, &new_password(&account.profile)?);
                let done = if must_change {
                    "has a new password and must change it at the next sign-in; its sessions are over"
                } else {
                    "has a new password; its sessions are over"
                };
                (login, Change::Password { hash, must_change }, Audited::PasswordSet, done)
            }
            Self::Disable { login } => {
                (login, Change::Disable, Audited::AccountDisabled, "is disabled; its sessions are over")
            }
            Self::Enable { login } => (login, Change::Enable, Audited::AccountEnabled, "is enabled"),
            Self::Roles { login, roles } => {
                (login, Change::Roles(Roles::new(&roles)?), Audited::RolesSet, "has new roles; its sessions are over")
            }
            Self::Delete { login } => {
                (login, Change::Delete, Audited::AccountDeleted, "is deleted; its sessions are over")
            }
        };
        let sub = open_store(settings).await?.change_account(&login, &change).await?;
        record(settings, audited, Changed::Account { login: login.as_str(), sub: &sub });
        errln!("{login} {done}");
        Ok(ExitCode::SUCCESS)
    }
}

async fn add(settings: &Settings, profile: Profile, must_change: bool) -> Result<ExitCode, CliError> {
    let hash = password::hash(settings.cost, &new_password(&profile)?);
    let (store, made) = Store::open_or_create(&settings.store, settings.store_limits).await?;
    if made {
        errln!("made the database {}", settings.store_name);
    }
    let name = profile.login_name.clone();
    let account = Account::new(profile, hash, must_change, Now::read().wall);
    store.add_account(&account).await?;
    record(settings, Audited::AccountAdded, Changed::Account { login: name.as_str(), sub: &account.sub });
    errln!("added {name}");
    Ok(ExitCode::SUCCESS)
}

async fn list(settings: &Settings, as_json: bool) -> Result<ExitCode, CliError> {
    let accounts = open_store(settings).await?.accounts().await?;
    if as_json {
        let view = |account: &Account| {
            let profile = &account.profile;
            json!({
                "login": profile.login_name.as_str(),
                "sub": account.sub,
                "display_name": profile.display_name.as_str(),
                "email": profile.email.as_str(),
                "roles": profile.roles.as_str().split(',').filter(|role| !role.is_empty()).collect::<Vec<_>>(),
                "disabled": account.disabled,
                "must_change": account.must_change,
                "created_at": account.created_at,
            })
        };
        outln!("{}", json!(accounts.iter().map(view).collect::<Vec<_>>()));
        return Ok(ExitCode::SUCCESS);
    }
    outln!("{:24}  {:11}  {:20}  ROLES", "LOGIN", "STATE", "CREATED");
    for Account { profile, disabled, must_change, created_at, .. } in &accounts {
        let state = match (disabled, must_change) {
            (true, _) => "disabled",
            (false, true) => "must change",
            (false, false) => "enabled",
        };
        outln!(
            "{:24}  {state:11}  {:20}  {}",
            profile.login_name.as_str(),
            created_at.to_string(),
            profile.roles.as_str()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks twice on a terminal, else reads one line of standard input.
fn new_password(profile: &Profile) -> Result<Password, CliError> {
    hide_text_of_panics();
    let login = &profile.login_name;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => CliError::failed("the password is not text in UTF-8; nothing was changed"),
        _ => CliError::io(format!("cannot read the password: {error}")),
    };
    let text = if io::stdin().is_terminal() {
        let ask = |prompt: String| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(failed);
        let first = ask(format!("new password for {login}: "))?;
        if first != ask("again: ".to_owned())? {
            return Err(CliError::failed("the two passwords differ; nothing was changed"));
        }
        first
    } else {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
        Zeroizing::new(
            line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned(),
        )
    };
    let password = Password::new(text);
    let check = password.check_new().and_then(|()| password::check_uncommon(&password, profile));
    check.map_err(|rule| CliError::failed(format!("{rule}; nothing was changed")))?;
    Ok(password)
}

/// Reports panics from now on without their text: slicing a text at a wrong place, for example, quotes the text.
fn hide_text_of_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        errln!("a bug: panicked at {place}; the text is not shown, because it may quote the password");
    }));
}

impl From<BadField> for CliError {
    fn from(error: BadField) -> Self {
        Self::usage(error)
    }
}
