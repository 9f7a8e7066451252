//! The arithmetic of a limit: a burst of failures, and then one failure in each interval
//! ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm), the leaky bucket as a meter).
//!
//! The only state of a key is one time, its *deadline*, at which all its failures are forgotten. A failure moves the deadline
//! forward by one interval, from the present time if it has passed. Another attempt is admitted if its failure would leave the
//! deadline at most `burst` intervals in the future.

use std::time::Duration;

use super::table::Millis;
use crate::clock::milliseconds;

/// A rate limit: a burst of attempts at once, and then one more attempt in each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Maximum number of counted attempts at once. 0 means no limit.
    pub(crate) burst: u32,
    /// Time after which one counted attempt is forgotten.
    pub(crate) interval: Duration,
}

impl Rate {
    /// Returns the limit multiplied by `factor`: both its burst and its rate.
    pub(super) const fn times(self, factor: u32) -> Self {
        Self {
            burst: self.burst.saturating_mul(factor),
            interval: self.interval.checked_div(factor).expect("the factor is not zero"),
        }
    }

    /// Returns the time until another attempt is admitted, or 0 if it is admitted now.
    pub(super) fn wait(self, deadline: Millis, now: Millis) -> Millis {
        if self.burst == 0 {
            return 0;
        }
        let max_ahead = u64::from(self.burst - 1).saturating_mul(self.interval_ms());
        deadline.saturating_sub(now).saturating_sub(max_ahead)
    }

    /// Returns the deadline after one more failure.
    pub(super) fn charged(self, deadline: Millis, now: Millis) -> Millis {
        deadline.max(now).saturating_add(self.interval_ms())
    }

    /// Returns the deadline without `number` of the failures that were counted.
    pub(super) fn refunded(self, deadline: Millis, number: u32) -> Millis {
        deadline.saturating_sub(u64::from(number).saturating_mul(self.interval_ms()))
    }

    fn interval_ms(self) -> Millis {
        milliseconds(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    #[test]
    fn admits_a_burst_and_then_one_in_each_interval() {
        let mut deadline = 0;
        let now = 1_000_000;
        for _ in 0..3 {
            assert_eq!(RATE.wait(deadline, now), 0);
            deadline = RATE.charged(deadline, now);
        }
        assert_eq!(deadline, now + 30_000);
        assert_eq!(RATE.wait(deadline, now), 10_000);
        assert_eq!(RATE.wait(deadline, now + 9_999), 1);
        assert_eq!(RATE.wait(deadline, now + 10_000), 0);
        deadline = RATE.charged(deadline, now + 10_000);
        assert_eq!(RATE.wait(deadline, now + 10_000), 10_000, "only one more attempt is admitted");
        assert_eq!(RATE.wait(deadline, now + 40_000), 0, "all failures are forgotten");
        assert_eq!(RATE.charged(deadline, now + 90_000), now + 100_000, "a deadline in the past has no effect");
    }

    #[test]
    fn a_multiple_has_a_larger_burst_and_a_higher_rate() {
        let ten_times = RATE.times(10);
        assert_eq!((ten_times.burst, ten_times.interval), (30, Duration::from_secs(1)));
        assert_eq!(Rate { burst: 0, ..RATE }.times(10).burst, 0, "a multiple of no limit is no limit");
    }

    #[test]
    fn a_burst_of_zero_means_no_limit() {
        assert_eq!(Rate { burst: 0, ..RATE }.wait(Millis::MAX, 0), 0);
        let largest = Rate { burst: u32::MAX, interval: Duration::from_secs(3650 * 24 * 3600) };
        assert_eq!(largest.wait(largest.charged(0, 1), 1), 0, "the largest values of the settings do not overflow");
    }

    proptest! {
        /// In every period, at most a burst and one attempt for each interval of the period are admitted.
        #[test]
        fn never_admits_more_than_the_limit_allows(
            burst in 1..20u32, interval in 1..1_000u64, steps in proptest::collection::vec(0..2_000u64, 1..200),
        ) {
            let rate = Rate { burst, interval: Duration::from_millis(interval) };
            let mut deadline = 0;
            let mut now = 5_000;
            let mut passed = Vec::new();
            for step in steps {
                now += step;
                let wait = rate.wait(deadline, now);
                if wait > 0 {
                    prop_assert!(wait <= interval, "after one interval, one more attempt is admitted");
                    continue;
                }
                deadline = rate.charged(deadline, now);
                passed.push(now);
            }
            for (first, start) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let max = u64::from(burst) + (end - start) / interval;
                    prop_assert!((last - first + 1) as u64 <= max, "{passed:?}");
                }
            }
        }

        #[test]
        fn a_refund_undoes_a_charge(deadline in 0..100_000u64, now in 0..100_000u64) {
            prop_assert_eq!(RATE.refunded(RATE.charged(deadline, now), 1), deadline.max(now));
        }
    }
}
