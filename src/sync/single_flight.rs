//! One call on behalf of many who ask for it at once.
//!
//! Each waits for a call that begins after it asked, so that the result is no older than its question. One task makes the calls, one
//! after the other, as often as it likes.

use std::time::Duration;

use tokio::sync::{Notify, watch};

/// Calls with a result of type `T`: whether one is wanted, and how many there were.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    wanted: Notify,
    calls: watch::Sender<Calls<T>>,
}

/// A call begins only when the one before has ended.
#[derive(Debug)]
struct Calls<T> {
    begun: u64,
    ended: u64,
    /// The result of the last one.
    last: Option<T>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { wanted: Notify::new(), calls: watch::Sender::new(Calls { begun: 0, ended: 0, last: None }) }
    }
}

impl<T: Clone> SingleFlight<T> {
    /// Asks for a call.
    pub(crate) fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Returns the result of a call that begins after this was called, or `None` if none ends in time.
    pub(crate) async fn next(&self, timeout: Duration) -> Option<T> {
        let mut calls = self.calls.subscribe();
        let begun = calls.borrow().begun;
        self.ask();
        let ended = tokio::time::timeout(timeout, calls.wait_for(|calls| calls.ended > begun)).await;
        ended.ok()?.ok()?.last.clone()
    }

    /// Returns when somebody asks.
    pub(crate) async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// Notes that a call begins.
    pub(crate) fn begin(&self) {
        self.calls.send_if_modified(|calls| {
            calls.begun += 1;
            false
        });
    }

    /// Notes that the call has ended.
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

    /// The result of `waiting`, if it is there without anything else happening.
    async fn now<T>(waiting: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        std::future::poll_fn(|cx| {
            let polled = std::pin::Pin::new(&mut *waiting).poll(cx);
            std::task::Poll::Ready(match polled {
                std::task::Poll::Ready(result) => Some(result),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn waits_for_a_call_that_begins_after_it_asked() {
        let flight = SingleFlight::default();
        flight.begin();
        let [mut one, mut other] = [(); 2].map(|()| Box::pin(flight.next(TIMEOUT)));
        assert!(now(&mut one).await.is_none() && now(&mut other).await.is_none());
        flight.end("old");
        assert!(now(&mut one).await.is_none(), "that call may have looked too early");
        flight.asked().await;
        flight.begin();
        assert!(now(&mut one).await.is_none(), "it has not ended");
        flight.end("new");
        assert_eq!(now(&mut one).await, Some(Some("new")));
        assert_eq!(now(&mut other).await, Some(Some("new")), "one call is enough for all who asked before it");
    }

    #[tokio::test]
    async fn does_not_wait_for_ever() {
        let flight = SingleFlight::<()>::default();
        let result = tokio::time::timeout(60 * TIMEOUT, flight.next(Duration::ZERO)).await;
        assert_eq!(result.expect("it gives up by itself"), None);
    }
}
