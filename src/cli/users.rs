//! `sealjar users`: adds, changes, lists and deletes accounts in the store.
//!
//! Every change except `add`, `import` and `enable` ends the sessions of the account on all servers, within a second. If the
//! account already has the requested values, the command changes nothing and ends no session.

mod add;
pub(super) mod calibrate;
mod import;
mod password;
mod roles;
mod set;
mod show;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use crate::account::password::hash;
use crate::account::{BadField, LoginName};
use crate::cli::audit::{Change as Audited, Changed, record};
use crate::cli::confirm;
use crate::cli::error::CliError;
use crate::cli::output::{errln, visible};
use crate::cli::runtime::open_store;
use crate::config::settings::Settings;
use crate::store::records::{Account, Change};

#[derive(Subcommand, Debug)]
pub(super) enum Users {
    /// Add an account
    ///
    /// Asks for the password on a terminal, else reads it as one line from standard input. Creates the database if it does not
    /// exist.
    #[command(
        after_help = "Examples:\n  sealjar users add alice --role staff --display-name Alice --email alice@example.com\n  sealjar users add bob --generate --must-change"
    )]
    Add(add::Add),
    /// Add many accounts from a file, all of them or none
    ///
    /// Each line of the file is a JSON object with `login` and optionally `display_name`, `email`, `roles`, `disabled`,
    /// `must_change` and `password_hash`, an Argon2id hash. The whole file is checked first. If it has a fault, or the command is
    /// interrupted, nothing is changed. docs/accounts.md describes the fields.
    #[command(
        after_help = "Examples:\n  sealjar users import accounts.jsonl\n  sealjar users import accounts.jsonl --generate --must-change >passwords.tsv"
    )]
    Import(import::Import),
    /// Change the login name, the display name or the email address of an account, and end its sessions
    ///
    /// The sessions end because they hold the old values. If nothing is different, no session ends.
    #[command(
        after_help = "Examples:\n  sealjar users set alice --email alice@example.com\n  sealjar users set alice --login alice.smith --display-name Alice"
    )]
    Set(set::Set),
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
    ///
    /// The sessions end because they hold the old roles. If the account has these roles already, no session ends.
    #[command(
        after_help = "Examples:\n  sealjar users roles alice staff admin\n  sealjar users roles alice  # no role"
    )]
    Roles {
        /// Login name of the account
        login: LoginName,
        /// The new roles; without a role here, the account has no role afterwards
        roles: Vec<String>,
    },
    /// Delete an account, and end its sessions
    ///
    /// Asks for confirmation on a terminal.
    #[command(after_help = "Examples:\n  sealjar users delete alice")]
    Delete {
        /// Login name of the account
        login: LoginName,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
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
    /// Print one account, except its password hash
    #[command(after_help = "Examples:\n  sealjar users show alice\n  sealjar users show alice --json")]
    Show {
        /// Login name of the account
        login: LoginName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the accounts
    ///
    /// On a terminal, long texts are shortened to fit the width. In other output they are complete.
    #[command(after_help = "Examples:\n  sealjar users list\n  sealjar users list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Users {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        password::hide_text_of_panics();
        let (login, change, audited, outcome) = match self {
            Self::Add(add) => return add.run(settings).await,
            Self::Import(import) => return import.run(settings).await,
            Self::Set(set) => return set.run(settings).await,
            Self::Calibrate { target, max_memory_kib } => {
                calibrate::run(target, max_memory_kib);
                return Ok(ExitCode::SUCCESS);
            }
            Self::Show { login, json } => return show::show(settings, &login, json).await,
            Self::List { json } => return show::list(settings, json).await,
            Self::Passwd { login, must_change } => {
                let account = open_store(settings).await?.require_account(&login).await?;
                let hash = hash(settings.cost, &password::new(&account.profile)?);
                let outcome = if must_change {
                    "has a new password and must change it at the next login; its sessions have ended"
                } else {
                    "has a new password; its sessions have ended"
                };
                (login, Change::Password { hash, must_change }, Audited::PasswordSet, outcome)
            }
            Self::Disable { login } => {
                (login, Change::Disable, Audited::AccountDisabled, "is disabled; its sessions have ended")
            }
            Self::Enable { login } => (login, Change::Enable, Audited::AccountEnabled, "is enabled"),
            Self::Roles { login, roles } => {
                let roles = roles::parse(&roles, |roles| format!("sealjar users roles {login} {}", roles.join(" ")))?;
                (login, Change::Roles(roles), Audited::RolesSet, "has new roles; its sessions have ended")
            }
            Self::Delete { login, yes } => {
                if confirm::is_needed(yes) {
                    let account = open_store(settings).await?.require_account(&login).await?;
                    confirm::ask(&delete_question(&account))?;
                }
                (login, Change::Delete, Audited::AccountDeleted, "is deleted; its sessions have ended")
            }
        };
        let changed = open_store(settings).await?.change_account(&login, &change).await?;
        if changed.is_different {
            record(settings, audited, Changed::Account { login: login.as_str(), sub: &changed.sub });
            errln!("{login} {outcome}");
        } else {
            errln!("{login} already has this state; nothing was changed");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the question whether to delete an account. It describes the account, so that the operator can detect a wrong login
/// name.
fn delete_question(account: &Account) -> String {
    let profile = &account.profile;
    let name = visible(profile.display_name.as_str());
    let details = [name.as_str(), profile.email.as_str()].into_iter().filter(|text| !text.is_empty());
    let details: Vec<&str> = details.collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    format!(
        "delete the account {}{details}, created {}? All its sessions end, and the account cannot be restored",
        profile.login_name, account.created_at
    )
}

impl From<BadField> for CliError {
    fn from(error: BadField) -> Self {
        Self::usage(error)
    }
}
