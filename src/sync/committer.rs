//! Group commit of revocations: one transaction commits the revocations of many requests
//! ([PostgreSQL: `commit_delay`](https://www.postgresql.org/docs/current/wal-configuration.html) describes the technique).
//!
//! Invariant: a logout is confirmed only after its revocation is on disk. A revocation is pending from the request on, so
//! this process refuses the session at once, whether or not the commit succeeds. Each logout waits for a commit that contains
//! its own revocation. A pending entry of another request does not count as success. A request that
//! detects a copied session does not wait for a commit. If a commit fails, all its revocations are kept and stay in force,
//! and the commit is repeated until it succeeds.

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

/// Maximum number of revocations in one transaction.
const MAX_BATCH: usize = 1024;
/// Maximum time that a request waits for its commit. After that, the request fails and the commit continues.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay between a failed commit and the next attempt.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Error for a revocation that is in force in this process, but not committed to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the revocation was not committed to the database in time")]
pub(crate) struct NotDurable;

/// Revocations of one caller, and the channel for the result of their commit.
struct Request {
    revokes: Vec<Revocation>,
    reply: oneshot::Sender<Result<(), NotDurable>>,
}

/// Handle of the task that commits revocations. Clones use the same task.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    list: Arc<RevocationList>,
    /// Queue without a bound, because no revocation may be dropped. It contains at most one revocation for each live session.
    requests: mpsc::UnboundedSender<Request>,
    /// Boot clock, in milliseconds, at the first attempt to commit the oldest revocation that is not in the store; 0 if the
    /// store has all revocations.
    unstored_since: Arc<AtomicU64>,
}

impl Committer {
    /// Starts the task that commits revocations.
    pub(crate) fn start(list: Arc<RevocationList>, store: Store) -> (Self, CommitTask) {
        let (requests, queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let unstored_since = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(list.clone(), store, queue, stopped, unstored_since.clone()));
        (Self { list, requests, unstored_since }, CommitTask { stop: Some(stop), task })
    }

    /// Returns the time since the first attempt to commit the oldest uncommitted revocation, or `None` if the store has all
    /// revocations.
    #[cfg(feature = "server")]
    pub(crate) fn unstored_for(&self, now: Now) -> Option<Duration> {
        match self.unstored_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(milliseconds(now.boot).saturating_sub(since))),
        }
    }

    /// Revokes at once, and waits until this process has committed the revocations.
    ///
    /// # Errors
    /// [`NotDurable`] if the commit does not succeed within [`COMMIT_TIMEOUT`].
    pub(crate) async fn revoke(&self, revokes: Vec<Revocation>) -> Result<(), NotDurable> {
        self.revoke_with(revokes, |_| ()).await
    }

    /// Revokes at once, and does not wait for the commit. The revocation is committed like the others.
    pub(crate) fn revoke_later(&self, revoke: Revocation) {
        self.refuse(&revoke);
        let (reply, _) = oneshot::channel();
        // Sending fails only if the task has ended, because the process is exiting. Then the revocation is lost with the process.
        let _ = self.requests.send(Request { revokes: vec![revoke], reply });
    }

    /// Revokes like [`Self::revoke`], and calls `on_new` for each new revocation: after it is in force in this process, and
    /// before it is committed.
    pub(crate) async fn revoke_with(
        &self,
        revokes: Vec<Revocation>,
        on_new: impl FnMut(&Revocation),
    ) -> Result<(), NotDurable> {
        let revokes: Vec<Revocation> = revokes.into_iter().filter(|revoke| !is_durable(&self.list, revoke)).collect();
        if revokes.is_empty() {
            return Ok(());
        }
        revokes.iter().filter(|revoke| self.refuse(revoke)).for_each(on_new);
        let (reply, outcome) = oneshot::channel();
        let committed = async {
            self.requests.send(Request { revokes, reply }).map_err(|_| NotDurable)?;
            outcome.await.map_err(|_| NotDurable)?
        };
        tokio::time::timeout(COMMIT_TIMEOUT, committed).await.unwrap_or(Err(NotDurable))
    }

    /// Adds a pending entry to the list. Returns whether the revocation is new. A revocation that was read from the log is
    /// not new, although it is committed again.
    fn refuse(&self, revoke: &Revocation) -> bool {
        match revoke {
            Revocation::Session { sid, token } => {
                let is_refused = self.list.refuses_session(*sid);
                let deadline = token.map_or(UnixTime(u64::MAX), |token| token.absolute_deadline);
                self.list.add_pending(*sid, retention::pending_until(deadline)) && !is_refused
            }
            Revocation::Subject { sub, below } | Revocation::SubjectSoFar { sub, at_least: below } => {
                self.list.add_pending_below(sub, *below)
            }
        }
    }
}

/// The task that commits revocations.
#[derive(Debug)]
pub(crate) struct CommitTask {
    /// Signal to stop; `None` after it was sent.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl CommitTask {
    /// Stops accepting requests, and repeats the commit of the waiting requests until it succeeds. Returns whether all of
    /// them are on disk within `timeout`. It may be called again after it returned `false` or its future was dropped.
    pub(crate) async fn finish(&mut self, timeout: Duration) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        matches!(tokio::time::timeout(timeout, &mut self.task).await, Ok(Ok(())))
    }
}

/// Commits revocations until the task receives the signal to stop and has committed all of them.
async fn run(
    list: Arc<RevocationList>,
    store: Store,
    mut queue: mpsc::UnboundedReceiver<Request>,
    mut stop: oneshot::Receiver<()>,
    unstored_since: Arc<AtomicU64>,
) {
    // Revocations of failed commits. Their requests have received an error already.
    let mut backlog: HashSet<Revocation> = HashSet::new();
    let mut is_failing = false;
    // Whether the queue is closed and empty.
    let mut is_drained = false;
    loop {
        // Wait for a request, for the next attempt to commit the backlog, or for the signal to stop.
        let delay = if is_failing { RETRY_DELAY } else { Duration::ZERO };
        let first = tokio::select! {
            next = queue.recv(), if !is_drained => { is_drained = next.is_none(); next }
            () = tokio::time::sleep(delay), if !backlog.is_empty() => None,
            _ = &mut stop, if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        // Collect all waiting requests. They share one commit.
        let mut batch = HashSet::new();
        let mut replies = Vec::new();
        let mut next = first;
        while let Some(Request { revokes, reply }) = next {
            // The previous commit may have made some of them durable. A second entry would only make the log longer.
            batch.extend(revokes.into_iter().filter(|revoke| !is_durable(&list, revoke)));
            replies.push(reply);
            next = if batch.len() < MAX_BATCH { queue.try_recv().ok() } else { None };
        }
        // Fill the batch with revocations of failed commits.
        let capacity = MAX_BATCH.saturating_sub(batch.len());
        batch.extend(backlog.iter().take(capacity).cloned());
        let revokes: Vec<Revocation> = batch.iter().cloned().collect();
        if unstored_since.load(Ordering::Relaxed) == 0 {
            unstored_since.store(milliseconds(Now::read().boot).max(1), Ordering::Relaxed);
        }
        let outcome = commit(&list, &store, &revokes).await;
        match &outcome {
            Ok(()) => backlog.retain(|revoke| !batch.contains(revoke)),
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
            unstored_since.store(0, Ordering::Relaxed);
        }
        // Sending fails if the request has timed out. Its revocation is committed or kept nevertheless.
        for reply in replies {
            let _ = reply.send(if is_failing { Err(NotDurable) } else { Ok(()) });
        }
        if is_drained && backlog.is_empty() {
            return;
        }
    }
}

fn is_durable(list: &RevocationList, revoke: &Revocation) -> bool {
    match revoke {
        Revocation::Session { sid, .. } => list.is_durable(*sid),
        Revocation::Subject { sub, below } => list.is_durable_below(sub, *below),
        // Each commit revokes all sessions up to its own time. So a new request needs a new commit.
        Revocation::SubjectSoFar { .. } => false,
    }
}

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
        let home = tempfile::tempdir().expect("a directory");
        let url = StoreUrl::file(home.path().join("test.db"));
        let limits = Limits { connections: 1, statement_timeout: Duration::MAX, connect_timeout: Duration::MAX };
        let (store, _) = Store::open_or_create(&url, limits).await.expect("a new database");
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        let (committer, _committing) = Committer::start(list, store.clone());
        let session = Revocation::Session { sid: Sid::random(), token: None };
        let account = Revocation::Subject { sub: "alice".into(), below: 2 };
        let log_out = || {
            let committer = committer.clone();
            let revokes = vec![session.clone(), account.clone()];
            tokio::spawn(async move { committer.revoke(revokes).await })
        };
        let first = log_out();
        let mut others = Vec::new();
        while !first.is_finished() {
            others.push(log_out());
            tokio::task::yield_now().await;
        }
        for outcome in std::iter::once(first).chain(others) {
            assert_eq!(outcome.await.expect("the task does not panic"), Ok(()));
        }
        assert_eq!(store.read_log(0, 10).await.expect("read").rows().expect("decoded").len(), 2);
    }
}
