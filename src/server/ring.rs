//! Following the key directory, and scheduled rotation.
//!
//! The directory is read again twice a second, on SIGHUP, and when a token names a key that is not held (never more often than ten
//! times a second). Contents are compared, not times or events: that works on network file systems and with the links that
//! Kubernetes swaps. The whole ring is swapped at once; one that fails to load leaves the old one serving.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::http::App;
use crate::keyring::rotate::{ChangeError, LockedRing};
use crate::keyring::{Key, KeyRing, RingError};

const REREAD_EVERY: Duration = Duration::from_millis(500);
const REREAD_AT_MOST_EVERY: Duration = Duration::from_millis(100);
const ROTATION_CHECK_EVERY: Duration = Duration::from_secs(60);

/// Keeps the ring in use like the directory, for ever.
pub(crate) async fn follow(app: Arc<App>, directory: PathBuf) {
    let mut reported = None;
    loop {
        // Whether time or a request wakes it makes no difference.
        let _ = tokio::time::timeout(REREAD_EVERY, app.reread_ring.notified()).await;
        match load(&directory).await {
            Ok(ring) => {
                if reported.take().is_some() {
                    tracing::info!(directory = %directory.display(), "the key ring can be read again");
                }
                if *app.sessions.ring() != ring {
                    let kids: Vec<_> = ring.keys().iter().map(|key| key.kid().to_string()).collect();
                    tracing::info!(keys = kids.join(" "), "the key ring changed");
                    app.sessions.replace_ring(ring);
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
        tokio::time::sleep(REREAD_AT_MOST_EVERY).await;
    }
}

async fn load(directory: &Path) -> Result<KeyRing, RingError> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || KeyRing::load(&directory))
        .await
        .expect("reading files returns its errors and does not panic")
}

/// When the ring is rotated without anybody asking.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) directory: PathBuf,
    pub(crate) every: Duration,
    pub(crate) activate_after: Duration,
    pub(crate) max_lifetime: Duration,
}

/// Rotates when it is due, for ever.
pub(crate) async fn rotate(app: Arc<App>, schedule: Schedule) {
    let mut reported = None;
    loop {
        let this = schedule.clone();
        let rotated = tokio::task::spawn_blocking(move || this.rotate_if_due())
            .await
            .expect("rotation returns its errors and does not panic");
        match rotated {
            Ok(Some(kid)) => {
                tracing::info!(%kid, "published a new key by schedule");
                app.reread_ring.notify_one();
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

impl Schedule {
    /// Under the directory's lock, so that of several nodes one rotates: the others then find a young key.
    fn rotate_if_due(&self) -> Result<Option<crate::id::Kid>, ChangeError> {
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
