//! Two background tasks for keys. The first one keeps the key ring up to date (`sync/key_directory.rs`) and logs its changes. The
//! second one rotates keys by schedule.

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

/// Interval between two checks whether a rotation is due.
const ROTATION_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the key ring up to date with its directory, without end. Logs each change, and notifies `changed` if the ring
/// or the active key changed.
pub(crate) async fn follow(app: Arc<App>, directory: PathBuf, changed: Arc<Notify>) {
    let mut active = app.sessions.active_key(Now::read());
    let after_read = |change: Option<(Arc<KeyRing>, Arc<KeyRing>)>| {
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
    app.key_directory.follow(&app.sessions, &directory, after_read).await;
}

/// Logs the changes of the key ring, with an audit event for each published, revoked or removed key.
fn report_changes(old: &KeyRing, new: &KeyRing) {
    let kids: Vec<_> = new.keys().iter().map(|key| key.kid().to_string()).collect();
    tracing::info!(keys = kids.join(" "), "the key ring changed");
    let in_ring = |ring: &KeyRing, kid: Kid| ring.keys().iter().any(|key| key.kid() == kid);
    for key in new.keys() {
        if !in_ring(old, key.kid()) {
            audit::key_changed(KeyChange::Published, key.kid());
        }
        if key.is_revoked() && !old.keys().iter().any(|old| old.kid() == key.kid() && old.is_revoked()) {
            audit::key_changed(KeyChange::Revoked, key.kid());
        }
    }
    for key in old.keys().iter().filter(|key| !in_ring(new, key.kid())) {
        audit::key_changed(KeyChange::Removed, key.kid());
    }
}

/// Rotates keys by the schedule in the settings in force, without end.
pub(crate) async fn rotate(app: Arc<App>, settings: Arc<ArcSwap<Settings>>) {
    let mut last_error = None;
    loop {
        let schedule = Schedule::of(&settings.load(), &app);
        let rotated = tokio::task::spawn_blocking(move || schedule.map_or(Ok(None), Schedule::rotate_if_due))
            .await
            .expect("a rotation does not panic");
        match rotated {
            Ok(Some(kid)) => {
                tracing::info!(%kid, "published a new key by schedule");
                app.key_directory.request_read();
            }
            Ok(None) => last_error = None,
            Err(error) => {
                let message = error.to_string();
                if last_error.as_ref() != Some(&message) {
                    tracing::error!(error = message, "scheduled rotation failed; it is tried again every minute");
                    last_error = Some(message);
                }
            }
        }
        tokio::time::sleep(ROTATION_CHECK_INTERVAL).await;
    }
}

/// Schedule of the automatic rotation.
#[derive(Debug)]
struct Schedule {
    directory: PathBuf,
    /// Time from the activation of one key to the activation of the next.
    interval: Duration,
    /// Time from the publication of a key to its activation.
    activate_after: Duration,
    /// Longest lifetime of a session.
    max_lifetime: Duration,
    /// Keys that the revocation log refuses.
    refused: Vec<Kid>,
}

impl Schedule {
    /// Returns the schedule, or `None` if `keys.rotate_every` is off.
    fn of(settings: &Settings, app: &App) -> Option<Self> {
        settings.rotate_every.map(|interval| Self {
            directory: settings.key_directory.clone(),
            interval,
            activate_after: settings.activate_after,
            max_lifetime: settings.lifetimes.longest(),
            refused: app.sessions.revocations().refused_keys(),
        })
    }

    /// Publishes a new key if one is due, and returns its id. Holds the lock of the directory, so that only one of
    /// several nodes rotates. The other nodes then find the new key, and do nothing.
    fn rotate_if_due(self) -> Result<Option<Kid>, ChangeError> {
        let now = Now::read().wall;
        let locked = LockedRing::lock(&self.directory)?;
        // The next key is due if it would be activated at least one interval after the latest key.
        let ring = locked.read()?.with_refused_keys(&self.refused);
        let latest = ring.keys().iter().filter(|key| !key.is_revoked()).map(Key::dates);
        let latest = latest.filter_map(|dates| dates.activates_at).max();
        let activates_at = now.plus(self.activate_after);
        if latest.is_some_and(|latest| latest.plus(self.interval) > activates_at) {
            return Ok(None);
        }
        locked.prune(&self.refused, now)?;
        locked.rotate(activates_at, self.max_lifetime, now).map(|(kid, _)| Some(kid))
    }
}
