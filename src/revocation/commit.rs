//! Making refusals durable: many at once in one commit, and success only when the disk has them.
//!
//! A refusal is pending from the moment it is asked for, so the session is dead in this process whatever the disk does. Every
//! request for it waits for a commit of its own or joins the one under way; none is answered by finding the entry "already
//! there" while it is pending. What could not be committed is kept and tried again until it is, and refuses meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{RevocationList, retention};
use crate::clock::{Now, UnixTime};
use crate::store::{Revoke, Store};

/// Refusals in one transaction at most.
const MAX_BATCH: usize = 1024;
/// Requests that wait for a commit at most; further ones wait to be let in.
const QUEUE: usize = 4096;
/// How long a request waits for the disk before it is told that it failed. The commit goes on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a failed commit the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// The refusal is in force in this process, but not on disk.
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
    requests: mpsc::Sender<Request>,
}

impl Committer {
    /// Starts the task that commits.
    pub(crate) fn start(list: Arc<RevocationList>, store: Store) -> (Self, Committing) {
        let (requests, waiting) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(list.clone(), store, waiting, stopped));
        (Self { list, requests }, Committing { stop, task })
    }

    /// Refuses at once, and returns when the store has it.
    pub(crate) async fn revoke(&self, revokes: Vec<Revoke>) -> Result<(), NotDurable> {
        let revokes: Vec<Revoke> = revokes.into_iter().filter(|revoke| !self.is_durable(revoke)).collect();
        if revokes.is_empty() {
            return Ok(());
        }
        revokes.iter().for_each(|revoke| self.refuse(revoke));
        let (reply, outcome) = oneshot::channel();
        let answer = async {
            self.requests.send(Request { revokes, reply }).await.map_err(|_| NotDurable)?;
            outcome.await.map_err(|_| NotDurable)?
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Err(NotDurable))
    }

    fn is_durable(&self, revoke: &Revoke) -> bool {
        match revoke {
            Revoke::Session { sid, .. } => self.list.is_durable(*sid),
            Revoke::Subject { sub, below } => self.list.is_durable_below(sub, *below),
        }
    }

    fn refuse(&self, revoke: &Revoke) {
        match revoke {
            Revoke::Session { sid, token } => {
                let deadline = token.map_or(UnixTime(u64::MAX), |token| token.absolute_deadline);
                self.list.add_pending(*sid, retention::pending_until(deadline));
            }
            Revoke::Subject { sub, below } => self.list.add_pending_below(sub, *below),
        }
    }
}

/// The task that commits.
#[derive(Debug)]
pub(crate) struct Committing {
    stop: oneshot::Sender<()>,
    task: JoinHandle<usize>,
}

impl Committing {
    /// Takes no further requests, commits those there are, and says whether all of them are on disk within `patience`.
    pub(crate) async fn finish(self, patience: Duration) -> bool {
        let _ = self.stop.send(());
        matches!(tokio::time::timeout(patience, self.task).await, Ok(Ok(0)))
    }
}

/// Commits until it is stopped and the queue is empty; returns how many refusals it could not commit.
async fn run(
    list: Arc<RevocationList>,
    store: Store,
    mut waiting: mpsc::Receiver<Request>,
    mut stop: oneshot::Receiver<()>,
) -> usize {
    let mut unsettled: HashSet<Revoke> = HashSet::new();
    loop {
        let retry = tokio::time::sleep(RETRY);
        let next = tokio::select! {
            next = waiting.recv() => next,
            () = retry, if !unsettled.is_empty() => Some(Request { revokes: Vec::new(), reply: oneshot::channel().0 }),
            _ = &mut stop, if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        let closing = next.is_none();
        let mut replies = Vec::new();
        let mut take = |request: Request, unsettled: &mut HashSet<Revoke>| {
            unsettled.extend(request.revokes);
            replies.push(request.reply);
        };
        if let Some(request) = next {
            take(request, &mut unsettled);
        }
        while unsettled.len() < MAX_BATCH
            && let Ok(request) = waiting.try_recv()
        {
            take(request, &mut unsettled);
        }
        let outcome = commit(&list, &store, &mut unsettled).await;
        // A waiter may have lost patience; its refusal is committed, or kept, all the same.
        for reply in replies {
            let _ = reply.send(outcome);
        }
        if closing {
            return unsettled.len();
        }
    }
}

async fn commit(list: &RevocationList, store: &Store, unsettled: &mut HashSet<Revoke>) -> Result<(), NotDurable> {
    if unsettled.is_empty() {
        return Ok(());
    }
    let batch: Vec<Revoke> = unsettled.iter().cloned().collect();
    match store.revoke(&batch, list.time(Now::read())).await {
        Ok(entries) => {
            entries.iter().for_each(|entry| list.add_durable(entry));
            unsettled.clear();
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, revocations = batch.len(), "sign-outs are in force here but not on disk; trying again");
            Err(NotDurable)
        }
    }
}
