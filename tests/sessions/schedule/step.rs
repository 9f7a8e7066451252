//! What may happen, and how often each.

use proptest::prelude::*;
use sealjar::revocation::retention;

use super::follower::Delivery;
use super::keys::File;
use super::node::Config;
use super::request::Ask;
use super::store::{Change, USERS};
use super::world::{BROWSERS, QUARTERS};
use crate::fixture::{DAY, HOUR, MAX_STALENESS, MINUTE};

/// Indices are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A tab sends a request with the cookie that the jar holds now.
    Send {
        browser: usize,
        node: usize,
        ask: Ask,
    },
    /// The same, and everything to the end without anything between. Who has no live session signs in first.
    Whole {
        browser: usize,
        node: usize,
        ask: Ask,
    },
    /// Whoever copied a token sends it.
    Steal {
        token: usize,
        node: usize,
        ask: Ask,
    },
    /// A token is planted in a browser.
    Plant {
        browser: usize,
        token: usize,
    },
    Work {
        request: usize,
    },
    Arrive {
        reply: usize,
    },
    Lose {
        reply: usize,
    },
    Commit {
        node: usize,
        outcome: Commit,
        /// How many seconds before the others can see it the transaction began, and read the clock.
        began_before: u64,
    },
    LosePatience {
        request: usize,
    },
    RenewWhileSignedOut {
        token: usize,
        node: usize,
    },
    Round {
        node: usize,
        delivery: Delivery,
    },
    PollBegins {
        node: usize,
    },
    PollEnds {
        node: usize,
        delivery: Delivery,
    },
    CutOff {
        node: usize,
    },
    Reconnect {
        node: usize,
    },
    Restart {
        node: usize,
        config: Config,
    },
    /// Time passes, and every node that can polls at the end of it.
    Pass {
        secs: u64,
    },
    /// Time passes until a token's idle deadline, or some seconds before or after.
    PassToDeadline {
        token: usize,
        off: i64,
    },
    /// Time passes, and no node hears anything.
    PassInSilence {
        secs: u64,
    },
    SetClock {
        node: usize,
        quarters: i64,
    },
    Cli {
        user: usize,
        node: usize,
        change: Change,
    },
    MakeAccount {
        user: usize,
    },
    CliRevoke {
        token: usize,
        node: usize,
    },
    CliEveryone,
    /// The key file of a token's key comes, goes or is revoked on one node.
    KeyFile {
        token: usize,
        node: usize,
        file: File,
    },
    CliRevokeKey {
        token: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Commit {
    Done,
    Failed,
    /// It is on disk, and the node was told that it failed.
    DoneUnknown,
}

fn ask() -> impl Strategy<Value = Ask> + Clone {
    prop_oneof![
        12 => Just(Ask::Status),
        4 => (prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(password_before, remember)| Ask::SignIn { password_before, remember }),
        2 => Just(Ask::StepUp),
        1 => Just(Ask::ChangePassword),
        2 => Just(Ask::SignOut),
        1 => Just(Ask::SignOutEverywhere),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (index, node) = (0..1_000_usize, 0..2_usize);
    let browser = 0..BROWSERS;
    let two = (index.clone(), node.clone());
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
    let sent = (browser.clone(), node.clone(), ask());
    let requests = prop_oneof![
        8 => sent.clone().prop_map(|(browser, node, ask)| Step::Send { browser, node, ask }),
        8 => sent.prop_map(|(browser, node, ask)| Step::Whole { browser, node, ask }),
        6 => (index.clone(), node.clone(), ask()).prop_map(|(token, node, ask)| Step::Steal { token, node, ask }),
        1 => (browser, index.clone()).prop_map(|(browser, token)| Step::Plant { browser, token }),
        20 => index.clone().prop_map(|request| Step::Work { request }),
        6 => index.clone().prop_map(|reply| Step::Arrive { reply }),
        2 => index.clone().prop_map(|reply| Step::Lose { reply }),
        5 => (node.clone(), commit, 0..=retention::COMMITTED_WITHIN.as_secs())
            .prop_map(|(node, outcome, began_before)| Step::Commit { node, outcome, began_before }),
        1 => index.clone().prop_map(|request| Step::LosePatience { request }),
        2 => two.clone().prop_map(|(token, node)| Step::RenewWhileSignedOut { token, node }),
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
        3 => (0..3_usize, -90..=90_i64).prop_map(|(token, off)| Step::PassToDeadline { token, off }),
        6 => (0..MAX_STALENESS.as_secs() + 3).prop_map(|secs| Step::PassInSilence { secs }),
        1 => (0..8 * HOUR).prop_map(|secs| Step::PassInSilence { secs }),
    ];
    let commands = prop_oneof![
        4 => (0..USERS, node, change).prop_map(|(user, node, change)| Step::Cli { user, node, change }),
        5 => (0..USERS).prop_map(|user| Step::MakeAccount { user }),
        2 => two.prop_map(|(token, node)| Step::CliRevoke { token, node }),
        1 => Just(Step::CliEveryone),
    ];
    let file = prop_oneof![4 => Just(File::Held), 1 => Just(File::Lacking), 1 => Just(File::Revoked)];
    let keys = prop_oneof![
        12 => (index.clone(), 0..2_usize, file).prop_map(|(token, node, file)| Step::KeyFile { token, node, file }),
        1 => index.prop_map(|token| Step::CliRevokeKey { token }),
    ];
    prop_oneof![30 => requests, 5 => nodes, 5 => time, 2 => commands, 2 => keys]
}
