//! Parameters of the simulation: the number of users, the times of their logouts, the lifetimes of sessions, and the outages.

use std::f64::consts::TAU;
use std::time::Duration;

use sealjar::clock::CLOCK_SKEW;
use sealjar::revocation::retention::{MAX_COMMIT_DURATION, MaxLifetimes};
use sealjar::session::Lifetimes;
use sealjar::session::lifetime::Lifetime;

/// Usage text of the command line.
pub(crate) const USAGE: &str =
    "usage: scale [--users N] [--share N] [--nodes N] [--remembered PERCENT] [--peak TIMES] [--skew SECS] [--seed N]
  --users       number of users, each of whom logs out once a day; default 1000000000
  --share       number of users for each simulated user, from 1 to 1000; default 1000
  --nodes       number of nodes; default 3
  --remembered  percentage of logouts that are of remembered sessions; default 1
  --peak        logouts per second at noon, as a multiple of the average, from 1 to 2; default 2
  --skew        seconds between the clocks of the first and the last node, from 0 to 60; default 60
  --seed        seed of the random numbers; default 1";

/// Maximum staleness of a list that is still used: the default of `revocation.max_staleness`.
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(10);
/// Lag (L in `retention.rs`) in whole seconds, as the store records it: `max_staleness`, one poll interval, and the maximum time
/// of a commit.
const LAG: Duration = Duration::from_secs(MAX_STALENESS.as_secs() + 1 + MAX_COMMIT_DURATION.as_secs());
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Period in which a node cannot reach the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) node: usize,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// Parameters of one simulation.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) users: u64,
    /// Number of users that each simulated user represents.
    pub(crate) share: u64,
    pub(crate) nodes: usize,
    /// Fraction of the logouts that are of remembered sessions.
    pub(crate) remembered_fraction: f64,
    /// Logouts per second at noon, as a multiple of the average.
    pub(crate) peak: f64,
    /// Difference between the clocks of the first and the last node.
    pub(crate) skew: Duration,
    pub(crate) seed: u64,
    pub(crate) day: Duration,
    /// Lifetimes in the tokens.
    pub(crate) lifetimes: Lifetimes,
    /// Lifetimes that the store has recorded. They determine the expiry of entries.
    pub(crate) recorded: Lifetimes,
    /// Maximum staleness of a list with which the nodes accept sessions.
    pub(crate) max_staleness: Duration,
    pub(crate) outages: Vec<Outage>,
}

impl Scenario {
    /// Returns the default scenario, with the changes of `--name value` pairs.
    pub(crate) fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let lifetime = |idle_secs, absolute_secs| Lifetime {
            idle: Duration::from_secs(idle_secs),
            absolute: Duration::from_secs(absolute_secs),
        };
        let lifetimes =
            Lifetimes { ordinary: lifetime(30 * 60, 12 * 3600), remembered: lifetime(14 * 86_400, 90 * 86_400) };
        let mut scenario = Self {
            users: 1_000_000_000,
            share: 1_000,
            nodes: 3,
            remembered_fraction: 0.01,
            peak: 2.0,
            skew: CLOCK_SKEW,
            seed: 1,
            day: DAY,
            lifetimes,
            recorded: lifetimes,
            max_staleness: MAX_STALENESS,
            outages: Vec::new(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number: f64 =
                value.parse().map_err(|_| format!("invalid value for {name}: `{value}` is not a number"))?;
            let within = |min: f64, max: f64| match (min..=max).contains(&number) {
                true => Ok(number),
                false => Err(format!("{name} must be from {min} to {max}")),
            };
            match name.as_str() {
                "--users" => scenario.users = within(1.0, 1e12)? as u64,
                "--share" => scenario.share = within(1.0, 1e3)? as u64,
                "--nodes" => scenario.nodes = within(1.0, 1e4)? as usize,
                "--remembered" => scenario.remembered_fraction = within(0.0, 100.0)? / 100.0,
                "--peak" => scenario.peak = within(1.0, 2.0)?,
                "--skew" => scenario.skew = Duration::from_secs(within(0.0, CLOCK_SKEW.as_secs_f64())? as u64),
                "--seed" => scenario.seed = number as u64,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        scenario.set_outages();
        Ok(scenario)
    }

    /// Shortens the day to two hours, and the lifetimes of sessions accordingly.
    #[cfg(test)]
    pub(crate) fn shorten(&mut self) {
        let minutes = |idle: u64, absolute: u64| Lifetime {
            idle: Duration::from_secs(60 * idle),
            absolute: Duration::from_secs(60 * absolute),
        };
        self.lifetimes = Lifetimes { ordinary: minutes(10, 60), remembered: minutes(60, 600) };
        self.recorded = self.lifetimes;
        self.day = Duration::from_secs(2 * 3600);
        self.set_outages();
    }

    /// Sets two outages: one shorter and one longer than `max_staleness`. They are after noon, so they do not affect the peak
    /// of the memory.
    fn set_outages(&mut self) {
        let from = self.day * 5 / 8;
        let later = from + Duration::from_secs(600);
        self.outages = vec![
            Outage { node: 1 % self.nodes, from, until: from + Duration::from_secs(8) },
            Outage { node: 2 % self.nodes, from: later, until: later + Duration::from_secs(60) },
        ];
    }

    /// Returns the average number of simulated logouts per second.
    pub(crate) fn average_rate(&self) -> f64 {
        self.users as f64 / self.share as f64 / self.day.as_secs_f64()
    }

    /// Returns the number of simulated logouts per second, `at` seconds after midnight. It is lowest at midnight and highest at
    /// noon.
    pub(crate) fn rate(&self, at: f64) -> f64 {
        self.average_rate() * (1.0 - (self.peak - 1.0) * (TAU * at / self.day.as_secs_f64()).cos())
    }

    /// Returns the recorded lifetimes of ordinary or remembered sessions.
    pub(crate) fn longest(&self, remembered: bool) -> MaxLifetimes {
        let Lifetime { idle, absolute } = if remembered { self.recorded.remembered } else { self.recorded.ordinary };
        MaxLifetimes { idle, absolute, lag: LAG, fail_open: false }
    }

    /// Returns the predicted lifetime of an entry: the idle timeout, the lag, and twice the maximum clock skew.
    pub(crate) fn entry_lifetime(&self, remembered: bool) -> Duration {
        let longest = self.longest(remembered);
        longest.idle + longest.lag + 2 * CLOCK_SKEW
    }

    /// Returns the predicted number of entries: logouts per second, times the lifetime of an entry. For ordinary sessions this is
    /// the rate at noon. For remembered sessions it is the average rate, because their entries exist for days.
    pub(crate) fn predicted_entries(&self) -> f64 {
        let ordinary = self.average_rate()
            * self.peak
            * (1.0 - self.remembered_fraction)
            * self.entry_lifetime(false).as_secs_f64();
        ordinary + self.average_rate() * self.remembered_fraction * self.entry_lifetime(true).as_secs_f64()
    }

    /// Returns the first time from `at` on at which the node can reach the store.
    pub(crate) fn reachable(&self, node: usize, at: Duration) -> Duration {
        let outage =
            self.outages.iter().find(|outage| outage.node == node && (outage.from..outage.until).contains(&at));
        outage.map_or(at, |outage| outage.until)
    }

    /// Returns whether a node is disconnected from the store, or was until less than `max_staleness` ago.
    pub(crate) fn is_near_outage(&self, at: Duration) -> bool {
        self.outages.iter().any(|outage| outage.from <= at && at < outage.until + MAX_STALENESS)
    }
}
