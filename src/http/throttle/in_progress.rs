//! Attempts in progress, and attempts that wait for their outcome.
//!
//! An attempt is charged when it is admitted, and refunded if its password is correct. Without waiting, ten correct passwords in
//! progress would refuse the eleventh, although all are admitted one after the other.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

/// Number of attempts that may wait. Any other is refused at once.
const MOST: usize = 256;
/// How long an attempt waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of attempts in progress that are charged to each count.
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

/// Attempts that wait.
#[derive(Debug)]
pub(super) struct Waits {
    places: Semaphore,
    ended: Notify,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(MOST), ended: Notify::new() }
    }

    /// Wakes all that wait, because an attempt in progress has ended.
    pub(super) fn wake(&self) {
        self.ended.notify_waiters();
    }

    /// Calls `admit`, and calls it again whenever an attempt in progress has ended, until it says that its outcome is final, or
    /// until the patience is over. If too many wait already, its first outcome is final.
    pub(super) async fn until_final<T>(&self, admit: impl Fn() -> (T, bool)) -> T {
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        let mut place = None;
        loop {
            // Registered before the call, so that no end between the two is missed.
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let (outcome, is_final) = admit();
            if is_final {
                return outcome;
            }
            place = place.or_else(|| self.places.try_acquire().ok());
            if place.is_none() {
                return outcome;
            }
            tokio::select! {
                () = ended => {}
                () = &mut patience => return outcome,
            }
        }
    }
}
