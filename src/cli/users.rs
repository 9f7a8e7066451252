//! `sealjar users`: accounts. Every change but `add` and `enable` ends the account's sessions, everywhere, within a second.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, open_store};
use crate::account::password;
use crate::account::{BadField, DisplayName, Email, LoginName, Password, Profile, Roles, new_subject};
use crate::clock::Now;
use crate::config::Config;
use crate::store::{Account, Change, Store};

#[derive(Subcommand, Debug)]
pub(super) enum Users {
    /// Add an account; its password is asked for, or read from standard input
    Add {
        /// The name to sign in with
        login: LoginName,
        /// What to call the user
        #[arg(long, default_value = "")]
        display_name: DisplayName,
        /// An email address
        #[arg(long, default_value = "")]
        email: Email,
        /// A role; may be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// Set a new password, asked for or read from standard input
    Passwd {
        /// Whose
        login: LoginName,
    },
    /// Refuse sign-ins, and end the sessions there are
    Disable {
        /// Whose
        login: LoginName,
    },
    /// Allow sign-ins again
    Enable {
        /// Whose
        login: LoginName,
    },
    /// Set the roles to exactly these
    Roles {
        /// Whose
        login: LoginName,
        /// The roles; none to take all away
        roles: Vec<String>,
    },
    /// Delete an account
    Delete {
        /// Whose
        login: LoginName,
    },
    /// Show the accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl Users {
    pub(super) async fn run(self, config: &Config) -> Result<ExitCode, Failure> {
        let (login, change, done) = match self {
            Self::Add { login, display_name, email, roles } => {
                let roles = Roles::new(&roles)?;
                return add(config, Profile { login_name: login, display_name, email, roles }).await;
            }
            Self::List { json } => return list(config, json).await,
            Self::Passwd { login } => {
                let store = open_store(config).await?;
                store.require(&login).await?;
                let hash = password::hash(config.cost(), &new_password(&login)?);
                (login, Change::Password { hash }, "has a new password; its sessions are over")
            }
            Self::Disable { login } => (login, Change::Disable, "is disabled; its sessions are over"),
            Self::Enable { login } => (login, Change::Enable, "is enabled"),
            Self::Roles { login, roles } => {
                (login, Change::Roles(Roles::new(&roles)?), "has new roles; its sessions are over")
            }
            Self::Delete { login } => (login, Change::Delete, "is deleted; its sessions are over"),
        };
        open_store(config).await?.change_account(&login, &change, Now::read().wall).await?;
        eprintln!("{login} {done}");
        Ok(ExitCode::SUCCESS)
    }
}

async fn add(config: &Config, profile: Profile) -> Result<ExitCode, Failure> {
    let hash = password::hash(config.cost(), &new_password(&profile.login_name)?);
    let (store, made) = Store::open_or_create(&config.store_url()).await?;
    if made {
        eprintln!("made the database {}", config.store);
    }
    store.add_account(&new_subject(), &profile, &hash, Now::read().wall).await?;
    eprintln!("added {}", profile.login_name);
    Ok(ExitCode::SUCCESS)
}

async fn list(config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    let accounts = open_store(config).await?.accounts().await?;
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
                "created_at": account.created_at,
            })
        };
        println!("{}", json!(accounts.iter().map(view).collect::<Vec<_>>()));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:24}  {:8}  {:20}  ROLES", "LOGIN", "STATE", "CREATED");
    for Account { profile, disabled, created_at, .. } in &accounts {
        let state = if *disabled { "disabled" } else { "enabled" };
        println!(
            "{:24}  {state:8}  {:20}  {}",
            profile.login_name.as_str(),
            created_at.to_string(),
            profile.roles.as_str()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks twice on a terminal, else reads one line of standard input.
fn new_password(login: &LoginName) -> Result<Password, Failure> {
    let failed = |error: io::Error| Failure::io(format!("cannot read the password: {error}"));
    let text = if io::stdin().is_terminal() {
        let ask = |prompt: String| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(failed);
        let first = ask(format!("new password for {login}: "))?;
        if first != ask("again: ".to_owned())? {
            return Err(Failure::failed("the two passwords differ; nothing was changed"));
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
    password.check_new().map_err(|rule| Failure::failed(format!("{rule}; nothing was changed")))?;
    Ok(password)
}

impl From<BadField> for Failure {
    fn from(error: BadField) -> Self {
        Self::usage(error)
    }
}
