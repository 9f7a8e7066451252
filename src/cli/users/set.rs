//! `sealjar users set`: changes the login name, the display name or the email address of an account.

use std::process::ExitCode;

use clap::Args;

use crate::account::{DisplayName, Email, LoginName};
use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::cli::runtime::open_store;
use crate::config::settings::Settings;
use crate::store::records::ProfileChange;

#[derive(Args, Debug)]
pub(in crate::cli) struct Set {
    /// Login name of the account
    login: LoginName,
    #[command(flatten)]
    new: New,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct New {
    /// New login name
    #[arg(long = "login", value_name = "LOGIN", id = "new_login")]
    login: Option<LoginName>,
    /// New display name; "" removes it
    #[arg(long)]
    display_name: Option<DisplayName>,
    /// New email address; "" removes it
    #[arg(long)]
    email: Option<Email>,
}

impl Set {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let Self { login, new: New { login: login_name, display_name, email } } = self;
        let change = ProfileChange { login_name, display_name, email };
        let changed = open_store(settings).await?.change_profile(&login, &change).await?;
        let before = &changed.before;
        let after = &changed.after;
        let is_renamed = before.login_name != after.login_name;
        let mut changes = Vec::new();
        if is_renamed {
            changes.push(format!("the login name {}", after.login_name));
        }
        if before.display_name != after.display_name {
            changes.push("a new display name".to_owned());
        }
        if before.email != after.email {
            changes.push("a new email address".to_owned());
        }
        if changes.is_empty() {
            errln!("{login} has these values already; nothing was changed, and no session ended");
            return Ok(ExitCode::SUCCESS);
        }
        let old_login = is_renamed.then_some(before.login_name.as_str());
        let account = Changed::Profile { login: after.login_name.as_str(), old_login, sub: &changed.sub };
        record(settings, Change::ProfileSet, account);
        errln!("{login} now has {}; its sessions have ended", changes.join(" and "));
        Ok(ExitCode::SUCCESS)
    }
}
