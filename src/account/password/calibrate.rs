//! A cost for this machine that takes about as long as an operator is ready to wait: as much memory as allowed first, then passes
//! (RFC 9106 section 4). Never less than OWASP recommends, whatever the machine.

use std::time::Duration;

use super::Cost;

/// OWASP's recommendation.
const LEAST: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };

/// The cost that takes about `target`, with at most `max_memory_kib`; and how long it takes. `measure` tells how long one hash takes.
pub(crate) fn propose(
    target: Duration,
    max_memory_kib: u32,
    mut measure: impl FnMut(Cost) -> Duration,
) -> (Cost, Duration) {
    let (mut cost, mut time) = (LEAST, measure(LEAST));
    // Time is almost, but not quite, proportional to work: a second look corrects the first.
    for _ in 0..3 {
        let affordable = target.as_secs_f64() / time.as_secs_f64().max(1e-6) * cost.work() as f64;
        let work = (affordable as u64).clamp(LEAST.work(), Cost::MOST_WORK);
        let next = spend(work, max_memory_kib);
        if next == cost {
            break;
        }
        (cost, time) = (next, measure(next));
    }
    (cost, time)
}

/// The cost of about so much work: more passes only if there is no more memory to be had.
fn spend(work: u64, max_memory_kib: u32) -> Cost {
    let most = max_memory_kib.clamp(LEAST.memory_kib, Cost::MOST_MEMORY_KIB);
    let passes = u32::try_from(work / u64::from(most)).unwrap_or(u32::MAX).max(LEAST.passes);
    let memory_kib = u32::try_from(work / u64::from(passes)).unwrap_or(most).clamp(LEAST.memory_kib, most);
    Cost { memory_kib: if passes > LEAST.passes { most } else { memory_kib }, passes, lanes: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that computes so many blocks a millisecond.
    fn on(machine: u32, target_ms: u64, max_memory_kib: u32) -> (Cost, Duration) {
        propose(Duration::from_millis(target_ms), max_memory_kib, |cost| {
            Duration::from_secs_f64(cost.work() as f64 / f64::from(machine) / 1000.0)
        })
    }

    #[test]
    fn spends_the_time_on_memory_first_and_on_passes_then() {
        let (cost, time) = on(2_000, 40, 65_536);
        assert_eq!((cost.passes, time.as_millis()), (2, 40));
        assert!((39_999..=40_000).contains(&cost.memory_kib), "{cost:?}");
        let (cost, _) = on(2_000, 250, 65_536);
        assert_eq!(cost, Cost { memory_kib: 65_536, passes: 7, lanes: 1 });
    }

    #[test]
    fn proposes_no_less_than_the_least_and_no_more_than_computable() {
        assert_eq!(on(100, 50, 65_536).0, LEAST, "however slow the machine");
        assert_eq!(on(2_000, 1, 1).0, LEAST);
        for target in [1_000, 100_000_000] {
            assert!(on(100_000, target, u32::MAX).0.is_bearable());
        }
    }
}
