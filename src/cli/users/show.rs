//! `sealjar users show` and `sealjar users list`: prints accounts as text or as JSON. `table.rs` has the table of `list`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::table;
use crate::account::LoginName;
use crate::account::password::stored_cost;
use crate::cli::error::CliError;
use crate::cli::output::{outln, visible};
use crate::cli::runtime::open_store;
use crate::config::settings::Settings;
use crate::store::records::Account;

pub(super) async fn list(settings: &Settings, as_json: bool) -> Result<ExitCode, CliError> {
    let accounts = open_store(settings).await?.accounts().await?;
    if as_json {
        outln!("{}", json!(accounts.iter().map(json).collect::<Vec<_>>()));
    } else {
        table::print(&accounts);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(settings: &Settings, login: &LoginName, as_json: bool) -> Result<ExitCode, CliError> {
    let account = open_store(settings).await?.require_account(login).await?;
    let cost = stored_cost(&account.password_hash);
    if as_json {
        let mut view = json(&account);
        view["generation"] = account.generation.into();
        view["password"] = cost.map_or(Value::Null, |cost| {
            json!({
                "algorithm": "argon2id",
                "memory_kib": cost.memory_kib,
                "passes": cost.passes,
                "lanes": cost.lanes,
            })
        });
        outln!("{view}");
        return Ok(ExitCode::SUCCESS);
    }
    let profile = &account.profile;
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let password = cost.map_or_else(
        || format!("no server can check the stored hash; set a new password with: sealjar users passwd {login}"),
        |cost| format!("Argon2id, {} KiB, passes: {}, lanes: {}", cost.memory_kib, cost.passes, cost.lanes),
    );
    for (name, value) in [
        ("login", profile.login_name.to_string()),
        ("display name", or_none(visible(profile.display_name.as_str()))),
        ("email", or_none(profile.email.as_str().to_owned())),
        ("roles", or_none(profile.roles.as_str().replace(',', " "))),
        ("state", table::state(&account).to_owned()),
        ("created", account.created_at.to_string()),
        ("sub", account.sub.clone()),
        ("generation", account.generation.to_string()),
        ("password", password),
    ] {
        outln!("{name:12}  {value}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns an account as JSON, without its password hash. `users import` accepts this JSON.
fn json(account: &Account) -> Value {
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
}
