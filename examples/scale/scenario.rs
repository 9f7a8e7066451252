//! What is played: how many users, when they sign out, how long their sessions live, and what goes wrong.

use std::f64::consts::TAU;
use std::time::Duration;

use sealjar::clock::CLOCK_SKEW;
use sealjar::revocation::retention::{COMMITTED_WITHIN, Longest};
use sealjar::session::Lifetimes;
use sealjar::session::lifetime::Lifetime;

/// What the command line takes.
pub(crate) const USAGE: &str =
    "usage: scale [--users N] [--share N] [--nodes N] [--remembered PERCENT] [--peak TIMES] [--skew SECS] [--seed N]
  --users       each signs out once a day; 1000000000
  --share       only one in so many of them is simulated, up to 1000; 1000
  --nodes       each has a list of its own; 3
  --remembered  how many of a hundred sign-outs are of remembered sessions; 1
  --peak        the day's busiest moment, times its average, from 1 to 2; 2
  --skew        how far the first and the last node's clocks are apart, up to 60; 60
  --seed        of the random numbers; 1";

/// The longest that a list is believed without a successful poll: the default of `revocation.max_staleness`.
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(10);
/// L, in whole seconds as the store records it: `max_staleness`, a poll of 250 ms, and what a commit may take.
const LAG: Duration = Duration::from_secs(MAX_STALENESS.as_secs() + 1 + COMMITTED_WITHIN.as_secs());
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A time when a node cannot reach the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) node: usize,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) users: u64,
    /// One user in so many is simulated.
    pub(crate) share: u64,
    pub(crate) nodes: usize,
    /// Which part of the sign-outs is of remembered sessions.
    pub(crate) remembered: f64,
    /// The busiest moment, times the average.
    pub(crate) peak: f64,
    /// How far the clocks of the first and the last node are apart.
    pub(crate) skew: Duration,
    pub(crate) seed: u64,
    pub(crate) day: Duration,
    /// What tokens carry.
    pub(crate) lifetimes: Lifetimes,
    /// What the store was told that they carry.
    pub(crate) recorded: Lifetimes,
    /// For how long the nodes believe an old list.
    pub(crate) believed_for: Duration,
    pub(crate) outages: Vec<Outage>,
}

impl Scenario {
    /// The defaults, changed by `--name value` pairs.
    pub(crate) fn of_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
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
            remembered: 0.01,
            peak: 2.0,
            skew: CLOCK_SKEW,
            seed: 1,
            day: DAY,
            lifetimes,
            recorded: lifetimes,
            believed_for: MAX_STALENESS,
            outages: Vec::new(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
            let number: f64 = value.parse().map_err(|_| format!("{name} wants a number and not `{value}`"))?;
            let within = |least: f64, most: f64| match (least..=most).contains(&number) {
                true => Ok(number),
                false => Err(format!("{name} is from {least} to {most}")),
            };
            match name.as_str() {
                "--users" => scenario.users = within(1.0, 1e12)? as u64,
                "--share" => scenario.share = within(1.0, 1e3)? as u64,
                "--nodes" => scenario.nodes = within(1.0, 1e4)? as usize,
                "--remembered" => scenario.remembered = within(0.0, 100.0)? / 100.0,
                "--peak" => scenario.peak = within(1.0, 2.0)?,
                "--skew" => scenario.skew = Duration::from_secs(within(0.0, CLOCK_SKEW.as_secs_f64())? as u64),
                "--seed" => scenario.seed = number as u64,
                _ => return Err(format!("there is no {name}")),
            }
        }
        scenario.set_outages();
        Ok(scenario)
    }

    /// Two hours as a day, with sessions that live as much shorter.
    #[cfg(test)]
    pub(crate) fn shorten(&mut self) {
        let minutes = |idle: u64, absolute: u64| Lifetime {
            idle: Duration::from_secs(60 * idle),
            absolute: Duration::from_secs(60 * absolute),
        };
        self.lifetimes = Lifetimes { ordinary: minutes(10, 60), remembered: minutes(60, 600) };
        (self.recorded, self.day) = (self.lifetimes, Duration::from_secs(2 * 3600));
        self.set_outages();
    }

    /// Not at the peak itself, where the memory is read.
    fn set_outages(&mut self) {
        let from = self.day * 5 / 8;
        let later = from + Duration::from_secs(600);
        self.outages = vec![
            Outage { node: 1 % self.nodes, from, until: from + Duration::from_secs(8) },
            Outage { node: 2 % self.nodes, from: later, until: later + Duration::from_secs(60) },
        ];
    }

    /// Simulated sign-outs a second, on average.
    pub(crate) fn average(&self) -> f64 {
        self.users as f64 / self.share as f64 / self.day.as_secs_f64()
    }

    /// Simulated sign-outs a second `at` seconds after midnight, when it is quietest; it is busiest at noon.
    pub(crate) fn rate(&self, at: f64) -> f64 {
        self.average() * (1.0 - (self.peak - 1.0) * (TAU * at / self.day.as_secs_f64()).cos())
    }

    /// What the store knows of a kind.
    pub(crate) fn longest(&self, remembered: bool) -> Longest {
        let Lifetime { idle, absolute } = if remembered { self.recorded.remembered } else { self.recorded.ordinary };
        Longest { idle, absolute, lag: LAG, fail_open: false }
    }

    /// How long the formula says that an entry lives: the idle time, L, and twice the skew of clocks.
    pub(crate) fn entry_life(&self, remembered: bool) -> Duration {
        let longest = self.longest(remembered);
        longest.idle + longest.lag + 2 * CLOCK_SKEW
    }

    /// Sign-outs a second times the life of an entry, for both kinds: at the peak's rate for ordinary sessions, and at the average
    /// for remembered ones, whose entries live for days.
    pub(crate) fn predicted_entries(&self) -> f64 {
        let ordinary = self.average() * self.peak * (1.0 - self.remembered) * self.entry_life(false).as_secs_f64();
        ordinary + self.average() * self.remembered * self.entry_life(true).as_secs_f64()
    }

    /// The first instant not before `at` at which the node reaches the store.
    pub(crate) fn reachable(&self, node: usize, at: Duration) -> Duration {
        let outage =
            self.outages.iter().find(|outage| outage.node == node && (outage.from..outage.until).contains(&at));
        outage.map_or(at, |outage| outage.until)
    }

    /// Whether some node was cut off a moment ago.
    pub(crate) fn in_trouble(&self, at: Duration) -> bool {
        self.outages.iter().any(|outage| outage.from <= at && at < outage.until + MAX_STALENESS)
    }
}
