//! Rate limit for log lines that any client can cause, for example with a request without a session, a replayed token or a
//! connection.
//!
//! Each such log statement has its own sampler. The sampler is a rate limiter: it allows a few lines per period, and drops and
//! counts all further lines. The next allowed line has the number of dropped lines in its field `left_out`.
//!
//! Invariant: code that handles requests logs only with [`sampled!`]. `tests/log_lines.rs` has the list of all other log
//! statements, and for each the reason why an unauthenticated client cannot cause it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Logs at most ten lines per second. The level is a constant of [`tracing::Level`]. The other arguments are those of
/// [`tracing::event!`].
macro_rules! sampled {
    (target: $target:expr, $level:ident, $($line:tt)+) => {
        $crate::log_sampler::sampled!(@ [target: $target,] $target, $level, $($line)+)
    };
    ($level:ident, $($line:tt)+) => {
        $crate::log_sampler::sampled!(@ [] module_path!(), $level, $($line)+)
    };
    (@ [$($prefix:tt)*] $target:expr, $level:ident, $($line:tt)+) => {{
        static SAMPLER: $crate::log_sampler::LogSampler = $crate::log_sampler::LogSampler::ten_per_second();
        if tracing::enabled!(target: $target, tracing::Level::$level)
            && let Some(left_out) = SAMPLER.take($crate::clock::Now::read().boot)
        {
            tracing::event!($($prefix)* tracing::Level::$level, left_out, $($line)+);
        }
    }};
}
pub(crate) use sampled;

/// Rate limiter that allows a number of lines in each period, and counts the dropped lines.
#[derive(Debug)]
pub(crate) struct LogSampler {
    lines_per_period: u32,
    period: Duration,
    window: Mutex<Window>,
}

/// State of the current period.
#[derive(Debug)]
struct Window {
    /// Time of the boot clock (`CLOCK_BOOTTIME`: the time since the system was started) at the first line of
    /// the period, or `None` before the first line.
    began: Option<Duration>,
    /// Number of lines that were allowed in the current period.
    passed: u32,
    /// Number of lines that were dropped since the last allowed line.
    left_out: u64,
}

impl LogSampler {
    /// Creates a sampler that allows ten lines per second.
    pub(crate) const fn ten_per_second() -> Self {
        Self::new(10, Duration::from_secs(1))
    }

    /// Creates a sampler that allows one line per minute, for conditions that may last for minutes or longer.
    #[cfg(feature = "server")]
    pub(crate) const fn one_per_minute() -> Self {
        Self::new(1, Duration::from_secs(60))
    }

    const fn new(lines_per_period: u32, period: Duration) -> Self {
        Self { lines_per_period, period, window: Mutex::new(Window { began: None, passed: 0, left_out: 0 }) }
    }

    /// Decides whether to log a line at `now`, a time of the boot clock. Returns the number of lines that were dropped since
    /// the last allowed line, or `None` if this line must be dropped too.
    pub(crate) fn take(&self, now: Duration) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.saturating_sub(began) >= self.period) {
            window.began = Some(now);
            window.passed = 0;
        }
        if window.passed == self.lines_per_period {
            window.left_out += 1;
            return None;
        }
        window.passed += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_ten_lines_per_second_and_counts_the_others() {
        let sampler = LogSampler::ten_per_second();
        let take = |millis| sampler.take(Duration::from_millis(millis));
        assert!((0..10).all(|_| take(5_900) == Some(0)));
        assert!((0..7).all(|_| take(6_899).is_none()), "a period begins with its first line, not with a whole second");
        assert_eq!(take(6_900), Some(7));
        assert_eq!(take(6_901), Some(0));
    }

    #[test]
    #[cfg(feature = "server")]
    fn passes_the_first_line_of_each_minute() {
        let sampler = LogSampler::one_per_minute();
        let taken = [0, 1, 59, 60, 61].map(|secs| sampler.take(Duration::from_secs(secs)));
        assert_eq!(taken, [Some(0), None, None, Some(2), None]);
    }
}
