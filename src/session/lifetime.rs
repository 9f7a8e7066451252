//! Lifetimes of sessions: two timeouts in the configuration, and the two deadlines in each token.
//!
//! Invariant: the deadlines are in the token, so a change of the configuration never makes an issued token valid for longer.
//! Called by `issue.rs` and `verify.rs`.

use std::time::Duration;

use super::claims::Flags;
use crate::clock::UnixTime;

/// Timeouts of one type of session, ordinary or remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Idle timeout: a session expires if it is not used for this time.
    pub idle: Duration,
    /// Absolute timeout: a session expires this time after the login.
    pub absolute: Duration,
}

/// Minimum idle timeout. It is long enough for a renewal between two requests of a page.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum absolute timeout: ten years. A longer timeout is probably a typing mistake.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Error for a lifetime that breaks a rule.
#[cfg_attr(not(feature = "salvo"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLifetime {
    /// The idle timeout is shorter than ten seconds.
    IdleTooShort,
    /// The idle timeout is longer than the absolute timeout.
    IdleOverAbsolute,
    /// The absolute timeout is longer than ten years.
    AbsoluteTooLong,
}

#[cfg_attr(not(feature = "salvo"), allow(dead_code))]
impl Lifetime {
    /// Checks the timeouts that an operator or an application has set. The error is the first broken rule.
    pub(crate) fn new(idle: Duration, absolute: Duration) -> Result<Self, BadLifetime> {
        if idle < MIN_IDLE_TIMEOUT {
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
    /// Returns the time from a renewal until the session is due for the next one.
    pub fn renewal_interval(self) -> Duration {
        renewal_interval(self.idle)
    }
}

/// Lifetimes of both types of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Lifetime of ordinary sessions.
    pub ordinary: Lifetime,
    /// Lifetime of remembered sessions.
    pub remembered: Lifetime,
}

/// Ordinary sessions: idle timeout 30 minutes, absolute timeout 12 hours. Remembered sessions: 14 days and 90 days.
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
    /// Returns the lifetime of the sessions with these flags.
    pub const fn of(&self, flags: Flags) -> Lifetime {
        if flags.is_remembered() { self.remembered } else { self.ordinary }
    }

    /// Returns the longer of the two absolute timeouts.
    pub fn longest(&self) -> Duration {
        self.ordinary.absolute.max(self.remembered.absolute)
    }
}

/// Maximum renewal interval.
const MAX_RENEWAL_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Period in which a response may renew a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalWindow {
    /// From the time when the token is due. This applies if the method of the client's request is known to be GET or HEAD, or
    /// if the response sets the cookie anyway, because it replaces the application's data.
    WhenDue,
    /// Only in the last third of the idle timeout. Requests with other methods can take minutes, and a proxy delivers the new
    /// cookie together with the response of the application. Such a late response could replace a newer cookie with an older
    /// one.
    LastThird,
}

/// Deadlines in a token. The token is expired from the second of a deadline on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Time at which the token expires if it is not renewed.
    pub idle: UnixTime,
    /// Time at which the token and its session expire in any case.
    pub absolute: UnixTime,
}

impl Deadlines {
    /// Returns the deadlines of a session that begins at `now`. `cap` is the maximum lifetime that the sealing key allows.
    pub fn at_sign_in(now: UnixTime, lifetime: Lifetime, cap: Duration) -> Self {
        let absolute = now.plus(lifetime.absolute.min(cap));
        Self { idle: now.plus(lifetime.idle).min(absolute), absolute }
    }

    /// Returns the deadlines after a renewal. They count from `checked_at`, the time at which the revocation list was checked.
    ///
    /// The absolute deadline never moves, so it is the same in all tokens of a session. A logout reads it from the presented
    /// token, so the revocation entry is kept long enough for all tokens of the session. If the sealing key allows less than
    /// the idle timeout, the idle deadline is earlier.
    #[must_use]
    pub fn renewed(self, checked_at: UnixTime, lifetime: Lifetime, cap: Duration) -> Self {
        Self { idle: checked_at.plus(lifetime.idle.min(cap)).min(self.absolute), ..self }
    }

    /// Returns the time from the sealing of a token until it is due for renewal: a sixth of its idle timeout, but at most five
    /// minutes. The proof in [`copy_detection`](super::copy_detection) calls it I.
    pub fn renewal_interval(self, sealed_at: UnixTime) -> Duration {
        renewal_interval(self.idle.since(sealed_at))
    }

    /// Whether the token is due for renewal: its renewal interval has passed, and its idle deadline is before the absolute
    /// deadline, so that a renewal can move it.
    pub fn is_due(self, sealed_at: UnixTime, now: UnixTime) -> bool {
        self.idle < self.absolute && now.since(sealed_at) >= self.renewal_interval(sealed_at)
    }

    /// Whether a response with this window may renew a token that is due.
    pub fn may_renew(self, sealed_at: UnixTime, now: UnixTime, window: RenewalWindow) -> bool {
        match window {
            RenewalWindow::WhenDue => true,
            RenewalWindow::LastThird => now.since(sealed_at) >= self.idle.since(sealed_at) / 3 * 2,
        }
    }

    /// Whether more than half of the idle timeout has passed since the token was sealed, and a renewal can still move the idle
    /// deadline.
    pub fn is_past_half_of_idle_timeout(self, sealed_at: UnixTime, now: UnixTime) -> bool {
        self.idle < self.absolute && now.since(sealed_at) > self.idle.since(sealed_at) / 2
    }

    /// Whether the token is expired at `now`.
    pub fn is_expired(self, now: UnixTime) -> bool {
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
    fn expires_at_the_second_of_a_deadline() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        assert_eq!(deadlines, Deadlines { idle: UnixTime(5100), absolute: UnixTime(6000) });
        assert!(!deadlines.is_expired(UnixTime(5099)));
        assert!(deadlines.is_expired(UnixTime(5100)));
        let late = Deadlines { idle: UnixTime(6000), absolute: UnixTime(6000) };
        assert!(!late.is_expired(UnixTime(5999)));
        assert!(late.is_expired(UnixTime(6000)));
    }

    #[test]
    fn is_due_after_a_sixth_of_the_idle_timeout_or_five_minutes() {
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
    fn is_not_due_if_a_renewal_cannot_move_the_deadline() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        let last = deadlines.renewed(UnixTime(5950), LIFETIME, NO_CAP);
        assert_eq!(last.idle, last.absolute);
        assert!(!last.is_due(UnixTime(5950), UnixTime(5999)));
    }

    #[test]
    fn responses_to_other_methods_renew_only_in_the_last_third() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
        let may_renew = |now, window| deadlines.may_renew(UnixTime(5000), UnixTime(now), window);
        assert!(may_renew(5017, RenewalWindow::WhenDue));
        assert!(!may_renew(5066, RenewalWindow::LastThird));
        assert!(may_renew(5067, RenewalWindow::LastThird));
    }

    #[test]
    fn the_maximum_lifetime_of_the_key_limits_both_deadlines() {
        let deadlines = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, Duration::from_secs(50));
        assert_eq!(deadlines, Deadlines { idle: UnixTime(5050), absolute: UnixTime(5050) });
    }

    proptest! {
        #[test]
        fn no_series_of_renewals_passes_the_absolute_deadline(steps in proptest::collection::vec(0u64..99, 0..50)) {
            let start = Deadlines::at_sign_in(UnixTime(5000), LIFETIME, NO_CAP);
            let mut deadlines = start;
            let mut now = UnixTime(5000);
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
