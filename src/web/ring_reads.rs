//! Reading the key ring again while it is in use.
//!
//! The directory is read again twice a second, and whenever somebody asks (never more often than ten times a second). Contents are
//! compared, not times or events: that works on network file systems and with the links that Kubernetes swaps. The whole ring is
//! swapped at once; one that fails to load leaves the old one serving.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::keyring::{KeyRing, RingError};
use crate::session::Sessions;

const REREAD_EVERY: Duration = Duration::from_millis(500);
const REREAD_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// How long a request waits. A read that takes longer finds its token refused, as if the ring could not be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The reads of the key ring: who wants one, and how many there were.
#[derive(Debug)]
pub(crate) struct RingReads {
    wanted: Notify,
    counts: watch::Sender<Counts>,
}

/// The one reader begins a read only when the one before has ended.
#[derive(Debug, Clone, Copy)]
struct Counts {
    begun: u64,
    ended: u64,
}

impl RingReads {
    pub(crate) fn new() -> Self {
        Self { wanted: Notify::new(), counts: watch::Sender::new(Counts { begun: 0, ended: 0 }) }
    }

    /// Asks for the ring to be read again.
    pub(crate) fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Waits until the ring was read, by a read that begins after this was called; or for [`PATIENCE`].
    pub(crate) async fn next(&self) {
        let mut counts = self.counts.subscribe();
        let begun = counts.borrow().begun;
        self.ask();
        // Whether the read came or not, what is held then is what counts.
        let _ = tokio::time::timeout(PATIENCE, counts.wait_for(|counts| counts.ended > begun)).await;
    }

    /// Keeps the ring in use like the directory, for ever. Tells `after` of each read, with both rings if it changed something.
    pub(crate) async fn follow(
        &self,
        sessions: &Sessions,
        directory: &Path,
        mut after: impl FnMut(Option<(Arc<KeyRing>, Arc<KeyRing>)>),
    ) {
        let mut reported = None;
        loop {
            // Whether time or a request wakes it makes no difference.
            let _ = tokio::time::timeout(REREAD_EVERY, self.asked()).await;
            self.begin();
            let mut change = None;
            match load(directory).await {
                Ok(ring) => {
                    if reported.take().is_some() {
                        tracing::info!(directory = %directory.display(), "the key ring can be read again");
                    }
                    let old = sessions.ring();
                    if *old != ring {
                        sessions.replace_ring(ring);
                        change = Some((old, sessions.ring()));
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
            self.end();
            after(change);
            tokio::time::sleep(REREAD_AT_MOST_EVERY).await;
        }
    }

    /// Returns when somebody asks.
    async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// Before the directory is looked at.
    fn begin(&self) {
        self.counts.send_if_modified(|counts| {
            counts.begun += 1;
            false
        });
    }

    /// When what was read is in use.
    fn end(&self) {
        self.counts.send_modify(|counts| counts.ended = counts.begun);
    }
}

async fn load(directory: &Path) -> Result<KeyRing, RingError> {
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || KeyRing::load(&directory))
        .await
        .expect("reading files returns its errors and does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `waiting` is done without anything else happening.
    async fn is_done(waiting: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *waiting).poll(cx).is_ready())).await
    }

    #[tokio::test]
    async fn waits_for_a_read_that_begins_after_it_asked_and_not_for_the_one_under_way() {
        let reads = RingReads::new();
        reads.begin();
        let (mut one, mut other) = (Box::pin(reads.next()), Box::pin(reads.next()));
        assert!(!is_done(&mut one).await && !is_done(&mut other).await);
        reads.end();
        assert!(!is_done(&mut one).await, "that read may have looked before the key was there");
        reads.asked().await;
        reads.begin();
        assert!(!is_done(&mut one).await, "not yet in use");
        reads.end();
        assert!(is_done(&mut one).await && is_done(&mut other).await, "one read is enough for all who asked before it");
    }

    #[tokio::test]
    async fn a_read_that_never_ends_is_not_waited_for_beyond_patience() {
        let reads = RingReads::new();
        tokio::time::timeout(60 * PATIENCE, reads.next()).await.expect("it gives up by itself");
    }
}
