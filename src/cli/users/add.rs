//! `sealjar users add`: adds an account, and creates the database if it does not exist.

use std::process::ExitCode;

use clap::Args;

use super::password;
use crate::account::password::hash;
use crate::account::{DisplayName, Email, LoginName, Password, Profile};
use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::{self, errln, outln};
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::Account;

#[derive(Args, Debug)]
pub(in crate::cli) struct Add {
    /// Login name of the account
    login: LoginName,
    /// Display name
    #[arg(long, default_value = "")]
    display_name: DisplayName,
    /// Email address
    #[arg(long, default_value = "")]
    email: Email,
    /// Role; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Generate a random password, and print it on standard output
    #[arg(long)]
    generate: bool,
    /// The user must choose another password at the next login
    #[arg(long)]
    must_change: bool,
}

impl Add {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let Self { login, display_name, email, roles, generate, must_change } = self;
        let roles = super::roles::parse(&roles, |roles| format!("--role {}", roles.join(" --role ")))?;
        let profile = Profile { login_name: login.clone(), display_name, email, roles };
        let generated = generate.then(password::generate);
        let password = match &generated {
            Some(text) => Password::new(text.clone()),
            None => password::new(&profile)?,
        };
        let hash = hash(settings.cost, &password);
        let (store, is_created) = Store::open_or_create(&settings.store, settings.store_limits).await?;
        if is_created {
            errln!("created the database {}", settings.store_name);
        }
        if let Some(text) = generated {
            if store.account(&login).await?.is_some() {
                return Err(StoreError::NameTaken(login.to_string()).into());
            }
            // The password is printed before the account is added. If the output fails, no account with an unknown password
            // remains.
            outln!("{}", *text);
            output::check_delivered()?;
        }
        let account = Account::new(profile, hash, must_change, Now::read().wall);
        store.add_account(&account).await?;
        record(settings, Change::AccountAdded, Changed::Account { login: login.as_str(), sub: &account.sub });
        errln!("added {login}");
        Ok(ExitCode::SUCCESS)
    }
}
