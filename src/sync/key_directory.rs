//! Reading the key ring again while it is in use.
//!
//! The directory is read again every 0.6 s, and whenever somebody asks (never more often than ten times a second). Contents are
//! compared, not times or events: that works on network file systems and with the links that Kubernetes swaps. The whole ring is
//! swapped at once; one that fails to load leaves the old one serving.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Now, milliseconds};
use crate::keyring::{KeyRing, RingError};
use crate::session::Sessions;
use crate::sync::single_flight::SingleFlight;

const REREAD_EVERY: Duration = Duration::from_millis(600);
const REREAD_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// The reads of the key ring, which many wait for at once.
#[derive(Debug)]
pub(crate) struct KeyDirectory {
    reads: SingleFlight<()>,
    /// When the last successful read began, in milliseconds of the boot clock.
    read_at: AtomicU64,
}

impl KeyDirectory {
    /// How long a request waits. A read that takes longer finds its token refused, as if the ring could not be read.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

    /// The ring was read for the first time at `now`.
    pub(crate) fn new(now: Now) -> Self {
        Self { reads: SingleFlight::default(), read_at: AtomicU64::new(milliseconds(now.boot)) }
    }

    /// Returns the time since the last successful read began.
    pub(crate) fn age(&self, now: Now) -> Duration {
        now.boot.saturating_sub(Duration::from_millis(self.read_at.load(Ordering::Relaxed)))
    }

    /// Asks for the ring to be read again.
    pub(crate) fn ask(&self) {
        self.reads.ask();
    }

    /// Waits until the ring was read, by a read that begins after this was called; or for [`Self::TIMEOUT`].
    pub(crate) async fn reread(&self) {
        // Whether the read came or not, what is held then is what counts.
        let _ = self.reads.next(Self::TIMEOUT).await;
    }

    /// Keeps the ring in use like the directory, for ever. Tells `after` of each read, with both rings if the one in use changed, be
    /// it because a key was refused by the revocation log.
    pub(crate) async fn follow(
        &self,
        sessions: &Sessions,
        directory: &Path,
        mut after: impl FnMut(Option<(Arc<KeyRing>, Arc<KeyRing>)>),
    ) {
        let mut reported = None;
        let mut known = sessions.ring();
        loop {
            let began = Instant::now();
            if tokio::time::timeout(REREAD_EVERY, self.reads.asked()).await.is_ok() {
                tokio::time::sleep_until(began + REREAD_AT_MOST_EVERY).await;
            }
            self.reads.begin();
            let now = Now::read();
            match load(directory).await {
                Ok(ring) => {
                    self.read_at.store(milliseconds(now.boot), Ordering::Relaxed);
                    if reported.take().is_some() {
                        tracing::info!(directory = %directory.display(), "the key ring can be read again");
                    }
                    sessions.replace_ring(ring);
                }
                Err(error) => {
                    let message = error.to_string();
                    if reported.as_ref() != Some(&message) {
                        tracing::error!(error = message, "the key ring cannot be read; the old one serves on");
                        reported = Some(message);
                    }
                }
            }
            self.reads.end(());
            let ring = sessions.ring();
            after((known != ring).then(|| (std::mem::replace(&mut known, ring.clone()), ring)));
        }
    }
}

async fn load(directory: &Path) -> Result<KeyRing, RingError> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || KeyRing::load(&directory))
        .await
        .expect("reading files returns its errors and does not panic")
}
