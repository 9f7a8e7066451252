//! [Single flight](https://pkg.go.dev/golang.org/x/sync/singleflight): requests that wait at the same time share one call.
//!
//! Invariant: a request gets the result of a call that began after the request, so the result is never older than the
//! request. One task makes the calls, one after the other, and decides how often. Used by `key_directory` and
//! `http/node_reports.rs`.

use std::time::Duration;

use tokio::sync::{Notify, watch};

/// State of the calls, whose result has the type `T`.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    /// Wakes the task that makes the calls.
    wanted: Notify,
    calls: watch::Sender<Calls<T>>,
}

/// Number of calls so far. A call begins only after the previous call has ended.
#[derive(Debug)]
struct Calls<T> {
    begun: u64,
    ended: u64,
    /// Result of the last call.
    last: Option<T>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { wanted: Notify::new(), calls: watch::Sender::new(Calls { begun: 0, ended: 0, last: None }) }
    }
}

impl<T: Clone> SingleFlight<T> {
    /// Requests a call, and does not wait for it.
    pub(crate) fn request(&self) {
        self.wanted.notify_one();
    }

    /// Requests a call, and returns the result of a call that begins after this request, or `None` if no such call ends in
    /// time.
    pub(crate) async fn next(&self, timeout: Duration) -> Option<T> {
        let mut calls = self.calls.subscribe();
        let begun = calls.borrow().begun;
        self.request();
        let ended = tokio::time::timeout(timeout, calls.wait_for(|calls| calls.ended > begun)).await;
        ended.ok()?.ok()?.last.clone()
    }

    /// Waits for a request. Called by the task that makes the calls.
    pub(crate) async fn requested(&self) {
        self.wanted.notified().await;
    }

    /// Records that a call begins.
    pub(crate) fn begin(&self) {
        self.calls.send_if_modified(|calls| {
            calls.begun += 1;
            false
        });
    }

    /// Records that the call has ended, and passes its result to the waiting requests.
    pub(crate) fn end(&self, result: T) {
        self.calls.send_modify(|calls| {
            calls.ended = calls.begun;
            calls.last = Some(result);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    /// Polls `future` once. Returns its result, or `None` if it is not ready.
    async fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        std::future::poll_fn(|cx| {
            let polled = std::pin::Pin::new(&mut *future).poll(cx);
            std::task::Poll::Ready(match polled {
                std::task::Poll::Ready(result) => Some(result),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn waits_for_a_call_that_begins_after_the_request() {
        let flight = SingleFlight::default();
        flight.begin();
        let [mut first, mut second] = [(); 2].map(|()| Box::pin(flight.next(TIMEOUT)));
        assert!(poll_once(&mut first).await.is_none() && poll_once(&mut second).await.is_none());
        flight.end("old");
        assert!(poll_once(&mut first).await.is_none(), "that call began before the request");
        flight.requested().await;
        flight.begin();
        assert!(poll_once(&mut first).await.is_none(), "the call has not ended");
        flight.end("new");
        assert_eq!(poll_once(&mut first).await, Some(Some("new")));
        assert_eq!(poll_once(&mut second).await, Some(Some("new")), "one call is enough for all requests before it");
    }

    #[tokio::test]
    async fn returns_none_after_the_timeout() {
        let flight = SingleFlight::<()>::default();
        let result = tokio::time::timeout(60 * TIMEOUT, flight.next(Duration::ZERO)).await;
        assert_eq!(result.expect("`next` ends at its own timeout"), None);
    }
}
