//! Storage of the logouts of an application: in memory, or in a store.
//!
//! In memory, the key is lost together with the logouts when the process exits, so no revoked session becomes valid again. In a
//! store, a logout is committed before the response. Called by `jar.rs`. Uses `sync/committer.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(feature = "store")]
use tokio::sync::Mutex;

use super::problem::Problem;
use crate::clock::{CLOCK_SKEW, Now};
#[cfg(feature = "store")]
use crate::log_sampler::sampled;
use crate::revocation::{Entry, RevocationList};
use crate::session::PresentedSession;
use crate::session::identity::is_subject;
#[cfg(feature = "store")]
use crate::store::{Revocation, Store};
#[cfg(feature = "store")]
use crate::sync::committer::{CommitTask, Committer};

/// Maximum time to wait for the commit of the last logouts, and then again for the database to close.
#[cfg(feature = "store")]
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Storage of the logouts.
#[derive(Debug)]
pub(super) enum Revocations {
    /// Only the list in memory. All subjects share one `generation`, which increases with every logout everywhere. `longest` is
    /// the maximum lifetime of a session.
    Memory { list: Arc<RevocationList>, generation: AtomicU64, longest: Duration },
    /// A store, which other nodes may use, too.
    #[cfg(feature = "store")]
    Store {
        store: Store,
        committer: Committer,
        /// Background task of the committer, or `None` after all logouts were committed and the store was closed.
        committing: Mutex<Option<CommitTask>>,
    },
}

/// Generations that a new session contains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generations {
    pub(super) subject: u64,
    pub(super) global: u64,
}

impl Revocations {
    /// Returns the generations for a new session. An application has no accounts, so all subjects have the same generation.
    pub(super) async fn generations(&self) -> Result<Generations, Problem> {
        match self {
            Self::Memory { generation, .. } => {
                Ok(Generations { subject: generation.load(Ordering::Acquire), global: 0 })
            }
            #[cfg(feature = "store")]
            Self::Store { store, .. } => {
                // The global generation is read first. A revocation between the two reads then refuses the new session.
                let global = store.state().await.map_err(failed)?.global_generation;
                Ok(Generations { subject: store.generation().await.map_err(failed)?, global })
            }
        }
    }

    /// Revokes these sessions, and waits until the store has committed the revocations.
    pub(super) async fn end(&self, presented: &[PresentedSession]) -> Result<(), Problem> {
        match self {
            Self::Memory { list, .. } => {
                presented.iter().for_each(|session| list.add_durable(&entry(session)));
                Ok(())
            }
            #[cfg(feature = "store")]
            Self::Store { committer, .. } => {
                let revokes = presented.iter().map(Revocation::from).collect();
                committer.revoke(revokes).await.map_err(|_| Problem::NotDurable)
            }
        }
    }

    /// Revokes a session that is refused already, without waiting for the store.
    pub(super) fn end_later(&self, copied: &PresentedSession) {
        match self {
            Self::Memory { list, .. } => list.add_durable(&entry(copied)),
            #[cfg(feature = "store")]
            Self::Store { committer, .. } => committer.revoke_later(copied.into()),
        }
    }

    /// Revokes every session that this subject has now.
    pub(super) async fn end_all(&self, sub: &str) -> Result<(), Problem> {
        // Checked before the committer gets the entry. The store cannot store an invalid subject. So the whole batch of entries
        // would fail, and the committer would repeat it forever.
        if !is_subject(sub) {
            return Err(Problem::Subject);
        }
        match self {
            Self::Memory { list, generation, longest } => {
                let below = generation.fetch_add(1, Ordering::AcqRel) + 1;
                let expires_at = list.time(Now::read()).plus(*longest).plus(2 * CLOCK_SKEW);
                list.add_durable(&Entry::Subject { sub: sub.into(), below, expires_at });
                Ok(())
            }
            #[cfg(feature = "store")]
            Self::Store { store, committer, .. } => {
                // This process refuses immediately all sessions of the subject that have started so far. The transaction that
                // commits the entry extends this to all sessions that started before the commit, in any process. The entry itself
                // increases the generation of every later login. So exactly the sessions that started before the commit end. If
                // the commit fails, it is repeated, and then also ends the sessions that started meanwhile. The caller gets an
                // error, because the logout is not complete.
                let min_below = store.generation().await.map_err(failed)?.saturating_add(1);
                committer
                    .revoke(vec![Revocation::SubjectUntilCommit { sub: sub.into(), min_below }])
                    .await
                    .map_err(|_| Problem::NotDurable)
            }
        }
    }

    /// Accepts no more logouts, waits until the accepted logouts are committed, and closes the store.
    pub(super) async fn close(&self) -> Result<(), Problem> {
        match self {
            Self::Memory { .. } => Ok(()),
            #[cfg(feature = "store")]
            Self::Store { store, committing, .. } => {
                // The lock is held until the end. If this future is dropped, the next call continues its work.
                let mut committing = committing.lock().await;
                let Some(task) = committing.as_mut() else {
                    return Ok(());
                };
                let is_committed = task.finish(CLOSE_TIMEOUT).await;
                if tokio::time::timeout(CLOSE_TIMEOUT, store.close()).await.is_err() {
                    tracing::error!("the database did not close in time");
                }
                if !is_committed {
                    return Err(Problem::NotDurable);
                }
                *committing = None;
                Ok(())
            }
        }
    }
}

/// Returns the entry that revokes a session in memory. It is durable, because a restart ends all sessions anyway.
fn entry(session: &PresentedSession) -> Entry {
    Entry::Session { sid: session.sid, expires_at: session.absolute_deadline.plus(2 * CLOCK_SKEW) }
}

/// Logs that the store failed, and returns the problem for the client. The level is `DEBUG`, because every request can cause a
/// line. The follower logs once that the store is unavailable.
#[cfg(feature = "store")]
fn failed(error: crate::store::StoreError) -> Problem {
    sampled!(DEBUG, %error, "login or logout failed: the store is unavailable");
    Problem::Store
}
