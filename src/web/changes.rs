//! Completes calls that change data, even if their client disconnects. A call is the handling of one request.
//!
//! When a client disconnects, hyper drops the future of its call at any `await`: in the middle of a transaction, or after a
//! commit but before the audit event. So each such call runs in a separate task. The connection waits for the task, and so does a
//! shutdown.
//!
//! Such a task can exist longer than its connection, so the limits for connections do not apply to it. At most [`MAX_ABANDONED`]
//! tasks run without their client. Above this limit, a task is aborted when its client disconnects. Calls that have waited for
//! something that any client can request, such as the key of an invented key id, have a separate limit ([`untrusted_wait`]). So
//! a flood of such calls does not abort other calls.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Maximum number of calls that run without their client, for each of the two classes of calls. Each call waits for at most a few
/// seconds, and keeps its request in memory: a head of at most 32 KiB, and a body of at most `http.max_body_bytes`.
const MAX_ABANDONED: usize = 1024;

tokio::task_local! {
    /// Call that the current task runs.
    static CALL: Arc<Call>;
}

/// The calls in progress that change data. Clones share state.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    limits: Arc<Limits>,
}

/// Permits for calls that run without their client, for each class of calls.
#[derive(Debug)]
struct Limits {
    ordinary: Arc<Semaphore>,
    /// Permits for calls that have waited for something that any client can request.
    untrusted: Arc<Semaphore>,
}

/// State that a task shares with the code that waits for it.
#[derive(Debug)]
struct Call {
    limits: Arc<Limits>,
    state: Mutex<State>,
    /// Ends the task after its client has disconnected.
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the call has waited for something that any client can request.
    is_untrusted: bool,
    /// Permit to continue without the client. `None` while the client is connected. Returned when the task has ended.
    permit: Option<OwnedSemaphorePermit>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        let permits = || Arc::new(Semaphore::new(MAX_ABANDONED));
        Self { tasks: TaskTracker::new(), limits: Arc::new(Limits { ordinary: permits(), untrusted: permits() }) }
    }

    /// Runs a change as a task, and returns its outcome. If this future is dropped, the change continues. A panic of the change
    /// continues in the caller.
    pub(crate) async fn run<T: Send + 'static>(&self, change: impl Future<Output = T> + Send + 'static) -> T {
        let end = CancellationToken::new();
        let call = Arc::new(Call { limits: self.limits.clone(), state: Mutex::default(), end: end.clone() });
        let task = self.tasks.spawn(CALL.scope(call.clone(), end.run_until_cancelled_owned(change)));
        let client = ClientWait { task: task.abort_handle(), call };
        let outcome = task.await;
        drop(client);
        match outcome {
            Ok(outcome) => outcome.expect(
                "a task is cancelled only after its client has disconnected, and this client is still connected",
            ),
            // Only `ClientWait` aborts the task, and it is not dropped yet. So the error is a panic.
            Err(error) => resume_unwind(error.into_panic()),
        }
    }

    /// Waits until all running changes have ended.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Waits for something that any client can request, such as the key of an invented key id. From now on, the call belongs to the
/// class with the separate limit. If its client has disconnected and the limit is reached, the call ends here.
pub(crate) async fn untrusted_wait<T>(wait: impl Future<Output = T>) -> T {
    if CALL.try_with(|call| call.mark_untrusted()) == Ok(false) {
        // It is safe to end the call: nothing has been changed yet, and no client waits for a response.
        CALL.with(|call| call.end.cancel());
        std::future::pending().await
    } else {
        wait.await
    }
}

impl Call {
    /// Moves the call to the class with the separate limit. Returns whether it may continue.
    fn mark_untrusted(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !std::mem::replace(&mut state.is_untrusted, true);
        if is_new && state.permit.is_some() {
            state.permit = self.limits.untrusted.clone().try_acquire_owned().ok();
            return state.permit.is_some();
        }
        true
    }

    /// Takes a permit to continue without a client. Returns whether one was available.
    fn continue_without_client(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = if state.is_untrusted { &self.limits.untrusted } else { &self.limits.ordinary };
        state.permit = permits.clone().try_acquire_owned().ok();
        state.permit.is_some()
    }
}

/// Guard that exists while a connection waits for a change. It is dropped before the end of the task only if the client
/// disconnects.
struct ClientWait {
    task: AbortHandle,
    call: Arc<Call>,
}

impl Drop for ClientWait {
    fn drop(&mut self) {
        if !self.task.is_finished() && !self.call.continue_without_client() {
            self.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Starts a change whose client disconnects while the change waits for the sender. The change reports its end to the
    /// receiver.
    fn disconnect_during_change(changes: &Changes) -> (oneshot::Sender<()>, oneshot::Receiver<&'static str>) {
        let (resume, wait) = oneshot::channel();
        let (report, reported) = oneshot::channel();
        let change = async move {
            wait.await.expect("the test resumes the change");
            report.send("done").expect("the test waits for the report");
        };
        assert!(poll_once(changes.run(change)).is_pending());
        (resume, reported)
    }

    #[tokio::test]
    async fn a_change_continues_when_its_client_disconnects() {
        let changes = Changes::new();
        let (resume, reported) = disconnect_during_change(&changes);
        resume.send(()).expect("the change waits");
        changes.finish().await;
        assert_eq!(reported.await, Ok("done"));
        assert_eq!(changes.limits.ordinary.available_permits(), MAX_ABANDONED, "the permit is returned");
    }

    #[tokio::test]
    async fn aborts_changes_without_client_beyond_the_limit() {
        let changes = Changes::new();
        let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
        for _ in 0..MAX_ABANDONED {
            let mut stopped = stop.subscribe();
            assert!(poll_once(changes.run(async move { stopped.recv().await.ok() })).is_pending());
        }
        assert!(poll_once(changes.run(pending::<()>())).is_pending());
        stop.send(()).expect("all changes wait for it");
        // If the last change were not aborted, this would wait forever.
        changes.finish().await;
        assert_eq!(changes.limits.ordinary.available_permits(), MAX_ABANDONED);
    }

    #[tokio::test]
    async fn untrusted_waits_do_not_abort_other_changes() {
        let changes = Changes::new();
        let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
        // One half of the clients disconnect before the wait begins, the other half during the wait.
        for number in 0..2 * MAX_ABANDONED {
            let mut stopped = stop.subscribe();
            let mut change = Box::pin(changes.run(async move { untrusted_wait(stopped.recv()).await.ok() }));
            assert!(poll_once(change.as_mut()).is_pending());
            if number % 2 == 0 {
                tokio::task::yield_now().await;
            }
        }
        tokio::task::yield_now().await;
        assert_eq!(changes.limits.untrusted.available_permits(), 0);
        assert_eq!(changes.limits.ordinary.available_permits(), MAX_ABANDONED);
        let (resume, reported) = disconnect_during_change(&changes);
        resume.send(()).expect("the change waits, and is not aborted");
        assert_eq!(reported.await, Ok("done"));
        stop.send(()).expect("some changes wait for it");
        let finished = tokio::time::timeout(Duration::from_secs(60), changes.finish()).await;
        assert!(finished.is_ok(), "the changes beyond the limit have ended, too");
    }

    #[tokio::test]
    async fn a_change_returns_its_outcome_to_its_client() {
        let changes = Changes::new();
        assert_eq!(changes.run(async { 7 }).await, 7);
        let panics = tokio::spawn(async move { changes.run(async { panic!("a panic of the change") }).await });
        let error: tokio::task::JoinError = panics.await.map(|(): ()| ()).expect_err("the change panicked");
        assert!(error.is_panic());
    }
}
