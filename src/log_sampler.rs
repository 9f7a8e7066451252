//! Rate limit for log lines that a stranger can cause: a request without a session, a replayed token, a connection.
//!
//! Each such line has a sampler of its own, which lets a few lines through in a period and counts the others. The next line that
//! gets through has their number in `left_out`. Code that answers requests logs by [`sampled!`] alone; `tests/log_lines.rs` holds
//! all other lines against a list of reasons why a stranger cannot cause them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Logs at a level of [`tracing::Level`], in capitals, but ten times a second at most. The arguments are those of [`tracing::event!`].
macro_rules! sampled {
    (target: $target:expr, $level:ident, $($line:tt)+) => {
        $crate::log_sampler::sampled!(@ [target: $target,] $target, $level, $($line)+)
    };
    ($level:ident, $($line:tt)+) => {
        $crate::log_sampler::sampled!(@ [] module_path!(), $level, $($line)+)
    };
    (@ [$($prefix:tt)*] $target:expr, $level:ident, $($line:tt)+) => {{
        static SAMPLER: $crate::log_sampler::LogSampler = $crate::log_sampler::LogSampler::a_second();
        if tracing::enabled!(target: $target, tracing::Level::$level)
            && let Some(left_out) = SAMPLER.take($crate::clock::Now::read().boot)
        {
            tracing::event!($($prefix)* tracing::Level::$level, left_out, $($line)+);
        }
    }};
}
pub(crate) use sampled;

/// Lets a number of lines through in each period, and counts the others.
#[derive(Debug)]
pub(crate) struct LogSampler {
    lines: u32,
    period: Duration,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// The boot clock at the first line of the period; `None` before the first.
    began: Option<Duration>,
    taken: u32,
    left_out: u64,
}

impl LogSampler {
    /// Lets ten lines a second through.
    pub(crate) const fn a_second() -> Self {
        Self::new(10, Duration::from_secs(1))
    }

    /// Lets one line a minute through, for what stays so for a while.
    #[cfg(feature = "server")]
    pub(crate) const fn a_minute() -> Self {
        Self::new(1, Duration::from_secs(60))
    }

    const fn new(lines: u32, period: Duration) -> Self {
        Self { lines, period, window: Mutex::new(Window { began: None, taken: 0, left_out: 0 }) }
    }

    /// Returns how many lines were left out since the last one if this one is to be logged, `None` if it is left out. `now` is that
    /// of the boot clock.
    pub(crate) fn take(&self, now: Duration) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.saturating_sub(began) >= self.period) {
            window.began = Some(now);
            window.taken = 0;
        }
        if window.taken == self.lines {
            window.left_out += 1;
            return None;
        }
        window.taken += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_get_through_and_the_others_are_counted() {
        let sampler = LogSampler::a_second();
        let take = |millis| sampler.take(Duration::from_millis(millis));
        assert!((0..10).all(|_| take(5_900) == Some(0)));
        assert!((0..7).all(|_| take(6_899).is_none()), "a period begins with its first line, not with a whole second");
        assert_eq!(take(6_900), Some(7));
        assert_eq!(take(6_901), Some(0));
    }

    #[test]
    #[cfg(feature = "server")]
    fn one_line_a_minute_gets_through_from_the_first_on() {
        let sampler = LogSampler::a_minute();
        let taken = [0, 1, 59, 60, 61].map(|secs| sampler.take(Duration::from_secs(secs)));
        assert_eq!(taken, [Some(0), None, None, Some(2), None]);
    }
}
