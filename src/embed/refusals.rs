//! Where sign-outs are kept: in memory, with a key that dies with them; or in a store, durable before they are answered.

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
use crate::session::Presented;
use crate::session::identity::is_subject;
#[cfg(feature = "store")]
use crate::store::{Revoke, Store};
#[cfg(feature = "store")]
use crate::sync::committer::{Committer, Committing};

/// How long closing waits for the last sign-outs to be on disk, and then for the database to close.
#[cfg(feature = "store")]
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// The two places.
#[derive(Debug)]
pub(super) enum Refusals {
    /// The subjects' generation, which grows with every sign-out everywhere; and the longest that a session lives.
    Memory { list: Arc<RevocationList>, generation: AtomicU64, longest: Duration },
    /// A store that others may write to as well.
    #[cfg(feature = "store")]
    Store {
        store: Store,
        committer: Committer,
        /// Until all that was committed is kept.
        committing: Mutex<Option<Committing>>,
    },
}

/// Both generations of a sign-in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generations {
    pub(super) subject: u64,
    pub(super) global: u64,
}

impl Refusals {
    /// The generations of whoever signs in now: there are no accounts here, so all subjects count alike.
    pub(super) async fn generations(&self) -> Result<Generations, Problem> {
        match self {
            Self::Memory { generation, .. } => {
                Ok(Generations { subject: generation.load(Ordering::Acquire), global: 0 })
            }
            #[cfg(feature = "store")]
            Self::Store { store, .. } => {
                // The global one first: whoever is ended between the two is ended.
                let global = store.state().await.map_err(failed)?.global_generation;
                Ok(Generations { subject: store.generation().await.map_err(failed)?, global })
            }
        }
    }

    /// Ends these sessions.
    pub(super) async fn end(&self, presented: &[Presented]) -> Result<(), Problem> {
        match self {
            Self::Memory { list, .. } => {
                presented.iter().for_each(|session| list.add_durable(&entry(session)));
                Ok(())
            }
            #[cfg(feature = "store")]
            Self::Store { committer, .. } => {
                let revokes = presented.iter().map(Revoke::from).collect();
                committer.revoke(revokes).await.map_err(|_| Problem::NotDurable)
            }
        }
    }

    /// Ends a session that is refused already, without waiting for the store.
    pub(super) fn end_later(&self, copied: &Presented) {
        match self {
            Self::Memory { list, .. } => list.add_durable(&entry(copied)),
            #[cfg(feature = "store")]
            Self::Store { committer, .. } => committer.revoke_later(copied.into()),
        }
    }

    /// Ends every session that this subject has now.
    pub(super) async fn end_all(&self, sub: &str) -> Result<(), Problem> {
        // Before the store sees it: what it cannot keep would fail with all that is committed along with it, for ever.
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
                // Refused here at once: all that have begun so far. The transaction that commits the entry raises that to all that
                // began before it, in any process; and the entry itself raises the generation of every later sign-in. So the commit
                // divides those that end from those that live. If it fails, it is tried again, and then ends those too that began
                // meanwhile: the caller knows from the error that the sign-out is still to come.
                let at_least = store.generation().await.map_err(failed)?.saturating_add(1);
                committer
                    .revoke(vec![Revoke::SubjectSoFar { sub: sub.into(), at_least }])
                    .await
                    .map_err(|_| Problem::NotDurable)
            }
        }
    }

    /// Takes no more, waits until what was taken is on disk, and closes the store.
    pub(super) async fn close(&self) -> Result<(), Problem> {
        match self {
            Self::Memory { .. } => Ok(()),
            #[cfg(feature = "store")]
            Self::Store { store, committing, .. } => {
                // Held to the end: if this is dropped, the next call goes on with it.
                let mut committing = committing.lock().await;
                let Some(running) = committing.as_mut() else {
                    return Ok(());
                };
                let flushed = running.finish(FLUSH_PATIENCE).await;
                if tokio::time::timeout(FLUSH_PATIENCE, store.close()).await.is_err() {
                    tracing::error!("the database did not close in time");
                }
                if !flushed {
                    return Err(Problem::NotDurable);
                }
                *committing = None;
                Ok(())
            }
        }
    }
}

/// The entry for a session in memory, which is as good as durable.
fn entry(session: &Presented) -> Entry {
    Entry::Session { sid: session.sid, expires_at: session.absolute_deadline.plus(2 * CLOCK_SKEW) }
}

/// Debug, because it comes with each request; that the store is away is said once, by what follows it.
#[cfg(feature = "store")]
fn failed(error: crate::store::StoreError) -> Problem {
    sampled!(DEBUG, %error, "a sign-in or sign-out needs the store");
    Problem::Store
}
