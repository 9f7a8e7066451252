//! A node: the library's own `Sessions` with copy detection, and the node's clock.

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
    /// How far its wall clock is ahead, in milliseconds.
    skew: i64,
    /// Number of restarts.
    pub(super) restarts: u64,
    /// Sessions that it found a copy of, since its start.
    pub(super) found: Vec<Sid>,
}

impl Node {
    pub(super) fn start(lifetime: Lifetime, memory: usize, skew: i64) -> Self {
        let freshness = Freshness { max_staleness: MAX_STALENESS, when_stale: WhenStale::Allow };
        let lifetimes = Lifetimes { ordinary: lifetime, remembered: lifetime };
        let list = Arc::new(RevocationList::new(freshness));
        let sessions = Sessions::new(KeyRing::new(vec![key(1)]), list, cookie(), lifetimes);
        sessions.detect_copies(Some(memory));
        Self { sessions, skew, restarts: 0, found: Vec::new() }
    }

    /// A fresh process: it has forgotten the chains and what is not in the store.
    pub(super) fn restart(&mut self, lifetime: Lifetime, memory: usize) {
        *self = Self { restarts: self.restarts + 1, ..Self::start(lifetime, memory, self.skew) };
    }

    /// Its clocks, `at` milliseconds after the beginning.
    pub(super) fn now(&self, at: u64) -> Now {
        let wall = at.saturating_add_signed(self.skew) / SECOND;
        Now { wall: START.plus(Duration::from_secs(wall)), boot: Duration::from_millis(1_000_000 + at) }
    }

    /// Learns from the store that a session has ended.
    pub(super) fn learn(&self, sid: Sid, expires_at: UnixTime) {
        self.sessions.revocations().add_durable(&Entry::Session { sid, expires_at });
    }
}
