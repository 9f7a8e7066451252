//! A simulated node: its revocation list, its clock, the queue of its committer, and its follower.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale, retention};

use crate::Violation;
use crate::scenario::Scenario;
use crate::simulation::{Random, Results, START, measure};
use crate::store::{Row, Store};

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Minimum time of a poll that reads no rows.
const MIN_POLL_TIME: Duration = Duration::from_millis(1);
/// Maximum additional time of a poll, because of the network.
const MAX_NETWORK_DELAY: Duration = Duration::from_millis(20);
/// Time to read one row.
const ROW_READ_TIME: Duration = Duration::from_nanos(2_500);
/// Maximum time to reconnect after the store is reachable again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A logout that is not yet committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logout {
    pub(crate) sid: Sid,
    /// Time of the logout.
    pub(crate) at: Duration,
    pub(crate) absolute_deadline: UnixTime,
    pub(crate) remembered: bool,
    /// Whether a copy of the cookie is presented to the nodes afterwards.
    pub(crate) is_watched: bool,
}

/// A simulated node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) list: RevocationList,
    pub(crate) expected: ExpectedEntries,
    /// Seconds by which the node's clock is ahead of the correct time.
    clock_offset_secs: i64,
    /// Logouts that wait for a commit.
    waiting: VecDeque<Logout>,
    /// Whether some waiting logouts arrived while the store was unreachable.
    has_backlog: bool,
    /// Time at which the last commit of this node ended.
    committer_free_at: Duration,
    /// Number of rows of the log that the node has read.
    pub(crate) rows_read: u64,
    poll: Poll,
    /// Whether the store was unreachable after the last successful poll.
    was_disconnected: bool,
    /// Time from which the next poll also records the clock and deletes expired entries.
    next_record: Duration,
    /// Whether the node has deleted expired entries since the watch last checked it.
    pub(crate) has_pruned: bool,
}

/// State of the follower.
#[derive(Debug, Clone, Copy)]
enum Poll {
    /// The next poll starts at this time.
    At(Duration),
    /// A poll is in progress. It reads the log up to row `to`.
    InProgress { started: Duration, to: u64, ends: Duration },
}

impl Node {
    pub(crate) fn new(number: usize, scenario: &Scenario, random: &mut Random) -> Self {
        let freshness = Freshness { max_staleness: scenario.max_staleness, when_stale: WhenStale::Refuse };
        let skew = i64::try_from(scenario.skew.as_secs()).expect("at most a minute");
        let clock_offset_secs = match scenario.nodes {
            1 => 0,
            nodes => skew * number as i64 / (nodes as i64 - 1) - skew / 2,
        };
        let node = Self {
            number,
            list: RevocationList::new(freshness),
            expected: ExpectedEntries::new(scenario),
            clock_offset_secs,
            waiting: VecDeque::new(),
            has_backlog: false,
            committer_free_at: Duration::ZERO,
            rows_read: 0,
            poll: Poll::At(random.duration_below(POLL_INTERVAL)),
            was_disconnected: false,
            next_record: random.duration_below(retention::CLOCK_RECORD_INTERVAL),
            has_pruned: false,
        };
        node.list.mark_synced(node.now(Duration::ZERO));
        node
    }

    /// Returns the time on the node's clocks.
    pub(crate) fn now(&self, at: Duration) -> Now {
        let wall = UnixTime((START.0 + at.as_secs()).saturating_add_signed(self.clock_offset_secs));
        Now { wall, boot: at + Duration::from_secs(1) }
    }

    /// Adds a pending entry for a session, and queues its commit.
    pub(crate) fn log_out(&mut self, logout: Logout, scenario: &Scenario) {
        self.has_backlog |= scenario.reachable(self.number, logout.at) > logout.at;
        self.list.add_pending(logout.sid, retention::pending_until(logout.absolute_deadline));
        self.waiting.push_back(logout);
    }

    /// Returns the next time at which the committer requests the lock, or `None` if no logout waits.
    pub(crate) fn next_lock_request(&self, scenario: &Scenario) -> Option<Duration> {
        Some(scenario.reachable(self.number, self.waiting.front()?.at.max(self.committer_free_at)))
    }

    /// Takes the logouts that wait at that time, up to a limit.
    pub(crate) fn take_batch(&mut self, at: Duration, limit: usize) -> Vec<Logout> {
        let size = self.waiting.iter().take(limit).take_while(|logout| logout.at <= at).count();
        self.waiting.drain(..size).collect()
    }

    pub(crate) fn has_backlog(&self) -> bool {
        self.has_backlog
    }

    /// Records that a commit ended at this time.
    pub(crate) fn committed(&mut self, at: Duration) {
        self.committer_free_at = at;
        self.has_backlog &= !self.waiting.is_empty();
        self.waiting.shrink_to(4 * self.waiting.len() + 4096);
    }

    /// Adds a durable entry to the list.
    pub(crate) fn add(&self, row: &Row) {
        self.list.add_durable(&Entry::Session { sid: row.sid, expires_at: row.expires_at });
    }

    /// Simulates the follower until this time: it polls, records the clock, and deletes expired entries.
    pub(crate) fn follow(
        &mut self,
        scenario: &Scenario,
        store: &mut Store,
        until: Duration,
        random: &mut Random,
        day: &mut Results,
    ) -> Result<(), Violation> {
        loop {
            match self.poll {
                Poll::At(at) => {
                    let reachable_at = scenario.reachable(self.number, at);
                    if reachable_at > at {
                        self.was_disconnected = true;
                        self.poll = Poll::At(reachable_at + random.duration_below(MAX_RECONNECT_DELAY));
                    } else if at < until {
                        let to = store.end_at(at);
                        let rows = u32::try_from((to - self.rows_read) * scenario.share).unwrap_or(u32::MAX);
                        let ends = at + MIN_POLL_TIME + random.duration_below(MAX_NETWORK_DELAY) + ROW_READ_TIME * rows;
                        self.poll = Poll::InProgress { started: at, to, ends };
                    } else {
                        return Ok(());
                    }
                }
                Poll::InProgress { ends, .. } if ends >= until => return Ok(()),
                Poll::InProgress { ends, .. } if scenario.reachable(self.number, ends) > ends => {
                    self.poll = Poll::At(ends)
                }
                Poll::InProgress { started, to, ends } => {
                    self.catch_up(store, started, to, ends, day);
                    self.poll = Poll::At(ends + POLL_INTERVAL);
                    if started >= self.next_record {
                        self.next_record = started + retention::CLOCK_RECORD_INTERVAL;
                        self.prune(store, ends, day)?;
                    }
                }
            }
        }
    }

    /// Adds the rows of a poll to the list.
    fn catch_up(&mut self, store: &Store, started: Duration, to: u64, ends: Duration, day: &mut Results) {
        let lags = if self.was_disconnected { &mut day.lags_after_outage } else { &mut day.lags };
        let delivery_time = measure(|| store.rows(self.rows_read, to).for_each(|row| self.add(row)));
        for row in store.rows(self.rows_read, to).filter(|row| row.node != self.number) {
            self.expected.add(row.expires_at);
            lags.add(ends - row.committed);
        }
        day.delivery_time += delivery_time;
        day.delivered_entries += to - self.rows_read;
        self.rows_read = to;
        self.list.raise_pruned_through(store.pruned_through);
        self.list.mark_synced(self.now(started));
        self.was_disconnected = false;
    }

    /// Deletes the expired entries in the store and in the list, and checks the number of entries in the list.
    fn prune(&mut self, store: &mut Store, at: Duration, day: &mut Results) -> Result<(), Violation> {
        let now = self.now(at);
        store.clock_reached = store.clock_reached.max(now.wall);
        let instant = self.list.time(now);
        store.pruned_through = store.pruned_through.max(instant);
        let duration = measure(|| self.list.prune(instant));
        day.prune_time += duration;
        day.longest_prune_time = day.longest_prune_time.max(duration);
        day.prune_count += 1;
        self.has_pruned = true;
        self.expected.prune(instant);
        let actual = self.list.len();
        let expected = self.expected.total + self.waiting.len();
        if actual == expected { Ok(()) } else { Err(Violation::Miscounted { node: self.number, actual, expected }) }
    }
}

/// Number of entries that the list should have: the entries that had not expired at the last deletion.
#[derive(Debug)]
pub(crate) struct ExpectedEntries {
    /// Number of entries per second of their expiry. The index is the number of seconds since the start of the day.
    by_expiry: Vec<u32>,
    /// Second of the last deletion.
    pruned_until: usize,
    total: usize,
}

impl ExpectedEntries {
    fn new(scenario: &Scenario) -> Self {
        // Maximum by which the commit time of an entry is ahead of the correct time: see `retention::commit_time`.
        let max_ahead = CLOCK_SKEW + retention::CLOCK_RECORD_INTERVAL;
        let last = scenario.day + max_ahead + scenario.entry_lifetime(true).max(scenario.entry_lifetime(false));
        let mut by_expiry = vec![0; usize::try_from(last.as_secs() + 2).expect("some weeks")];
        // Writes to every page now. So this memory is resident before the simulation, and is not counted as memory of the list.
        black_box(&mut by_expiry).fill(0);
        Self { by_expiry, pruned_until: 0, total: 0 }
    }

    /// Counts a new entry. If it has expired already, the list deletes it at the next deletion.
    pub(crate) fn add(&mut self, expires_at: UnixTime) {
        // The list keeps an entry until the next even second.
        let end = UnixTime(expires_at.0.next_multiple_of(2));
        let second = usize::try_from(end.since(START).as_secs()).expect("some weeks");
        self.by_expiry[second.max(self.pruned_until)] += 1;
        self.total += 1;
    }

    fn prune(&mut self, instant: UnixTime) {
        let pruned_until = usize::try_from(instant.since(START).as_secs()).expect("a day").max(self.pruned_until);
        let deleted: u32 = self.by_expiry[self.pruned_until..pruned_until].iter().sum();
        self.total -= deleted as usize;
        self.pruned_until = pruned_until;
    }
}
