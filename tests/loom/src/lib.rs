//! The Bloom filter of the revocation list (`src/revocation/marks.rs`) under the interleavings of its threads, and under every value
//! that the C11 memory model lets them read: no entry is ever missed. Run it with `make loom`.
//!
//! `build.rs` makes a module of the source, and one of each mutant, which has a fault. Each module has the scenarios of
//! `scenarios.rs`. A mutant in which they find nothing fails its test, so the scenarios can fail. Some orderings in the source have
//! no mutant: they are stronger than the scenarios need, because the lock of the map orders the same accesses.
#![cfg(test)]

use std::panic::{AssertUnwindSafe, catch_unwind};

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Runs its threads under all interleavings, or only under those with this number of interruptions of a running thread at most.
type Scenario = fn(interruptions: Option<usize>);

/// Enough to find every mutant.
const FEW_INTERRUPTIONS: usize = 3;

fn explore(interruptions: Option<usize>, threads: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = interruptions;
    model.check(threads);
}

fn assert_correct(scenarios: &[Scenario]) {
    scenarios.iter().for_each(|scenario| scenario(None));
}

fn assert_found(scenarios: &[Scenario]) {
    let misses = |scenario: &Scenario| {
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(Some(FEW_INTERRUPTIONS))));
        let Err(panic) = outcome else { return false };
        let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        assert!(message.is_some_and(|message| message.contains("an entry was missed")), "another failure: {message:?}");
        true
    };
    assert!(scenarios.iter().any(misses), "the mutant survives");
}
