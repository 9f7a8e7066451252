//! The queue in front of the password threads: two short lanes. The lane of clients that are known to the account is served
//! first, so that strangers who fill theirs do not keep out a user who signs in from a known network.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All threads are busy and the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Overloaded;

/// Lane of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// From a network that is known to the account, or with a token of it.
    Known,
    Strange,
}

/// Outcome of waiting for a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<J> {
    Job(J),
    TimedOut,
    /// The queue is closed and empty.
    Closed,
}

/// A queue of jobs, each lane of a bounded length.
pub(super) struct Queue<J> {
    lanes: Mutex<Lanes<J>>,
    arrived: Condvar,
    /// Maximum length of each lane.
    capacity: usize,
}

struct Lanes<J> {
    known: VecDeque<J>,
    strange: VecDeque<J>,
    closed: bool,
}

impl<J> Queue<J> {
    pub(super) const fn new(capacity: usize) -> Self {
        let lanes = Lanes { known: VecDeque::new(), strange: VecDeque::new(), closed: false };
        Self { lanes: Mutex::new(lanes), arrived: Condvar::new(), capacity }
    }

    /// Puts a job at the end of its lane.
    pub(super) fn push(&self, lane: Lane, job: J) -> Result<(), Overloaded> {
        let mut lanes = self.lanes();
        let lane = match lane {
            Lane::Known => &mut lanes.known,
            Lane::Strange => &mut lanes.strange,
        };
        if lane.len() >= self.capacity {
            return Err(Overloaded);
        }
        lane.push_back(job);
        self.arrived.notify_one();
        Ok(())
    }

    /// Returns the length of each lane, the known one first, and the maximum length.
    pub(super) fn waiting(&self) -> ([usize; 2], usize) {
        let lanes = self.lanes();
        ([lanes.known.len(), lanes.strange.len()], self.capacity)
    }

    /// Waits for the next job, for this long at most. `None` is no limit.
    pub(super) fn pop(&self, limit: Option<Duration>) -> Next<J> {
        let nothing = |lanes: &mut Lanes<J>| lanes.known.is_empty() && lanes.strange.is_empty() && !lanes.closed;
        let lanes = self.lanes();
        let mut lanes = match limit {
            Some(limit) => match self.arrived.wait_timeout_while(lanes, limit, nothing) {
                Ok((lanes, _)) => lanes,
                Err(poisoned) => poisoned.into_inner().0,
            },
            None => self.arrived.wait_while(lanes, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        match lanes.known.pop_front().or_else(|| lanes.strange.pop_front()) {
            Some(job) => Next::Job(job),
            None if lanes.closed => Next::Closed,
            None => Next::TimedOut,
        }
    }

    /// Wakes all threads that wait for a job.
    pub(super) fn close(&self) {
        self.lanes().closed = true;
        self.arrived.notify_all();
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<J>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the jobs, which hold passwords and hashes.
impl<J> fmt::Debug for Queue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_claimants_come_first_and_have_places_of_their_own() {
        let queue = Queue::new(2);
        assert_eq!([1, 2, 3].map(|job| queue.push(Lane::Strange, job)), [Ok(()), Ok(()), Err(Overloaded)]);
        assert_eq!([4, 5, 6].map(|job| queue.push(Lane::Known, job)), [Ok(()), Ok(()), Err(Overloaded)]);
        queue.close();
        let in_order = [4, 5, 1, 2].map(Next::Job);
        assert_eq!(in_order.each_ref().map(|_| queue.pop(None)), in_order);
        assert_eq!(queue.pop(None), Next::Closed);
    }

    #[test]
    fn whoever_waits_is_woken_by_a_job_and_by_the_end() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| [None, Some(Duration::MAX)].map(|limit| queue.pop(limit)));
            queue.push(Lane::Known, 1).expect("there is a place");
            queue.close();
            assert_eq!(waiting.join().expect("it runs"), [Next::Job(1), Next::Closed]);
        });
    }

    #[test]
    fn a_wait_for_a_job_ends_after_its_limit() {
        assert_eq!(Queue::<u8>::new(1).pop(Some(Duration::ZERO)), Next::TimedOut);
    }
}
