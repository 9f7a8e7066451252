//! The queue of jobs for the password threads, with two priority classes ([`Priority`]) that have separate, bounded queues.
//!
//! Jobs of clients that are known to the account are taken first. Unknown clients that fill their queue therefore cannot
//! prevent the login of a user from a known network.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Error if all threads are busy and the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Overloaded;

/// Priority class of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The client's network is known to the account, or the client sent a token of the account.
    Known,
    /// Any other client.
    Unknown,
}

/// Result of waiting for a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<J> {
    Job(J),
    /// No job was added within the timeout.
    TimedOut,
    /// The queue is closed and empty.
    Closed,
}

/// A bounded, blocking queue of jobs with two priority classes.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    /// Notified when a job is added or the queue is closed.
    changed: Condvar,
    /// Maximum number of jobs of each priority class.
    capacity: usize,
}

struct State<J> {
    known: VecDeque<J>,
    unknown: VecDeque<J>,
    is_closed: bool,
}

impl<J> Queue<J> {
    pub(super) const fn new(capacity: usize) -> Self {
        let state = State { known: VecDeque::new(), unknown: VecDeque::new(), is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    /// Adds a job to the queue of its priority class. Returns an error if this queue is full.
    pub(super) fn push(&self, priority: Priority, job: J) -> Result<(), Overloaded> {
        let mut state = self.state();
        let jobs = match priority {
            Priority::Known => &mut state.known,
            Priority::Unknown => &mut state.unknown,
        };
        if jobs.len() >= self.capacity {
            return Err(Overloaded);
        }
        jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Returns the numbers of waiting jobs of known and of unknown clients, and the capacity of each queue.
    pub(super) fn waiting(&self) -> ([usize; 2], usize) {
        let state = self.state();
        ([state.known.len(), state.unknown.len()], self.capacity)
    }

    /// Waits for the next job, for at most `timeout`. `None` means no timeout.
    pub(super) fn pop(&self, timeout: Option<Duration>) -> Next<J> {
        let must_wait = |state: &mut State<J>| state.known.is_empty() && state.unknown.is_empty() && !state.is_closed;
        let state = self.state();
        let mut state = match timeout {
            Some(timeout) => match self.changed.wait_timeout_while(state, timeout, must_wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            },
            None => self.changed.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner),
        };
        match state.known.pop_front().or_else(|| state.unknown.pop_front()) {
            Some(job) => Next::Job(job),
            None if state.is_closed => Next::Closed,
            None => Next::TimedOut,
        }
    }

    /// Closes the queue: wakes all threads that wait for a job. Jobs that are already in the queue are still returned.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Omits the jobs, which contain passwords and hashes.
impl<J> fmt::Debug for Queue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_clients_come_first_and_have_their_own_slots() {
        let queue = Queue::new(2);
        assert_eq!([1, 2, 3].map(|job| queue.push(Priority::Unknown, job)), [Ok(()), Ok(()), Err(Overloaded)]);
        assert_eq!([4, 5, 6].map(|job| queue.push(Priority::Known, job)), [Ok(()), Ok(()), Err(Overloaded)]);
        queue.close();
        let in_order = [4, 5, 1, 2].map(Next::Job);
        assert_eq!(in_order.each_ref().map(|_| queue.pop(None)), in_order);
        assert_eq!(queue.pop(None), Next::Closed);
    }

    #[test]
    fn a_waiting_thread_is_woken_by_a_job_and_by_closing() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| [None, Some(Duration::MAX)].map(|timeout| queue.pop(timeout)));
            queue.push(Priority::Known, 1).expect("a slot is free");
            queue.close();
            assert_eq!(waiting.join().expect("the thread does not panic"), [Next::Job(1), Next::Closed]);
        });
    }

    #[test]
    fn a_wait_for_a_job_ends_after_its_timeout() {
        assert_eq!(Queue::<u8>::new(1).pop(Some(Duration::ZERO)), Next::TimedOut);
    }
}
