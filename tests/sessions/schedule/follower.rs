//! A node's follower and committer: what `src/sync/follower.rs` and `committer.rs` do, one step at a time.

use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::revocation::{Entry, retention};

use super::ended::Ended;
use super::node::{Node, RECORD_EVERY};
use super::store::{Revoke, Store};
use crate::fixture::{HOUR, MAX_STALENESS};

/// `max_staleness`, one poll and the time of a commit, in whole seconds as the store records it.
pub(super) const LAG: Duration =
    Duration::from_secs(MAX_STALENESS.as_secs() + 1 + retention::COMMITTED_WITHIN.as_secs());
const SEALING_AHEAD: Duration = Duration::from_secs(HOUR);

/// A poll under way: what was read at its start.
pub(super) struct Poll {
    started: Now,
    entries: Vec<(u64, Entry)>,
    ended: Ended,
}

/// How a poll ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delivery {
    InOrder,
    /// And then the whole log once more, from its end to its start.
    Again,
    /// It breaks off half-way.
    Torn,
}

impl Node {
    /// The whole list, before it serves.
    pub(super) fn load(&mut self, store: &mut Store, at: u64) {
        self.poll_begins(store, at);
        self.poll_ends(store, at, Delivery::InOrder);
        self.record_sealing(store, self.now(at));
        self.ready = true;
    }

    /// Somebody sets the clock, and the follower notices.
    pub(super) fn set_clock(&mut self, by: i64, store: &mut Store, at: u64) {
        self.set_by = by;
        self.round(store, at, Delivery::InOrder);
    }

    /// One round of the follower.
    pub(super) fn round(&mut self, store: &mut Store, at: u64, delivery: Delivery) {
        let now = self.now(at);
        if let Some(before) = self.guard.look(now) {
            self.reached = self.reached.max(before);
            self.next_record = now.boot;
        }
        if self.cut_off || !self.ready {
            return;
        }
        self.poll_begins(store, at);
        self.poll_ends(store, at, delivery);
    }

    /// What follows on a poll, once a minute.
    fn records(&mut self, store: &mut Store, at: u64) {
        let now = self.now(at);
        if now.boot >= self.next_record {
            self.record_sealing(store, now);
            self.next_record = now.boot + RECORD_EVERY;
            if self.guard.may_prune(now) {
                self.prune(store, at);
            }
        }
    }

    /// Reads the log.
    pub(super) fn poll_begins(&mut self, store: &Store, at: u64) {
        let (entries, ended) = (store.entries_after(self.seq), store.ended.clone());
        self.poll = Some(Poll { started: self.now(at), entries, ended });
    }

    /// Takes what was read, and reads the counters.
    pub(super) fn poll_ends(&mut self, store: &mut Store, at: u64, delivery: Delivery) {
        let Some(Poll { started, mut entries, ended }) = self.poll.take() else { return };
        match delivery {
            Delivery::InOrder => {}
            Delivery::Again => entries.extend(store.entries_after(0).into_iter().rev()),
            Delivery::Torn => entries.truncate(entries.len() / 2),
        }
        for (_, entry) in &entries {
            self.list().add_logged(entry);
            self.heard.add(entry, 0);
        }
        if !matches!(delivery, Delivery::Torn) {
            self.list().raise_global_generation(store.state.global_generation);
            self.list().raise_pruned_through(store.state.pruned_through);
            self.list().mark_synced(started);
            self.floor = self.floor.max(store.state.pruned_through);
            self.seq = entries.iter().map(|(number, _)| *number).max().unwrap_or(self.seq).max(self.seq);
            self.synced = self.synced.max(started.boot);
            self.heard.learn(&ended);
            self.heard.everyone.clone_from(&store.ended.everyone);
            self.records(store, at);
        }
        self.reports(store, at);
    }

    /// Takes an entry that this node has committed in time.
    pub(super) fn take(&mut self, entry: &Entry) {
        self.list().add_durable(entry);
        self.heard.add(entry, 0);
    }

    fn record_sealing(&mut self, store: &mut Store, now: Now) {
        self.reached = self.reached.max(now.wall);
        let until = self.list().time(now).plus(SEALING_AHEAD);
        store.record_sealing(self.lifetimes, LAG, self.fail_open, self.reached, until);
    }

    fn prune(&mut self, store: &mut Store, at: u64) {
        let instant = self.list().time(self.now(at));
        store.record_pruned_through(instant);
        self.floor = self.floor.max(instant);
        let before = self.list().len();
        self.list().prune(instant);
        self.pruned += u64::from(self.list().len() < before);
        store.delete_expired(instant);
    }

    /// Refuses at once what is not durable; says whether a commit must be waited for.
    pub(super) fn refuse(&mut self, revokes: &[Revoke]) -> bool {
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
                    self.heard.add(&Entry::Session { sid, expires_at }, 0);
                }
                Revoke::Subject { sub, below } => {
                    self.list().add_pending_below(sub, below);
                    self.heard.add(&Entry::Subject { sub: sub.into(), below, expires_at }, 0);
                }
            }
            if !self.unsettled.contains(revoke) {
                self.unsettled.push(*revoke);
            }
        }
        !new.is_empty()
    }
}
