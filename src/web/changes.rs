//! Calls that change something run to their end, even if their client leaves.
//!
//! Hyper drops a call whose client hangs up, at whatever it waits for: a transaction half-way, or a change that is committed and
//! has no audit event yet. So each such call is a task of its own, which the connection merely waits for, and which a shutdown
//! waits for, too.
//!
//! A task outlives its connection, and so its connection's limits. At most [`MAX_ABANDONED`] tasks run whose client has left;
//! beyond that, the next one is cut short when its client leaves. Calls that have waited for something that anybody can ask for, such
//! as a key that somebody made up, have a limit of their own ([`wait_for_anybody`]): a flood of them cuts no other call short.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Number of calls that may run without their client, for each of the two kinds. Each waits for a few seconds at most, and holds its
/// request: a head of 32 KiB and a body of `http.max_body_bytes` at most.
const MAX_ABANDONED: usize = 1024;

tokio::task_local! {
    /// The call that this task is.
    static CALL: Arc<Call>;
}

/// The calls under way that change something. Clones share state.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    limits: Arc<Limits>,
}

/// Permits to run without a client.
#[derive(Debug)]
struct Limits {
    ordinary: Arc<Semaphore>,
    /// For calls that have waited for something that anybody can ask for.
    for_anybody: Arc<Semaphore>,
}

/// State that a task shares with its client.
#[derive(Debug)]
struct Call {
    limits: Arc<Limits>,
    state: Mutex<State>,
    /// Ends the task. Its client cannot any more: it has left.
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// It has waited for something that anybody can ask for.
    is_for_anybody: bool,
    /// Its client has left; with the permit to go on. Given back when the task and its client are gone.
    permit: Option<OwnedSemaphorePermit>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        let permits = || Arc::new(Semaphore::new(MAX_ABANDONED));
        Self { tasks: TaskTracker::new(), limits: Arc::new(Limits { ordinary: permits(), for_anybody: permits() }) }
    }

    /// Runs a change as a task, and returns its outcome. The change goes on if this future is dropped. It panics if the change does.
    pub(crate) async fn run<T: Send + 'static>(&self, change: impl Future<Output = T> + Send + 'static) -> T {
        let end = CancellationToken::new();
        let call = Arc::new(Call { limits: self.limits.clone(), state: Mutex::default(), end: end.clone() });
        let task = self.tasks.spawn(CALL.scope(call.clone(), end.run_until_cancelled_owned(change)));
        let client = Client { task: task.abort_handle(), call };
        let outcome = task.await;
        drop(client);
        match outcome {
            Ok(outcome) => outcome.expect("ended only after its client has left, and so not while this waits"),
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

/// Waits for something that anybody can ask for, such as a key that somebody made up. Without a client, the call counts among those of
/// its kind from now on, and ends here if there are too many of them.
pub(crate) async fn wait_for_anybody<T>(wait: impl Future<Output = T>) -> T {
    if CALL.try_with(|call| call.is_for_anybody()) == Ok(false) {
        // Nothing has been changed yet, and nobody waits for an answer.
        CALL.with(|call| call.end.cancel());
        std::future::pending().await
    } else {
        wait.await
    }
}

impl Call {
    /// Notes the kind of call; returns whether it may go on.
    fn is_for_anybody(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !std::mem::replace(&mut state.is_for_anybody, true);
        if is_new && state.permit.is_some() {
            state.permit = self.limits.for_anybody.clone().try_acquire_owned().ok();
            return state.permit.is_some();
        }
        true
    }

    /// Takes a permit to go on without a client; returns whether there is one.
    fn go_on(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = if state.is_for_anybody { &self.limits.for_anybody } else { &self.limits.ordinary };
        state.permit = permits.clone().try_acquire_owned().ok();
        state.permit.is_some()
    }
}

/// A wait for a change. Dropped before the task has ended if the client leaves.
struct Client {
    task: AbortHandle,
    call: Arc<Call>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.task.is_finished() && !self.call.go_on() {
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

    /// Starts a change whose client leaves while it waits for the sender; it answers through the receiver.
    fn leave_half_way(changes: &Changes) -> (oneshot::Sender<()>, oneshot::Receiver<&'static str>) {
        let (go, wait) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let change = async move {
            wait.await.expect("told to go on");
            tell.send("done").expect("somebody listens");
        };
        assert!(poll_once(changes.run(change)).is_pending());
        (go, told)
    }

    #[tokio::test]
    async fn a_change_goes_on_when_its_client_leaves() {
        let changes = Changes::new();
        let (go, told) = leave_half_way(&changes);
        go.send(()).expect("the change waits");
        changes.finish().await;
        assert_eq!(told.await, Ok("done"));
        assert_eq!(changes.limits.ordinary.available_permits(), MAX_ABANDONED, "the permit is given back");
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
        assert_eq!(changes.limits.ordinary.available_permits(), MAX_ABANDONED);
    }

    #[tokio::test]
    async fn waits_for_what_anybody_can_ask_for_cut_no_other_call_short() {
        let changes = Changes::new();
        let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
        // Half of them are left before they wait, half while they do.
        for number in 0..2 * MAX_ABANDONED {
            let mut stopped = stop.subscribe();
            let mut waits = Box::pin(changes.run(async move { wait_for_anybody(stopped.recv()).await.ok() }));
            assert!(poll_once(waits.as_mut()).is_pending());
            if number % 2 == 0 {
                tokio::task::yield_now().await;
            }
        }
        tokio::task::yield_now().await;
        assert_eq!(changes.limits.for_anybody.available_permits(), 0);
        assert_eq!(changes.limits.ordinary.available_permits(), MAX_ABANDONED);
        let (go, told) = leave_half_way(&changes);
        go.send(()).expect("the change waits, and is not cut short");
        assert_eq!(told.await, Ok("done"));
        stop.send(()).expect("some wait for it");
        let finished = tokio::time::timeout(Duration::from_secs(60), changes.finish()).await;
        assert!(finished.is_ok(), "those beyond the limit have ended, too");
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
