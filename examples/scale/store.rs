//! The simulated store: the revocation log, whose commits need one lock, and the times that nodes record in it.

use std::collections::VecDeque;
use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Sid;
use sealjar::revocation::retention::{self, MAX_COMMIT_DURATION};

use crate::Violation;
use crate::node::Node;
use crate::scenario::Scenario;
use crate::watch::Watch;
use crate::world::Day;

/// Time of a commit without rows. Nearly all of it is the flush of the log to the disk.
const COMMIT_TIME: Duration = Duration::from_millis(4);
/// Additional time of a commit per row.
const ROW_COMMIT_TIME: Duration = Duration::from_micros(10);
/// Maximum number of entries in one commit.
const MAX_BATCH: u64 = 1024;

/// A row of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) sid: Sid,
    pub(crate) expires_at: UnixTime,
    pub(crate) committed: Duration,
    /// Number of the node that committed the row.
    pub(crate) node: usize,
}

/// The simulated store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Rows that not all nodes have read.
    log: VecDeque<Row>,
    /// Number of rows that were removed from the front of `log`.
    removed: u64,
    lock_free_at: Duration,
    pub(crate) pruned_through: UnixTime,
    pub(crate) clock_reached: UnixTime,
}

impl Store {
    /// Commits the waiting logouts of the nodes in batches, in the order in which their committers request the lock. Ends with
    /// the requests before `until`.
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
        let lock_request = |node: &mut Node| Some((node.commits_at(scenario)?, node.number));
        while let Some((begun, number)) = nodes.iter_mut().filter_map(lock_request).min()
            && begun < until
        {
            let node = &mut nodes[number];
            let batch = node.take_batch(begun, limit);
            let rows = u32::try_from(batch.len() as u64 * scenario.share).expect("at most 1024");
            let committed = self.lock_free_at.max(begun) + COMMIT_TIME + ROW_COMMIT_TIME * rows;
            // A commit that takes longer is invalid (`retention.rs`). A response waits no longer either, except after an outage
            // of the node.
            let has_backlog = node.has_backlog();
            let since = if has_backlog { begun } else { batch.first().map_or(begun, |first| first.at) };
            if committed - since > MAX_COMMIT_DURATION {
                return Err(Violation::Overloaded { took_ms: (committed - since).as_millis() });
            }
            let clock = node.list.time(node.now(begun));
            let counted_from = retention::commit_time(clock, self.pruned_through, self.clock_reached);
            let answers = if has_backlog { &mut day.answers_after_outage } else { &mut day.answers };
            for sign_out in batch {
                let deadline = Some(sign_out.absolute_deadline);
                let expires_at = retention::expiry(counted_from, deadline, longest[usize::from(sign_out.remembered)]);
                let row = Row { sid: sign_out.sid, expires_at, committed, node: node.number };
                node.add(&row);
                node.expected.add(expires_at);
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

    /// Returns the number of rows that are committed at time `at`. A poll that begins then reads up to this row.
    pub(crate) fn end_at(&self, at: Duration) -> u64 {
        self.removed + self.log.partition_point(|row| row.committed <= at) as u64
    }

    /// Returns the rows with these numbers.
    pub(crate) fn rows(&self, from: u64, to: u64) -> impl Iterator<Item = &Row> {
        let index =
            |number: u64| usize::try_from(number - self.removed).expect("rows are kept until every node has read them");
        self.log.range(index(from)..index(to))
    }

    /// Removes the first `read` rows of the log, which every node has read.
    pub(crate) fn forget(&mut self, read: u64) {
        self.log.drain(..usize::try_from(read - self.removed).expect("at most the length of the log"));
        self.removed = read;
        // After an outage, the capacity may be much larger than needed.
        self.log.shrink_to(4 * self.log.len() + 4096);
    }
}
