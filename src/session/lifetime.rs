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

impl Lifetime {
    /// Longest time between two renewals of a session with this lifetime that is in use.
    pub fn renewal_interval(self) -> Duration {
        renewal_interval(self.idle)
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

/// Longest time between two renewals of a session that is in use.
const MAX_RENEWAL_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// From when on an answer may renew a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalWindow {
    /// As soon as the token is due: the method of the visitor's request is known, and it is GET or HEAD. Or the answer sets the
    /// cookie anyway, because the application's data was replaced.
    WhenDue,
    /// Only in the last third of the idle time. Other requests can take minutes, and a proxy keeps the new cookie until the
    /// application has answered. So late an answer would replace the cookie by an older one.
    LastThird,
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

    /// I: the time from the sealing of a token until it is due for renewal. A sixth of its idle time, and at most five minutes.
    pub fn renewal_interval(self, sealed_at: UnixTime) -> Duration {
        renewal_interval(self.idle.since(sealed_at))
    }

    /// Whether the token is due: its renewal interval has passed, and a renewal could still move its idle deadline.
    pub fn is_due(self, sealed_at: UnixTime, now: UnixTime) -> bool {
        self.idle < self.absolute && now.since(sealed_at) >= self.renewal_interval(sealed_at)
    }

    /// Whether an answer may renew a token that is due.
    pub fn may_renew(self, sealed_at: UnixTime, now: UnixTime, window: RenewalWindow) -> bool {
        match window {
            RenewalWindow::WhenDue => true,
            RenewalWindow::LastThird => now.since(sealed_at) >= self.idle.since(sealed_at) / 3 * 2,
        }
    }

    /// Whether more than half of the idle time has gone since the token was sealed, and a renewal could still move its idle
    /// deadline.
    pub fn is_half_spent(self, sealed_at: UnixTime, now: UnixTime) -> bool {
        self.idle < self.absolute && now.since(sealed_at) > self.idle.since(sealed_at) / 2
    }

    /// Whether the token is dead at `now`.
    pub fn passed(self, now: UnixTime) -> bool {
        now >= self.idle || now >= self.absolute
    }
}

fn renewal_interval(idle: Duration) -> Duration {
    (idle / 6).min(MAX_RENEWAL_INTERVAL)
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
    fn is_due_after_a_sixth_of_the_idle_time_or_five_minutes() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        assert!(!deadlines.is_due(UnixTime(5000), UnixTime(5016)));
        assert!(deadlines.is_due(UnixTime(5000), UnixTime(5017)));
        let Lifetimes { ordinary, remembered } = Lifetimes::default();
        for lifetime in [ordinary, remembered] {
            let deadlines = Deadlines::at_sign_in(UnixTime(5000), lifetime, NO_CAP);
            assert!(!deadlines.is_due(UnixTime(5000), UnixTime(5299)));
            assert!(deadlines.is_due(UnixTime(5000), UnixTime(5300)));
        }
    }

    #[test]
    fn is_not_due_if_a_renewal_could_move_nothing() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        let last = deadlines.renewed(UnixTime(5950), LIFETIME, NO_CAP);
        assert_eq!(last.idle, last.absolute);
        assert!(!last.is_due(UnixTime(5950), UnixTime(5999)));
    }

    #[test]
    fn answers_to_other_methods_renew_in_the_last_third_only() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        let may_renew = |now, window| deadlines.may_renew(UnixTime(5000), UnixTime(now), window);
        assert!(may_renew(5017, RenewalWindow::WhenDue));
        assert!(!may_renew(5066, RenewalWindow::LastThird));
        assert!(may_renew(5067, RenewalWindow::LastThird));
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
