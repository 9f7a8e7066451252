//! `sealjar keys`: creates, lists, rotates, revokes and removes keys in the key directory, which must be writable.
//!
//! Changes of key files take the lock of `keyring::rotate`. `wait`, `status` and `revoke` also read reports of nodes in the
//! store.

mod revoke;
pub(super) mod status;
mod tally;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::{errln, outln};
use crate::cli::runtime::block_on;
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::id::Kid;
use crate::keyring::rotate::LockedRing;
use crate::keyring::{Key, KeyRing};
use crate::session::lifetime::MAX_LIFETIME;

#[derive(Subcommand, Debug)]
pub(super) enum Keys {
    /// Create the key directory and the first key
    #[command(after_help = "Examples:\n  sealjar keys init --keys /var/lib/sealjar/keys")]
    Init,
    /// Publish a new key that encrypts sessions from a later time on; no session ends
    ///
    /// Running servers read the key within a second. With several servers use --wait, or give the copies of the key enough time
    /// to arrive at every server before it becomes active.
    #[command(
        after_help = "Examples:\n  sealjar keys rotate\n  sealjar keys rotate --wait\n  sealjar keys rotate --activate-in 15m"
    )]
    Rotate {
        /// Time until the key becomes active, such as 10m; 0s for at once [default: keys.activate_after]
        #[arg(long, value_name = "DURATION", value_parser = within_ten_years)]
        activate_in: Option<Duration>,
        /// Activate the key when every live server has it
        #[arg(long, conflicts_with = "activate_in")]
        wait: bool,
        /// Maximum time to wait for the servers
        #[arg(long, value_name = "DURATION", value_parser = within_ten_years, requires = "wait", default_value = "2m")]
        timeout: Duration,
    },
    /// Print the keys and their states
    #[command(after_help = "Examples:\n  sealjar keys list\n  sealjar keys list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print which keys each live server has, and compare them with this key directory
    ///
    /// The exit code is 1 if a live server lacks a key of this directory, still opens with a revoked key, or seals with a key
    /// that is not active here. It is also 1 if no server is live.
    #[command(after_help = "Examples:\n  sealjar keys status --config /etc/sealjar/sealjar.toml")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, end its sessions, and wait until every server refuses it
    ///
    /// Every server of the store refuses the key, even if its key file still says that the key is valid. The exit code is 1 if a
    /// server has not confirmed this within 15 seconds.
    #[command(
        after_help = "Examples:\n  sealjar keys revoke 34b4ccece18824af\n  sealjar keys revoke 34b4ccece18824af --replace  # if it is the active key"
    )]
    Revoke {
        /// Id of the key
        kid: Kid,
        /// Create a new key first, which becomes active when the old one is revoked
        #[arg(long)]
        replace: bool,
    },
    /// Remove the keys that no live session can need
    #[command(after_help = "Examples:\n  sealjar keys prune")]
    Prune,
}

impl Keys {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let directory = &settings.key_directory;
        let now = Now::read().wall;
        let max_lifetime = settings.lifetimes.longest();
        match self {
            Self::Init => {
                let kid = LockedRing::init(directory, max_lifetime, now)?;
                record(settings, Change::KeyPublished, Changed::Key(kid));
                errln!("created the first key in {}; it is active", directory.display());
                outln!("{kid}");
            }
            Self::Rotate { wait: true, timeout, .. } => block_on(wait::rotate(settings, timeout))?,
            Self::Rotate { activate_in, .. } => {
                let activates_at = now.plus(activate_in.unwrap_or(settings.activate_after));
                let (kid, activates_at) = LockedRing::lock(directory)?.rotate(activates_at, max_lifetime, now)?;
                record(settings, Change::KeyPublished, Changed::Key(kid));
                errln!("published a new key; it will seal from {activates_at} on");
                outln!("{kid}");
            }
            Self::List { json } => list(&KeyRing::load(directory)?, json),
            Self::Status { json } => block_on(status::run(settings, json))?,
            Self::Revoke { kid, replace } => block_on(revoke::run(settings, kid, replace))?,
            Self::Prune => {
                let refused = block_on(revoke::refused_keys(settings))?;
                let removed = LockedRing::lock(directory)?.prune(&refused, now)?;
                removed.iter().for_each(|kid| record(settings, Change::KeyRemoved, Changed::Key(*kid)));
                errln!("removed {} keys from {}", removed.len(), directory.display());
                removed.iter().for_each(|kid| outln!("{kid}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Parses a duration of at most [`MAX_LIFETIME`], which is ten years.
fn within_ten_years(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span <= MAX_LIFETIME => Ok(span),
        Ok(_) => Err("it must be at most 3650d".to_owned()),
        Err(_) => Err("expected a duration such as 0s, 10m or 1h".to_owned()),
    }
}

fn list(ring: &KeyRing, as_json: bool) {
    let now = Now::read().wall;
    let state = |key: &Key| ring.state(key, now).name();
    if as_json {
        let keys: Vec<_> = ring
            .keys()
            .iter()
            .map(|key| {
                let dates = key.dates();
                json!({
                    "kid": key.kid().to_string(),
                    "state": state(key),
                    "created_at": dates.created_at,
                    "activates_at": dates.activates_at,
                    "retired_at": ring.retired_at(key, now),
                    "revoked_at": dates.revoked_at,
                    "max_lifetime_secs": dates.max_lifetime.as_secs(),
                })
            })
            .collect();
        outln!("{}", json!(keys));
        return;
    }
    outln!("{:16}  {:9}  {:20}  {:20}", "KID", "STATE", "CREATED", "ACTIVATES");
    for key in ring.keys() {
        let dates = key.dates();
        let activates = match dates.activates_at {
            None => "not scheduled".to_owned(),
            // The first key and a replacement have an activation time before their creation, so that nodes with slow clocks also
            // use them.
            Some(instant) if instant < dates.created_at => "at once".to_owned(),
            Some(instant) => instant.to_string(),
        };
        outln!("{}  {:9}  {:20}  {activates}", key.kid(), state(key), dates.created_at.to_string());
    }
}
