//! The day, a quarter of a second at a time.

use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::retention;

use crate::Violation;
use crate::node::{Node, SignOut};
use crate::report::Lags;
use crate::scenario::Scenario;
use crate::store::{Row, Store};
use crate::watch::{Copy, Watch, Watched};

/// When the day begins.
pub(crate) const START: UnixTime = UnixTime(1_800_000_000);
const STEP: Duration = Duration::from_millis(250);
/// Of the sign-outs before the day, the first in so many seconds is watched.
const HISTORY_WATCHED_EVERY: u64 = 600;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Day {
    pub(crate) sign_outs: u64,
    pub(crate) peak: Peak,
    /// From the commit of a sign-out until another node has it; where that could reach the store all the time, and where not.
    pub(crate) lags: Lags,
    pub(crate) lags_after_outage: Lags,
    /// From a sign-out until it is durable, likewise.
    pub(crate) answers: Lags,
    pub(crate) answers_after_outage: Lags,
    pub(crate) stalest: Duration,
    /// For how long nodes refused every session, because their list was too old.
    pub(crate) refused_everything: Duration,
    pub(crate) watched: Watched,
    /// By the machine's clock.
    pub(crate) delivering: Duration,
    pub(crate) delivered: u64,
    pub(crate) pruning: Duration,
    pub(crate) longest_pruning: Duration,
    pub(crate) prunings: u32,
    pub(crate) took: Duration,
}

/// When the fullest list was fullest.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Peak {
    pub(crate) entries: usize,
    /// In all lists together.
    pub(crate) entries_in_all: usize,
    /// What the process held more than with empty lists.
    pub(crate) bytes: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct World<'s> {
    scenario: &'s Scenario,
    random: Random,
    nodes: Vec<Node>,
    store: Store,
    watch: Watch,
    day: Day,
    /// A fraction of a sign-out.
    carry: f64,
    empty_bytes: Option<u64>,
}

impl<'s> World<'s> {
    pub(crate) fn new(scenario: &'s Scenario) -> Self {
        let mut random = Random(scenario.seed);
        let nodes = (0..scenario.nodes).map(|number| Node::new(number, scenario, &mut random)).collect();
        let (store, watch, day) = (Store::default(), Watch::new(scenario.lifetimes), Day::default());
        Self { scenario, random, nodes, store, watch, day, carry: 0.0, empty_bytes: resident_bytes() }
    }

    pub(crate) fn play(mut self) -> Result<Day, Violation> {
        let began = Now::read();
        self.days_before();
        let steps = u32::try_from(self.scenario.day.as_millis() / STEP.as_millis()).expect("a day");
        for until in (1..=steps).map(|step| STEP * step) {
            self.sign_out(until - STEP);
            self.store.commit(self.scenario, &mut self.nodes, until, &mut self.watch, &mut self.day)?;
            for node in &mut self.nodes {
                node.follow(self.scenario, &mut self.store, until, &mut self.random, &mut self.day)?;
                let now = node.now(until);
                self.day.stalest = self.day.stalest.max(node.list.staleness(now));
                self.day.refused_everything += if node.list.may_be_trusted(now) { Duration::ZERO } else { STEP };
            }
            self.store.forget(self.nodes.iter().map(|node| node.read).min().expect("a node"));
            self.watch.look(&mut self.nodes, until)?;
            if until.as_millis().is_multiple_of(60_000) {
                self.weigh();
            }
        }
        Ok(Day { watched: self.watch.watched, took: Now::read().boot - began.boot, ..self.day })
    }

    /// What earlier days left of remembered sessions. Of ordinary ones midnight leaves little, and noon nothing.
    fn days_before(&mut self) {
        let longest = self.scenario.longest(true);
        for ago in (1..self.scenario.entry_life(true).as_secs()).rev() {
            // Whole days do not count to the cosine.
            self.carry += self.scenario.rate(-(ago as f64)) * self.scenario.remembered;
            for first in std::iter::successors(Some(true), |_| Some(false)).take(self.due()) {
                let committed_at = UnixTime(START.0 - ago);
                let (sid, absolute_deadline) = (self.random.sid(), self.deadline(committed_at, true));
                let expires_at = retention::expiry(committed_at, Some(absolute_deadline), longest);
                if expires_at < START {
                    continue;
                }
                let row = Row { sid, expires_at, committed: Duration::ZERO, node: 0 };
                for node in &mut self.nodes {
                    node.take(&row);
                    node.due.add(expires_at);
                }
                if first && ago.is_multiple_of(HISTORY_WATCHED_EVERY) {
                    let idle_deadline = committed_at.plus(self.scenario.lifetimes.remembered.idle);
                    self.watch.add(Copy {
                        sid,
                        signed_out_at: 0,
                        remembered: true,
                        idle_deadline,
                        absolute_deadline,
                        ended: None,
                    });
                    self.watch.committed(&row);
                }
            }
        }
    }

    /// Whoever signs out in the step that begins at `from`, each at some node. One a second is watched, and more when a node is
    /// cut off.
    fn sign_out(&mut self, from: Duration) {
        self.carry += self.scenario.rate((from + STEP / 2).as_secs_f64()) * STEP.as_secs_f64();
        let count = u32::try_from(self.due()).expect("there are not that many");
        self.day.sign_outs += u64::from(count);
        for number in 0..count {
            let at = from + STEP * number / count;
            let remembered = self.random.part() < self.scenario.remembered;
            let watched = number == 0 && (from.subsec_millis() == 0 || self.scenario.in_trouble(from));
            let right = START.plus(at);
            let (sid, absolute_deadline) = (self.random.sid(), self.deadline(right, remembered));
            let node = self.random.below(self.nodes.len());
            if watched {
                let lifetimes = &self.scenario.lifetimes;
                let idle = if remembered { lifetimes.remembered.idle } else { lifetimes.ordinary.idle };
                let idle_deadline = right.plus(idle);
                self.watch.add(Copy {
                    sid,
                    signed_out_at: node,
                    remembered,
                    idle_deadline,
                    absolute_deadline,
                    ended: None,
                });
            }
            self.nodes[node].sign_out(SignOut { sid, at, absolute_deadline, remembered, watched }, self.scenario);
        }
    }

    /// Whole sign-outs that have come together.
    fn due(&mut self) -> usize {
        let count = self.carry.floor();
        self.carry -= count;
        count as usize
    }

    /// Where the session ends that is signed out now: it is of any age.
    fn deadline(&mut self, now: UnixTime, remembered: bool) -> UnixTime {
        let lifetimes = &self.scenario.lifetimes;
        let absolute = if remembered { lifetimes.remembered.absolute } else { lifetimes.ordinary.absolute };
        now.plus(Duration::from_secs(1) + self.random.within(absolute))
    }

    fn weigh(&mut self) {
        let sizes = || self.nodes.iter().map(|node| node.list.len());
        let entries = sizes().max().expect("a node");
        if entries > self.day.peak.entries {
            let bytes = resident_bytes().zip(self.empty_bytes).map(|(now, empty)| now.saturating_sub(empty));
            self.day.peak = Peak { entries, entries_in_all: sizes().sum(), bytes };
        }
    }
}

/// SplitMix64: the same day for the same seed, and quick.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.part() * limit as f64) as usize
    }

    /// Less than that.
    pub(crate) fn within(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.part())
    }

    fn sid(&mut self) -> Sid {
        Sid::from_bytes((u128::from(self.next()) << 64 | u128::from(self.next())).to_le_bytes())
    }
}

/// How long it takes, by the machine's clock.
pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let began = Now::read();
    run();
    Now::read().boot.saturating_sub(began.boot)
}

/// What the process holds of memory, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
