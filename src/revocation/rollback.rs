//! Detection of a store that was rolled back: a backup was restored, or a standby that lacked the last commits has taken
//! over, and `sealjar store restored` was not run afterwards. Then sessions that were logged out may be valid again.
//!
//! All evidence is reduced to one number: the global generation that the store must have. Generations only grow, and
//! `sealjar store restored` raises the store's global generation above all others. That ends the alarm. The evidence is:
//!
//! * A token with a higher global generation than the node has read. The token could be opened, so the number is authentic.
//! * A poll that finds a lower global generation than an earlier poll.
//! * Other missing data: a row of the log, or the generation of an account that a token contains. Then the store must get
//!   a higher global generation than the present one.
//!
//! A new token can also have a higher generation because the node has not polled since. So only a poll that began after the
//! evidence was found can decide.

#[cfg(feature = "store")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};

/// The evidence that the store was rolled back, and the decision of the last poll.
#[derive(Debug, Default)]
pub(crate) struct Rollback {
    /// Lowest global generation that the store must have.
    required: AtomicU64,
    /// Whether the last poll found the store rolled back.
    #[cfg(feature = "store")]
    is_rolled_back: AtomicBool,
}

impl Rollback {
    /// Records a token of this global generation, which is higher than the generation of the list.
    #[cold]
    pub(crate) fn record_generation(&self, generation: u64) {
        // While the store is rolled back, every check calls this function. So most calls must only read.
        if self.required.load(Ordering::Relaxed) < generation {
            self.required.fetch_max(generation, Ordering::AcqRel);
        }
    }
}

#[cfg(feature = "store")]
impl Rollback {
    /// Records that data is missing in a store of this global generation.
    pub(crate) fn record_loss(&self, stored: u64) {
        self.record_generation(stored.saturating_add(1));
    }

    /// Returns the global generation that a poll that begins now must find.
    pub(crate) fn required(&self) -> u64 {
        self.required.load(Ordering::Acquire)
    }

    /// Decides with the result of a poll: `required` is from before the poll, and `stored` is the global generation that the
    /// poll found. Returns whether the store is rolled back, or `None` if this has not changed.
    pub(crate) fn decide(&self, required: u64, stored: u64) -> Option<bool> {
        let is_rolled_back = stored < required;
        let was_rolled_back = self.is_rolled_back.swap(is_rolled_back, Ordering::AcqRel);
        (was_rolled_back != is_rolled_back).then_some(is_rolled_back)
    }

    /// Returns whether the last poll found the store rolled back.
    #[cfg(feature = "server")]
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.is_rolled_back.load(Ordering::Acquire)
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_began_before_the_token_decides_nothing() {
        let rollback = Rollback::default();
        let required = rollback.required();
        rollback.record_generation(5);
        assert_eq!(rollback.decide(required, 4), None);
        assert_eq!(rollback.decide(rollback.required(), 5), None, "only the node was behind, not the store");
    }

    #[test]
    fn reports_the_start_and_the_end_of_an_alarm_once() {
        let rollback = Rollback::default();
        rollback.record_generation(5);
        rollback.record_generation(3);
        assert_eq!(
            [4, 4, 5, 5].map(|stored| rollback.decide(rollback.required(), stored)),
            [Some(true), None, Some(false), None]
        );
    }

    #[test]
    fn missing_data_is_an_alarm_until_the_generation_is_raised() {
        let rollback = Rollback::default();
        rollback.record_loss(7);
        assert_eq!([7, 8].map(|stored| rollback.decide(rollback.required(), stored)), [Some(true), Some(false)]);
    }
}
