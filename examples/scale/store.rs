//! The store: a log in the order of its commits, which take one lock after the other, and what servers recorded.

use std::collections::VecDeque;
use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Sid;
use sealjar::revocation::retention::{self, COMMITTED_WITHIN};

use crate::Violation;
use crate::node::Node;
use crate::scenario::Scenario;
use crate::watch::Watch;
use crate::world::Day;

/// What a commit takes besides its rows, nearly all of it a flush of the log to the disk.
const COMMIT: Duration = Duration::from_millis(4);
/// What each row takes.
const ROW: Duration = Duration::from_micros(10);
/// Refusals in one commit.
const MAX_BATCH: u64 = 1024;

/// A row of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) sid: Sid,
    pub(crate) expires_at: UnixTime,
    pub(crate) committed: Duration,
    /// By which node.
    pub(crate) node: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What some node has still to read.
    log: VecDeque<Row>,
    /// How many rows went before.
    before: u64,
    lock_free_at: Duration,
    pub(crate) pruned_through: UnixTime,
    pub(crate) clock_reached: UnixTime,
}

impl Store {
    /// Makes durable what nodes have waiting, batch by batch, in the order in which they ask for the lock, up to those that ask
    /// at `until`.
    pub(crate) fn commit(
        &mut self,
        scenario: &Scenario,
        nodes: &mut [Node],
        until: Duration,
        watch: &mut Watch,
        day: &mut Day,
    ) -> Result<(), Violation> {
        let limit = usize::try_from((MAX_BATCH / scenario.share).max(1)).expect("at most 1024");
        let longest = [false, true].map(|remembered| scenario.longest(remembered));
        let asks = |node: &mut Node| Some((node.commits_at(scenario)?, node.number));
        while let Some((begun, number)) = nodes.iter_mut().filter_map(asks).min()
            && begun < until
        {
            let node = &mut nodes[number];
            let batch = node.batch(begun, limit);
            let rows = u32::try_from(batch.len() as u64 * scenario.share).expect("at most 1024");
            let committed = self.lock_free_at.max(begun) + COMMIT + ROW * rows;
            // Else the commit would not count; and an answer waits no longer, but on a node that has an outage to make up for.
            let behind = node.is_behind();
            let since = if behind { begun } else { batch.first().map_or(begun, |first| first.at) };
            if committed - since > COMMITTED_WITHIN {
                return Err(Violation::Overloaded { took_ms: (committed - since).as_millis() });
            }
            let clock = node.list.time(node.now(begun));
            let counted_from = retention::commit_time(clock, self.pruned_through, self.clock_reached);
            let answers = if behind { &mut day.answers_after_outage } else { &mut day.answers };
            for sign_out in batch {
                let deadline = Some(sign_out.absolute_deadline);
                let expires_at = retention::expiry(counted_from, deadline, longest[usize::from(sign_out.remembered)]);
                let row = Row { sid: sign_out.sid, expires_at, committed, node: node.number };
                node.take(&row);
                node.due.add(expires_at);
                answers.add(committed - sign_out.at);
                if sign_out.watched {
                    watch.committed(&row);
                }
                self.log.push_back(row);
            }
            self.lock_free_at = committed;
            node.committed(committed);
        }
        Ok(())
    }

    /// The number up to which a poll that begins at `at` reads.
    pub(crate) fn end_at(&self, at: Duration) -> u64 {
        self.before + self.log.partition_point(|row| row.committed <= at) as u64
    }

    /// The rows with these numbers.
    pub(crate) fn rows(&self, from: u64, to: u64) -> impl Iterator<Item = &Row> {
        let index =
            |number: u64| usize::try_from(number - self.before).expect("rows are kept until every node has read them");
        self.log.range(index(from)..index(to))
    }

    /// Forgets what every node has read.
    pub(crate) fn forget(&mut self, read: u64) {
        self.log.drain(..usize::try_from(read - self.before).expect("as many as there are"));
        self.before = read;
        // After an outage.
        self.log.shrink_to(4 * self.log.len() + 4096);
    }
}
