//! Model of the follower and the committer of a node (`src/sync/follower.rs` and `committer.rs`), one step at a time.

use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::revocation::{Entry, retention};

use super::node::{Node, RECORD_INTERVAL};
use super::revocations::Revocations;
use super::store::{Revoke, Store};
use crate::fixture::{HOUR, MAX_STALENESS};

/// Lag of a node as the store records it, in whole seconds: `max_staleness`, one poll, and the time of a commit.
pub(super) const LAG: Duration =
    Duration::from_secs(MAX_STALENESS.as_secs() + 1 + retention::MAX_COMMIT_DURATION.as_secs());
/// Time for which a node records its lifetimes in advance.
const SEALING_AHEAD: Duration = Duration::from_secs(HOUR);

/// Poll in progress, with the data that was read at its start.
pub(super) struct Poll {
    started: Now,
    entries: Vec<(u64, Entry)>,
    revocations: Revocations,
}

/// Way in which the entries of a poll are delivered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delivery {
    InOrder,
    /// In order, followed by the whole log in reverse order.
    Again,
    /// Only the first half. Then the poll fails.
    Torn,
}

impl Node {
    /// Loads the whole list, before the node accepts requests.
    pub(super) fn load(&mut self, store: &mut Store, at: u64) {
        self.poll_begins(store, at);
        self.poll_ends(store, at, Delivery::InOrder);
        self.record_sealing(store, self.now(at));
        self.ready = true;
    }

    /// Sets the offset of the clock, in seconds. The follower then detects the step of the clock.
    pub(super) fn set_clock(&mut self, offset: i64, store: &mut Store, at: u64) {
        self.clock_offset = offset;
        self.round(store, at, Delivery::InOrder);
    }

    /// Runs one round of the follower.
    pub(super) fn round(&mut self, store: &mut Store, at: u64, delivery: Delivery) {
        let now = self.now(at);
        if let Some(time_before_step) = self.guard.observe(now) {
            self.reached = self.reached.max(time_before_step);
            self.next_record = now.boot;
        }
        if self.cut_off || !self.ready {
            return;
        }
        self.poll_begins(store, at);
        self.poll_ends(store, at, delivery);
    }

    /// Records the clock and the lifetimes after a poll, and prunes. Does this at most once a minute.
    fn record_and_prune(&mut self, store: &mut Store, at: u64) {
        let now = self.now(at);
        if now.boot >= self.next_record {
            self.record_sealing(store, now);
            self.next_record = now.boot + RECORD_INTERVAL;
            if self.guard.may_prune(now) {
                self.prune(store, at);
            }
        }
    }

    /// Starts a poll: reads the log.
    pub(super) fn poll_begins(&mut self, store: &Store, at: u64) {
        let entries = store.entries_after(self.seq);
        let revocations = store.revocations.clone();
        self.poll = Some(Poll { started: self.now(at), entries, revocations });
    }

    /// Ends a poll: applies the entries that were read, and reads the counters.
    pub(super) fn poll_ends(&mut self, store: &mut Store, at: u64, delivery: Delivery) {
        let Some(Poll { started, mut entries, revocations }) = self.poll.take() else { return };
        match delivery {
            Delivery::InOrder => {}
            Delivery::Again => entries.extend(store.entries_after(0).into_iter().rev()),
            Delivery::Torn => entries.truncate(entries.len() / 2),
        }
        for (_, entry) in &entries {
            self.list().add_logged(entry);
            self.known.add(entry, 0);
        }
        if !matches!(delivery, Delivery::Torn) {
            self.list().raise_global_generation(store.state.global_generation);
            self.list().raise_pruned_through(store.state.pruned_through);
            self.list().mark_synced(started);
            self.min_time = self.min_time.max(store.state.pruned_through);
            self.seq = entries.iter().map(|(number, _)| *number).max().unwrap_or(self.seq).max(self.seq);
            self.synced = self.synced.max(started.boot);
            self.known.merge(&revocations);
            self.known.everyone.clone_from(&store.revocations.everyone);
            self.record_and_prune(store, at);
        }
        self.report_keys(store, at);
    }

    /// Applies an entry that this node has committed, as soon as the commit is confirmed.
    pub(super) fn apply(&mut self, entry: &Entry) {
        self.list().add_durable(entry);
        self.known.add(entry, 0);
    }

    fn record_sealing(&mut self, store: &mut Store, now: Now) {
        self.reached = self.reached.max(now.wall);
        let until = self.list().time(now).plus(SEALING_AHEAD);
        store.record_sealing(self.lifetimes, LAG, self.fail_open, self.reached, until);
    }

    fn prune(&mut self, store: &mut Store, at: u64) {
        let instant = self.list().time(self.now(at));
        store.record_pruned_through(instant);
        self.min_time = self.min_time.max(instant);
        let before = self.list().len();
        self.list().prune(instant);
        self.pruned += u64::from(self.list().len() < before);
        store.delete_expired(instant);
    }

    /// Adds a pending entry for each revocation that is not durable. Returns whether the request must wait for a commit.
    pub(super) fn add_pending(&mut self, revokes: &[Revoke]) -> bool {
        let durable = |revoke: &&Revoke| match **revoke {
            Revoke::Session { sid, .. } => self.list().is_durable(sid),
            Revoke::Subject { sub, below } => self.list().is_durable_below(sub, below),
        };
        let new: Vec<Revoke> = revokes.iter().filter(|revoke| !durable(revoke)).copied().collect();
        for revoke in &new {
            let expires_at = UnixTime(u64::MAX);
            match *revoke {
                Revoke::Session { sid, token } => {
                    let deadline = token.map_or(expires_at, |(absolute, _)| absolute);
                    self.list().add_pending(sid, retention::pending_until(deadline));
                    self.known.add(&Entry::Session { sid, expires_at }, 0);
                }
                Revoke::Subject { sub, below } => {
                    self.list().add_pending_below(sub, below);
                    self.known.add(&Entry::Subject { sub: sub.into(), below, expires_at }, 0);
                }
            }
            if !self.uncommitted.contains(revoke) {
                self.uncommitted.push(*revoke);
            }
        }
        !new.is_empty()
    }
}
