//! Model of a node: the library's `Sessions` with copy detection, and a clock.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::keyring::KeyRing;
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale};
use sealjar::session::lifetime::Lifetime;
use sealjar::session::{Lifetimes, Sessions};

use super::SECOND;
use crate::fixture::{MAX_STALENESS, cookie, key};

pub(super) const START: UnixTime = UnixTime(1_800_000_000);

pub(super) struct Node {
    pub(super) sessions: Sessions,
    /// Time by which the node's wall clock is ahead, in milliseconds.
    skew: i64,
    /// Number of restarts.
    pub(super) restarts: u64,
    /// Sessions of which the node has found a copy since its start.
    pub(super) copied_sessions: Vec<Sid>,
}

impl Node {
    pub(super) fn start(lifetime: Lifetime, memory: usize, skew: i64) -> Self {
        let freshness = Freshness { max_staleness: MAX_STALENESS, when_stale: WhenStale::Allow };
        let lifetimes = Lifetimes { ordinary: lifetime, remembered: lifetime };
        let list = Arc::new(RevocationList::new(freshness));
        let sessions = Sessions::new(KeyRing::new(vec![key(1)]), list, cookie(), lifetimes);
        sessions.detect_copies(Some(memory));
        Self { sessions, skew, restarts: 0, copied_sessions: Vec::new() }
    }

    /// Restarts the node. It then has no token chains, and no revocations until it reads the store.
    pub(super) fn restart(&mut self, lifetime: Lifetime, memory: usize) {
        *self = Self { restarts: self.restarts + 1, ..Self::start(lifetime, memory, self.skew) };
    }

    /// Returns the times of the node's clocks at `at`, in milliseconds since the start of the simulation.
    pub(super) fn now(&self, at: u64) -> Now {
        let wall = at.saturating_add_signed(self.skew) / SECOND;
        Now { wall: START.plus(Duration::from_secs(wall)), boot: Duration::from_millis(1_000_000 + at) }
    }

    /// Adds a revocation that was read from the store.
    pub(super) fn add_revocation(&self, sid: Sid, expires_at: UnixTime) {
        self.sessions.revocations().add_durable(&Entry::Session { sid, expires_at });
    }
}
