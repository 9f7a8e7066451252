//! Reports changes of the key ring, which `sync/key_directory.rs` follows; and rotates keys by schedule.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::audit::{self, KeyChange};
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::http::app::App;
use crate::id::Kid;
use crate::keyring::rotate::{ChangeError, LockedRing};
use crate::keyring::{Key, KeyRing};

const ROTATION_CHECK_EVERY: Duration = Duration::from_secs(60);

/// Keeps the ring in use like the directory, for ever. Says so when the ring changed, or another of its keys became active.
pub(crate) async fn follow(app: Arc<App>, directory: PathBuf, changed: Arc<Notify>) {
    let mut active = app.sessions.active_key(Now::read());
    let after = |change: Option<(Arc<KeyRing>, Arc<KeyRing>)>| {
        if let Some((old, new)) = change {
            report_changes(&old, &new);
            changed.notify_one();
        }
        let now_active = app.sessions.active_key(Now::read());
        if now_active != active {
            now_active.iter().for_each(|kid| audit::key_changed(KeyChange::Activated, *kid));
            active = now_active;
            changed.notify_one();
        }
    };
    app.key_directory.follow(&app.sessions, &directory, after).await;
}

fn report_changes(old: &KeyRing, new: &KeyRing) {
    let kids: Vec<_> = new.keys().iter().map(|key| key.kid().to_string()).collect();
    tracing::info!(keys = kids.join(" "), "the key ring changed");
    let in_ring = |ring: &KeyRing, kid: Kid| ring.keys().iter().any(|key| key.kid() == kid);
    for key in new.keys() {
        if !in_ring(old, key.kid()) {
            audit::key_changed(KeyChange::Published, key.kid());
        }
        if key.is_revoked() && !old.keys().iter().any(|held| held.kid() == key.kid() && held.is_revoked()) {
            audit::key_changed(KeyChange::Revoked, key.kid());
        }
    }
    for key in old.keys().iter().filter(|key| !in_ring(new, key.kid())) {
        audit::key_changed(KeyChange::Removed, key.kid());
    }
}

/// Rotates when it is due by the settings in force, for ever.
pub(crate) async fn rotate(app: Arc<App>, settings: Arc<ArcSwap<Settings>>) {
    let mut reported = None;
    loop {
        let schedule = Schedule::of(&settings.load(), &app);
        let rotated = tokio::task::spawn_blocking(move || schedule.map_or(Ok(None), Schedule::rotate_if_due))
            .await
            .expect("rotation returns its errors and does not panic");
        match rotated {
            Ok(Some(kid)) => {
                tracing::info!(%kid, "published a new key by schedule");
                app.key_directory.ask();
            }
            Ok(None) => reported = None,
            Err(error) => {
                let message = error.to_string();
                if reported.as_ref() != Some(&message) {
                    tracing::error!(error = message, "scheduled rotation failed; it is tried again every minute");
                    reported = Some(message);
                }
            }
        }
        tokio::time::sleep(ROTATION_CHECK_EVERY).await;
    }
}

/// When the ring is rotated without anybody asking.
#[derive(Debug)]
struct Schedule {
    directory: PathBuf,
    every: Duration,
    activate_after: Duration,
    max_lifetime: Duration,
    /// Keys that the revocation log refuses.
    refused: Vec<Kid>,
}

impl Schedule {
    fn of(settings: &Settings, app: &App) -> Option<Self> {
        settings.rotate_every.map(|every| Self {
            directory: settings.key_directory.clone(),
            every,
            activate_after: settings.activate_after,
            max_lifetime: settings.lifetimes.longest(),
            refused: app.sessions.revocations().refused_keys(),
        })
    }

    /// Under the directory's lock, so that of several nodes one rotates: the others then find a young key.
    fn rotate_if_due(self) -> Result<Option<Kid>, ChangeError> {
        let now = Now::read().wall;
        let ring = LockedRing::lock(&self.directory)?;
        let held = ring.read()?.refusing(&self.refused);
        let latest = held.keys().iter().filter(|key| !key.is_revoked()).map(Key::dates);
        let latest = latest.filter_map(|dates| dates.activates_at).max();
        let activates_at = now.plus(self.activate_after);
        if latest.is_some_and(|latest| latest.plus(self.every) > activates_at) {
            return Ok(None);
        }
        ring.prune(&self.refused, now)?;
        ring.rotate(activates_at, self.max_lifetime, now).map(|(kid, _)| Some(kid))
    }
}
