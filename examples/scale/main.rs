//! A day of sign-outs, at any scale: how large the list of refusals gets, and how far behind it is.
//!
//! The lists and the rule of retention are the library's own, one list for each node. What committers, followers and the store
//! do is told again here, in simulated time: sign-outs follow a day's curve, commits queue for the log's one lock, nodes poll,
//! lose the store and come back, prune once a minute, and their clocks are apart. Where figures of the store are taken for
//! granted, they are constants of `store.rs` and `node.rs`, as measured in `docs/scale.md`. Followers poll and hear no notices:
//! that is the slow way, and the one that is sure.
//!
//! As the day goes, copies of cookies that were signed out are held against every node ([`watch`]), and every list is counted
//! after every pruning ([`node::Due`]). Where the rule is broken, the day ends with an error.
//!
//! ```sh
//! cargo run --release --example scale -- --users 1000000000 --share 1000 --nodes 3
//! ```
//!
//! An example and not a bench: it holds figures of the machine beside a rule, and what it is for is the rule.

mod node;
mod report;
mod scenario;
mod store;
mod watch;
mod world;

use std::process::ExitCode;

use scenario::Scenario;
use world::World;

/// What must never happen.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Violation {
    #[error("node {node} accepts a session {after_ms} ms after its sign-out was answered")]
    AcceptedTooLong { node: usize, after_ms: u128 },
    #[error("node {node} accepts a session that was signed out there")]
    AcceptedWhereItEnded { node: usize },
    #[error("node {node} holds an entry {secs} s after its end, although it has pruned since")]
    KeptTooLong { node: usize, secs: u64 },
    #[error("node {node} holds {held} entries after pruning, and should hold {due}")]
    Miscounted { node: usize, held: usize, due: usize },
    #[error("a commit took {took_ms} ms: the store cannot keep up with so many nodes or sign-outs")]
    Overloaded { took_ms: u128 },
}

fn main() -> ExitCode {
    let scenario = match Scenario::of_arguments(std::env::args().skip(1)) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("error: {error}\n\n{}", scenario::USAGE);
            return ExitCode::from(2);
        }
    };
    match World::new(&scenario).play() {
        Ok(day) => {
            print!("{}", report::Report { scenario: &scenario, day: &day });
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("error: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// Small days. The last three show that the watch would notice.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arguments(line: &str) -> Result<Scenario, String> {
        Scenario::of_arguments(line.split_whitespace().map(str::to_owned))
    }

    fn small() -> Scenario {
        let mut scenario = arguments("--users 15000 --share 1 --nodes 3 --remembered 10").expect("well formed");
        scenario.shorten();
        scenario
    }

    #[test]
    fn finds_no_violation_on_a_small_day() {
        let scenario = small();
        let day = World::new(&scenario).play().expect("no violation");
        assert!(day.watched.copies > 3_000 && day.watched.accepted_after_answer > Duration::ZERO, "{:?}", day.watched);
        assert!(
            day.watched.outlived > 3_000,
            "hardly any copy was watched until its entry had gone: {:?}",
            day.watched
        );
        assert!(day.refused_everything > Duration::from_secs(45), "nobody was cut off: {day:?}");
        let ratio = day.peak.entries as f64 / scenario.predicted_entries();
        assert!((0.8..1.1).contains(&ratio), "{ratio} of what the formula says");
        println!("{}", report::Report { scenario: &scenario, day: &day });
    }

    #[test]
    fn finds_no_violation_on_one_node_with_ordinary_sessions() {
        let scenario = Scenario { nodes: 1, remembered: 0.0, ..small() };
        World::new(&scenario).play().expect("no violation");
    }

    #[test]
    fn detects_entries_that_are_deleted_before_their_tokens() {
        let mut scenario = small();
        scenario.recorded.ordinary.idle /= 4;
        let outcome = World::new(&scenario).play().map(drop);
        let accepted = |violation: &Violation| {
            matches!(violation, Violation::AcceptedTooLong { .. } | Violation::AcceptedWhereItEnded { .. })
        };
        assert!(outcome.as_ref().is_err_and(accepted), "{outcome:?}");
    }

    #[test]
    fn detects_a_node_that_uses_a_stale_list() {
        let scenario = Scenario { believed_for: Duration::from_secs(30), ..small() };
        let outcome = World::new(&scenario).play().map(drop);
        assert!(matches!(outcome, Err(Violation::AcceptedTooLong { .. })), "{outcome:?}");
    }

    #[test]
    fn detects_an_overloaded_store() {
        let scenario = Scenario { users: 10_000_000_000, share: 1_000, remembered: 0.0, ..small() };
        let outcome = World::new(&scenario).play().map(drop);
        assert!(matches!(outcome, Err(Violation::Overloaded { .. })), "{outcome:?}");
    }

    #[test]
    fn refuses_invalid_arguments() {
        for line in
            ["--users", "--users many", "--nodes 0", "--share 0", "--peak 2.5", "--skew 61", "--remembered 101", "7"]
        {
            assert!(arguments(line).is_err(), "{line}");
        }
    }
}
