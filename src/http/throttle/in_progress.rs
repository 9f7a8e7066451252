//! Attempts in progress, and attempts that wait for their outcome.
//!
//! An attempt is charged when it is admitted, and refunded if its password is correct. Without waiting, ten correct passwords in
//! progress would refuse the eleventh, although all are admitted one after the other.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::{Attempt, Count, Limit, LoginAttempt, Throttle, Throttled};

/// Number of attempts that may wait. Any other is refused at once.
const MOST: usize = 256;
/// How long an attempt waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of attempts in progress that are charged to each count.
#[derive(Debug, Default)]
pub(super) struct InProgress(HashMap<(Limit, u64), u32>);

impl InProgress {
    pub(super) fn number(&self, count: Count) -> u32 {
        self.0.get(&(count.limit, count.key.id)).copied().unwrap_or(0)
    }

    pub(super) fn begin(&mut self, count: Count) {
        *self.0.entry((count.limit, count.key.id)).or_default() += 1;
    }

    fn end(&mut self, count: Count) {
        let key = (count.limit, count.key.id);
        match self.0.get_mut(&key) {
            Some(number) if *number > 1 => *number -= 1,
            _ => drop(self.0.remove(&key)),
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
    /// An attempt in progress has ended.
    ended: Notify,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(MOST), ended: Notify::new() }
    }
}

impl Throttle {
    /// Does the same as [`Throttle::admit`]. If only attempts in progress keep this one out, it first waits for their outcome.
    pub(crate) async fn admit_in_turn(
        &self,
        attempt: LoginAttempt<'_>,
        now: impl Fn() -> Duration,
    ) -> Result<Attempt<'_>, Throttled> {
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        let mut place = None;
        loop {
            // Registered before the look, so that no end between the two is missed.
            let ended = self.waits.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let throttled = match self.admit(attempt, now()) {
                Err(throttled) if throttled.may_pass_soon => throttled,
                outcome => return outcome,
            };
            if place.is_none() {
                place = self.waits.places.try_acquire().ok();
            }
            if place.is_none() {
                return Err(throttled);
            }
            tokio::select! {
                () = ended => {}
                () = &mut patience => return Err(throttled),
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut tables = self.throttle.tables();
        self.charged.iter().for_each(|count| tables.in_progress.end(*count));
        drop(tables);
        self.throttle.waits.ended.notify_waiters();
    }
}
