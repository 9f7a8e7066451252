//! Making refusals durable: many at once in one commit, and success only when the disk has them.
//!
//! A refusal is pending from the moment it is asked for, so the session is dead in this process whatever the store does. Every
//! sign-out waits for a commit of its own or joins the one under way; none is answered by finding the entry "already there"
//! while it is pending. The end of a copied session waits for nothing. What could not be committed is kept, all of it, and tried
//! again until it is, and refuses meanwhile.

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
use crate::store::records::Revoke;

/// Refusals in one transaction at most.
const MAX_BATCH: usize = 1024;
/// How long a request waits for the store before it is told that it failed. The commit goes on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a failed commit the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// The refusal is in force in this process, but not in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the revocation could not be made durable")]
pub(crate) struct NotDurable;

struct Request {
    revokes: Vec<Revoke>,
    reply: oneshot::Sender<Result<(), NotDurable>>,
}

/// Where sign-outs go.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    list: Arc<RevocationList>,
    /// Without a bound, because none may be lost: what waits is at most one refusal for each live session.
    requests: mpsc::UnboundedSender<Request>,
    /// The boot clock, in milliseconds, when the oldest refusal was taken up that the store does not have yet; 0 if it has all.
    unstored_since: Arc<AtomicU64>,
}

impl Committer {
    /// Starts the task that commits.
    pub(crate) fn start(list: Arc<RevocationList>, store: Store) -> (Self, Committing) {
        let (requests, waiting) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let unstored_since = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(list.clone(), store, waiting, stopped, unstored_since.clone()));
        (Self { list, requests, unstored_since }, Committing { stop: Some(stop), task })
    }

    /// Returns for how long some refusal has waited for the store, or `None` if the store has all of them.
    #[cfg(feature = "server")]
    pub(crate) fn unstored_for(&self, now: Now) -> Option<Duration> {
        match self.unstored_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(milliseconds(now.boot).saturating_sub(since))),
        }
    }

    /// Refuses at once, and returns when this process has committed it in time.
    pub(crate) async fn revoke(&self, revokes: Vec<Revoke>) -> Result<(), NotDurable> {
        self.revoke_telling(revokes, |_| ()).await
    }

    /// Refuses at once and returns. The refusal is kept and committed like the others, but nobody is told when it is durable.
    pub(crate) fn revoke_later(&self, revoke: Revoke) {
        self.refuse(&revoke);
        let (reply, _) = oneshot::channel();
        // Fails only when this process has stopped committing. The refusal then ends with the process.
        let _ = self.requests.send(Request { revokes: vec![revoke], reply });
    }

    /// The same as [`Self::revoke`]. Tells of each refusal that is new, once it is in force here and before the store has it.
    pub(crate) async fn revoke_telling(
        &self,
        revokes: Vec<Revoke>,
        tell: impl FnMut(&Revoke),
    ) -> Result<(), NotDurable> {
        let revokes: Vec<Revoke> = revokes.into_iter().filter(|revoke| !is_durable(&self.list, revoke)).collect();
        if revokes.is_empty() {
            return Ok(());
        }
        revokes.iter().filter(|revoke| self.refuse(revoke)).for_each(tell);
        let (reply, outcome) = oneshot::channel();
        let answer = async {
            self.requests.send(Request { revokes, reply }).map_err(|_| NotDurable)?;
            outcome.await.map_err(|_| NotDurable)?
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Err(NotDurable))
    }

    /// Returns whether the refusal is new. One that was read from the log is not new, though it is committed again.
    fn refuse(&self, revoke: &Revoke) -> bool {
        match revoke {
            Revoke::Session { sid, token } => {
                let is_refused = self.list.refuses_session(*sid);
                let deadline = token.map_or(UnixTime(u64::MAX), |token| token.absolute_deadline);
                self.list.add_pending(*sid, retention::pending_until(deadline)) && !is_refused
            }
            Revoke::Subject { sub, below } | Revoke::SubjectSoFar { sub, at_least: below } => {
                self.list.add_pending_below(sub, *below)
            }
        }
    }
}

/// The task that commits.
#[derive(Debug)]
pub(crate) struct Committing {
    /// Until it was told to stop.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Committing {
    /// Takes no further requests, tries to commit those there are until it succeeds, and says whether all of them are on disk
    /// within `patience`. May be called again after `false`, or if it was dropped.
    pub(crate) async fn finish(&mut self, patience: Duration) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        matches!(tokio::time::timeout(patience, &mut self.task).await, Ok(Ok(())))
    }
}

/// Commits until it is stopped and everything is committed.
async fn run(
    list: Arc<RevocationList>,
    store: Store,
    mut waiting: mpsc::UnboundedReceiver<Request>,
    mut stop: oneshot::Receiver<()>,
    unstored_since: Arc<AtomicU64>,
) {
    // What was tried before and is not committed; nobody waits for it any more.
    let mut backlog: HashSet<Revoke> = HashSet::new();
    let mut failing = false;
    // Whether nothing waits, and nothing comes any more.
    let mut drained = false;
    loop {
        let pause = if failing { RETRY } else { Duration::ZERO };
        let first = tokio::select! {
            next = waiting.recv(), if !drained => { drained = next.is_none(); next }
            () = tokio::time::sleep(pause), if !backlog.is_empty() => None,
            _ = &mut stop, if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        let (mut batch, mut replies) = (HashSet::new(), Vec::new());
        let mut next = first;
        while let Some(Request { revokes, reply }) = next {
            // Those that the commit before this one included are durable by now. Another would only make the log longer.
            batch.extend(revokes.into_iter().filter(|revoke| !is_durable(&list, revoke)));
            replies.push(reply);
            next = if batch.len() < MAX_BATCH { waiting.try_recv().ok() } else { None };
        }
        let room = MAX_BATCH.saturating_sub(batch.len());
        batch.extend(backlog.iter().take(room).cloned());
        let revokes: Vec<Revoke> = batch.iter().cloned().collect();
        if unstored_since.load(Ordering::Relaxed) == 0 {
            unstored_since.store(milliseconds(Now::read().boot).max(1), Ordering::Relaxed);
        }
        let outcome = commit(&list, &store, &revokes).await;
        match &outcome {
            Ok(()) => backlog.retain(|revoke| !batch.contains(revoke)),
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "sign-outs are in force here but not in the store; trying again until they are");
                }
                backlog.extend(batch);
            }
        }
        if failing && outcome.is_ok() {
            tracing::info!(left = backlog.len(), "the store takes sign-outs again");
        }
        failing = outcome.is_err();
        if backlog.is_empty() {
            unstored_since.store(0, Ordering::Relaxed);
        }
        // A waiter may have lost patience; its refusal is committed, or kept, all the same.
        for reply in replies {
            let _ = reply.send(if failing { Err(NotDurable) } else { Ok(()) });
        }
        if drained && backlog.is_empty() {
            return;
        }
    }
}

fn is_durable(list: &RevocationList, revoke: &Revoke) -> bool {
    match revoke {
        Revoke::Session { sid, .. } => list.is_durable(*sid),
        Revoke::Subject { sub, below } => list.is_durable_below(sub, *below),
        // A later commit ends more.
        Revoke::SubjectSoFar { .. } => false,
    }
}

async fn commit(list: &RevocationList, store: &Store, batch: &[Revoke]) -> Result<(), StoreError> {
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
    async fn sign_outs_during_the_commit_of_the_same_add_no_rows() {
        let home = tempfile::tempdir().expect("a directory");
        let url = StoreUrl::file(home.path().join("test.db"));
        let limits = Limits { connections: 1, statement_timeout: Duration::MAX, connect_timeout: Duration::MAX };
        let (store, _) = Store::open_or_create(&url, limits).await.expect("a new database");
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let list = Arc::new(RevocationList::new(freshness));
        let (committer, _committing) = Committer::start(list, store.clone());
        let session = Revoke::Session { sid: Sid::random(), token: None };
        let account = Revoke::Subject { sub: "alice".into(), below: 2 };
        let sign_out = || {
            let committer = committer.clone();
            let revokes = vec![session.clone(), account.clone()];
            tokio::spawn(async move { committer.revoke(revokes).await })
        };
        let first = sign_out();
        let mut others = Vec::new();
        while !first.is_finished() {
            others.push(sign_out());
            tokio::task::yield_now().await;
        }
        for outcome in std::iter::once(first).chain(others) {
            assert_eq!(outcome.await.expect("it ran"), Ok(()));
        }
        assert_eq!(store.read_log(0, 10).await.expect("read").rows().expect("decoded").len(), 2);
    }
}
