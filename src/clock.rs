//! Time: the one place that reads a clock. What judges a session takes [`Now`] as an argument.
//!
//! Two clocks are read together. The *wall* clock is what deadlines are written in, because nodes and restarts must agree on
//! it. The *boot* clock measures spans: it never steps, and unlike the monotonic clock it runs through a suspend, so that a
//! node back from an hour's sleep knows how stale it is.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// S: how far the clocks of two nodes may be apart. Tokens sealed further than this in the future are refused, and a step of
/// the wall clock by more than this stops pruning.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How far a node's clock may be from the store's. Half of [`CLOCK_SKEW`], so that two nodes are never further apart than that.
pub const STORE_CLOCK_SKEW: Duration = Duration::from_secs(CLOCK_SKEW.as_secs() / 2);

/// An instant in whole Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The instant `span` later, saturating; a fraction of a second in `span` is dropped.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// The instant that an RFC 3339 text names, if it is one, not before 1970 and, in UTC, not past the year 9999.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
        u64::try_from(instant.unix_timestamp()).ok().map(Self)
    }
}

/// RFC 3339 in UTC; bare seconds for an instant past the year 9999.
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

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock (CLOCK_REALTIME).
    pub wall: UnixTime,
    /// Time since boot, suspend included (CLOCK_BOOTTIME).
    pub boot: Duration,
}

impl Now {
    /// Reads the system's clocks.
    pub fn read() -> Self {
        #[cfg(target_os = "linux")]
        const SPANS: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const SPANS: ClockId = ClockId::Monotonic;
        let wall = clock_gettime(ClockId::Realtime);
        let boot = clock_gettime(SPANS);
        Self {
            wall: UnixTime(u64::try_from(wall.tv_sec).unwrap_or(0)),
            boot: Duration::new(u64::try_from(boot.tv_sec).unwrap_or(0), u32::try_from(boot.tv_nsec).unwrap_or(0)),
        }
    }
}

/// The clock that requests read: the system's or, in tests, one that stands still until it is set.
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

/// Whole milliseconds, saturating.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The processor's time that this thread has used: how much it has done, whoever else was let run meanwhile.
#[cfg(feature = "server")]
pub(crate) fn thread_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Notices a step of the wall clock against the boot clock, which makes pruning wait.
///
/// A wrong clock set right again must not have cost anybody a session, nor thrown away refusals that are still needed. So
/// after a step of more than [`CLOCK_SKEW`] nothing is pruned for [`StepGuard::HOLD`]; by then the new time is the time.
#[derive(Debug)]
pub struct StepGuard {
    last: Now,
    held_until: Duration,
}

impl StepGuard {
    /// How long a step holds up pruning.
    pub const HOLD: Duration = Duration::from_secs(24 * 3600);

    /// Starts watching from `now`.
    pub const fn new(now: Now) -> Self {
        Self { last: now, held_until: Duration::ZERO }
    }

    /// Looks at the clocks; to be asked regularly, because a step shows between two looks. Returns the wall clock as it was just
    /// before, if it was set since.
    pub fn look(&mut self, now: Now) -> Option<UnixTime> {
        let walls = i128::from(now.wall.0) - i128::from(self.last.wall.0);
        let boots = i128::from(now.boot.saturating_sub(self.last.boot).as_secs());
        let before = std::mem::replace(&mut self.last, now).wall;
        let stepped = (walls - boots).unsigned_abs() > u128::from(CLOCK_SKEW.as_secs());
        if stepped {
            self.held_until = now.boot.saturating_add(Self::HOLD);
        }
        stepped.then_some(before)
    }

    /// Whether pruning may go on at `now`.
    pub fn may_prune(&self, now: Now) -> bool {
        now.boot >= self.held_until
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
    fn a_step_either_way_holds_pruning_and_a_suspend_does_not() {
        let mut guard = StepGuard::new(at(10_000, 100));
        let mut ask = |wall, boot| (guard.look(at(wall, boot)), guard.may_prune(at(wall, boot)));
        assert_eq!(ask(10_060, 160), (None, true), "time passes");
        assert_eq!(ask(17_260, 7_360), (None, true), "both clocks ran through a suspend");
        assert_eq!(ask(17_380, 7_420), (None, true), "a step of the skew itself is tolerated");
        assert_eq!(ask(24_640, 7_480), (Some(UnixTime(17_380)), false), "two hours forward");
        assert_eq!(ask(17_500, 7_540), (Some(UnixTime(24_640)), false), "and back");
        let hold = StepGuard::HOLD.as_secs();
        assert_eq!(ask(17_500 + hold - 1, 7_540 + hold - 1), (None, false));
        assert_eq!(ask(17_500 + hold, 7_540 + hold), (None, true));
    }
}
