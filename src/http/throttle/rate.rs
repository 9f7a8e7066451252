//! The arithmetic of a limit: so many failures at once, and one more each interval (GCRA, the leaky bucket as a meter).
//!
//! What is remembered of a key is one instant, its *deadline*: when all its failures are forgotten. A failure moves it on by one
//! interval, counted from now if it has passed; another attempt is let through as long as that leaves the deadline no more than
//! `burst` intervals ahead.

use std::time::Duration;

use super::table::Millis;
use crate::clock::milliseconds;

/// A limit on failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How many at once; 0 for no limit.
    pub(crate) burst: u32,
    /// How long until one of them is forgotten.
    pub(crate) interval: Duration,
}

impl Rate {
    /// The limit multiplied by `factor`, at once and in the long run.
    pub(super) const fn times(self, factor: u32) -> Self {
        Self {
            burst: self.burst.saturating_mul(factor),
            interval: self.interval.checked_div(factor).expect("not by zero"),
        }
    }

    /// How long until another attempt may be made; zero if it may be made now.
    pub(super) fn wait(self, deadline: Millis, now: Millis) -> Millis {
        if self.burst == 0 {
            return 0;
        }
        let most_ahead = u64::from(self.burst - 1).saturating_mul(self.step());
        deadline.saturating_sub(now).saturating_sub(most_ahead)
    }

    /// The deadline after one more failure.
    pub(super) fn charged(self, deadline: Millis, now: Millis) -> Millis {
        deadline.max(now).saturating_add(self.step())
    }

    /// The deadline without this number of the failures that were counted.
    pub(super) fn refunded(self, deadline: Millis, number: u32) -> Millis {
        deadline.saturating_sub(u64::from(number).saturating_mul(self.step()))
    }

    fn step(self) -> Millis {
        milliseconds(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    #[test]
    fn lets_a_burst_through_and_then_one_each_interval() {
        let (mut deadline, now) = (0, 1_000_000);
        for _ in 0..3 {
            assert_eq!(RATE.wait(deadline, now), 0);
            deadline = RATE.charged(deadline, now);
        }
        assert_eq!(deadline, now + 30_000);
        assert_eq!(RATE.wait(deadline, now), 10_000);
        assert_eq!(RATE.wait(deadline, now + 9_999), 1);
        assert_eq!(RATE.wait(deadline, now + 10_000), 0);
        deadline = RATE.charged(deadline, now + 10_000);
        assert_eq!(RATE.wait(deadline, now + 10_000), 10_000, "one and no more");
        assert_eq!(RATE.wait(deadline, now + 40_000), 0, "all is forgotten");
        assert_eq!(RATE.charged(deadline, now + 90_000), now + 100_000, "and counts afresh");
    }

    #[test]
    fn a_multiple_lets_more_through_at_once_and_after() {
        let ten_times = RATE.times(10);
        assert_eq!((ten_times.burst, ten_times.interval), (30, Duration::from_secs(1)));
        assert_eq!(Rate { burst: 0, ..RATE }.times(10).burst, 0, "no limit stays none");
    }

    #[test]
    fn no_burst_is_no_limit() {
        assert_eq!(Rate { burst: 0, ..RATE }.wait(Millis::MAX, 0), 0);
        let largest = Rate { burst: u32::MAX, interval: Duration::from_secs(3650 * 24 * 3600) };
        assert_eq!(largest.wait(largest.charged(0, 1), 1), 0, "what the settings allow does not overflow");
    }

    proptest! {
        /// Whatever the moments, no span lets through more than a burst and one for each interval in it.
        #[test]
        fn never_lets_through_more_than_it_says(
            burst in 1..20u32, interval in 1..1_000u64, steps in proptest::collection::vec(0..2_000u64, 1..200),
        ) {
            let rate = Rate { burst, interval: Duration::from_millis(interval) };
            let (mut deadline, mut now, mut passed) = (0, 5_000, Vec::new());
            for step in steps {
                now += step;
                let wait = rate.wait(deadline, now);
                if wait > 0 {
                    prop_assert!(wait <= interval, "one interval is enough for one more");
                    continue;
                }
                deadline = rate.charged(deadline, now);
                passed.push(now);
            }
            for (first, start) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (end - start) / interval;
                    prop_assert!((last - first + 1) as u64 <= most, "{passed:?}");
                }
            }
        }

        #[test]
        fn a_refund_undoes_a_charge(deadline in 0..100_000u64, now in 0..100_000u64) {
            prop_assert_eq!(RATE.refunded(RATE.charged(deadline, now), 1), deadline.max(now));
        }
    }
}
