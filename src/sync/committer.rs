//! Group commit of revocations: one transaction commits the revocations of many requests
//! (the PostgreSQL documentation describes the technique at
//! [`commit_delay`](https://www.postgresql.org/docs/current/wal-configuration.html)).
//!
//! Invariant: a logout is confirmed only after its revocation is on disk. A pending entry of another request is not sufficient.
//!
//! A caller first adds a pending entry to the revocation list. So this process refuses the session at once, even if the commit
//! fails. A logout then waits until its revocation is committed. A request that detects a copied session does not wait. The
//! revocations of a failed commit stay in force in this process, and are committed again until a commit succeeds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock::{Now, UnixTime, milliseconds};
use crate::revocation::{RevocationList, retention};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::Revocation;

/// Number of revocations from which a transaction accepts no further request. The last request may exceed the number.
const MAX_BATCH: usize = 1024;
/// Maximum time that a caller waits for its commit. After that, the caller receives an error, and the commit continues.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum delay between a failed commit and the next attempt. A new request causes the next attempt at once.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Error for a revocation that is in force in this process, and that may not be committed to the store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the revocation was not committed to the database in time")]
pub(crate) struct NotDurable;

/// Revocations of one caller, and the channel for the result of their commit.
struct Request {
    revocations: Vec<Revocation>,
    reply: oneshot::Sender<Result<(), NotDurable>>,
}

/// Handle of the task that commits revocations. Clones use the same task.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    list: Arc<RevocationList>,
    /// Sender of the queue of requests. The queue is unbounded, because no revocation may be dropped.
    requests: mpsc::UnboundedSender<Request>,
    /// Time since which the store has lacked at least one revocation: the start of the first commit after the store last had all
    /// of them. In milliseconds of the boot clock; 0 if no commit is in progress and no failed commit has to be repeated.
    uncommitted_since: Arc<AtomicU64>,
}

impl Committer {
    /// Starts the task that commits revocations.
    pub(crate) fn start(list: Arc<RevocationList>, store: Store) -> (Self, CommitTask) {
        let (requests, queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let uncommitted_since = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(list.clone(), store, queue, stopped, uncommitted_since.clone()));
        (Self { list, requests, uncommitted_since }, CommitTask { stop: Some(stop), task })
    }

    /// Returns for how long the store has lacked at least one revocation, since the start of the first commit. Returns `None` if
    /// no commit is in progress and no failed commit has to be repeated.
    #[cfg(feature = "server")]
    pub(crate) fn uncommitted_duration(&self, now: Now) -> Option<Duration> {
        match self.uncommitted_since.load(Ordering::Relaxed) {
            0 => None,
            since_millis => Some(Duration::from_millis(milliseconds(now.boot).saturating_sub(since_millis))),
        }
    }

    /// Puts the revocations in force at once in this process, and waits until this process has committed them.
    ///
    /// # Errors
    /// [`NotDurable`] if the first commit of the revocations fails, takes longer than [`COMMIT_TIMEOUT`], or cannot begin because
    /// the task has ended.
    pub(crate) async fn revoke(&self, revocations: Vec<Revocation>) -> Result<(), NotDurable> {
        self.revoke_with(revocations, |_| ()).await
    }

    /// Puts the revocation in force at once in this process, and queues it for a commit. Does not wait for the commit.
    pub(crate) fn revoke_later(&self, revocation: Revocation) {
        self.add_pending(&revocation);
        let (reply, _) = oneshot::channel();
        // Sending fails only if the queue is closed, because the process is exiting. Then the revocation is not committed.
        let _ = self.requests.send(Request { revocations: vec![revocation], reply });
    }

    /// Revokes like [`Self::revoke`], and calls `on_new` for each new revocation. The call is made after the revocation is in
    /// force in this process, and before it is committed.
    pub(crate) async fn revoke_with(
        &self,
        revocations: Vec<Revocation>,
        on_new: impl FnMut(&Revocation),
    ) -> Result<(), NotDurable> {
        let revocations: Vec<Revocation> =
            revocations.into_iter().filter(|revocation| !is_durable(&self.list, revocation)).collect();
        if revocations.is_empty() {
            return Ok(());
        }
        revocations.iter().filter(|revocation| self.add_pending(revocation)).for_each(on_new);
        let (reply, commit_result) = oneshot::channel();
        let committed = async {
            self.requests.send(Request { revocations, reply }).map_err(|_| NotDurable)?;
            commit_result.await.map_err(|_| NotDurable)?
        };
        tokio::time::timeout(COMMIT_TIMEOUT, committed).await.unwrap_or(Err(NotDurable))
    }

    /// Adds a pending entry to the list. Returns whether the revocation is new. The revocation of a session is not new if
    /// another process has committed it and this process has read it from the log. This process commits it again nevertheless.
    fn add_pending(&self, revocation: &Revocation) -> bool {
        match revocation {
            Revocation::Session { sid, token } => {
                let is_refused = self.list.refuses_session(*sid);
                let deadline = token.map_or(UnixTime(u64::MAX), |token| token.absolute_deadline);
                self.list.add_pending(*sid, retention::pending_until(deadline)) && !is_refused
            }
            Revocation::Subject { sub, below } | Revocation::SubjectUntilCommit { sub, min_below: below } => {
                self.list.add_pending_below(sub, *below)
            }
        }
    }
}

/// Handle of the task that commits revocations, to stop it.
#[derive(Debug)]
pub(crate) struct CommitTask {
    /// Sender of the signal to stop; `None` after the signal was sent.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl CommitTask {
    /// Stops accepting requests, and waits until the task has committed all queued revocations and those of failed commits.
    /// Returns whether all of them are on disk within `timeout`. After a timeout, or if the future was dropped, the task
    /// continues, and this function may be called again.
    pub(crate) async fn finish(&mut self, timeout: Duration) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        matches!(tokio::time::timeout(timeout, &mut self.task).await, Ok(Ok(())))
    }
}

/// Runs the task: commits revocations until it has received the signal to stop and has committed all revocations.
async fn run(
    list: Arc<RevocationList>,
    store: Store,
    mut queue: mpsc::UnboundedReceiver<Request>,
    mut stop: oneshot::Receiver<()>,
    uncommitted_since: Arc<AtomicU64>,
) {
    // Revocations of failed commits. Callers that waited for them have received an error.
    let mut backlog: HashSet<Revocation> = HashSet::new();
    let mut is_failing = false;
    // Whether the queue is closed and empty.
    let mut is_drained = false;
    loop {
        // Wait for a request, for the time of the next attempt to commit the backlog, or for the signal to stop.
        let delay = if is_failing { RETRY_DELAY } else { Duration::ZERO };
        let first_request = tokio::select! {
            received = queue.recv(), if !is_drained => { is_drained = received.is_none(); received }
            () = tokio::time::sleep(delay), if !backlog.is_empty() => None,
            _ = &mut stop, if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        // Collect the queued requests until the batch is full. They share one commit.
        let mut batch = HashSet::new();
        let mut replies = Vec::new();
        let mut next_request = first_request;
        while let Some(Request { revocations, reply }) = next_request {
            // An earlier commit may have made some of the revocations durable. A second entry would only make the log longer.
            batch.extend(revocations.into_iter().filter(|revocation| !is_durable(&list, revocation)));
            replies.push(reply);
            next_request = if batch.len() < MAX_BATCH { queue.try_recv().ok() } else { None };
        }
        // Fill the rest of the batch with revocations of failed commits.
        let capacity = MAX_BATCH.saturating_sub(batch.len());
        batch.extend(backlog.iter().take(capacity).cloned());
        let revocations: Vec<Revocation> = batch.iter().cloned().collect();
        if uncommitted_since.load(Ordering::Relaxed) == 0 {
            uncommitted_since.store(milliseconds(Now::read().boot).max(1), Ordering::Relaxed);
        }
        let outcome = commit(&list, &store, &revocations).await;
        match &outcome {
            Ok(()) => backlog.retain(|revocation| !batch.contains(revocation)),
            Err(error) => {
                if !is_failing {
                    tracing::error!(
                        %error,
                        "cannot commit logouts to the database: they are in force on this node only; \
                         retrying until they are committed"
                    );
                }
                backlog.extend(batch);
            }
        }
        if is_failing && outcome.is_ok() {
            tracing::info!(left = backlog.len(), "logouts are committed to the database again");
        }
        is_failing = outcome.is_err();
        if backlog.is_empty() {
            uncommitted_since.store(0, Ordering::Relaxed);
        }
        // Sending fails if the caller no longer waits. Its revocations are committed or in the backlog nevertheless.
        for reply in replies {
            let _ = reply.send(if is_failing { Err(NotDurable) } else { Ok(()) });
        }
        if is_drained && backlog.is_empty() {
            return;
        }
    }
}

/// Returns whether this process has committed the revocation, so that another commit is not necessary.
fn is_durable(list: &RevocationList, revocation: &Revocation) -> bool {
    match revocation {
        Revocation::Session { sid, .. } => list.is_durable(*sid),
        Revocation::Subject { sub, below } => list.is_durable_below(sub, *below),
        // A commit revokes only the sessions that began before the commit. So every new request needs a new commit.
        Revocation::SubjectUntilCommit { .. } => false,
    }
}

/// Commits a batch to the store, and makes its entries durable in the list.
async fn commit(list: &RevocationList, store: &Store, batch: &[Revocation]) -> Result<(), StoreError> {
    if !batch.is_empty() {
        let entries = store.revoke(batch).await?;
        entries.iter().for_each(|entry| list.add_durable(entry));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Sid;
    use crate::revocation::{Freshness, WhenStale};
    use crate::store::Limits;
    use crate::store::url::StoreUrl;

    #[tokio::test]
    async fn repeated_logouts_during_a_commit_add_no_rows() {
        let home = tempfile::tempdir().expect("the temporary directory is created");
        let url = StoreUrl::file(home.path().join("test.db"));
        let limits = Limits { connections: 1, statement_timeout: Duration::MAX, connect_timeout: Duration::MAX };
        let (store, _) = Store::open_or_create(&url, limits).await.expect("the database is created");
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        let (committer, _commit_task) = Committer::start(list, store.clone());
        let session = Revocation::Session { sid: Sid::random(), token: None };
        let account = Revocation::Subject { sub: "alice".into(), below: 2 };
        let log_out = || {
            let committer = committer.clone();
            let revocations = vec![session.clone(), account.clone()];
            tokio::spawn(async move { committer.revoke(revocations).await })
        };
        let first_logout = log_out();
        let mut later_logouts = Vec::new();
        while !first_logout.is_finished() {
            later_logouts.push(log_out());
            tokio::task::yield_now().await;
        }
        for outcome in std::iter::once(first_logout).chain(later_logouts) {
            assert_eq!(outcome.await.expect("the task does not panic"), Ok(()));
        }
        assert_eq!(
            store.read_log(0, 10).await.expect("the log is read").rows().expect("the rows are decoded").len(),
            2
        );
    }
}
