//! Model of a server. It verifies and seals with the library. It also records the revocations that the server must know and the
//! time that it must use, so that the expected verdict on each token can be computed.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, Now, StepGuard, UnixTime};
use sealjar::id::Kid;
use sealjar::keyring::NoKey;
use sealjar::revocation::{Freshness, RevocationList, WhenStale, retention};
use sealjar::session::{Cause, Lifetimes, Refusal, Sessions};

use super::follower::Poll;
use super::keys::KeyFiles;
use super::revocations::Revocations;
use super::store::{Report, Revoke, Store};
use super::world::Token;
use crate::fixture::{DAY, HOUR, MAX_STALENESS, MINUTE, SITE, cookie, lifetime};

pub(super) const START: UnixTime = UnixTime(1_800_000_000);
pub(super) const RECORD_INTERVAL: Duration = retention::CLOCK_RECORD_INTERVAL;

/// Lifetimes that a node can be configured with. Each idle timeout is shorter than a day, because nothing is pruned for a day
/// after a clock step.
const LIFETIMES: [Lifetimes; 3] = [
    Lifetimes { ordinary: lifetime(30 * MINUTE, 12 * HOUR), remembered: lifetime(16 * HOUR, 10 * DAY) },
    Lifetimes { ordinary: lifetime(5 * MINUTE, 2 * HOUR), remembered: lifetime(HOUR, DAY) },
    Lifetimes { ordinary: lifetime(2 * HOUR, 3 * HOUR), remembered: lifetime(12 * HOUR, 2 * DAY) },
];

/// Configuration of a node, which changes only at a restart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Config {
    pub(super) lifetimes: usize,
    pub(super) fail_open: bool,
}

/// Node with its sessions, its model of the follower, and the data for its expected verdicts.
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) keys: KeyFiles,
    pub(super) sessions: Sessions,
    pub(super) lifetimes: Lifetimes,
    pub(super) fail_open: bool,
    pub(super) guard: StepGuard,
    /// Sequence number of the last log entry that the node has applied.
    pub(super) seq: u64,
    /// Latest time that the node's wall clock has shown.
    pub(super) reached: UnixTime,
    pub(super) next_record: Duration,
    pub(super) poll: Option<Poll>,
    /// Revocations that wait for a commit.
    pub(super) uncommitted: Vec<Revoke>,
    /// Whether the node cannot reach the store.
    pub(super) cut_off: bool,
    /// Whether the node has loaded the revocation list.
    pub(super) ready: bool,
    /// Normal difference between the wall clock and the true time, in seconds.
    pub(super) skew: i64,
    /// Additional offset of the wall clock that an operator has set, in seconds.
    pub(super) clock_offset: i64,
    /// Revocations that the node must know.
    pub(super) known: Revocations,
    /// Time of the latest removal of entries of which the node has a record. The node uses no earlier time.
    pub(super) min_time: UnixTime,
    /// Boot time at the start of the last complete poll.
    pub(super) synced: Duration,
    /// Number of times that the node has removed entries since the last check of all tokens.
    pub(super) pruned: u64,
}

impl Node {
    pub(super) fn start(
        number: usize,
        keys: KeyFiles,
        (skew, clock_offset): (i64, i64),
        config: Config,
        store: &mut Store,
        at: u64,
    ) -> Self {
        let when_stale = if config.fail_open { WhenStale::Allow } else { WhenStale::Refuse };
        let list = RevocationList::new(Freshness { max_staleness: MAX_STALENESS, when_stale });
        let lifetimes = LIFETIMES[config.lifetimes % LIFETIMES.len()];
        let now = now(skew, clock_offset, at);
        let mut node = Self {
            number,
            sessions: Sessions::new(keys.ring(), Arc::new(list), cookie(), lifetimes),
            keys,
            lifetimes,
            fail_open: config.fail_open,
            guard: StepGuard::new(now),
            seq: 0,
            reached: now.wall,
            next_record: now.boot + RECORD_INTERVAL,
            poll: None,
            uncommitted: Vec::new(),
            cut_off: false,
            ready: false,
            skew,
            clock_offset,
            known: Revocations::default(),
            min_time: UnixTime(0),
            synced: Duration::ZERO,
            pruned: 0,
        };
        node.load(store, at);
        node
    }

    pub(super) fn now(&self, at: u64) -> Now {
        now(self.skew, self.clock_offset, at)
    }

    /// Returns the time that this node must use.
    pub(super) fn time(&self, at: u64) -> UnixTime {
        self.now(at).wall.max(self.min_time)
    }

    pub(super) fn list(&self) -> &RevocationList {
        self.sessions.revocations()
    }

    /// Returns the expected verdict on a token.
    pub(super) fn expected_verdict(&self, Token { claims, kid, .. }: &Token, at: u64) -> Result<(), Refusal> {
        let time = self.time(at);
        if let Some(reason) = self.reason_not_to_open(*kid) {
            Err(Refusal::Invalid(cause(reason)))
        } else if claims.sealed_at > time.plus(CLOCK_SKEW) {
            Err(Refusal::Invalid(Cause::FromTheFuture))
        } else if time >= claims.idle_deadline || time >= claims.absolute_deadline {
            Err(Refusal::Expired)
        } else if self.known.session_revoked_at(claims).is_some() {
            Err(Refusal::Revoked)
        } else if self.is_stale(at) && !self.fail_open {
            Err(Refusal::Stale)
        } else {
            Ok(())
        }
    }

    /// Returns the verdict of the library on a token.
    pub(super) fn actual_verdict(&self, Token { claims, kid, .. }: &Token, at: u64) -> Result<(), Refusal> {
        self.sessions.ring().opening_key(*kid).map_err(|reason| Refusal::Invalid(cause(reason)))?;
        self.sessions.check(claims, SITE, self.now(at)).map(|time| assert_eq!(time, self.time(at)))
    }

    /// Returns the reason why the node must not open tokens with a key, or `None` if it must open them.
    pub(super) fn reason_not_to_open(&self, kid: Kid) -> Option<NoKey> {
        match self.keys.reason(kid) {
            None if self.known.key_revoked_at(kid).is_some() => Some(NoKey::Revoked),
            reason => reason,
        }
    }

    /// Replaces the key ring, as after a read of the key files, and reports the keys to the store.
    pub(super) fn set_keys(&mut self, keys: KeyFiles, store: &mut Store, at: u64) {
        self.keys = keys;
        self.sessions.replace_ring(self.keys.ring());
        self.report_keys(store, at);
    }

    /// Reports to the store the keys with which the node opens tokens.
    pub(super) fn report_keys(&self, store: &mut Store, at: u64) {
        let ring = self.sessions.ring();
        let kids = ring.keys().iter().filter(|key| !key.is_revoked()).map(|key| key.kid()).collect();
        store.reports.insert(self.number, Report { kids, at, fail_open: self.fail_open });
    }

    pub(super) fn is_stale(&self, at: u64) -> bool {
        self.now(at).boot - self.synced > MAX_STALENESS
    }

    /// Whether the node's clock was set, or is behind the time of the last removal. The node's verdicts on deadlines may then
    /// be wrong.
    pub(super) fn is_wrong_about_time(&self, at: u64) -> bool {
        self.clock_offset != 0 || self.min_time > self.now(at).wall
    }

    pub(super) fn fails_open(&self) -> bool {
        self.fail_open
    }
}

fn now(skew: i64, clock_offset: i64, at: u64) -> Now {
    let wall = UnixTime((START.0 + at).saturating_add_signed(skew + clock_offset));
    Now { wall, boot: Duration::from_secs(1_000 + at) }
}

const fn cause(reason: NoKey) -> Cause {
    match reason {
        NoKey::Unknown => Cause::UnknownKey,
        NoKey::Revoked => Cause::RevokedKey,
    }
}
