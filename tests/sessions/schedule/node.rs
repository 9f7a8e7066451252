//! A server. What it verifies and seals with is the library's own; what it has heard, and what it must take for now, is noted
//! beside it, so that every verdict can be foretold.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, Now, StepGuard, UnixTime};
use sealjar::id::Kid;
use sealjar::keyring::NoKey;
use sealjar::revocation::{Freshness, RevocationList, WhenStale, retention};
use sealjar::session::{Cause, Lifetimes, Refusal, Sessions};

use super::ended::Ended;
use super::follower::Poll;
use super::keys::KeyFiles;
use super::store::{Report, Revoke, Store};
use super::world::Token;
use crate::fixture::{DAY, HOUR, MAX_STALENESS, MINUTE, SITE, cookie, lifetime};

pub(super) const START: UnixTime = UnixTime(1_800_000_000);
pub(super) const RECORD_EVERY: Duration = retention::CLOCK_RECORDED_EVERY;

/// Every idle time is shorter than the day for which a step of the clock holds up pruning.
const LIFETIMES: [Lifetimes; 3] = [
    Lifetimes { ordinary: lifetime(30 * MINUTE, 12 * HOUR), remembered: lifetime(16 * HOUR, 10 * DAY) },
    Lifetimes { ordinary: lifetime(5 * MINUTE, 2 * HOUR), remembered: lifetime(HOUR, DAY) },
    Lifetimes { ordinary: lifetime(2 * HOUR, 3 * HOUR), remembered: lifetime(12 * HOUR, 2 * DAY) },
];

/// How a node is configured, from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Config {
    pub(super) lifetimes: usize,
    pub(super) fail_open: bool,
}

pub(super) struct Node {
    pub(super) number: usize,
    pub(super) keys: KeyFiles,
    pub(super) sessions: Sessions,
    pub(super) lifetimes: Lifetimes,
    pub(super) fail_open: bool,
    pub(super) guard: StepGuard,
    pub(super) seq: u64,
    pub(super) reached: UnixTime,
    pub(super) next_record: Duration,
    pub(super) poll: Option<Poll>,
    pub(super) unsettled: Vec<Revoke>,
    pub(super) cut_off: bool,
    /// It holds the list.
    pub(super) ready: bool,
    /// The wall clock against the right time: as far as clocks may differ, and as somebody set it.
    pub(super) skew: i64,
    pub(super) set_by: i64,
    /// What it must refuse.
    pub(super) heard: Ended,
    pub(super) floor: UnixTime,
    pub(super) synced: Duration,
    /// How often entries were thrown away.
    pub(super) pruned: u64,
}

impl Node {
    pub(super) fn start(
        number: usize,
        keys: KeyFiles,
        (skew, set_by): (i64, i64),
        config: Config,
        store: &mut Store,
        at: u64,
    ) -> Self {
        let when_stale = if config.fail_open { WhenStale::Allow } else { WhenStale::Refuse };
        let list = RevocationList::new(Freshness { max_staleness: MAX_STALENESS, when_stale });
        let lifetimes = LIFETIMES[config.lifetimes % LIFETIMES.len()];
        let now = now(skew, set_by, at);
        let mut node = Self {
            number,
            sessions: Sessions::new(keys.ring(), Arc::new(list), cookie(), lifetimes),
            keys,
            lifetimes,
            fail_open: config.fail_open,
            guard: StepGuard::new(now),
            seq: 0,
            reached: now.wall,
            next_record: now.boot + RECORD_EVERY,
            poll: None,
            unsettled: Vec::new(),
            cut_off: false,
            ready: false,
            skew,
            set_by,
            heard: Ended::default(),
            floor: UnixTime(0),
            synced: Duration::ZERO,
            pruned: 0,
        };
        node.load(store, at);
        node
    }

    pub(super) fn now(&self, at: u64) -> Now {
        now(self.skew, self.set_by, at)
    }

    /// What this node must take for now.
    pub(super) fn time(&self, at: u64) -> UnixTime {
        self.now(at).wall.max(self.floor)
    }

    pub(super) fn list(&self) -> &RevocationList {
        self.sessions.revocations()
    }

    /// What must be said of a token.
    pub(super) fn verdict(&self, Token { claims, kid, .. }: &Token, at: u64) -> Result<(), Refusal> {
        let time = self.time(at);
        if let Some(reason) = self.does_not_open(*kid) {
            Err(Refusal::Invalid(cause(reason)))
        } else if claims.sealed_at > time.plus(CLOCK_SKEW) {
            Err(Refusal::Invalid(Cause::FromTheFuture))
        } else if time >= claims.idle_deadline || time >= claims.absolute_deadline {
            Err(Refusal::Expired)
        } else if self.heard.at(claims).is_some() {
            Err(Refusal::Revoked)
        } else if self.is_stale(at) && !self.fail_open {
            Err(Refusal::Stale)
        } else {
            Ok(())
        }
    }

    pub(super) fn said(&self, Token { claims, kid, .. }: &Token, at: u64) -> Result<(), Refusal> {
        self.sessions.ring().opening_key(*kid).map_err(|reason| Refusal::Invalid(cause(reason)))?;
        self.sessions.check(claims, SITE, self.now(at)).map(|time| assert_eq!(time, self.time(at)))
    }

    /// Why it must not open with a key, if it must not.
    pub(super) fn does_not_open(&self, kid: Kid) -> Option<NoKey> {
        match self.keys.reason(kid) {
            None if self.heard.key_at(kid).is_some() => Some(NoKey::Revoked),
            reason => reason,
        }
    }

    /// Reads its key files anew, and reports.
    pub(super) fn set_keys(&mut self, keys: KeyFiles, store: &mut Store, at: u64) {
        self.keys = keys;
        self.sessions.replace_ring(self.keys.ring());
        self.reports(store, at);
    }

    /// Tells the store which keys it opens with.
    pub(super) fn reports(&self, store: &mut Store, at: u64) {
        let ring = self.sessions.ring();
        let kids = ring.keys().iter().filter(|key| !key.is_revoked()).map(|key| key.kid()).collect();
        store.reports.insert(self.number, Report { kids, at, fail_open: self.fail_open });
    }

    pub(super) fn is_stale(&self, at: u64) -> bool {
        self.now(at).boot - self.synced > MAX_STALENESS
    }

    /// Whether somebody set its clock, so that what it says of deadlines is wrong by design.
    pub(super) fn is_wrong_about_time(&self, at: u64) -> bool {
        self.set_by != 0 || self.floor > self.now(at).wall
    }

    pub(super) fn fails_open(&self) -> bool {
        self.fail_open
    }
}

fn now(skew: i64, set_by: i64, at: u64) -> Now {
    let wall = UnixTime((START.0 + at).saturating_add_signed(skew + set_by));
    Now { wall, boot: Duration::from_secs(1_000 + at) }
}

const fn cause(reason: NoKey) -> Cause {
    match reason {
        NoKey::Unknown => Cause::UnknownKey,
        NoKey::Revoked => Cause::RevokedKey,
    }
}
