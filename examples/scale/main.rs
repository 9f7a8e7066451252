//! Simulation of one day of logouts with any number of users: how long the revocation list gets, and how long nodes take to read
//! it.
//!
//! Each node has the real revocation list of the library, and the real rule for the expiry of entries. The committers, the
//! followers and the store are simulated: logouts follow a daily curve, commits wait for the one lock of the log, and nodes poll.
//! Nodes are disconnected from the store and reconnect, delete expired entries once a minute, and have different clocks. The
//! costs of the store are constants in `store.rs` and `node.rs`, as measured in `docs/scale.md`. Followers only poll and get no
//! notifications, because notifications may be lost.
//!
//! During the day, copies of logged-out cookies are presented to every node ([`watch`]). After each deletion of expired entries,
//! the entries of the list are counted ([`node::ExpectedEntries`]). If a rule is violated, the simulation ends with an error.
//!
//! ```sh
//! cargo run --release --example scale -- --users 1000000000 --share 1000 --nodes 3
//! ```
//!
//! This is an example and not a benchmark, because its purpose is to check the rules.

mod node;
mod report;
mod scenario;
mod simulation;
mod store;
mod watch;

use std::process::ExitCode;

use scenario::Scenario;
use simulation::Simulation;

/// Error for a rule that the simulation has violated.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Violation {
    #[error("node {node} accepts a session {after_ms} ms after the response to its logout")]
    AcceptedTooLong { node: usize, after_ms: u128 },
    #[error("node {node} accepts a session that was logged out on this node")]
    AcceptedByLogoutNode { node: usize },
    #[error("node {node} still has an entry {secs} s after its expiry, although it has deleted expired entries since")]
    KeptTooLong { node: usize, secs: u64 },
    #[error("node {node} has {actual} entries after the deletion of expired entries, and should have {expected}")]
    Miscounted { node: usize, actual: usize, expected: usize },
    #[error("a commit took {took_ms} ms: the store is overloaded by this number of nodes or logouts")]
    Overloaded { took_ms: u128 },
}

fn main() -> ExitCode {
    let scenario = match Scenario::from_arguments(std::env::args().skip(1)) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("error: {error}\n\n{}", scenario::USAGE);
            return ExitCode::from(2);
        }
    };
    match Simulation::new(&scenario).run() {
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

/// Simulations of short days. Some of them violate a rule on purpose, and assert that this is detected.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arguments(line: &str) -> Result<Scenario, String> {
        Scenario::from_arguments(line.split_whitespace().map(str::to_owned))
    }

    fn small() -> Scenario {
        let mut scenario = arguments("--users 15000 --share 1 --nodes 3 --remembered 10").expect("well formed");
        scenario.shorten();
        scenario
    }

    #[test]
    fn finds_no_violation_on_a_small_day() {
        let scenario = small();
        let day = Simulation::new(&scenario).run().expect("no violation");
        assert!(
            day.watched.copies > 3_000 && day.watched.accepted_after_response > Duration::ZERO,
            "{:?}",
            day.watched
        );
        assert!(
            day.watched.presented_until_deletion > 3_000,
            "too few copies were presented until their entry was deleted: {:?}",
            day.watched
        );
        assert!(day.time_refusing_all > Duration::from_secs(45), "no node was disconnected from the store: {day:?}");
        let ratio = day.peak.entries as f64 / scenario.predicted_entries();
        assert!((0.8..1.1).contains(&ratio), "{ratio} of the number that the formula predicts");
        println!("{}", report::Report { scenario: &scenario, day: &day });
    }

    #[test]
    fn finds_no_violation_on_one_node_with_ordinary_sessions() {
        let scenario = Scenario { nodes: 1, remembered_fraction: 0.0, ..small() };
        Simulation::new(&scenario).run().expect("no violation");
    }

    #[test]
    fn detects_entries_that_are_deleted_before_their_tokens() {
        let mut scenario = small();
        scenario.recorded.ordinary.idle /= 4;
        let outcome = Simulation::new(&scenario).run().map(drop);
        let accepted = |violation: &Violation| {
            matches!(violation, Violation::AcceptedTooLong { .. } | Violation::AcceptedByLogoutNode { .. })
        };
        assert!(outcome.as_ref().is_err_and(accepted), "{outcome:?}");
    }

    #[test]
    fn detects_a_node_that_uses_a_stale_list() {
        let scenario = Scenario { max_staleness: Duration::from_secs(30), ..small() };
        let outcome = Simulation::new(&scenario).run().map(drop);
        assert!(matches!(outcome, Err(Violation::AcceptedTooLong { .. })), "{outcome:?}");
    }

    #[test]
    fn detects_an_overloaded_store() {
        let scenario = Scenario { users: 10_000_000_000, share: 1_000, remembered_fraction: 0.0, ..small() };
        let outcome = Simulation::new(&scenario).run().map(drop);
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
