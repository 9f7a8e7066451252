//! Following the store: the whole list before the server is ready, then whatever is new, and pruning what is dead.
//!
//! The log is read again from where the last poll ended; entries written by this process come back and change nothing. That is
//! how `sealjar revoke` and `sealjar users` reach a running server.

use std::sync::Arc;
use std::time::Duration;

use super::{RevocationList, retention};
use crate::audit;
use crate::clock::{Now, StepGuard, UnixTime};
use crate::store::{Sealing, Store, StoreError};

/// Between two polls: well within the second that the command line promises.
pub(crate) const POLL: Duration = Duration::from_millis(250);
/// Between two records of what is sealed and what the clock has reached, each followed by pruning; by the boot clock.
const RECORD_EVERY: Duration = retention::CLOCK_RECORDED_EVERY;
/// How far ahead of its use a lifetime is recorded; recorded anew at each pruning.
const SEALING_AHEAD: Duration = Duration::from_secs(3600);
/// Entries read at once.
const PAGE: usize = 10_000;

/// Keeps a list like the store's.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Store,
    list: Arc<RevocationList>,
    sealing: Sealing,
    seq: i64,
    steps: StepGuard,
    /// The latest that this server has taken for now.
    reached: UnixTime,
    next_record: Duration,
    failing: bool,
}

impl Follower {
    /// Loads the whole list, and records what this server is going to seal.
    pub(crate) async fn load(store: Store, list: Arc<RevocationList>, sealing: Sealing) -> Result<Self, StoreError> {
        let now = Now::read();
        let steps = StepGuard::new(now);
        let (reached, next_record) = (now.wall, now.boot + RECORD_EVERY);
        let mut follower = Self { store, list, sealing, seq: 0, steps, reached, next_record, failing: false };
        follower.poll(News::Old).await?;
        follower.record_sealing(now).await?;
        Ok(follower)
    }

    /// Polls and prunes for ever.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            let outcome = self.round().await;
            match (&outcome, self.failing) {
                (Err(error), false) => tracing::error!(%error, "cannot follow the store; trying again"),
                (Ok(()), true) => tracing::info!("following the store again"),
                _ => {}
            }
            self.failing = outcome.is_err();
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        // The clocks first: a step is noticed while the store cannot be used, too, and recorded when it can.
        let now = Now::read();
        if let Some(before) = self.steps.look(now) {
            tracing::warn!(%before, now = %now.wall, "the clock was set: nothing is pruned until it has been steady for a day");
            // Tokens were sealed under the time before; revocations must outlive them.
            self.reached = self.reached.max(before);
            self.next_record = now.boot;
        }
        self.poll(News::Fresh).await?;
        if now.boot >= self.next_record {
            self.record_sealing(now).await?;
            self.next_record = now.boot + RECORD_EVERY;
            if self.steps.may_prune(now) {
                self.prune(now).await?;
            }
        }
        Ok(())
    }

    async fn poll(&mut self, news: News) -> Result<(), StoreError> {
        self.seq = catch_up(&self.store, &self.list, self.seq, news).await?;
        Ok(())
    }

    async fn record_sealing(&mut self, now: Now) -> Result<(), StoreError> {
        self.reached = self.reached.max(now.wall);
        self.store.record_sealing(&self.sealing, self.reached, self.list.time(now).plus(SEALING_AHEAD)).await
    }

    /// The store first: time must have moved, durably, before any entry is gone.
    async fn prune(&self, now: Now) -> Result<(), StoreError> {
        let instant = self.list.time(now);
        self.store.record_pruned_through(instant).await?;
        let list = self.list.clone();
        tokio::task::spawn_blocking(move || list.prune(instant))
            .await
            .expect("pruning compares numbers and removes entries, which cannot panic");
        while self.store.delete_expired(instant).await? {}
        tracing::debug!(through = %instant, left = self.list.len(), "pruned the revocation list");
        Ok(())
    }
}

/// Loads the whole list once.
pub(crate) async fn load(store: &Store, list: &RevocationList) -> Result<(), StoreError> {
    catch_up(store, list, 0, News::Old).await.map(drop)
}

/// Whether what the log says is news, of which the audit events tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Fresh,
    Old,
}

/// Reads the log after `seq` to its end; returns where that is. The counters come last: what another server threw away before
/// it was read here is then covered by the `pruned_through` that it had recorded first.
async fn catch_up(store: &Store, list: &RevocationList, mut seq: i64, news: News) -> Result<i64, StoreError> {
    let started = Now::read();
    loop {
        let page = store.entries_after(seq, PAGE).await?;
        for (number, entry) in &page {
            if news == News::Fresh && !list.holds(entry) {
                audit::revoked_elsewhere(entry);
            }
            list.add_durable(entry);
            seq = *number;
        }
        if page.len() < PAGE {
            break;
        }
    }
    let state = store.state().await?;
    if news == News::Fresh && list.global_generation() < state.global_generation {
        audit::everyone_revoked(state.global_generation);
    }
    list.raise_global_generation(state.global_generation);
    list.raise_pruned_through(state.pruned_through);
    list.mark_synced(started);
    Ok(seq)
}
