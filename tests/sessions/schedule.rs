//! Tests of sessions with random schedules, against a model that keeps every revocation forever.
//!
//! The simulation has browsers with several tabs, a thief who has a copy of every token, one or two nodes, and a store. A
//! request is handled in stages. Replies arrive in any order, or are lost. Between two stages, time passes, accounts change and
//! clocks are set. Nodes lose the store, restart with other lifetimes, and read the log late, twice or in part. Newer keys
//! replace older ones. On one node or on all of them, keys are added, removed and revoked.
//!
//! Verdicts, tokens, the revocation list and the rules of retention are those of the library. The handlers, the follower, the
//! committer and the store of `src/` are modelled here, one step at a time. `tests/server/` tests the real ones.
//!
//! After every step, every token is checked on every node, and compared with the model:
//!
//! - A revoked session is refused forever. The node that revoked it refuses it at once. Another node refuses it as soon as a
//!   poll that began after the revocation has finished. A node without such a poll accepts it for `max_staleness` at most,
//!   unless the node fails open. So no entry is removed before all its tokens have expired, even if the clocks of nodes are
//!   set.
//! - Tokens of a key that is revoked in the log are refused within the same time limits, even if a node has the file of the
//!   key.
//! - A token past a deadline is refused. A stale node refuses every token, unless the node fails open. A token is refused only
//!   for the reasons that `Node::expected_verdict` lists.
//!
//! Some steps check further rules:
//!
//! - A renewal keeps the session id, the flags and the absolute deadline. Its new idle deadline is computed from
//!   the time of the check. A session is not renewed if the node has a record of its revocation, even if the record is added
//!   between the check and the sealing.
//! - A logout or login revokes all sessions of its request whose absolute deadline has not passed. It succeeds only after the
//!   revocation is on disk.
//! - A logout at a node that cannot open the token succeeds only if no other node would accept the session. A node that fails
//!   open and has not reported for a day is an exception.
//! - A login starts a session with a new id. If the password was changed meanwhile, that session is revoked. If nothing revoked
//!   it, it is valid at once.
//! - A renewal that arrives late never makes a replaced session valid again.
//!
//! [`tally::Observation`] lists the disadvantages for an honest user that the design allows. The tests count each of them, and
//! each must occur. `--nocapture` prints the counts. `PROPTEST_CASES` sets the number of schedules.
//!
//! Assumptions: clocks that no step has set differ by at most [`CLOCK_SKEW`](sealjar::clock::CLOCK_SKEW). A node whose clock is
//! set, or whose key files change, can reach the store at that time.

mod browser;
mod follower;
mod keys;
mod node;
mod request;
mod revocations;
mod sign_in;
mod step;
mod store;
mod tally;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use follower::Delivery;
use request::Action;
use step::{Step, step};
use store::Change;
use tally::{Observation, Tally};
use world::World;

use crate::fixture::{DAY, HOUR, MAX_STALENESS, MINUTE};

proptest! {
    #[test]
    fn refuses_every_revoked_session_and_no_other_session((skews, steps) in schedule(400)) {
        run(&skews, &steps);
    }
}

#[test]
fn two_hundred_fixed_schedules_have_every_observation() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tally = Tally::default();
    for _ in 0..200 {
        let (skews, steps) = schedule(600).new_tree(&mut runner).expect("the strategy rejects no value").current();
        tally.add(&run(&skews, &steps));
    }
    println!("{tally}");
    assert_eq!(tally.missing(), []);
}

// Random schedules rarely contain the following cases.

const SIGN_IN: Action = Action::SignIn { old_password: false, remember: false };

#[test]
fn a_node_that_failed_open_learns_of_a_logout_at_reconnect() {
    let node = 1;
    let fails_open = node::Config { lifetimes: 0, fail_open: true };
    let renewal = [Step::Pass { secs: 20 * MINUTE }, Step::Steal { token: 0, node, action: Action::Status }];
    let steps = [
        Step::Restart { node, config: fails_open },
        Step::SendAndFinish { browser: 0, node: 0, action: SIGN_IN },
        Step::CutOff { node },
        Step::SendAndFinish { browser: 0, node: 0, action: Action::SignOut },
    ];
    let steps: Vec<Step> = steps.into_iter().chain([renewal; 3].into_iter().flatten()).collect();
    let tally = run(&[0, 0], &steps);
    assert_eq!(tally.of(Observation::Renewed), 3, "the session is still valid on that node");
    let with_reconnect: Vec<Step> = steps.into_iter().chain([Step::Reconnect { node }]).collect();
    assert_eq!(
        run(&[0, 0], &with_reconnect).of(Observation::AcceptedWhileOpen),
        tally.of(Observation::AcceptedWhileOpen),
        "the node refuses the session after it reconnects"
    );
}

#[test]
fn a_node_that_fails_open_is_forgotten_after_a_day() {
    let open = 0;
    let other = 1;
    for (secs, observation) in [(DAY, Observation::KeyElsewhere), (DAY + 1, Observation::SignedOutWithAnUnusableKey)] {
        let steps = [
            Step::Restart { node: open, config: node::Config { lifetimes: 0, fail_open: true } },
            Step::SendAndFinish {
                browser: 0,
                node: other,
                action: Action::SignIn { old_password: false, remember: true },
            },
            Step::Round { node: open, delivery: Delivery::InOrder },
            Step::CutOff { node: open },
            Step::Pass { secs: 12 * HOUR },
            Step::SendAndFinish { browser: 0, node: other, action: Action::Status },
            Step::Pass { secs: secs - 12 * HOUR - MINUTE },
            Step::SetKeyFile { token: 0, node: other, file: keys::File::Missing },
            Step::PassWithoutPolls { secs: MINUTE },
            Step::SendAndFinish { browser: 0, node: other, action: Action::SignOut },
        ];
        assert_eq!(run(&[0, 0], &steps).of(observation), 1, "after {secs} s");
    }
}

#[test]
fn a_login_delayed_past_its_generation_starts_no_session() {
    let end_sessions = Step::ChangeAccount { user: 0, node: 0, change: Change::EndSessions };
    let two_days = Step::Pass { secs: 2 * DAY };
    for (stages, observation) in [(1, Observation::ChangedMeanwhile), (2, Observation::Delayed)] {
        let stages_before = [Step::ContinueRequest { request: 0 }; 2].into_iter().take(stages);
        let steps = [Step::Send { browser: 0, node: 0, action: SIGN_IN }].into_iter().chain(stages_before);
        let steps: Vec<Step> =
            steps.chain([end_sessions, two_days]).chain([Step::ContinueRequest { request: 0 }; 2]).collect();
        let tally = run(&[0], &steps);
        assert_eq!((tally.of(observation), tally.of(Observation::SignedIn)), (1, 0), "delayed after stage {stages}");
    }
}

#[test]
fn an_entry_outlives_a_token_that_was_renewed_elsewhere_late() {
    for offset_secs in -15..=1 {
        let steps = [
            Step::SendAndFinish { browser: 0, node: 0, action: SIGN_IN },
            Step::Pass { secs: 10 * MINUTE },
            Step::SendAndFinish { browser: 0, node: 0, action: Action::SignOut },
            Step::PassWithoutPolls { secs: MAX_STALENESS.as_secs() },
            Step::Steal { token: 0, node: 1, action: Action::Status },
            Step::PassToDeadline { token: 0, offset_secs },
        ];
        assert_eq!(run(&[0, 0], &steps).of(Observation::Renewed), 1);
    }
}

#[test]
fn an_entry_pruned_during_a_poll_is_not_needed_on_a_slow_node() {
    let tally = run(
        &[0, 0],
        &[
            Step::SetClock { node: 1, quarters: -8 },
            Step::SendAndFinish { browser: 0, node: 0, action: SIGN_IN },
            Step::SendAndFinish { browser: 0, node: 0, action: Action::SignOut },
            Step::PassWithoutPolls { secs: 121 * MINUTE },
            Step::PollBegins { node: 1 },
            Step::Round { node: 0, delivery: Delivery::InOrder },
            Step::PollEnds { node: 1, delivery: Delivery::InOrder },
        ],
    );
    assert_eq!(tally.of(Observation::Pruned), 1);
}

/// Generates the clock skew of each node, in seconds, and the steps. A skew is at most half of the allowed difference of two
/// clocks.
fn schedule(steps: usize) -> impl Strategy<Value = (Vec<i64>, Vec<Step>)> {
    (prop::collection::vec(-30..=30_i64, 1..=2), prop::collection::vec(step(), 1..steps))
}

fn run(skews: &[i64], steps: &[Step]) -> Tally {
    let mut world = World::new(skews);
    for (number, step) in steps.iter().enumerate() {
        world.apply(*step);
        world.check_invariants(&|| format!("after step {number}, {step:?}"));
    }
    world.tally
}
