//! Counters and histograms of this process, for `/metrics`. `http/metrics/families.rs` declares what each means.
//!
//! They belong to the process, as its log does, and begin at zero with it. Label values are closed lists: nothing that a client
//! sends becomes one. What is counted with every request is counted in stripes, so that threads do not share cache lines.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};

use crate::clock::Now;

/// Session checks by outcome.
pub(crate) static VERIFICATIONS: Counts<{ Verification::VARIANTS.len() }> = Counts::new();
/// Renewed sessions.
pub(crate) static RENEWALS: Counts<1> = Counts::new();
/// Sessions that copy detection ended.
pub(crate) static COPIED_SESSIONS: Counts<1> = Counts::new();
/// Passwords by purpose, and then by outcome.
pub(crate) static PASSWORDS: [Counts<{ Password::VARIANTS.len() }>; 3] = [Counts::new(), Counts::new(), Counts::new()];
/// Logouts by outcome.
pub(crate) static SIGN_OUTS: Counts<{ SignOut::VARIANTS.len() }> = Counts::new();
/// Connections that were closed to make room.
pub(crate) static GAVE_WAY: Counts<1> = Counts::new();
/// Requests that could not wait for their key, because too many did.
pub(crate) static KEY_WAITS_REFUSED: Counts<1> = Counts::new();
/// HTTP/2 requests of trusted proxies that could not wait any longer for their bodies, because too many did.
pub(crate) static BODY_WAITS_DISPLACED: Counts<1> = Counts::new();
/// HTTP/2 requests that were answered with 503 for lack of memory.
pub(crate) static HTTP2_REFUSED: Counts<1> = Counts::new();
/// Query parameters of verification requests that look like a rule and are ignored.
pub(crate) static MISSPELT_RULES: Counts<{ RuleName::VARIANTS.len() }> = Counts::new();
/// Verification requests with a rule that cannot be read.
pub(crate) static UNREADABLE_RULES: Counts<1> = Counts::new();
/// Log lines that were dropped.
pub(crate) static LOG_LINES_DROPPED: Counts<{ DroppedLine::VARIANTS.len() }> = Counts::new();
/// Time that threads needed for a password, and the number of threads that hash.
pub(crate) static HASHING: Histogram<10> = Histogram::new([5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000]);
pub(crate) static HASHING_NOW: AtomicU64 = AtomicU64::new(0);
/// Time that operations of the store needed, and how often they failed.
pub(crate) static STORE: [StoreTimes; StoreCall::VARIANTS.len()] =
    [StoreTimes::new(), StoreTimes::new(), StoreTimes::new(), StoreTimes::new()];

/// Outcome of a session check.
#[derive(Debug, Clone, Copy, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Verification {
    Live,
    Missing,
    Invalid,
    Expired,
    Revoked,
    Stale,
    StepUp,
    Forbidden,
    /// The request is not accepted: a host that is not served, a rule that cannot be read, another site.
    BadRequest,
    Error,
    /// A CORS preflight that a rule lets pass without a session.
    Preflight,
}

/// Outcome of a password. Unknown accounts, wrong passwords and disabled accounts count together.
#[derive(Debug, Clone, Copy, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Password {
    Accepted,
    Refused,
    /// Right, but must be changed first.
    MustChange,
    ChangedMeanwhile,
    Throttled,
    Overloaded,
    Error,
}

/// Outcome of a logout.
#[derive(Debug, Clone, Copy, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum SignOut {
    /// Committed to the store.
    Durable,
    /// In force here, and committed when the store works again.
    NotDurable,
    /// Not done: another node has the key.
    KeyElsewhere,
}

/// A rule of a route, by its name.
#[derive(Debug, Clone, Copy, VariantNames, strum::VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum RuleName {
    Role,
    MaxAge,
    Csrf,
    Renew,
    Preflight,
}

/// Kind of a dropped log line.
#[derive(Debug, Clone, Copy, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum DroppedLine {
    Audit,
    Other,
}

/// Operation of the store.
#[derive(Debug, Clone, Copy, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum StoreCall {
    /// Writes revocations, many at once.
    Commit,
    /// Reads the revocation log.
    Poll,
    Account,
    /// Reads the global session generation, before a password is checked.
    State,
}

impl StoreCall {
    /// Measures an operation.
    pub(crate) async fn watch<T, E>(self, question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Now::read().boot;
        let outcome = question.await;
        let times = &STORE[self as usize];
        times.took.observe(Now::read().boot.saturating_sub(began));
        if outcome.is_err() {
            times.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

/// Times and failures of one operation.
pub(crate) struct StoreTimes {
    pub(crate) took: Histogram<10>,
    pub(crate) failures: AtomicU64,
}

impl StoreTimes {
    const fn new() -> Self {
        Self { took: Histogram::new([1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000]), failures: AtomicU64::new(0) }
    }
}

/// Counters, one for each of `N` kinds.
pub(crate) struct Counts<const N: usize>([Stripe<N>; STRIPES]);

const STRIPES: usize = 8;

/// Two lines of a cache, because processors fetch them in pairs.
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counts<N> {
    const fn new() -> Self {
        Self([const { Stripe([const { AtomicU64::new(0) }; N]) }; STRIPES])
    }

    /// Counts one of the kind with this place in the list of their names.
    pub(crate) fn add(&self, kind: usize) {
        self.add_many(kind, 1);
    }

    pub(crate) fn add_many(&self, kind: usize, count: u64) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        self.0[STRIPE.with(|stripe| *stripe)].0[kind].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn total(&self, kind: usize) -> u64 {
        self.0.iter().map(|stripe| stripe.0[kind].load(Ordering::Relaxed)).sum()
    }
}

/// How many spans of time were within each of some bounds, and their sum.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds_ms: [u64; N],
    /// Within each bound, but not within the one before.
    counts: [AtomicU64; N],
    beyond: AtomicU64,
    sum_us: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// With upper bounds in milliseconds, in rising order.
    pub(crate) const fn new(bounds_ms: [u64; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Self { bounds_ms, counts, beyond: AtomicU64::new(0), sum_us: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, span: Duration) {
        let place = self.bounds_ms.partition_point(|bound| Duration::from_millis(*bound) < span);
        self.counts.get(place).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The sum of all spans.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }

    /// For each bound, and at last for none, how many were within it.
    pub(crate) fn within(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = self.bounds_ms.into_iter().map(|ms| Some(Duration::from_millis(ms))).chain([None]);
        bounds.zip(self.counts.iter().chain([&self.beyond])).scan(0, |total, (bound, count)| {
            *total += count.load(Ordering::Relaxed);
            Some((bound, *total))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_within_its_bound_and_all_above() {
        let histogram = Histogram::new([5, 10]);
        for us in [5_000, 5_001, 99_999_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let bound = |ms| Some(Duration::from_millis(ms));
        assert_eq!(histogram.within().collect::<Vec<_>>(), [(bound(5), 1), (bound(10), 2), (None, 3)]);
        assert_eq!(histogram.sum(), Duration::from_micros(5_000 + 5_001 + 99_999_000));
    }

    #[test]
    fn what_several_threads_count_is_all_there() {
        static COUNTS: Counts<2> = Counts::new();
        let threads: Vec<_> = (0..20).map(|_| std::thread::spawn(|| (0..100).for_each(|_| COUNTS.add(1)))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it counts"));
        assert_eq!((COUNTS.total(0), COUNTS.total(1)), (0, 2000));
    }

    #[test]
    fn names_of_kinds_are_those_of_the_metrics() {
        let verifications = "live missing invalid expired revoked stale step-up forbidden bad-request error preflight";
        assert_eq!(Verification::VARIANTS.join(" "), verifications);
        let passwords = "accepted refused must-change changed-meanwhile throttled overloaded error";
        assert_eq!(Password::VARIANTS.join(" "), passwords);
        assert_eq!(SignOut::VARIANTS, ["durable", "not-durable", "key-elsewhere"]);
        assert_eq!(RuleName::VARIANTS, ["role", "max_age", "csrf", "renew", "preflight"]);
        assert_eq!(DroppedLine::VARIANTS, ["audit", "other"]);
        assert_eq!(StoreCall::VARIANTS, ["commit", "poll", "account", "state"]);
    }
}
