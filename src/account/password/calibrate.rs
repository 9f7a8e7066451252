//! Proposes a cost for which a hash takes about a given time on this machine, for `sealjar users calibrate`.
//!
//! The memory is increased to the allowed maximum before the number of passes is increased, as recommended in
//! [RFC 9106 section 4](https://www.rfc-editor.org/rfc/rfc9106#section-4). Even on a slow machine, the cost is
//! never lower than a recommendation of OWASP.

use std::time::Duration;

use super::Cost;

/// Minimum cost that is proposed: one of OWASP's recommendations.
const MIN_COST: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };

/// Returns the cost of a hash that takes about `target` with at most `max_memory_kib`, and the measured time of such a
/// hash. `measure` computes one hash and returns its time.
pub(crate) fn propose(
    target: Duration,
    max_memory_kib: u32,
    mut measure: impl FnMut(Cost) -> Duration,
) -> (Cost, Duration) {
    let mut cost = MIN_COST;
    let mut time = measure(MIN_COST);
    // The time is only roughly proportional to the work, so the estimate is repeated with each new measurement.
    for _ in 0..3 {
        let target_work = target.as_secs_f64() / time.as_secs_f64().max(1e-6) * cost.work() as f64;
        let work = (target_work as u64).clamp(MIN_COST.work(), Cost::MAX_WORK);
        let next = cost_with_work(work, max_memory_kib);
        if next == cost {
            break;
        }
        cost = next;
        time = measure(next);
    }
    (cost, time)
}

/// Returns a cost of about this work. It has more than the minimum number of passes only if it has the maximum memory.
fn cost_with_work(work: u64, max_memory_kib: u32) -> Cost {
    let max_kib = max_memory_kib.clamp(MIN_COST.memory_kib, Cost::MAX_MEMORY_KIB);
    let passes = u32::try_from(work / u64::from(max_kib)).unwrap_or(u32::MAX).max(MIN_COST.passes);
    let memory_kib = u32::try_from(work / u64::from(passes)).unwrap_or(max_kib).clamp(MIN_COST.memory_kib, max_kib);
    Cost { memory_kib: if passes > MIN_COST.passes { max_kib } else { memory_kib }, passes, lanes: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proposes a cost on a simulated machine that computes this many blocks per millisecond.
    fn propose_on(blocks_per_ms: u32, target_ms: u64, max_memory_kib: u32) -> (Cost, Duration) {
        propose(Duration::from_millis(target_ms), max_memory_kib, |cost| {
            Duration::from_secs_f64(cost.work() as f64 / f64::from(blocks_per_ms) / 1000.0)
        })
    }

    #[test]
    fn uses_more_memory_first_and_more_passes_second() {
        let (cost, time) = propose_on(2_000, 40, 65_536);
        assert_eq!((cost.passes, time.as_millis()), (2, 40));
        assert!((39_999..=40_000).contains(&cost.memory_kib), "{cost:?}");
        let (cost, _) = propose_on(2_000, 250, 65_536);
        assert_eq!(cost, Cost { memory_kib: 65_536, passes: 7, lanes: 1 });
    }

    #[test]
    fn proposes_a_cost_between_the_minimum_and_the_maximum() {
        assert_eq!(propose_on(100, 50, 65_536).0, MIN_COST, "a slow machine gets the minimum");
        assert_eq!(propose_on(2_000, 1, 1).0, MIN_COST);
        for target in [1_000, 100_000_000] {
            assert!(propose_on(100_000, target, u32::MAX).0.is_within_limits());
        }
    }
}
