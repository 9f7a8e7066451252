//! How long a session lives: two deadlines, sealed into the token, so that a change of configuration never lengthens one that
//! was issued already.

use std::time::Duration;

use super::claims::Flags;
use crate::clock::UnixTime;

/// How long sessions of one kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// A session unused for this long is dead.
    pub idle: Duration,
    /// A session older than this is dead.
    pub absolute: Duration,
}

/// Shortest idle time: it leaves room for a renewal between two requests of a page.
const LEAST_IDLE: Duration = Duration::from_secs(10);
/// Longest lifetime, which is ten years: a longer one is a typing mistake.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The rule that a lifetime breaks.
#[cfg_attr(not(feature = "salvo"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLifetime {
    /// The idle time is shorter than ten seconds.
    IdleTooShort,
    /// The idle time is longer than the absolute one.
    IdleOverAbsolute,
    /// The absolute time is longer than ten years.
    AbsoluteTooLong,
}

#[cfg_attr(not(feature = "salvo"), allow(dead_code))]
impl Lifetime {
    /// Takes what an operator or an application decided. The error is the first rule that is broken.
    pub(crate) fn new(idle: Duration, absolute: Duration) -> Result<Self, BadLifetime> {
        if idle < LEAST_IDLE {
            Err(BadLifetime::IdleTooShort)
        } else if idle > absolute {
            Err(BadLifetime::IdleOverAbsolute)
        } else if absolute > MAX_LIFETIME {
            Err(BadLifetime::AbsoluteTooLong)
        } else {
            Ok(Self { idle, absolute })
        }
    }
}

/// The lifetimes of both kinds of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// An ordinary session.
    pub ordinary: Lifetime,
    /// A remembered one.
    pub remembered: Lifetime,
}

/// Half an hour unused and twelve hours in all; for remembered sessions, 14 and 90 days.
impl Default for Lifetimes {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        let lifetime =
            |idle, absolute| Lifetime { idle: Duration::from_secs(idle), absolute: Duration::from_secs(absolute) };
        Self { ordinary: lifetime(30 * MINUTE, 12 * 60 * MINUTE), remembered: lifetime(14 * DAY, 90 * DAY) }
    }
}

impl Lifetimes {
    /// The lifetime of the sessions with these flags.
    pub const fn of(&self, flags: Flags) -> Lifetime {
        if flags.remembered() { self.remembered } else { self.ordinary }
    }

    /// The longest that any session lives.
    pub fn longest(&self) -> Duration {
        self.ordinary.absolute.max(self.remembered.absolute)
    }
}

/// The deadlines in a token. At the second of a deadline the token is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// When it dies unused.
    pub idle: UnixTime,
    /// When it dies whatever happens.
    pub absolute: UnixTime,
}

impl Deadlines {
    /// The deadlines of a session that begins at `now`; `cap` is the longest that the sealing key allows.
    pub fn at_sign_in(now: UnixTime, lifetime: Lifetime, cap: Duration) -> Self {
        let absolute = now.plus(lifetime.absolute.min(cap));
        Self { idle: now.plus(lifetime.idle).min(absolute), absolute }
    }

    /// The deadlines after a renewal, which count from the instant at which the revocation list was checked. The absolute one
    /// never moves, so that every token of a session tells the same: a sign-out that presents the one is kept long enough for
    /// all. A key that allows less moves the idle one nearer.
    #[must_use]
    pub fn renewed(self, checked_at: UnixTime, lifetime: Lifetime, cap: Duration) -> Self {
        Self { idle: checked_at.plus(lifetime.idle.min(cap)).min(self.absolute), ..self }
    }

    /// Whether a tenth of the idle time has gone since the token was sealed, and a renewal could still move its idle deadline.
    pub fn due_for_renewal(self, sealed_at: UnixTime, now: UnixTime) -> bool {
        self.idle < self.absolute && now.since(sealed_at) >= self.idle.since(sealed_at) / 10
    }

    /// Whether more than half of the idle time has gone since the token was sealed, and a renewal could still move its idle
    /// deadline.
    pub fn is_half_spent(self, sealed_at: UnixTime, now: UnixTime) -> bool {
        self.idle < self.absolute && now.since(sealed_at) * 2 > self.idle.since(sealed_at)
    }

    /// Whether the token is dead at `now`.
    pub fn passed(self, now: UnixTime) -> bool {
        now >= self.idle || now >= self.absolute
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIFETIME: Lifetime = Lifetime { idle: Duration::from_secs(100), absolute: Duration::from_secs(1000) };
    const NO_CAP: Duration = Duration::MAX;

    #[test]
    fn dies_at_the_second_of_a_deadline() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        assert_eq!(deadlines, Deadlines { idle: UnixTime(5100), absolute: UnixTime(6000) });
        assert!(!deadlines.passed(UnixTime(5099)));
        assert!(deadlines.passed(UnixTime(5100)));
        let late = Deadlines { idle: UnixTime(6000), absolute: UnixTime(6000) };
        assert!(!late.passed(UnixTime(5999)));
        assert!(late.passed(UnixTime(6000)));
    }

    #[test]
    fn is_due_after_a_tenth_of_the_idle_time_until_the_deadline() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        assert!(!deadlines.due_for_renewal(UnixTime(5000), UnixTime(5009)));
        assert!(deadlines.due_for_renewal(UnixTime(5000), UnixTime(5010)));
        let last = deadlines.renewed(UnixTime(5950), LIFETIME, NO_CAP);
        assert_eq!(last.idle, last.absolute);
        assert!(!last.due_for_renewal(UnixTime(5950), UnixTime(5999)));
    }

    #[test]
    fn the_key_caps_both_deadlines() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, Duration::from_secs(50));
        assert_eq!(deadlines, Deadlines { idle: UnixTime(5050), absolute: UnixTime(5050) });
    }

    proptest! {
        #[test]
        fn no_row_of_renewals_passes_the_absolute_deadline(steps in proptest::collection::vec(0u64..99, 0..50)) {
            let start = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
            let (mut deadlines, mut now) = (start, UnixTime(5000));
            for step in steps {
                now = now.plus(Duration::from_secs(step));
                let before = deadlines;
                deadlines = deadlines.renewed(now, LIFETIME, NO_CAP);
                prop_assert_eq!(deadlines.absolute, start.absolute);
                prop_assert!(deadlines.idle <= start.absolute && deadlines.idle >= before.idle);
            }
        }
    }
}
