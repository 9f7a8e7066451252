//! `sealjar inspect`: prints the content of a token, and whether a server with these keys and this store would accept it.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::{errln, outln};
use crate::cli::runtime::open_store;
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::keyring::KeyRing;
use crate::revocation::RevocationList;
use crate::seal::token::{UntrustedToken, token_buffer};
use crate::session::{Refusal, Sessions};
use crate::sync::log_reader;

/// Maximum length of the input that is read. It exceeds every cookie, so a longer input is no token.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

#[derive(Args, Debug)]
pub(super) struct Inspect {}

impl Inspect {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        // The token may follow the name of the cookie and "=".
        let mut input = Vec::new();
        let read = std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut input);
        read.map_err(|error| CliError::io(format!("cannot read standard input: {error}")))?;
        let cookie = settings.sites.cookies().session().clone();
        let prefix = format!("{}=", cookie.as_str());
        let text = input.trim_ascii();
        let text = text.strip_prefix(prefix.as_bytes()).unwrap_or(text);

        let store = open_store(settings).await?;
        let list = Arc::new(RevocationList::new(settings.freshness));
        log_reader::load(&store, &list).await?;
        let sessions = Sessions::new(KeyRing::load(&settings.key_directory)?, list.clone(), cookie, settings.lifetimes);

        let mut buffer = token_buffer();
        let token = UntrustedToken::from_cookie_value(text)
            .ok_or_else(|| CliError::failed("refused: invalid (the input does not have the length of a token)"))?;
        let claims = sessions.open(token, &mut buffer).map_err(|refusal| CliError::failed(verdict(refusal)))?;
        let now = Now::read();
        // The host of a request is unknown here, so the token is checked for the site that it names.
        let outcome = sessions.check(&claims, claims.site, now);
        let identity = &claims.identity;
        let view = json!({
            "sid": claims.sid.to_string(),
            "chain": claims.chain.to_string(),
            "renewals": claims.renewals,
            "link": claims.link.to_string(),
            "parent": claims.parent.to_string(),
            "site": claims.site.to_string(),
            "sub": identity.sub,
            "account_generation": identity.account_generation,
            "global_generation": identity.global_generation,
            "login_name": identity.login_name,
            "display_name": identity.display_name,
            "email": identity.email,
            "roles": identity.roles().collect::<Vec<_>>(),
            "authenticated_at": claims.authenticated_at.to_string(),
            "sealed_at": claims.sealed_at.to_string(),
            "idle_deadline": claims.idle_deadline.to_string(),
            "absolute_deadline": claims.absolute_deadline.to_string(),
            "methods": claims.methods.names().collect::<Vec<_>>(),
            "remembered": claims.flags.is_remembered(),
            "app_data_bytes": claims.app_data.len(),
            "accepted": outcome.is_ok(),
        });
        outln!("{view:#}");
        match outcome {
            Ok(_) => {
                errln!("accepted, on a host of site {}", claims.site);
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => Err(CliError::failed(verdict(refusal))),
        }
    }
}

fn verdict(refusal: Refusal) -> String {
    match refusal {
        Refusal::Missing => "refused: missing".to_owned(),
        Refusal::Invalid(cause) => format!("refused: invalid ({})", cause.describe()),
        Refusal::Expired => "refused: expired (the idle or absolute deadline has passed)".to_owned(),
        Refusal::Revoked => {
            "refused: revoked (by a logout, by a change of the account, or because a copy was detected)".to_owned()
        }
        Refusal::Stale => "refused: the revocation list is stale".to_owned(),
    }
}
