//! A token that names a key which is not held: the key ring is read again before anybody judges the token.
//!
//! Another node may seal already with a key that came to the directory since this one looked. So a request that brings such a
//! token waits for a read that begins after it asked, and goes on to its handler only then, whichever that is; a sign-out must
//! know its sessions as much as a check. Many wait for one read, and of reads there are ten a second at most (`server/ring.rs`).
//! Whoever makes up keys waits, and nobody else does: where all keys are held this is a look at twelve characters. (A form's token
//! comes in the body; `Submission::read` looks at it in the same way. The routes in `direct.rs` look only if no token is live.)

use std::time::Duration;

use salvo::http::Request;
use salvo::prelude::{Depot, FlowCtrl, Handler, Response, async_trait};
use tokio::sync::{Notify, watch};

use super::cookie;
use super::live::Live;

/// How long a request waits. A read that takes longer finds its token refused, as if the ring could not be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The hoop before every handler that looks at a session or at the cookie of the sign-in form, but for those in `direct.rs`, which
/// look at the key only if there is no live session.
pub(crate) struct Reread(pub(crate) Live);

#[async_trait]
impl Handler for Reread {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let app = self.0.hold();
        let lacks_key = [app.cookies.session(), &app.cookies.form]
            .into_iter()
            .any(|name| app.sessions.lacks_key_of_cookies(cookie::fields(request.headers()), name));
        if lacks_key {
            app.ring_reads.next().await;
        }
        ctrl.call_next(request, depot, response).await;
    }
}

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

    /// For the reader: returns when somebody asks.
    pub(crate) async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// For the reader, before it looks at the directory.
    pub(crate) fn begin(&self) {
        self.counts.send_if_modified(|counts| {
            counts.begun += 1;
            false
        });
    }

    /// For the reader, when what it read is in use.
    pub(crate) fn end(&self) {
        self.counts.send_modify(|counts| counts.ended = counts.begun);
    }
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
