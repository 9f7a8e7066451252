//! `sealjar revoke`: ends sessions by adding entries to the revocation log in the store. Running servers apply them within a second.

use std::process::ExitCode;

use clap::Args;

use crate::account::LoginName;
use crate::cli::audit::{Change as Audited, Changed, record};
use crate::cli::confirm;
use crate::cli::error::CliError;
use crate::cli::output::errln;
use crate::cli::runtime::open_store;
use crate::config::settings::Settings;
use crate::id::Sid;
use crate::store::records::{self, Change};

#[derive(Args, Debug)]
pub(super) struct Revoke {
    #[command(flatten)]
    what: What,
    /// Do not ask for confirmation of --everyone
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// End the session with this id
    #[arg(long, value_name = "SID")]
    session: Option<Sid>,
    /// End all sessions of an account
    #[arg(long, value_name = "LOGIN")]
    user: Option<LoginName>,
    /// End all sessions of all accounts
    #[arg(long)]
    everyone: bool,
}

impl Revoke {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let store = open_store(settings).await?;
        match self.what {
            What { session: Some(sid), .. } => {
                store.revoke(&[records::Revocation::Session { sid, token: None }]).await?;
                record(settings, Audited::SessionEnded, Changed::Session(sid));
                errln!("ended session {sid}");
            }
            What { user: Some(login), .. } => {
                let changed = store.change_account(&login, &Change::EndSessions).await?;
                let account = Changed::Account { login: login.as_str(), sub: &changed.sub };
                record(settings, Audited::AccountSessionsEnded, account);
                errln!("ended all sessions of {login}");
            }
            What { everyone: true, .. } => {
                if confirm::is_needed(self.yes) {
                    let accounts = store.accounts().await?.len();
                    confirm::ask(&format!(
                        "end every session of every user, on every server of this store (accounts: {accounts})? Everybody must log in again"
                    ))?;
                }
                store.revoke_everyone().await?;
                record(settings, Audited::EverySessionEnded, Changed::Store(&settings.store_name));
                errln!("ended every session");
            }
            What { .. } => return Err(CliError::usage("no sessions named; use --session, --user or --everyone")),
        }
        Ok(ExitCode::SUCCESS)
    }
}
