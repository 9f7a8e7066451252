//! Counters and histograms of this process, for `/metrics`. `http/metrics/families.rs` has the descriptions of the metrics.
//!
//! The metrics are global to the process and begin at zero when the process starts. Counters are striped: each thread adds to
//! one of several copies, so that threads that count at the same time do not write to the same cache line.
//!
//! Invariant: label values come from closed lists. A value from a request never becomes a label.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};

use crate::clock::Now;

/// Session checks by outcome.
pub(crate) static VERIFICATIONS: Counters<{ Verification::VARIANTS.len() }> = Counters::new();
/// Renewed sessions.
pub(crate) static RENEWALS: Counters<1> = Counters::new();
/// Sessions that copy detection ended.
pub(crate) static COPIED_SESSIONS: Counters<1> = Counters::new();
/// Requests with a password, by purpose and then by outcome.
pub(crate) static PASSWORDS: [Counters<{ Password::VARIANTS.len() }>; 3] =
    [Counters::new(), Counters::new(), Counters::new()];
/// Logouts by outcome.
pub(crate) static SIGN_OUTS: Counters<{ SignOut::VARIANTS.len() }> = Counters::new();
/// Connections that were evicted to free memory or to accept others.
pub(crate) static EVICTED_CONNECTIONS: Counters<1> = Counters::new();
/// Requests that did not wait for the unknown key of their token, because too many requests were already waiting.
pub(crate) static KEY_WAITS_REFUSED: Counters<1> = Counters::new();
/// HTTP/2 requests of trusted proxies that were evicted while they waited for their bodies, because too many requests were
/// waiting.
pub(crate) static EVICTED_BODY_WAITS: Counters<1> = Counters::new();
/// HTTP/2 requests that were refused with 503 because of the memory limit.
pub(crate) static HTTP2_REFUSED: Counters<1> = Counters::new();
/// Query parameters of verification requests that look like a rule and are ignored.
pub(crate) static MISSPELT_RULES: Counters<{ RuleName::VARIANTS.len() }> = Counters::new();
/// Verification requests with a rule that cannot be parsed.
pub(crate) static UNREADABLE_RULES: Counters<1> = Counters::new();
/// Log lines that were dropped.
pub(crate) static LOG_LINES_DROPPED: Counters<{ DroppedLine::VARIANTS.len() }> = Counters::new();
/// Duration of the hashing of a password.
pub(crate) static HASHING: Histogram<10> = Histogram::new([5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000]);
/// Number of threads that hash a password at the moment.
pub(crate) static HASHING_THREADS: AtomicU64 = AtomicU64::new(0);
/// Durations and failures of the operations of the store, by operation.
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
    /// The request is not accepted: its host is not served, a rule cannot be parsed, or it comes from another site.
    BadRequest,
    Error,
    /// The request is a CORS preflight that a rule allows without a session.
    Preflight,
}

/// Outcome of a request with a password. Unknown accounts, wrong passwords and disabled accounts count together.
#[derive(Debug, Clone, Copy, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Password {
    Accepted,
    Refused,
    /// The password is correct, but must be changed first.
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
    /// The logout was committed to the store.
    Durable,
    /// The logout is in force on this node, and will be committed when the store is available again.
    NotDurable,
    /// The logout was refused, because this node cannot open the token but another node can.
    KeyElsewhere,
}

/// Name of a rule in a verification request.
#[derive(Debug, Clone, Copy, VariantNames, strum::VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum RuleName {
    Role,
    MaxAge,
    Csrf,
    Renew,
    Preflight,
}

/// Type of a dropped log line.
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
    /// Writes a group of revocations.
    Commit,
    /// Reads the revocation log.
    Poll,
    /// Reads an account.
    Account,
    /// Reads the global generation, before a password is checked.
    State,
}

impl StoreCall {
    /// Measures the duration of an operation, and counts its failure.
    pub(crate) async fn measure<T, E>(self, operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let started = Now::read().boot;
        let outcome = operation.await;
        let times = &STORE[self as usize];
        times.duration.observe(Now::read().boot.saturating_sub(started));
        if outcome.is_err() {
            times.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

/// Durations and failures of one operation of the store.
pub(crate) struct StoreTimes {
    pub(crate) duration: Histogram<10>,
    pub(crate) failures: AtomicU64,
}

impl StoreTimes {
    const fn new() -> Self {
        Self { duration: Histogram::new([1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000]), failures: AtomicU64::new(0) }
    }
}

/// Striped counters, one for each of `N` label values.
pub(crate) struct Counters<const N: usize>([Stripe<N>; STRIPES]);

/// Number of copies of each counter.
const STRIPES: usize = 8;

/// One copy of the counters, aligned to two cache lines, because processors prefetch cache lines in pairs.
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    const fn new() -> Self {
        Self([const { Stripe([const { AtomicU64::new(0) }; N]) }; STRIPES])
    }

    /// Adds one to the counter with this index in the list of label values.
    pub(crate) fn add(&self, index: usize) {
        self.add_many(index, 1);
    }

    /// Adds `count` to the counter with this index.
    pub(crate) fn add_many(&self, index: usize, count: u64) {
        static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static STRIPE: usize = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES);
        self.0[STRIPE.with(|stripe| *stripe)].0[index].fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the value of one counter: the sum over all stripes.
    pub(crate) fn total(&self, index: usize) -> u64 {
        self.0.iter().map(|stripe| stripe.0[index].load(Ordering::Relaxed)).sum()
    }
}

/// Histogram of durations.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    /// Upper bounds of the buckets in milliseconds, in ascending order.
    bounds_ms: [u64; N],
    /// Number of durations in each bucket. The counts are not cumulative.
    counts: [AtomicU64; N],
    /// Number of durations above the last bound.
    above_last_bound: AtomicU64,
    /// Sum of all durations in microseconds.
    sum_us: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// Creates an empty histogram with these upper bounds in milliseconds, in ascending order.
    pub(crate) const fn new(bounds_ms: [u64; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Self { bounds_ms, counts, above_last_bound: AtomicU64::new(0), sum_us: AtomicU64::new(0) }
    }

    /// Adds a duration to its bucket and to the sum.
    pub(crate) fn observe(&self, duration: Duration) {
        let bucket = self.bounds_ms.partition_point(|bound| Duration::from_millis(*bound) < duration);
        self.counts.get(bucket).unwrap_or(&self.above_last_bound).fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the sum of all durations.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }

    /// Returns cumulative counts: for each upper bound, the number of durations that are not above it. The last item has no
    /// bound and counts all durations.
    pub(crate) fn cumulative_counts(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = self.bounds_ms.into_iter().map(|ms| Some(Duration::from_millis(ms))).chain([None]);
        bounds.zip(self.counts.iter().chain([&self.above_last_bound])).scan(0, |total, (bound, count)| {
            *total += count.load(Ordering::Relaxed);
            Some((bound, *total))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_duration_in_all_larger_buckets() {
        let histogram = Histogram::new([5, 10]);
        for us in [5_000, 5_001, 99_999_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let bound = |ms| Some(Duration::from_millis(ms));
        assert_eq!(histogram.cumulative_counts().collect::<Vec<_>>(), [(bound(5), 1), (bound(10), 2), (None, 3)]);
        assert_eq!(histogram.sum(), Duration::from_micros(5_000 + 5_001 + 99_999_000));
    }

    #[test]
    fn adds_up_the_counts_of_several_threads() {
        static COUNTS: Counters<2> = Counters::new();
        let threads: Vec<_> = (0..20).map(|_| std::thread::spawn(|| (0..100).for_each(|_| COUNTS.add(1)))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("the thread does not panic"));
        assert_eq!((COUNTS.total(0), COUNTS.total(1)), (0, 2000));
    }

    #[test]
    fn label_values_are_stable() {
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
