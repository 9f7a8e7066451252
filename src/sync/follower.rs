//! The follower of the store: it loads the whole revocation log before the server is ready, then reads new entries, and removes
//! (prunes) expired entries.
//!
//! Invariant: the store has recorded `pruned_through` before an entry is removed from the list or the log. Every minute the
//! follower also records the lifetimes of this server's tokens and the latest time of its clock, because
//! `revocation/retention.rs` needs them. Uses `log_reader` for each poll. Started by `server.rs` and `embed/open.rs`.

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
use crate::store::records::SealingRecord;
use crate::sync::lag::Lag;
use crate::sync::log_reader::{Position, Reading, catch_up};

/// Minimum interval between two polls that notifications cause.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum delay between two attempts to reach a store that is unavailable.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Interval, by the boot clock, at which lifetimes and clock are recorded. Pruning follows each record.
const RECORD_INTERVAL: Duration = retention::CLOCK_RECORD_INTERVAL;
/// Delay before the next attempt if recording or pruning failed.
const RECORD_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Time for which a record of lifetimes is valid in advance. It is extended with each record.
const SEALING_AHEAD: Duration = Duration::from_secs(3600);

/// Task that keeps the revocation list in memory equal to the store's log.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Store,
    list: Arc<RevocationList>,
    lag: Arc<Lag>,
    sealing: SealingRecord,
    position: Position,
    steps: StepGuard,
    /// Latest time that this server's clock has shown.
    clock_reached: UnixTime,
    /// Boot clock at which the next record is due.
    next_record: Duration,
    /// Number of polls that failed in succession.
    failures: u32,
    is_stale: bool,
    /// Recording and pruning in progress, if any. It is a separate task, so that polls do not wait for it and do not fail
    /// with it.
    records: JoinSet<Result<(), StoreError>>,
}

impl Follower {
    /// Records the lifetimes of this server's tokens, and loads the whole list.
    pub(crate) async fn load(
        store: Store,
        list: Arc<RevocationList>,
        lag: Arc<Lag>,
        lifetimes: Lifetimes,
    ) -> Result<Self, StoreError> {
        let now = Now::read();
        let Freshness { max_staleness, when_stale } = list.freshness();
        let sealing = SealingRecord {
            lifetimes,
            lag: max_staleness.saturating_add(store.poll_interval()).saturating_add(retention::MAX_COMMIT_DURATION),
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
            position: None,
            steps: StepGuard::new(now),
            clock_reached: now.wall,
            next_record: now.boot + RECORD_INTERVAL,
            failures: 0,
            is_stale: false,
            records: JoinSet::new(),
        };
        // Recorded before the list is loaded. The expiries of entries that are written later take these lifetimes into account.
        // Entries that were written earlier may expire too early for them, but these entries are in the list.
        follower.record(now, false).await?;
        catch_up(&follower.store, &follower.list, &mut follower.position, Reading::Initial).await?;
        follower.list.resize_filters();
        Ok(follower)
    }

    /// Polls and prunes in an endless loop. Calls `on_key_refused` when the log refuses a further key.
    pub(crate) async fn run(mut self, on_key_refused: impl Fn()) {
        let mut refused_keys = self.list.refused_key_count();
        loop {
            self.wait().await;
            match self.poll().await {
                Ok(()) => {
                    if self.failures > 0 {
                        tracing::info!("the revocation log can be read again");
                    }
                    self.failures = 0;
                }
                Err(error) => {
                    if self.failures == 0 {
                        tracing::error!(%error, "cannot read the revocation log from the database; retrying");
                    }
                    self.failures = self.failures.saturating_add(1);
                }
            }
            // Checked even after a failed poll, because the poll may have read entries before it failed.
            if self.list.refused_key_count() != refused_keys {
                refused_keys = self.list.refused_key_count();
                on_key_refused();
            }
            self.report_staleness(Now::read());
        }
    }

    /// Waits until the next poll is due, or until a notification arrives. After failed polls, it waits with an exponential
    /// backoff and a random part, so that not all nodes reconnect at the same time.
    async fn wait(&self) {
        if self.failures == 0 {
            let started = Instant::now();
            if tokio::time::timeout(self.store.poll_interval(), self.store.notified()).await.is_ok() {
                tokio::time::sleep_until(started + MIN_POLL_INTERVAL).await;
            }
            return;
        }
        let [jitter] = id::random::<1>();
        let backoff = self.store.poll_interval().saturating_mul(1 << self.failures.min(4)).min(MAX_BACKOFF);
        tokio::time::sleep(backoff.mul_f64(0.5 + f64::from(jitter) / 512.0)).await;
    }

    /// Logs when the list becomes stale, and when it is current again.
    fn report_staleness(&mut self, now: Now) {
        let is_stale = !self.list.is_current(now);
        if is_stale && !self.is_stale {
            let effect = match self.list.freshness().when_stale {
                WhenStale::Refuse => "sessions are refused (503)",
                WhenStale::Allow => "sessions are accepted (revocation.when_stale) and nobody can log in",
            };
            tracing::error!(
                "the revocation list is stale: the database could not be read for revocation.max_staleness; \
                 {effect} until it can be read"
            );
        } else if self.is_stale && !is_stale {
            tracing::info!("the revocation list is up to date again");
        }
        self.is_stale = is_stale;
    }

    /// Reads the new entries of the log. If a record is due, starts recording and pruning.
    async fn poll(&mut self) -> Result<(), StoreError> {
        // The clocks are read first, so a clock step is detected even while the store is unavailable. It is recorded later.
        let now = Now::read();
        if let Some(before) = self.steps.observe(now) {
            tracing::warn!(%before, now = %now.wall, "the clock was set: nothing is pruned until it has been steady for a day");
            // Tokens were sealed at the time before the step. Entries must be kept longer than these tokens.
            self.clock_reached = self.clock_reached.max(before);
            self.next_record = now.boot;
        }
        let state = catch_up(&self.store, &self.list, &mut self.position, Reading::Live(&self.lag)).await?;
        while let Some(result) = self.records.try_join_next() {
            if let Err(error) = result.expect("the task returns its errors, and is aborted only with this follower") {
                tracing::warn!(%error, "cannot record session lifetimes or prune the revocation list; retrying");
                self.next_record = now.boot + RECORD_RETRY_DELAY;
            }
        }
        if now.boot >= self.next_record && self.records.is_empty() {
            self.next_record = now.boot + RECORD_INTERVAL;
            self.clock_reached = self.clock_reached.max(now.wall);
            // Pruning removes entries for all nodes, so a node with a wrong clock must not prune.
            let checked = state.check_clock(now.wall, Now::read().wall);
            let checked = checked.inspect_err(|error| tracing::error!(%error, "cannot prune the revocation list"));
            let may_prune = checked.is_ok() && self.steps.may_prune(now);
            self.records.spawn(self.record(now, may_prune));
        }
        Ok(())
    }

    /// Records the lifetimes of tokens that are sealed from now on, then removes expired entries if `prune` is set.
    ///
    /// The order matters: `pruned_through` must be durable in the store before any entry is removed.
    fn record(&self, now: Now, prune: bool) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let store = self.store.clone();
        let list = self.list.clone();
        let sealing = self.sealing;
        let clock_reached = self.clock_reached;
        let instant = list.time(now);
        async move {
            store.record_sealing(&sealing, clock_reached, instant.plus(SEALING_AHEAD)).await?;
            if prune {
                store.record_pruned_through(instant).await?;
                let pruned_list = list.clone();
                tokio::task::spawn_blocking(move || pruned_list.prune(instant))
                    .await
                    .expect("pruning compares numbers and removes entries, which cannot panic");
                while store.delete_expired(instant).await? {}
                tracing::debug!(through = %instant, left = list.len(), "pruned the revocation list");
            }
            Ok(())
        }
    }
}
