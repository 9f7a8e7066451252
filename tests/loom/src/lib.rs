//! Model check of the Bloom filter of the revocation list (`src/revocation/bloom.rs`): no lookup misses an entry, under all
//! interleavings of the threads, and with every value that the C11 memory model allows them to read. Run it with `make loom`.
//! [loom](https://docs.rs/loom) runs each scenario once for each interleaving.
//!
//! `build.rs` generates a module from the source, and one module for each mutant, which is the source with one fault. Each
//! module has the scenarios of `scenarios.rs`. The test of a mutant fails if no scenario finds the fault. So the scenarios
//! are known to detect faults. Some memory orderings in the source have no mutant: they are stronger than the scenarios need,
//! because the lock of the map orders the same accesses.
#![cfg(test)]

use std::panic::{AssertUnwindSafe, catch_unwind};

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Runs its threads under all interleavings, or only under those with at most this number of preemptions.
type Scenario = fn(max_preemptions: Option<usize>);

/// Maximum number of preemptions for the mutants. It is enough to detect each of them.
const MAX_PREEMPTIONS: usize = 3;

fn explore(max_preemptions: Option<usize>, threads: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = max_preemptions;
    model.check(threads);
}

fn assert_correct(scenarios: &[Scenario]) {
    scenarios.iter().for_each(|scenario| scenario(None));
}

/// Asserts that one of the scenarios detects the fault of a mutant: a lookup misses an entry.
fn assert_mutant_detected(scenarios: &[Scenario]) {
    let misses_an_entry = |scenario: &Scenario| {
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(Some(MAX_PREEMPTIONS))));
        let Err(panic) = outcome else { return false };
        let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        assert!(
            message.is_some_and(|message| message.contains("an entry was missed")),
            "the scenario failed for another reason: {message:?}"
        );
        true
    };
    assert!(scenarios.iter().any(misses_an_entry), "no scenario detects the mutant");
}
