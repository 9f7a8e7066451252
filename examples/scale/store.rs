//! The simulated store: the revocation log, whose commits need one lock, and the times that nodes record in it.

use std::collections::VecDeque;
use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Sid;
use sealjar::revocation::retention::{self, MAX_COMMIT_DURATION};

use crate::Violation;
use crate::node::Node;
use crate::scenario::Scenario;
use crate::simulation::Results;
use crate::watch::Watch;

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
    /// Time at which the commit ended.
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
    /// Time at which the last commit releases the lock.
    lock_free_at: Duration,
    pub(crate) pruned_through: UnixTime,
    pub(crate) clock_reached: UnixTime,
}

impl Store {
    /// Commits the waiting logouts of the nodes in batches, in the order in which their committers request the lock. Handles
    /// only requests before `until`.
    pub(crate) fn commit(
        &mut self,
        scenario: &Scenario,
        nodes: &mut [Node],
        until: Duration,
        watch: &mut Watch,
        day: &mut Results,
    ) -> Result<(), Violation> {
        let max_batch = usize::try_from((MAX_BATCH / scenario.share).max(1)).expect("at most 1024");
        let longest = [false, true].map(|remembered| scenario.longest(remembered));
        let lock_request = |node: &mut Node| Some((node.next_lock_request(scenario)?, node.number));
        while let Some((requested_at, number)) = nodes.iter_mut().filter_map(lock_request).min()
            && requested_at < until
        {
            let node = &mut nodes[number];
            let batch = node.take_batch(requested_at, max_batch);
            let rows = u32::try_from(batch.len() as u64 * scenario.share).expect("at most 1024");
            let committed = self.lock_free_at.max(requested_at) + COMMIT_TIME + ROW_COMMIT_TIME * rows;
            // A commit that takes longer is invalid (`retention.rs`). Except after an outage of the node, a response also waits
            // at most for this time.
            let has_backlog = node.has_backlog();
            let waiting_since =
                if has_backlog { requested_at } else { batch.first().map_or(requested_at, |first| first.at) };
            if committed - waiting_since > MAX_COMMIT_DURATION {
                return Err(Violation::Overloaded { took_ms: (committed - waiting_since).as_millis() });
            }
            let clock = node.list.time(node.now(requested_at));
            let committed_at = retention::commit_time(clock, self.pruned_through, self.clock_reached);
            let response_times =
                if has_backlog { &mut day.response_times_after_outage } else { &mut day.response_times };
            for logout in batch {
                let deadline = Some(logout.absolute_deadline);
                let expires_at = retention::expiry(committed_at, deadline, longest[usize::from(logout.remembered)]);
                let row = Row { sid: logout.sid, expires_at, committed, node: node.number };
                node.add(&row);
                node.expected.add(expires_at);
                response_times.add(committed - logout.at);
                if logout.is_watched {
                    watch.record_commit(&row);
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
    pub(crate) fn remove_rows(&mut self, read: u64) {
        self.log.drain(..usize::try_from(read - self.removed).expect("at most the length of the log"));
        self.removed = read;
        // After an outage, the capacity may be much larger than needed.
        self.log.shrink_to(4 * self.log.len() + 4096);
    }
}
