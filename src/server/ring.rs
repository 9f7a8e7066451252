//! Following the key directory, and scheduled rotation.
//!
//! The directory is read again twice a second, on SIGHUP, and when a token names a key that is not held (never more often than ten
//! times a second). Contents are compared, not times or events: that works on network file systems and with the links that
//! Kubernetes swaps. The whole ring is swapped at once; one that fails to load leaves the old one serving.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::audit::{self, KeyChange};
use crate::clock::Now;
use crate::config::Config;
use crate::http::App;
use crate::id::Kid;
use crate::keyring::rotate::{ChangeError, LockedRing};
use crate::keyring::{Key, KeyRing, RingError};

const REREAD_EVERY: Duration = Duration::from_millis(500);
const REREAD_AT_MOST_EVERY: Duration = Duration::from_millis(100);
const ROTATION_CHECK_EVERY: Duration = Duration::from_secs(60);

/// Keeps the ring in use like the directory, for ever. Says so when the ring changed, or another of its keys became active.
pub(crate) async fn follow(app: Arc<App>, directory: PathBuf, changed: Arc<Notify>) {
    let mut reported = None;
    let mut active = active_kid(&app);
    loop {
        // Whether time or a request wakes it makes no difference.
        let _ = tokio::time::timeout(REREAD_EVERY, app.ring_reads.asked()).await;
        app.ring_reads.begin();
        match load(&directory).await {
            Ok(ring) => {
                if reported.take().is_some() {
                    tracing::info!(directory = %directory.display(), "the key ring can be read again");
                }
                let old = app.sessions.ring();
                if *old != ring {
                    app.sessions.replace_ring(ring);
                    report_changes(&old, &app.sessions.ring());
                    changed.notify_one();
                }
            }
            Err(error) => {
                let message = error.to_string();
                if reported.as_ref() != Some(&message) {
                    tracing::error!(error = message, "the key ring cannot be read; the old one serves on");
                    reported = Some(message);
                }
            }
        }
        app.ring_reads.end();
        let now_active = active_kid(&app);
        if now_active != active {
            now_active.iter().for_each(|kid| audit::key_changed(KeyChange::Activated, *kid));
            active = now_active;
            changed.notify_one();
        }
        tokio::time::sleep(REREAD_AT_MOST_EVERY).await;
    }
}

/// The key that seals.
pub(super) fn active_kid(app: &App) -> Option<Kid> {
    app.sessions.ring().sealing_key(app.sessions.revocations().time(Now::read())).map(Key::kid)
}

fn report_changes(old: &KeyRing, new: &KeyRing) {
    let kids: Vec<_> = new.keys().iter().map(|key| key.kid().to_string()).collect();
    tracing::info!(keys = kids.join(" "), "the key ring changed");
    let is_revoked = |key: &Key| key.dates().revoked_at.is_some();
    let in_ring = |ring: &KeyRing, kid: Kid| ring.keys().iter().any(|key| key.kid() == kid);
    for key in new.keys() {
        if !in_ring(old, key.kid()) {
            audit::key_changed(KeyChange::Published, key.kid());
        }
        if is_revoked(key) && !old.keys().iter().any(|held| held.kid() == key.kid() && is_revoked(held)) {
            audit::key_changed(KeyChange::Revoked, key.kid());
        }
    }
    for key in old.keys().iter().filter(|key| !in_ring(new, key.kid())) {
        audit::key_changed(KeyChange::Removed, key.kid());
    }
}

async fn load(directory: &Path) -> Result<KeyRing, RingError> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || KeyRing::load(&directory))
        .await
        .expect("reading files returns its errors and does not panic")
}

/// Rotates when it is due by the configuration in force, for ever.
pub(crate) async fn rotate(app: Arc<App>, config: Arc<ArcSwap<Config>>) {
    let mut reported = None;
    loop {
        let schedule = Schedule::of(&config.load());
        let rotated = tokio::task::spawn_blocking(move || schedule.map_or(Ok(None), Schedule::rotate_if_due))
            .await
            .expect("rotation returns its errors and does not panic");
        match rotated {
            Ok(Some(kid)) => {
                tracing::info!(%kid, "published a new key by schedule");
                app.ring_reads.ask();
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
}

impl Schedule {
    fn of(config: &Config) -> Option<Self> {
        let every = config.keys.rotate_every.0;
        (!every.is_zero()).then(|| Self {
            directory: config.keys.dir.clone(),
            every,
            activate_after: config.keys.activate_after.0,
            max_lifetime: config.lifetimes().longest(),
        })
    }

    /// Under the directory's lock, so that of several nodes one rotates: the others then find a young key.
    fn rotate_if_due(self) -> Result<Option<Kid>, ChangeError> {
        let now = Now::read().wall;
        let ring = LockedRing::lock(&self.directory)?;
        let held = ring.read()?;
        let latest = held.keys().iter().filter(|key| key.dates().revoked_at.is_none()).map(Key::dates);
        let latest = latest.filter_map(|dates| dates.activates_at).max();
        let activates_at = now.plus(self.activate_after);
        if latest.is_some_and(|latest| latest.plus(self.every) > activates_at) {
            return Ok(None);
        }
        ring.prune(now)?;
        ring.rotate(activates_at, self.max_lifetime, now).map(|(kid, _)| Some(kid))
    }
}
