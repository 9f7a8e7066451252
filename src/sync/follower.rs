//! Following the store: the whole list before the server is ready, then whatever is new, and pruning what is dead.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::{Now, StepGuard, UnixTime};
use crate::id;
use crate::revocation::{Freshness, RevocationList, WhenStale, retention};
use crate::session::Lifetimes;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::Sealing;
use crate::sync::lag::Lag;
use crate::sync::log_reader::{News, Place, catch_up};

/// Between two polls that are made because there is news, at least.
const BREATH: Duration = Duration::from_millis(10);
/// Between two attempts to reach a store that is away, at most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// Between two records of what is sealed and what the clock has reached, each followed by pruning; by the boot clock.
const RECORD_EVERY: Duration = retention::CLOCK_RECORDED_EVERY;
/// How soon it is tried again if the store does not take it.
const RECORD_AGAIN: Duration = Duration::from_secs(5);
/// How far ahead of its use a lifetime is recorded; recorded anew at each pruning.
const SEALING_AHEAD: Duration = Duration::from_secs(3600);

/// Keeps a list like the store's.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Store,
    list: Arc<RevocationList>,
    lag: Arc<Lag>,
    sealing: Sealing,
    place: Place,
    steps: StepGuard,
    /// The latest that this server has taken for now.
    reached: UnixTime,
    next_record: Duration,
    /// Attempts that failed in a row.
    failures: u32,
    stale: bool,
    /// The recording and pruning under way, if there is any: the next poll does not wait for it, nor fail with it.
    records: JoinSet<Result<(), StoreError>>,
}

impl Follower {
    /// Records for how long this server's tokens are going to live, and loads the whole list.
    pub(crate) async fn load(
        store: Store,
        list: Arc<RevocationList>,
        lag: Arc<Lag>,
        lifetimes: Lifetimes,
    ) -> Result<Self, StoreError> {
        let now = Now::read();
        let Freshness { max_staleness, when_stale } = list.freshness();
        let sealing = Sealing {
            lifetimes,
            lag: max_staleness.saturating_add(store.poll_interval()).saturating_add(retention::COMMITTED_WITHIN),
            fail_open: when_stale == WhenStale::Allow,
        };
        let state = store.state().await?;
        state.check_clock(now.wall, Now::read().wall)?;
        list.raise_pruned_through(state.pruned_through);
        let mut follower = Self {
            store,
            list,
            lag,
            sealing,
            place: None,
            steps: StepGuard::new(now),
            reached: now.wall,
            next_record: now.boot + RECORD_EVERY,
            failures: 0,
            stale: false,
            records: JoinSet::new(),
        };
        // First, so that no refusal is missing on the list whose expiry did not reckon with what is sealed here.
        follower.record(now, false).await?;
        catch_up(&follower.store, &follower.list, &mut follower.place, News::Old).await?;
        follower.list.fit();
        Ok(follower)
    }

    /// Polls and prunes for ever. Calls `on_key_refused` when the log was found to refuse another key.
    pub(crate) async fn run(mut self, on_key_refused: impl Fn()) {
        let mut refused_keys = self.list.refused_key_count();
        loop {
            self.wait().await;
            match self.round().await {
                Ok(()) => {
                    if self.failures > 0 {
                        tracing::info!("following the store again");
                    }
                    self.failures = 0;
                }
                Err(error) => {
                    if self.failures == 0 {
                        tracing::error!(%error, "cannot follow the store; trying again");
                    }
                    self.failures = self.failures.saturating_add(1);
                }
            }
            // A poll that failed may have got that far.
            if self.list.refused_key_count() != refused_keys {
                refused_keys = self.list.refused_key_count();
                on_key_refused();
            }
            self.report_staleness(Now::read());
        }
    }

    /// Until the next poll is due, or there is news; longer and longer while the store is away, and not all nodes at once.
    async fn wait(&self) {
        if self.failures == 0 {
            let began = Instant::now();
            if tokio::time::timeout(self.store.poll_interval(), self.store.notified()).await.is_ok() {
                tokio::time::sleep_until(began + BREATH).await;
            }
            return;
        }
        let [jitter] = id::random::<1>();
        let backoff = self.store.poll_interval().saturating_mul(1 << self.failures.min(4)).min(LONGEST_BACKOFF);
        tokio::time::sleep(backoff.mul_f64(0.5 + f64::from(jitter) / 512.0)).await;
    }

    /// Says once that the list is too old, and once that it is not any more.
    fn report_staleness(&mut self, now: Now) {
        let stale = !self.list.is_current(now);
        if stale && !self.stale {
            let what = match self.list.freshness().when_stale {
                WhenStale::Refuse => "sessions are refused (503)",
                WhenStale::Allow => "sessions are accepted on old knowledge (revocation.when_stale), and none begins,",
            };
            tracing::error!("the store could not be read for revocation.max_staleness: {what} until it can");
        } else if self.stale && !stale {
            tracing::info!("the revocation list is up to date again");
        }
        self.stale = stale;
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
        let state = catch_up(&self.store, &self.list, &mut self.place, News::Fresh(&self.lag)).await?;
        while let Some(done) = self.records.try_join_next() {
            if let Err(error) = done.expect("it returns its errors, and ends with this follower only") {
                tracing::warn!(%error, "cannot record what is sealed here, nor prune the list; trying again");
                self.next_record = now.boot + RECORD_AGAIN;
            }
        }
        if now.boot >= self.next_record && self.records.is_empty() {
            self.next_record = now.boot + RECORD_EVERY;
            self.reached = self.reached.max(now.wall);
            // If a node with a wrong clock prunes an entry, the other nodes lose it.
            let checked = state.check_clock(now.wall, Now::read().wall);
            let may_prune = checked.inspect_err(|error| tracing::error!(%error, "nothing is pruned"));
            let prune = may_prune.is_ok() && self.steps.may_prune(now);
            self.records.spawn(self.record(now, prune));
        }
        Ok(())
    }

    /// Records what is sealed from now on, and prunes what is dead. The store first: time must have moved, durably, before any
    /// entry is gone.
    fn record(&self, now: Now, prune: bool) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let (store, list, sealing, reached) = (self.store.clone(), self.list.clone(), self.sealing, self.reached);
        let instant = list.time(now);
        async move {
            store.record_sealing(&sealing, reached, instant.plus(SEALING_AHEAD)).await?;
            if prune {
                store.record_pruned_through(instant).await?;
                let here = list.clone();
                tokio::task::spawn_blocking(move || here.prune(instant))
                    .await
                    .expect("pruning compares numbers and removes entries, which cannot panic");
                while store.delete_expired(instant).await? {}
                tracing::debug!(through = %instant, left = list.len(), "pruned the revocation list");
            }
            Ok(())
        }
    }
}
