//! Rereads the key directory while the key ring is in use.
//!
//! The directory is read every 0.6 s, and on request at most ten times a second. A request for a token with an unknown key
//! causes such a read. Changes are detected by content, not by file times or events of the file system: this also works on
//! network file systems, and with the symbolic links that Kubernetes replaces.
//!
//! Invariant: a new key ring replaces the old one as a whole. If the directory cannot be read, the old key ring stays in use.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Now, milliseconds};
use crate::keyring::{KeyRing, RingError};
use crate::session::Sessions;
use crate::sync::single_flight::SingleFlight;

/// Interval of reads without a request.
const REREAD_INTERVAL: Duration = Duration::from_millis(600);
/// Minimum interval between two reads.
const MIN_REREAD_INTERVAL: Duration = Duration::from_millis(100);

/// Reads of the key directory. Waiting requests share a read.
#[derive(Debug)]
pub(crate) struct KeyDirectory {
    reads: SingleFlight<()>,
    /// Boot clock at the start of the last successful read, in milliseconds.
    read_at: AtomicU64,
}

impl KeyDirectory {
    /// Maximum time that a request waits for a read. After that, its token is refused, as if the directory could not be read.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

    /// Creates the state for a key ring that was read for the first time at `now`.
    pub(crate) fn new(now: Now) -> Self {
        Self { reads: SingleFlight::default(), read_at: AtomicU64::new(milliseconds(now.boot)) }
    }

    /// Returns the time since the start of the last successful read.
    pub(crate) fn age(&self, now: Now) -> Duration {
        now.boot.saturating_sub(Duration::from_millis(self.read_at.load(Ordering::Relaxed)))
    }

    /// Requests a read, and does not wait for it.
    pub(crate) fn request_read(&self) {
        self.reads.request();
    }

    /// Waits for a read that begins after this call, but at most for [`Self::TIMEOUT`].
    pub(crate) async fn reread(&self) {
        // The result does not matter: the caller continues with the key ring that is in use then.
        let _ = self.reads.next(Self::TIMEOUT).await;
    }

    /// Reads the directory in an endless loop, and replaces the key ring in use.
    ///
    /// Calls `after_read` after each read: with the old and the new key ring if the ring in use has changed, otherwise with
    /// `None`. An entry of the revocation log that revokes a key also changes the ring.
    pub(crate) async fn follow(
        &self,
        sessions: &Sessions,
        directory: &Path,
        mut after_read: impl FnMut(Option<(Arc<KeyRing>, Arc<KeyRing>)>),
    ) {
        let mut reported = None;
        let mut previous = sessions.ring();
        loop {
            // Wait for the interval or for a request, but at least for the minimum interval.
            let started = Instant::now();
            if tokio::time::timeout(REREAD_INTERVAL, self.reads.requested()).await.is_ok() {
                tokio::time::sleep_until(started + MIN_REREAD_INTERVAL).await;
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
                    // Logged once for each different error, not at each read.
                    let message = error.to_string();
                    if reported.as_ref() != Some(&message) {
                        tracing::error!(error = message, "the key ring cannot be read; the old one stays in use");
                        reported = Some(message);
                    }
                }
            }
            self.reads.end(());
            let ring = sessions.ring();
            after_read((previous != ring).then(|| (std::mem::replace(&mut previous, ring.clone()), ring)));
        }
    }
}

async fn load(directory: &Path) -> Result<KeyRing, RingError> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || KeyRing::load(&directory))
        .await
        .expect("reading key files returns its errors and does not panic")
}
