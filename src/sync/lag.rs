//! Lag of this node: the time from the writing of a log row by another node to its reading by this node. Only the store's
//! clock is used, so differences between the nodes' clocks do not matter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::milliseconds;
use crate::metrics::Histogram;

/// Histogram of measured lags, and the last lag.
#[derive(Debug)]
pub(crate) struct Lag {
    histogram: Histogram<10>,
    /// Last lag, in milliseconds; `u64::MAX` before the first measurement.
    last_ms: AtomicU64,
}

impl Default for Lag {
    fn default() -> Self {
        let histogram = Histogram::new([5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 15_000]);
        Self { histogram, last_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Lag {
    pub(super) fn observe(&self, lag: Duration) {
        self.histogram.observe(lag);
        self.last_ms.store(milliseconds(lag).min(u64::MAX - 1), Ordering::Relaxed);
    }

    /// Returns the last lag in milliseconds, or `None` before the first measurement.
    pub(crate) fn last_ms(&self) -> Option<u64> {
        let last = self.last_ms.load(Ordering::Relaxed);
        (last != u64::MAX).then_some(last)
    }

    /// Returns the histogram of all measured lags.
    pub(crate) const fn histogram(&self) -> &Histogram<10> {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_last_measured_lag() {
        let lag = Lag::default();
        assert_eq!(lag.last_ms(), None);
        lag.observe(Duration::ZERO);
        assert_eq!(lag.last_ms(), Some(0));
        lag.observe(Duration::from_millis(99_999));
        assert_eq!(lag.last_ms(), Some(99_999));
    }
}
