//! Tests that the Bloom filter of the revocation list (`src/revocation/marks.rs`) never misses an entry.
//!
//! [loom](https://docs.rs/loom) runs each scenario under all interleavings of its threads, with every value that the C11 memory
//! model allows them to read. Run the tests with `make loom`.
//!
//! `build.rs` generates a module from the source, and one for each mutant, which has a fault. Each module contains the
//! scenarios of `scenarios.rs`. The test of a mutant passes only if a scenario finds the fault, which proves that the scenarios
//! can fail. Some memory orderings in the source have no mutant. They are stronger than the scenarios need, because the lock of
//! the map orders the same accesses.
#![cfg(test)]

use std::panic::{AssertUnwindSafe, catch_unwind};

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Function that runs its threads under all interleavings, or only under those with at most `max_preemptions` preemptions of a
/// thread.
type Scenario = fn(max_preemptions: Option<usize>);

/// Maximum number of preemptions in the tests of mutants. It is enough to find every mutant.
const MAX_PREEMPTIONS_OF_MUTANTS: usize = 3;

fn explore(max_preemptions: Option<usize>, threads: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = max_preemptions;
    model.check(threads);
}

fn assert_correct(scenarios: &[Scenario]) {
    scenarios.iter().for_each(|scenario| scenario(None));
}

fn assert_found(scenarios: &[Scenario]) {
    let finds_fault = |scenario: &Scenario| {
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(Some(MAX_PREEMPTIONS_OF_MUTANTS))));
        let Err(panic) = outcome else { return false };
        let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        assert!(message.is_some_and(|message| message.contains("an entry was missed")), "another failure: {message:?}");
        true
    };
    assert!(scenarios.iter().any(finds_fault), "no scenario finds the fault of this mutant");
}
