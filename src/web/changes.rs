//! Calls that change something run to their end, even if their client leaves.
//!
//! Hyper drops a call whose client hangs up, at whatever it waits for: a transaction half-way, or a change that is committed and
//! has no audit event yet. So each such call is a task of its own, which the connection merely waits for, and which a shutdown
//! waits for, too.
//!
//! A task outlives its connection, and so its connection's limits. At most [`MAX_ABANDONED`] tasks run whose client has left;
//! beyond that, the next one is cut short when its client leaves.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

/// Number of calls that may run without their client. Each waits for a few seconds at most, and holds its request: 48 KiB at most.
const MAX_ABANDONED: usize = 1024;

/// The calls under way that change something. Clones share state.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    abandoned: Arc<Semaphore>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), abandoned: Arc::new(Semaphore::new(MAX_ABANDONED)) }
    }

    /// Runs a change as a task, and returns its outcome. The change goes on if this future is dropped. It panics if the change does.
    pub(crate) async fn run<T: Send + 'static>(&self, change: impl Future<Output = T> + Send + 'static) -> T {
        let permit = Arc::new(Mutex::new(None));
        let held = permit.clone();
        let task = self.tasks.spawn(async move {
            // Kept to the end of the task.
            let _held = held;
            change.await
        });
        let client = Client { task: task.abort_handle(), abandoned: self.abandoned.clone(), permit };
        let outcome = task.await;
        drop(client);
        match outcome {
            Ok(outcome) => outcome,
            // Aborted only by `Client`, which lives as long as this waits.
            Err(error) => resume_unwind(error.into_panic()),
        }
    }

    /// Waits until every change has ended that has begun so far.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Whoever waits for a change. Dropped before the task has ended if the client leaves.
struct Client {
    task: AbortHandle,
    abandoned: Arc<Semaphore>,
    /// Shared with the task, so that the permit is given back when both are gone.
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.task.is_finished() {
            return;
        }
        match self.abandoned.clone().try_acquire_owned() {
            Ok(permit) => *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit),
            Err(_) => self.task.abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::{Context, Poll, Waker};

    use tokio::sync::oneshot;

    use super::*;

    fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_change_goes_on_when_its_client_leaves() {
        let changes = Changes::new();
        let (go, wait) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let change = async move {
            wait.await.expect("told to go on");
            tell.send("done").expect("somebody listens");
        };
        assert!(poll_once(changes.run(change)).is_pending());
        go.send(()).expect("the change waits");
        changes.finish().await;
        assert_eq!(told.await, Ok("done"));
        assert_eq!(changes.abandoned.available_permits(), MAX_ABANDONED, "the permit is given back");
    }

    #[tokio::test]
    async fn beyond_the_limit_changes_without_client_are_cut_short() {
        let changes = Changes::new();
        let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
        for _ in 0..MAX_ABANDONED {
            let mut stopped = stop.subscribe();
            assert!(poll_once(changes.run(async move { stopped.recv().await.ok() })).is_pending());
        }
        assert!(poll_once(changes.run(pending::<()>())).is_pending());
        stop.send(()).expect("all wait for it");
        // It would wait for ever for the last one.
        changes.finish().await;
        assert_eq!(changes.abandoned.available_permits(), MAX_ABANDONED);
    }

    #[tokio::test]
    async fn a_change_that_is_waited_for_returns_its_outcome() {
        let changes = Changes::new();
        assert_eq!(changes.run(async { 7 }).await, 7);
        let panics = tokio::spawn(async move { changes.run(async { panic!("a panic of the change") }).await });
        let error: tokio::task::JoinError = panics.await.map(|(): ()| ()).expect_err("it panicked");
        assert!(error.is_panic());
    }
}
