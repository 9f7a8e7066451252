//! Attempts in progress, and the attempts that wait for their outcome.
//!
//! An attempt is charged when it is admitted, and refunded if its password is correct. Suppose that the limit is ten, and that
//! clients send eleven correct passwords. One after the other, all eleven would be admitted. At the same time, the eleventh would
//! be refused because of the first ten. So it waits for their outcome instead.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

/// Maximum number of attempts that wait. Any other attempt is refused without waiting.
const MAX_WAITING: usize = 256;
/// Maximum time that an attempt waits.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of attempts in progress that are charged to each count.
#[derive(Debug)]
pub(super) struct InProgress<C>(HashMap<C, u32>);

impl<C> Default for InProgress<C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C: Eq + Hash> InProgress<C> {
    pub(super) fn number(&self, count: &C) -> u32 {
        self.0.get(count).copied().unwrap_or(0)
    }

    pub(super) fn begin(&mut self, count: C) {
        *self.0.entry(count).or_default() += 1;
    }

    pub(super) fn end(&mut self, count: &C) {
        match self.0.get_mut(count) {
            Some(number) if *number > 1 => *number -= 1,
            _ => drop(self.0.remove(count)),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Set of the attempts that wait for the outcome of attempts in progress.
#[derive(Debug)]
pub(super) struct Waits {
    free_slots: Semaphore,
    /// Notified when an attempt in progress has ended.
    attempt_ended: Notify,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { free_slots: Semaphore::new(MAX_WAITING), attempt_ended: Notify::new() }
    }

    /// Wakes all waiting attempts, because an attempt in progress has ended.
    pub(super) fn wake(&self) {
        self.attempt_ended.notify_waiters();
    }

    /// Calls `admit`, and calls it again whenever an attempt in progress has ended. `admit` returns an outcome, and whether the
    /// outcome is final. Returns the first final outcome. Returns the latest outcome when [`WAIT_TIMEOUT`] has passed, and the
    /// first outcome if too many attempts wait already.
    pub(super) async fn until_final<T>(&self, admit: impl Fn() -> (T, bool)) -> T {
        let timeout = tokio::time::sleep(WAIT_TIMEOUT);
        tokio::pin!(timeout);
        let mut slot = None;
        loop {
            // Register for the notification before `admit` is called. So an attempt that ends during the call wakes this one.
            let ended = self.attempt_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let (outcome, is_final) = admit();
            if is_final {
                return outcome;
            }
            slot = slot.or_else(|| self.free_slots.try_acquire().ok());
            if slot.is_none() {
                return outcome;
            }
            tokio::select! {
                () = ended => {}
                () = &mut timeout => return outcome,
            }
        }
    }
}
