//! Simulation of one day: nodes that share a store, the logouts of all users, and copies of logged-out cookies. The time advances
//! in steps of 250 ms. In each step, the module creates logouts, the store commits them, every node reads the log, and `watch.rs`
//! presents the copies to the nodes. The same seed gives the same logouts and the same checks; only the measured real times
//! differ.

use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::retention;

use crate::Violation;
use crate::node::{Logout, Node};
use crate::report::Histogram;
use crate::scenario::Scenario;
use crate::store::{Row, Store};
use crate::watch::{CookieCopy, Watch, WatchResults};

/// Time at which the simulated day begins.
pub(crate) const START: UnixTime = UnixTime(1_800_000_000);
/// Time by which the simulation advances at once.
const STEP: Duration = Duration::from_millis(250);
/// Interval, in seconds, between the watched logouts before the simulated day.
const WATCHED_HISTORY_INTERVAL_SECS: u64 = 600;

/// Results of the simulation.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Number of simulated logouts.
    pub(crate) logouts: u64,
    /// Sizes at the peak of the memory.
    pub(crate) peak: Peak,
    /// Times from the commit of a logout until another node has its entry, if that node could reach the store.
    pub(crate) lags: Histogram,
    /// Times from the commit of a logout until another node has its entry, if that node had been disconnected from the store.
    pub(crate) lags_after_outage: Histogram,
    /// Times from a logout to its commit, on nodes that could reach the store.
    pub(crate) response_times: Histogram,
    /// Times from a logout to its commit, on nodes that had been disconnected from the store.
    pub(crate) response_times_after_outage: Histogram,
    /// Maximum staleness of the revocation list of any node.
    pub(crate) max_staleness: Duration,
    /// Total time during which nodes refused every session, because their list was stale.
    pub(crate) time_refusing_all: Duration,
    /// Results of the presentation of copies.
    pub(crate) watched: WatchResults,
    /// Real time in which entries were added to lists.
    pub(crate) delivery_time: Duration,
    /// Number of entries that were added to lists.
    pub(crate) delivered_entries: u64,
    /// Real time in which expired entries were deleted from lists.
    pub(crate) prune_time: Duration,
    /// Maximum real time of one deletion of expired entries.
    pub(crate) longest_prune_time: Duration,
    /// Number of deletions of expired entries.
    pub(crate) prune_count: u32,
    /// Real time of the simulation.
    pub(crate) duration: Duration,
}

/// Sizes at the time at which the longest list of any node had the most entries.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Peak {
    /// Number of entries in the longest list.
    pub(crate) entries: usize,
    /// Number of entries in all lists.
    pub(crate) entries_in_all: usize,
    /// Resident memory of the process, minus the memory with empty lists. `None` if the system does not report it.
    pub(crate) bytes: Option<u64>,
}

/// The simulation: nodes, store and watch.
#[derive(Debug)]
pub(crate) struct Simulation<'s> {
    scenario: &'s Scenario,
    random: Random,
    nodes: Vec<Node>,
    store: Store,
    watch: Watch,
    results: Results,
    /// Fraction of a logout that remains, because a step has a whole number of logouts. The next step adds it.
    logout_fraction: f64,
    /// Resident memory of the process with empty lists.
    empty_bytes: Option<u64>,
}

impl<'s> Simulation<'s> {
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
            results: Results::default(),
            logout_fraction: 0.0,
            empty_bytes: resident_bytes(),
        }
    }

    /// Runs the simulation. Returns its results, or the first violation of a rule.
    pub(crate) fn run(mut self) -> Result<Results, Violation> {
        let started_at = Now::read();
        self.add_earlier_entries();
        let steps = u32::try_from(self.scenario.day.as_millis() / STEP.as_millis())
            .expect("the steps of a day are less than 2^32");
        for step_end in (1..=steps).map(|step| STEP * step) {
            self.log_out(step_end - STEP);
            self.store.commit(self.scenario, &mut self.nodes, step_end, &mut self.watch, &mut self.results)?;
            for node in &mut self.nodes {
                node.follow(self.scenario, &mut self.store, step_end, &mut self.random, &mut self.results)?;
                let now = node.now(step_end);
                self.results.max_staleness = self.results.max_staleness.max(node.list.staleness(now));
                self.results.time_refusing_all +=
                    if node.list.may_accept_sessions(now) { Duration::ZERO } else { STEP };
            }
            self.store
                .remove_rows(self.nodes.iter().map(|node| node.rows_read).min().expect("there is at least one node"));
            self.watch.check(&mut self.nodes, step_end)?;
            // Record the peak once per simulated minute.
            if step_end.as_millis().is_multiple_of(60_000) {
                self.update_peak();
            }
        }
        Ok(Results { watched: self.watch.watched, duration: Now::read().boot - started_at.boot, ..self.results })
    }

    /// Adds the entries of earlier days that have not expired at the start of the day. Simulates only logouts of remembered
    /// sessions. Earlier logouts of ordinary sessions are omitted: at midnight few of their entries still exist, and by noon,
    /// when the lists are longest, all of them have expired.
    fn add_earlier_entries(&mut self) {
        let longest = self.scenario.longest(true);
        for secs_ago in (1..self.scenario.entry_lifetime(true).as_secs()).rev() {
            // The number of logouts per second has the period of one day, so a negative time is valid.
            self.logout_fraction += self.scenario.rate(-(secs_ago as f64)) * self.scenario.remembered_fraction;
            // `is_first` is true for the first logout of this second only.
            for is_first in std::iter::successors(Some(true), |_| Some(false)).take(self.take_whole_logouts()) {
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
                if is_first && secs_ago.is_multiple_of(WATCHED_HISTORY_INTERVAL_SECS) {
                    let idle_deadline = committed_at.plus(self.scenario.lifetimes.remembered.idle);
                    self.watch.add(CookieCopy {
                        sid,
                        logout_node: 0,
                        remembered: true,
                        idle_deadline,
                        absolute_deadline,
                        response_and_expiry: None,
                    });
                    self.watch.record_commit(&row);
                }
            }
        }
    }

    /// Simulates the logouts of the step that begins at `step_start`, each on a random node. Watches at most one logout per
    /// second, and at most one per step during an outage and shortly after it.
    fn log_out(&mut self, step_start: Duration) {
        self.logout_fraction += self.scenario.rate((step_start + STEP / 2).as_secs_f64()) * STEP.as_secs_f64();
        let count = u32::try_from(self.take_whole_logouts()).expect("fewer than 2^32 logouts in a step");
        self.results.logouts += u64::from(count);
        for number in 0..count {
            let at = step_start + STEP * number / count;
            let remembered = self.random.fraction() < self.scenario.remembered_fraction;
            let is_watched =
                number == 0 && (step_start.subsec_millis() == 0 || self.scenario.is_near_outage(step_start));
            let wall_time = START.plus(at);
            let sid = self.random.sid();
            let absolute_deadline = self.deadline(wall_time, remembered);
            let node = self.random.index_below(self.nodes.len());
            if is_watched {
                let lifetimes = &self.scenario.lifetimes;
                let idle = if remembered { lifetimes.remembered.idle } else { lifetimes.ordinary.idle };
                let idle_deadline = wall_time.plus(idle);
                self.watch.add(CookieCopy {
                    sid,
                    logout_node: node,
                    remembered,
                    idle_deadline,
                    absolute_deadline,
                    response_and_expiry: None,
                });
            }
            self.nodes[node].log_out(Logout { sid, at, absolute_deadline, remembered, is_watched }, self.scenario);
        }
    }

    /// Returns the whole part of `logout_fraction`, and subtracts it.
    fn take_whole_logouts(&mut self) -> usize {
        let count = self.logout_fraction.floor();
        self.logout_fraction -= count;
        count as usize
    }

    /// Returns the absolute deadline of a session that is logged out at `now`. The age of the session is random.
    fn deadline(&mut self, now: UnixTime, remembered: bool) -> UnixTime {
        let lifetimes = &self.scenario.lifetimes;
        let absolute = if remembered { lifetimes.remembered.absolute } else { lifetimes.ordinary.absolute };
        now.plus(Duration::from_secs(1) + self.random.duration_below(absolute))
    }

    /// Records the present sizes if the longest list has more entries than at any earlier time.
    fn update_peak(&mut self) {
        let sizes = || self.nodes.iter().map(|node| node.list.len());
        let entries = sizes().max().expect("there is at least one node");
        if entries > self.results.peak.entries {
            let bytes = resident_bytes().zip(self.empty_bytes).map(|(now, empty)| now.saturating_sub(empty));
            self.results.peak = Peak { entries, entries_in_all: sizes().sum(), bytes };
        }
    }
}

/// Generator of fast random numbers, which is not secure ([SplitMix64](https://prng.di.unimi.it/splitmix64.c)). The same seed
/// gives the same numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns 64 random bits. The constants are those of SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random number of at least 0 and less than 1. It has 53 random bits, which is the precision of `f64`.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a random index that is less than `length`.
    fn index_below(&mut self, length: usize) -> usize {
        (self.fraction() * length as f64) as usize
    }

    /// Returns a random duration that is less than `limit`.
    pub(crate) fn duration_below(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.fraction())
    }

    /// Returns a random session id.
    fn sid(&mut self) -> Sid {
        Sid::from_bytes((u128::from(self.next()) << 64 | u128::from(self.next())).to_le_bytes())
    }
}

/// Returns the real time that a function takes.
pub(crate) fn measure(run: impl FnOnce()) -> Duration {
    let started_at = Now::read();
    run();
    Now::read().boot.saturating_sub(started_at.boot)
}

/// Returns the resident memory of the process, or `None` if the system does not report it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
