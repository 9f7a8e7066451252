//! Clocks: the only module that reads a clock. Code that checks a session takes [`Now`] as an argument.
//!
//! Two clocks are read together.
//!
//! * The *wall clock* is for deadlines, because all nodes must agree on them, also after a restart.
//! * The *boot clock* is for durations. It is never set. Unlike the monotonic clock, it also runs while the machine is
//!   suspended, so a node that wakes up after an hour can determine that its revocation list is an hour old.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Maximum difference between the wall clocks of two nodes. A token that was sealed further in the future is refused, and a
/// larger step of the wall clock pauses pruning. The proof in [`copy_detection`](crate::session::copy_detection) calls it S.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Maximum difference between the wall clock of a node and the clock of the store. It is half of [`CLOCK_SKEW`], so that the
/// difference between two nodes is at most [`CLOCK_SKEW`].
pub const STORE_CLOCK_SKEW: Duration = Duration::from_secs(CLOCK_SKEW.as_secs() / 2);

/// Time of the wall clock, in whole Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Adds a duration, without its fraction of a second. Saturates at the maximum.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// Returns the duration since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Parses a time in the format of [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339). Returns `None` for another format,
    /// and for a time before 1970 or after the year 9999 in UTC.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
        u64::try_from(instant.unix_timestamp()).ok().map(Self)
    }
}

/// Prints RFC 3339 in UTC, or the number of Unix seconds for a time after the year 9999.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = i64::try_from(self.0)
            .ok()
            .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
            .and_then(|instant| instant.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Readings of both clocks at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock (CLOCK_REALTIME).
    pub wall: UnixTime,
    /// Boot clock: time since boot, including the time while the machine was suspended (CLOCK_BOOTTIME).
    pub boot: Duration,
}

impl Now {
    /// Reads the system's clocks.
    pub fn read() -> Self {
        #[cfg(target_os = "linux")]
        const BOOT_CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const BOOT_CLOCK: ClockId = ClockId::Monotonic;
        let wall = clock_gettime(ClockId::Realtime);
        let boot = clock_gettime(BOOT_CLOCK);
        Self {
            wall: UnixTime(u64::try_from(wall.tv_sec).unwrap_or(0)),
            boot: Duration::new(u64::try_from(boot.tv_sec).unwrap_or(0), u32::try_from(boot.tv_nsec).unwrap_or(0)),
        }
    }
}

/// Clock for requests: the clocks of the system or, in tests, a fixed time that the test sets.
#[cfg(feature = "server")]
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    System,
    #[cfg(test)]
    Fixed(std::sync::Arc<std::sync::Mutex<Now>>),
}

#[cfg(feature = "server")]
impl Clock {
    pub(crate) fn now(&self) -> Now {
        match self {
            Self::System => Now::read(),
            #[cfg(test)]
            Self::Fixed(now) => *now.lock().expect("no test panics while it sets the clock"),
        }
    }
}

/// Converts a duration to whole milliseconds. Saturates at the maximum.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the CPU time that the current thread has used. Time in which the thread did not run is not included.
#[cfg(feature = "server")]
pub(crate) fn thread_time() -> Duration {
    let cpu_time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(cpu_time.tv_sec).unwrap_or(0), u32::try_from(cpu_time.tv_nsec).unwrap_or(0))
}

/// Detects a step of the wall clock relative to the boot clock, and pauses pruning after a step.
///
/// If the wall clock is set to a future time by mistake, pruning removes entries of the revocation list that are still
/// needed. Sessions also expire early, because the list never uses a time before its last pruning. After a step of more
/// than [`CLOCK_SKEW`], nothing is pruned for [`StepGuard::HOLD`]. After that time, the wall clock is assumed to be
/// correct.
#[derive(Debug)]
pub struct StepGuard {
    /// Clocks at the last call of [`Self::observe`].
    last: Now,
    /// Time of the boot clock until which pruning is paused.
    paused_until: Duration,
}

impl StepGuard {
    /// Time for which a step pauses pruning.
    pub const HOLD: Duration = Duration::from_secs(24 * 3600);

    /// Creates a guard that detects steps after `now`.
    pub const fn new(now: Now) -> Self {
        Self { last: now, paused_until: Duration::ZERO }
    }

    /// Compares the clocks with the last call. Returns the previous time of the wall clock if it was set since then, or
    /// `None`. Must be called regularly, because a step is detected only by comparing two calls.
    pub fn observe(&mut self, now: Now) -> Option<UnixTime> {
        let wall_difference = i128::from(now.wall.0) - i128::from(self.last.wall.0);
        let boot_difference = i128::from(now.boot.saturating_sub(self.last.boot).as_secs());
        let previous = std::mem::replace(&mut self.last, now).wall;
        let has_stepped = (wall_difference - boot_difference).unsigned_abs() > u128::from(CLOCK_SKEW.as_secs());
        if has_stepped {
            self.paused_until = now.boot.saturating_add(Self::HOLD);
        }
        has_stepped.then_some(previous)
    }

    /// Returns whether pruning is allowed at `now`.
    pub fn may_prune(&self, now: Now) -> bool {
        now.boot >= self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, boot: u64) -> Now {
        Now { wall: UnixTime(wall), boot: Duration::from_secs(boot) }
    }

    #[test]
    fn prints_and_parses_rfc_3339() {
        let instant = UnixTime(1_764_000_000);
        assert_eq!(instant.to_string(), "2025-11-24T16:00:00Z");
        assert_eq!(UnixTime::parse_rfc3339("2025-11-24T17:00:00+01:00"), Some(instant));
        assert_eq!(UnixTime::parse_rfc3339("1969-12-31T23:59:59Z"), None);
        assert_eq!(UnixTime::parse_rfc3339("9999-12-31T23:59:59-00:01"), None, "the year 10000 in UTC");
        assert_eq!(UnixTime(u64::MAX).to_string(), u64::MAX.to_string());
    }

    #[test]
    fn a_step_of_the_clock_pauses_pruning_but_a_suspend_does_not() {
        let mut guard = StepGuard::new(at(10_000, 100));
        let mut check = |wall, boot| (guard.observe(at(wall, boot)), guard.may_prune(at(wall, boot)));
        assert_eq!(check(10_060, 160), (None, true), "a minute passes");
        assert_eq!(check(17_260, 7_360), (None, true), "both clocks run while the machine is suspended");
        assert_eq!(check(17_380, 7_420), (None, true), "a step of exactly the clock skew is tolerated");
        assert_eq!(check(24_640, 7_480), (Some(UnixTime(17_380)), false), "two hours forward");
        assert_eq!(check(17_500, 7_540), (Some(UnixTime(24_640)), false), "two hours back");
        let hold = StepGuard::HOLD.as_secs();
        assert_eq!(check(17_500 + hold - 1, 7_540 + hold - 1), (None, false));
        assert_eq!(check(17_500 + hold, 7_540 + hold), (None, true));
    }
}
