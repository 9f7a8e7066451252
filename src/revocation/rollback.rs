//! Whether the store was rolled back: a backup was restored, or a standby that lacked the last commits has taken over, and nobody
//! has run `sealjar store restored`. Then sessions that were logged out may be valid again.
//!
//! All evidence becomes one number, the global generation that the store must have by now. Generations only grow, and `sealjar
//! store restored` raises the store's above all others, so the alarm ends by itself. The evidence is:
//!
//! * a token of a higher global generation than the node knows. The token has opened, so nobody has made the number up;
//! * a lower global generation than an earlier poll found;
//! * something else that is missing: a row of the log, or an account's generation that a token has. Then the store's generation
//!   must become higher than it is.
//!
//! A node that has not polled yet lags behind new tokens as well. So only a poll that began after the evidence was seen decides.

#[cfg(feature = "store")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};

/// The evidence, and what the last poll made of it.
#[derive(Debug, Default)]
pub(crate) struct Rollback {
    /// The global generation that the store must have.
    required: AtomicU64,
    #[cfg(feature = "store")]
    found: AtomicBool,
}

impl Rollback {
    /// Notes a token of this global generation, which is higher than the node knows.
    #[cold]
    pub(crate) fn note_generation(&self, generation: u64) {
        // While the store is behind, every check comes here, so most of them must not write.
        if self.required.load(Ordering::Relaxed) < generation {
            self.required.fetch_max(generation, Ordering::AcqRel);
        }
    }
}

#[cfg(feature = "store")]
impl Rollback {
    /// Notes that something is missing in a store of this global generation.
    pub(crate) fn note_loss(&self, stored: u64) {
        self.note_generation(stored.saturating_add(1));
    }

    /// Returns the global generation that a poll that begins now must find.
    pub(crate) fn required(&self) -> u64 {
        self.required.load(Ordering::Acquire)
    }

    /// Decides by a poll: what was required when it began, and the global generation that it found. Returns whether the store is
    /// rolled back, if this has changed.
    pub(crate) fn decide(&self, required: u64, stored: u64) -> Option<bool> {
        let is_found = stored < required;
        (self.found.swap(is_found, Ordering::AcqRel) != is_found).then_some(is_found)
    }

    /// Returns whether the last poll found the store rolled back.
    #[cfg(feature = "server")]
    pub(crate) fn is_found(&self) -> bool {
        self.found.load(Ordering::Acquire)
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_began_before_the_token_decides_nothing() {
        let rollback = Rollback::default();
        let required = rollback.required();
        rollback.note_generation(5);
        assert_eq!(rollback.decide(required, 4), None);
        assert_eq!(rollback.decide(rollback.required(), 5), None, "the node lagged behind, and the store did not");
    }

    #[test]
    fn an_alarm_is_told_once_and_ends_when_the_store_is_ahead() {
        let rollback = Rollback::default();
        rollback.note_generation(5);
        rollback.note_generation(3);
        assert_eq!(
            [4, 4, 5, 5].map(|stored| rollback.decide(rollback.required(), stored)),
            [Some(true), None, Some(false), None]
        );
    }

    #[test]
    fn a_loss_lasts_until_the_generation_is_raised() {
        let rollback = Rollback::default();
        rollback.note_loss(7);
        assert_eq!([7, 8].map(|stored| rollback.decide(rollback.required(), stored)), [Some(true), Some(false)]);
    }
}
