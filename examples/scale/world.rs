//! The simulated day. It advances in steps of 250 ms.

use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::retention;

use crate::Violation;
use crate::node::{Node, SignOut};
use crate::report::Histogram;
use crate::scenario::Scenario;
use crate::store::{Row, Store};
use crate::watch::{Copy, Watch, Watched};

/// Time at which the day begins.
pub(crate) const START: UnixTime = UnixTime(1_800_000_000);
const STEP: Duration = Duration::from_millis(250);
/// Interval, in seconds, of the logouts before the simulated day whose copies are watched.
const WATCHED_HISTORY_INTERVAL: u64 = 600;

/// Results of the simulation.
#[derive(Debug, Default)]
pub(crate) struct Day {
    pub(crate) sign_outs: u64,
    pub(crate) peak: Peak,
    /// Times from the commit of a logout until another node has its entry, if that node could reach the store.
    pub(crate) lags: Histogram,
    /// Times from the commit of a logout until another node has its entry, if that node had been disconnected from the store.
    pub(crate) lags_after_outage: Histogram,
    /// Times from a logout to its commit, on nodes that could reach the store.
    pub(crate) response_times: Histogram,
    /// Times from a logout to its commit, on nodes that had been disconnected from the store.
    pub(crate) response_times_after_outage: Histogram,
    /// Maximum staleness of a list.
    pub(crate) max_staleness: Duration,
    /// Total time during which nodes refused every session, because their list was stale.
    pub(crate) time_refusing_all: Duration,
    pub(crate) watched: Watched,
    /// Real time in which entries were added to lists.
    pub(crate) delivery_time: Duration,
    pub(crate) delivered_entries: u64,
    /// Real time in which expired entries were deleted from lists.
    pub(crate) prune_time: Duration,
    pub(crate) longest_prune_time: Duration,
    pub(crate) prune_count: u32,
    pub(crate) duration: Duration,
}

/// Sizes at the time when one list had the most entries.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Peak {
    pub(crate) entries: usize,
    /// Number of entries in all lists.
    pub(crate) entries_in_all: usize,
    /// Resident memory of the process, minus the memory with empty lists.
    pub(crate) bytes: Option<u64>,
}

/// The simulation: nodes, store and watch.
#[derive(Debug)]
pub(crate) struct World<'s> {
    scenario: &'s Scenario,
    random: Random,
    nodes: Vec<Node>,
    store: Store,
    watch: Watch,
    day: Day,
    /// Fraction of a logout that remains for the next step.
    carry: f64,
    /// Resident memory of the process with empty lists.
    empty_bytes: Option<u64>,
}

impl<'s> World<'s> {
    pub(crate) fn new(scenario: &'s Scenario) -> Self {
        let mut random = Random(scenario.seed);
        let nodes = (0..scenario.nodes).map(|number| Node::new(number, scenario, &mut random)).collect();
        let watch = Watch::new(scenario.lifetimes);
        Self {
            scenario,
            random,
            nodes,
            store: Store::default(),
            watch,
            day: Day::default(),
            carry: 0.0,
            empty_bytes: resident_bytes(),
        }
    }

    /// Runs the simulation.
    pub(crate) fn run(mut self) -> Result<Day, Violation> {
        let started = Now::read();
        self.add_earlier_entries();
        let steps = u32::try_from(self.scenario.day.as_millis() / STEP.as_millis()).expect("a day");
        for until in (1..=steps).map(|step| STEP * step) {
            self.sign_out(until - STEP);
            self.store.commit(self.scenario, &mut self.nodes, until, &mut self.watch, &mut self.day)?;
            for node in &mut self.nodes {
                node.follow(self.scenario, &mut self.store, until, &mut self.random, &mut self.day)?;
                let now = node.now(until);
                self.day.max_staleness = self.day.max_staleness.max(node.list.staleness(now));
                self.day.time_refusing_all += if node.list.may_accept_sessions(now) { Duration::ZERO } else { STEP };
            }
            self.store.remove_rows(self.nodes.iter().map(|node| node.rows_read).min().expect("a node"));
            self.watch.check(&mut self.nodes, until)?;
            if until.as_millis().is_multiple_of(60_000) {
                self.update_peak();
            }
        }
        Ok(Day { watched: self.watch.watched, duration: Now::read().boot - started.boot, ..self.day })
    }

    /// Adds the entries of earlier days that have not expired at the start of the day. They are of remembered sessions. Ordinary
    /// sessions are ignored: at midnight, few of their entries have not expired, and at noon, all of them have.
    fn add_earlier_entries(&mut self) {
        let longest = self.scenario.longest(true);
        for secs_ago in (1..self.scenario.entry_lifetime(true).as_secs()).rev() {
            // The daily curve is periodic, so a negative time is valid, too.
            self.carry += self.scenario.rate(-(secs_ago as f64)) * self.scenario.remembered;
            // `is_first` is true for the first logout of this second only.
            for is_first in std::iter::successors(Some(true), |_| Some(false)).take(self.take_whole_sign_outs()) {
                let committed_at = UnixTime(START.0 - secs_ago);
                let sid = self.random.sid();
                let absolute_deadline = self.deadline(committed_at, true);
                let expires_at = retention::expiry(committed_at, Some(absolute_deadline), longest);
                if expires_at < START {
                    continue;
                }
                let row = Row { sid, expires_at, committed: Duration::ZERO, node: 0 };
                for node in &mut self.nodes {
                    node.add(&row);
                    node.expected.add(expires_at);
                }
                if is_first && secs_ago.is_multiple_of(WATCHED_HISTORY_INTERVAL) {
                    let idle_deadline = committed_at.plus(self.scenario.lifetimes.remembered.idle);
                    self.watch.add(Copy {
                        sid,
                        logout_node: 0,
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

    /// Simulates the logouts of the step that begins at `from`, each on a random node. Watches one logout per second, and one per
    /// step during an outage and shortly after it.
    fn sign_out(&mut self, from: Duration) {
        self.carry += self.scenario.rate((from + STEP / 2).as_secs_f64()) * STEP.as_secs_f64();
        let count = u32::try_from(self.take_whole_sign_outs()).expect("fewer than 2^32 logouts in a step");
        self.day.sign_outs += u64::from(count);
        for number in 0..count {
            let at = from + STEP * number / count;
            let remembered = self.random.fraction() < self.scenario.remembered;
            let watched = number == 0 && (from.subsec_millis() == 0 || self.scenario.is_near_outage(from));
            let correct_time = START.plus(at);
            let sid = self.random.sid();
            let absolute_deadline = self.deadline(correct_time, remembered);
            let node = self.random.below(self.nodes.len());
            if watched {
                let lifetimes = &self.scenario.lifetimes;
                let idle = if remembered { lifetimes.remembered.idle } else { lifetimes.ordinary.idle };
                let idle_deadline = correct_time.plus(idle);
                self.watch.add(Copy {
                    sid,
                    logout_node: node,
                    remembered,
                    idle_deadline,
                    absolute_deadline,
                    ended: None,
                });
            }
            self.nodes[node].sign_out(SignOut { sid, at, absolute_deadline, remembered, watched }, self.scenario);
        }
    }

    /// Takes the whole logouts out of `carry`, and leaves the fraction. Returns their number.
    fn take_whole_sign_outs(&mut self) -> usize {
        let count = self.carry.floor();
        self.carry -= count;
        count as usize
    }

    /// Returns the absolute deadline of a session of random age that is logged out at `now`.
    fn deadline(&mut self, now: UnixTime, remembered: bool) -> UnixTime {
        let lifetimes = &self.scenario.lifetimes;
        let absolute = if remembered { lifetimes.remembered.absolute } else { lifetimes.ordinary.absolute };
        now.plus(Duration::from_secs(1) + self.random.within(absolute))
    }

    /// Updates the peak sizes.
    fn update_peak(&mut self) {
        let sizes = || self.nodes.iter().map(|node| node.list.len());
        let entries = sizes().max().expect("a node");
        if entries > self.day.peak.entries {
            let bytes = resident_bytes().zip(self.empty_bytes).map(|(now, empty)| now.saturating_sub(empty));
            self.day.peak = Peak { entries, entries_in_all: sizes().sum(), bytes };
        }
    }
}

/// Fast random numbers ([SplitMix64](https://prng.di.unimi.it/splitmix64.c)). The same seed gives the same simulation.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random fraction: at least 0 and less than 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a random number that is less than `limit`.
    fn below(&mut self, limit: usize) -> usize {
        (self.fraction() * limit as f64) as usize
    }

    /// Returns a random duration that is less than `span`.
    pub(crate) fn within(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.fraction())
    }

    fn sid(&mut self) -> Sid {
        Sid::from_bytes((u128::from(self.next()) << 64 | u128::from(self.next())).to_le_bytes())
    }
}

/// Returns the real time that a function takes.
pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let started = Now::read();
    run();
    Now::read().boot.saturating_sub(started.boot)
}

/// Returns the resident memory of the process, or `None` if the system does not report it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
