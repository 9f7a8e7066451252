//! How late other nodes' sign-outs are heard of here: from the writing of a row to its reading, by the store's clock alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::milliseconds;

/// Upper bounds, in milliseconds.
const BOUNDS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 15_000];

/// A histogram, and the last one measured.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// How many were within each bound, but not within the one before; the last are those beyond all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_ms: AtomicU64,
    last_ms: AtomicU64,
}

impl Lag {
    pub(super) fn observe(&self, lag: Duration) {
        let ms = milliseconds(lag);
        self.counts[BOUNDS.partition_point(|bound| *bound < ms)].fetch_add(1, Ordering::Relaxed);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// The last one measured, in milliseconds; `None` before the first.
    pub(crate) fn last_ms(&self) -> Option<u64> {
        let any = self.counts.iter().any(|count| count.load(Ordering::Relaxed) > 0);
        any.then(|| self.last_ms.load(Ordering::Relaxed))
    }

    /// All measured, in milliseconds.
    pub(crate) fn sum_ms(&self) -> u64 {
        self.sum_ms.load(Ordering::Relaxed)
    }

    /// For each bound in milliseconds, and at last for none, how many were within it.
    pub(crate) fn within(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |total, (bound, count)| {
            *total += count.load(Ordering::Relaxed);
            Some((bound, *total))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_within_its_bound_and_all_above() {
        let lag = Lag::default();
        assert_eq!(lag.last_ms(), None);
        for ms in [5, 6, 99_999] {
            lag.observe(Duration::from_millis(ms));
        }
        let within: Vec<_> = lag.within().collect();
        assert_eq!(within[..3], [(Some(5), 1), (Some(10), 2), (Some(25), 2)]);
        assert_eq!(within.last(), Some(&(None, 3)));
        assert_eq!((lag.sum_ms(), lag.last_ms()), (100_010, Some(99_999)));
    }
}
