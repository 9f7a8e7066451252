//! A node: its list, its clock, its committer's queue and its follower.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale, retention};

use crate::Violation;
use crate::scenario::Scenario;
use crate::store::{Row, Store};
use crate::world::{Day, Random, START, time};

/// Between two polls.
const POLL: Duration = Duration::from_millis(250);
/// A poll takes between this ...
const QUICKEST: Duration = Duration::from_millis(1);
/// ... and this much longer, with the network, however little there is to read.
const SPREAD: Duration = Duration::from_millis(20);
/// And so much for each row.
const READ_ROW: Duration = Duration::from_nanos(2_500);
/// A connection that was lost is made again within this after the store can be reached.
const RECONNECT: Duration = Duration::from_secs(1);

/// A sign-out that is not yet durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignOut {
    pub(crate) sid: Sid,
    pub(crate) at: Duration,
    pub(crate) absolute_deadline: UnixTime,
    pub(crate) remembered: bool,
    pub(crate) watched: bool,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) list: RevocationList,
    pub(crate) due: Due,
    /// By how many seconds its clock is ahead.
    ahead: i64,
    waiting: VecDeque<SignOut>,
    /// Whether some of these came while it could not reach the store.
    behind: bool,
    committer_free_at: Duration,
    /// How many rows of the log it has read.
    pub(crate) read: u64,
    poll: Poll,
    /// Whether it has lost the store since the last poll that succeeded.
    lost: bool,
    next_record: Duration,
    /// Whether it has pruned since it was last asked.
    pub(crate) pruned: bool,
}

#[derive(Debug, Clone, Copy)]
enum Poll {
    At(Duration),
    UnderWay { started: Duration, to: u64, ends: Duration },
}

impl Node {
    pub(crate) fn new(number: usize, scenario: &Scenario, random: &mut Random) -> Self {
        let freshness = Freshness { max_staleness: scenario.believed_for, when_stale: WhenStale::Refuse };
        let skew = i64::try_from(scenario.skew.as_secs()).expect("at most a minute");
        let ahead = match scenario.nodes {
            1 => 0,
            nodes => skew * number as i64 / (nodes as i64 - 1) - skew / 2,
        };
        let node = Self {
            number,
            list: RevocationList::new(freshness),
            due: Due::new(scenario),
            ahead,
            waiting: VecDeque::new(),
            behind: false,
            committer_free_at: Duration::ZERO,
            read: 0,
            poll: Poll::At(random.within(POLL)),
            lost: false,
            next_record: random.within(retention::CLOCK_RECORDED_EVERY),
            pruned: false,
        };
        node.list.mark_synced(node.now(Duration::ZERO));
        node
    }

    /// What its clocks say.
    pub(crate) fn now(&self, at: Duration) -> Now {
        let wall = UnixTime((START.0 + at.as_secs()).saturating_add_signed(self.ahead));
        Now { wall, boot: at + Duration::from_secs(1) }
    }

    /// Refuses a session at once.
    pub(crate) fn sign_out(&mut self, sign_out: SignOut, scenario: &Scenario) {
        self.behind |= scenario.reachable(self.number, sign_out.at) > sign_out.at;
        self.list.add_pending(sign_out.sid, retention::pending_until(sign_out.absolute_deadline));
        self.waiting.push_back(sign_out);
    }

    /// When its committer asks for the lock next, if there is something to commit.
    pub(crate) fn commits_at(&self, scenario: &Scenario) -> Option<Duration> {
        Some(scenario.reachable(self.number, self.waiting.front()?.at.max(self.committer_free_at)))
    }

    /// What it has then, up to a limit.
    pub(crate) fn batch(&mut self, at: Duration, limit: usize) -> Vec<SignOut> {
        let size = self.waiting.iter().take(limit).take_while(|sign_out| sign_out.at <= at).count();
        self.waiting.drain(..size).collect()
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(crate) fn committed(&mut self, at: Duration) {
        self.committer_free_at = at;
        self.behind &= !self.waiting.is_empty();
        self.waiting.shrink_to(4 * self.waiting.len() + 4096);
    }

    /// Puts a durable entry into the list.
    pub(crate) fn take(&self, row: &Row) {
        self.list.add_durable(&Entry::Session { sid: row.sid, expires_at: row.expires_at });
    }

    /// Polls, records and prunes until then.
    pub(crate) fn follow(
        &mut self,
        scenario: &Scenario,
        store: &mut Store,
        until: Duration,
        random: &mut Random,
        day: &mut Day,
    ) -> Result<(), Violation> {
        loop {
            match self.poll {
                Poll::At(at) => {
                    let back = scenario.reachable(self.number, at);
                    if back > at {
                        self.lost = true;
                        self.poll = Poll::At(back + random.within(RECONNECT));
                    } else if at < until {
                        let to = store.end_at(at);
                        let rows = u32::try_from((to - self.read) * scenario.share).unwrap_or(u32::MAX);
                        let ends = at + QUICKEST + random.within(SPREAD) + READ_ROW * rows;
                        self.poll = Poll::UnderWay { started: at, to, ends };
                    } else {
                        return Ok(());
                    }
                }
                Poll::UnderWay { ends, .. } if ends >= until => return Ok(()),
                Poll::UnderWay { ends, .. } if scenario.reachable(self.number, ends) > ends => {
                    self.poll = Poll::At(ends)
                }
                Poll::UnderWay { started, to, ends } => {
                    self.catch_up(store, started, to, ends, day);
                    self.poll = Poll::At(ends + POLL);
                    if started >= self.next_record {
                        self.next_record = started + retention::CLOCK_RECORDED_EVERY;
                        self.prune(store, ends, day)?;
                    }
                }
            }
        }
    }

    fn catch_up(&mut self, store: &Store, started: Duration, to: u64, ends: Duration, day: &mut Day) {
        let lags = if self.lost { &mut day.lags_after_outage } else { &mut day.lags };
        let delivering = time(|| store.rows(self.read, to).for_each(|row| self.take(row)));
        for row in store.rows(self.read, to).filter(|row| row.node != self.number) {
            self.due.add(row.expires_at);
            lags.add(ends - row.committed);
        }
        day.delivering += delivering;
        day.delivered += to - self.read;
        self.read = to;
        self.list.raise_pruned_through(store.pruned_through);
        self.list.mark_synced(self.now(started));
        self.lost = false;
    }

    /// The store first, then the list; and then the list is counted.
    fn prune(&mut self, store: &mut Store, at: Duration, day: &mut Day) -> Result<(), Violation> {
        let now = self.now(at);
        store.clock_reached = store.clock_reached.max(now.wall);
        let instant = self.list.time(now);
        store.pruned_through = store.pruned_through.max(instant);
        let took = time(|| self.list.prune(instant));
        (day.pruning, day.longest_pruning) = (day.pruning + took, day.longest_pruning.max(took));
        day.prunings += 1;
        self.pruned = true;
        self.due.prune(instant);
        let (held, due) = (self.list.len(), self.due.total + self.waiting.len());
        if held == due { Ok(()) } else { Err(Violation::Miscounted { node: self.number, held, due }) }
    }
}

/// How many entries the list should hold: those whose end was not before the last pruning.
#[derive(Debug)]
pub(crate) struct Due {
    /// By the second of their end, counted from the day's start.
    ends: Vec<u32>,
    pruned: usize,
    total: usize,
}

impl Due {
    fn new(scenario: &Scenario) -> Self {
        // C is at most so much ahead of the right time, see `retention::commit_time`.
        let ahead = CLOCK_SKEW + retention::CLOCK_RECORDED_EVERY;
        let last = scenario.day + ahead + scenario.entry_life(true).max(scenario.entry_life(false));
        let mut ends = vec![0; usize::try_from(last.as_secs() + 2).expect("some weeks")];
        // Touched, so that it is in what the process holds from the start, and not counted for the list.
        black_box(&mut ends).fill(0);
        Self { ends, pruned: 0, total: 0 }
    }

    /// An entry is added; one that has come to its end before goes at the next pruning.
    pub(crate) fn add(&mut self, expires_at: UnixTime) {
        // The list keeps it until the next even second.
        let end = UnixTime(expires_at.0.next_multiple_of(2));
        let second = usize::try_from(end.since(START).as_secs()).expect("some weeks");
        self.ends[second.max(self.pruned)] += 1;
        self.total += 1;
    }

    fn prune(&mut self, instant: UnixTime) {
        let pruned = usize::try_from(instant.since(START).as_secs()).expect("a day").max(self.pruned);
        let gone: u32 = self.ends[self.pruned..pruned].iter().sum();
        self.total -= gone as usize;
        self.pruned = pruned;
    }
}
