//! Steps of a schedule, and their relative frequencies.

use proptest::prelude::*;
use sealjar::revocation::retention;

use super::follower::Delivery;
use super::keys::File;
use super::node::Config;
use super::request::Action;
use super::store::{Change, USERS};
use super::world::{BROWSERS, QUARTERS};
use crate::fixture::{DAY, HOUR, MAX_STALENESS, MINUTE};

/// Step of a schedule. Indices are taken modulo the number of existing items.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A tab sends a request with the current cookie of its browser.
    Send { browser: usize, node: usize, action: Action },
    /// A tab sends a request, and all its stages follow without another step. A browser without a live session logs in instead.
    SendAndFinish { browser: usize, node: usize, action: Action },
    /// The thief sends a request with a copied token.
    Steal { token: usize, node: usize, action: Action },
    /// An attacker plants a token in a browser.
    Plant { browser: usize, token: usize },
    /// A request enters its next stage.
    ContinueRequest { request: usize },
    /// A reply arrives at its browser.
    DeliverReply { reply: usize },
    /// A reply is lost.
    LoseReply { reply: usize },
    /// The transaction of a node's committer ends.
    Commit {
        node: usize,
        outcome: Commit,
        /// Seconds between the start of the transaction, when it reads the clock, and its commit.
        began_before: u64,
    },
    /// A request stops waiting for the commit.
    TimeOut { request: usize },
    /// Another thread logs a session out between the check and the sealing of a renewal.
    RenewDuringSignOut { token: usize, node: usize },
    /// A node runs one round of its follower.
    Round { node: usize, delivery: Delivery },
    /// A node reads the log.
    PollBegins { node: usize },
    /// A node applies the entries that it has read.
    PollEnds { node: usize, delivery: Delivery },
    /// A node loses its connection to the store.
    CutOff { node: usize },
    /// A node reaches the store again.
    Reconnect { node: usize },
    /// A node restarts with another configuration.
    Restart { node: usize, config: Config },
    /// Time passes. At its end, every node that reaches the store polls.
    Pass { secs: u64 },
    /// Time passes until the idle deadline of a token, plus `offset_secs`.
    PassToDeadline { token: usize, offset_secs: i64 },
    /// Time passes, and no node polls.
    PassWithoutPolls { secs: u64 },
    /// An operator sets the clock of a node, by a number of quarters of an hour from the true time.
    SetClock { node: usize, quarters: i64 },
    /// An operator changes an account on a node.
    ChangeAccount { user: usize, node: usize, change: Change },
    /// An operator adds the account of a user.
    AddAccount { user: usize },
    /// An operator revokes a session.
    RevokeSession { token: usize, node: usize },
    /// An operator revokes all sessions.
    RevokeEveryone,
    /// On one node, the file of a token's key is added, removed or revoked.
    SetKeyFile { token: usize, node: usize, file: File },
    /// An operator revokes the key of a token in the log.
    RevokeKey { token: usize },
}

/// Outcome of the transaction of a committer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Commit {
    Done,
    Failed,
    /// The commit is on disk, but the node received an error.
    DoneUnknown,
}

fn action() -> impl Strategy<Value = Action> + Clone {
    prop_oneof![
        12 => Just(Action::Status),
        4 => (prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(old_password, remember)| Action::SignIn { old_password, remember }),
        2 => Just(Action::StepUp),
        1 => Just(Action::ChangePassword),
        2 => Just(Action::SignOut),
        1 => Just(Action::SignOutEverywhere),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let index = 0..1_000_usize;
    let node = 0..2_usize;
    let browser = 0..BROWSERS;
    let token_and_node = (index.clone(), node.clone());
    let commit = prop_oneof![6 => Just(Commit::Done), 2 => Just(Commit::Failed), 1 => Just(Commit::DoneUnknown)];
    let delivery = prop_oneof![Just(Delivery::InOrder), Just(Delivery::Again), Just(Delivery::Torn)];
    let config =
        (0..3_usize, prop::bool::weighted(0.3)).prop_map(|(lifetimes, fail_open)| Config { lifetimes, fail_open });
    let change = prop_oneof![
        1 => Just(Change::Password),
        1 => Just(Change::Roles),
        1 => Just(Change::Disable),
        4 => Just(Change::Enable),
        1 => Just(Change::EndSessions),
        1 => Just(Change::Delete),
    ];
    let sent = (browser.clone(), node.clone(), action());
    let requests = prop_oneof![
        8 => sent.clone().prop_map(|(browser, node, action)| Step::Send { browser, node, action }),
        8 => sent.prop_map(|(browser, node, action)| Step::SendAndFinish { browser, node, action }),
        6 => (index.clone(), node.clone(), action()).prop_map(|(token, node, action)| Step::Steal { token, node, action }),
        1 => (browser, index.clone()).prop_map(|(browser, token)| Step::Plant { browser, token }),
        20 => index.clone().prop_map(|request| Step::ContinueRequest { request }),
        6 => index.clone().prop_map(|reply| Step::DeliverReply { reply }),
        2 => index.clone().prop_map(|reply| Step::LoseReply { reply }),
        5 => (node.clone(), commit, 0..=retention::MAX_COMMIT_DURATION.as_secs())
            .prop_map(|(node, outcome, began_before)| Step::Commit { node, outcome, began_before }),
        1 => index.clone().prop_map(|request| Step::TimeOut { request }),
        2 => token_and_node.clone().prop_map(|(token, node)| Step::RenewDuringSignOut { token, node }),
    ];
    let nodes = prop_oneof![
        4 => (node.clone(), delivery.clone()).prop_map(|(node, delivery)| Step::Round { node, delivery }),
        2 => node.clone().prop_map(|node| Step::PollBegins { node }),
        2 => (node.clone(), delivery).prop_map(|(node, delivery)| Step::PollEnds { node, delivery }),
        1 => node.clone().prop_map(|node| Step::CutOff { node }),
        5 => node.clone().prop_map(|node| Step::Reconnect { node }),
        2 => (node.clone(), config).prop_map(|(node, config)| Step::Restart { node, config }),
        2 => (node.clone(), -QUARTERS..=QUARTERS).prop_map(|(node, quarters)| Step::SetClock { node, quarters }),
        2 => node.clone().prop_map(|node| Step::SetClock { node, quarters: 0 }),
    ];
    let time = prop_oneof![
        6 => (0..30_u64).prop_map(|secs| Step::Pass { secs }),
        8 => (MINUTE..40 * MINUTE).prop_map(|secs| Step::Pass { secs }),
        2 => (HOUR / 2..8 * HOUR).prop_map(|secs| Step::Pass { secs }),
        1 => (8 * HOUR..2 * DAY).prop_map(|secs| Step::Pass { secs }),
        3 => (0..3_usize, -90..=90_i64).prop_map(|(token, offset_secs)| Step::PassToDeadline { token, offset_secs }),
        6 => (0..MAX_STALENESS.as_secs() + 3).prop_map(|secs| Step::PassWithoutPolls { secs }),
        1 => (0..8 * HOUR).prop_map(|secs| Step::PassWithoutPolls { secs }),
    ];
    let commands = prop_oneof![
        4 => (0..USERS, node, change).prop_map(|(user, node, change)| Step::ChangeAccount { user, node, change }),
        5 => (0..USERS).prop_map(|user| Step::AddAccount { user }),
        2 => token_and_node.prop_map(|(token, node)| Step::RevokeSession { token, node }),
        1 => Just(Step::RevokeEveryone),
    ];
    let file = prop_oneof![4 => Just(File::Present), 1 => Just(File::Missing), 1 => Just(File::Revoked)];
    let keys = prop_oneof![
        12 => (index.clone(), 0..2_usize, file).prop_map(|(token, node, file)| Step::SetKeyFile { token, node, file }),
        1 => index.prop_map(|token| Step::RevokeKey { token }),
    ];
    prop_oneof![30 => requests, 5 => nodes, 5 => time, 2 => commands, 2 => keys]
}
