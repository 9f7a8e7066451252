//! State of the simulation: browsers, a thief, nodes and a store. Applies one step at a time.

use std::collections::HashMap;
use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, UnixTime};
use sealjar::id::{Kid, Sid};
use sealjar::seal::token::UntrustedToken;
use sealjar::session::claims::Claims;

use super::follower::Delivery;
use super::keys::KeyFiles;
use super::node::{Config, Node, START};
use super::request::{Reply, Request, Stage};
use super::step::{Commit, Step};
use super::store::{Revoke, Store, USERS};
use super::tally::{Observation, Tally};
use crate::fixture::MINUTE;

pub(super) const BROWSERS: usize = 4;
const QUARTER: u64 = 15 * MINUTE;
/// Maximum offset of a clock that is set wrong, in quarters of an hour.
pub(super) const QUARTERS: i64 = 8;
/// Maximum time by which a clock can be behind the true time.
pub(super) const SLOWEST: Duration = Duration::from_secs(QUARTERS.unsigned_abs() * QUARTER + CLOCK_SKEW.as_secs());

/// Token that a node has sealed, and its content.
pub(super) struct Token {
    pub(super) value: String,
    pub(super) claims: Claims<'static>,
    pub(super) kid: Kid,
    /// Id of the session that this one replaced, if there was one.
    pub(super) replaced: Option<Sid>,
}

impl Token {
    pub(super) fn new(value: &str, claims: Claims<'static>, replaced: Option<Sid>) -> Self {
        let kid = UntrustedToken::from_cookie_value(value.as_bytes()).and_then(UntrustedToken::kid);
        Self { value: value.to_owned(), claims, kid: kid.expect("a valid token"), replaced }
    }
}

/// State of the whole simulation.
pub(super) struct World {
    /// True time, in seconds since the start. No clock of a node affects it.
    pub(super) at: u64,
    pub(super) store: Store,
    pub(super) nodes: Vec<Node>,
    /// Index of the token in the cookie jar of each browser.
    pub(super) jars: [Option<usize>; BROWSERS],
    pub(super) tokens: Vec<Token>,
    pub(super) requests: Vec<Request>,
    /// Replies that have not arrived, each with the number of its browser.
    pub(super) replies: Vec<(usize, Reply)>,
    pub(super) tally: Tally,
    /// Absolute deadline of each session at its login.
    absolute_deadlines: HashMap<Sid, UnixTime>,
}

impl World {
    /// Creates a node for each clock skew, in seconds.
    pub(super) fn new(skews: &[i64]) -> Self {
        let mut store = Store::new();
        let config = Config { lifetimes: 0, fail_open: false };
        let start =
            |(number, skew): (usize, &i64)| Node::start(number, KeyFiles::all(), (*skew, 0), config, &mut store, 0);
        let nodes = skews.iter().enumerate().map(start).collect();
        Self {
            at: 0,
            store,
            nodes,
            jars: [None; BROWSERS],
            tokens: Vec::new(),
            requests: Vec::new(),
            replies: Vec::new(),
            tally: Tally::default(),
            absolute_deadlines: HashMap::new(),
        }
    }

    pub(super) fn count(&mut self, observation: Observation) {
        self.tally.count(observation);
    }

    /// Records a token and returns its index. Asserts that the absolute deadline of its session has not changed.
    pub(super) fn add_token(&mut self, token: Token) -> usize {
        let Claims { sid, absolute_deadline, .. } = token.claims;
        let first = *self.absolute_deadlines.entry(sid).or_insert(absolute_deadline);
        assert_eq!(absolute_deadline, first, "the absolute deadline of a session has changed");
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    /// Applies one step.
    pub(super) fn apply(&mut self, step: Step) {
        let at = self.at;
        let node_count = self.nodes.len();
        match step {
            Step::Send { browser, node, action } => {
                let request = self.request(browser, node, action);
                self.requests.push(request);
            }
            Step::SendAndFinish { browser, node, action } => self.send_and_finish(browser % BROWSERS, node, action),
            Step::Steal { token, node, action } => {
                let Some(token) = self.recent_token(token) else { return };
                let request = Request { browser: None, cookie: Some(token), ..self.request(0, node, action) };
                self.advance(request);
            }
            Step::Plant { browser, token } => {
                if let Some(token) = wrap(token, self.tokens.len()) {
                    self.jars[browser % BROWSERS] = Some(token);
                }
            }
            Step::ContinueRequest { request } => {
                if let Some(request) = wrap(request, self.requests.len()) {
                    let request = self.requests.remove(request);
                    self.advance(request);
                }
            }
            Step::DeliverReply { reply } => {
                if let Some(reply) = wrap(reply, self.replies.len()) {
                    let (browser, reply) = self.replies.remove(reply);
                    self.deliver(browser, &reply);
                }
            }
            Step::LoseReply { reply } => {
                if let Some(reply) = wrap(reply, self.replies.len()) {
                    match self.replies.remove(reply).1 {
                        Reply::Keep => {}
                        Reply::Renewal(_) => self.count(Observation::RenewalLost),
                        Reply::Session(_) => self.count(Observation::SignInLost),
                        Reply::Removal => self.count(Observation::RemovalLost),
                    }
                }
            }
            Step::Commit { node, outcome, began_before } => {
                self.commit(node % node_count, outcome, began_before);
            }
            Step::TimeOut { request } => {
                if let Some(request) = wrap(request, self.requests.len())
                    && let Stage::Waiting(..) = self.requests[request].stage
                {
                    self.requests[request].stage = Stage::NotDurable;
                }
            }
            Step::RenewDuringSignOut { token, node } => {
                if let Some(token) = wrap(token, self.tokens.len())
                    && self.nodes[node % node_count].ready
                {
                    self.renew_during_sign_out(token, node % node_count);
                }
            }
            Step::Round { node, delivery } => self.nodes[node % node_count].round(&mut self.store, at, delivery),
            Step::PollBegins { node } => {
                let node = &mut self.nodes[node % node_count];
                if !node.cut_off && node.ready {
                    node.poll_begins(&self.store, at);
                }
            }
            Step::PollEnds { node, delivery } => {
                let node = &mut self.nodes[node % node_count];
                if !node.cut_off {
                    node.poll_ends(&mut self.store, at, delivery);
                }
            }
            Step::CutOff { node } => self.nodes[node % node_count].cut_off = true,
            Step::Reconnect { node } => {
                let node = &mut self.nodes[node % node_count];
                node.cut_off = false;
                if node.ready {
                    node.round(&mut self.store, at, Delivery::InOrder)
                } else {
                    node.load(&mut self.store, at)
                }
            }
            Step::Restart { node, config } => self.restart(node % node_count, config),
            Step::Pass { secs } => self.pass(secs),
            Step::PassToDeadline { token, offset_secs } => {
                let Some(token) = self.recent_token(token) else { return };
                let deadline = self.tokens[token].claims.idle_deadline.0.saturating_add_signed(offset_secs);
                self.pass(deadline.saturating_sub(START.0 + at));
            }
            Step::PassWithoutPolls { secs } => self.at += secs,
            Step::SetClock { node, quarters } => {
                let node = &mut self.nodes[node % node_count];
                // The design does not cover a clock that is set and set back while the store is unavailable.
                if !node.cut_off && node.ready {
                    node.set_clock(quarters * QUARTER as i64, &mut self.store, at);
                }
            }
            Step::ChangeAccount { user, node, change } => {
                let wall = self.nodes[node % node_count].now(at).wall;
                self.store.change_account(user % USERS, change, wall, at);
            }
            Step::AddAccount { user } => self.store.add_account(user % USERS),
            Step::RevokeSession { token, node } => {
                let Some(token) = wrap(token, self.tokens.len()) else { return };
                let revoke = Revoke::Session { sid: self.tokens[token].claims.sid, token: None };
                self.store.revoke(&[revoke], self.nodes[node % node_count].now(at).wall, at);
            }
            Step::SetKeyFile { token, node, file } => {
                let Some(token) = self.recent_token(token) else { return };
                let node = &mut self.nodes[node % node_count];
                // The design does not cover a key that is added while the store is unavailable, because the node cannot report
                // it.
                if !node.cut_off && node.ready {
                    let keys = node.keys.clone().with(self.tokens[token].kid, file);
                    node.set_keys(keys, &mut self.store, at);
                }
            }
            Step::RevokeKey { token } => {
                let Some(token) = self.recent_token(token) else { return };
                self.store.revoke_key(self.tokens[token].kid, at);
            }
            Step::RevokeEveryone => self.store.revoke_everyone(at),
        }
    }

    /// Ends the transaction of a node's committer, and continues the requests that wait for it.
    pub(super) fn commit(&mut self, number: usize, outcome: Commit, began_before: u64) {
        let node = &mut self.nodes[number];
        if node.uncommitted.is_empty() {
            return;
        }
        let outcome = if node.cut_off { Commit::Failed } else { outcome };
        let batch = node.uncommitted.clone();
        let entries = match outcome {
            Commit::Failed => Vec::new(),
            Commit::Done | Commit::DoneUnknown => {
                let started_at = UnixTime(node.time(self.at).0.saturating_sub(began_before));
                self.store.revoke(&batch, started_at, self.at)
            }
        };
        let done = matches!(outcome, Commit::Done);
        if done {
            entries.iter().for_each(|entry| node.apply(entry));
            node.uncommitted.clear();
        }
        for request in self.requests.iter_mut().filter(|request| request.node == number) {
            request.stage = match std::mem::replace(&mut request.stage, Stage::NotDurable) {
                Stage::Waiting(revokes, next) if done => Stage::Committed(revokes, next),
                Stage::Waiting(..) => Stage::NotDurable,
                other => other,
            };
        }
    }

    /// Lets time pass. At its end, every node runs one round of its follower.
    fn pass(&mut self, secs: u64) {
        self.at += secs;
        let Self { nodes, store, at, .. } = self;
        nodes.iter_mut().for_each(|node| node.round(store, *at, Delivery::InOrder));
    }

    /// Returns the index of one of the last twelve tokens. Most of the older ones have expired.
    fn recent_token(&self, token: usize) -> Option<usize> {
        wrap(token, self.tokens.len().min(12)).map(|back| self.tokens.len() - 1 - back)
    }

    /// Whether the store has an entry that revokes this session.
    pub(super) fn is_on_disk(&self, sid: Sid) -> bool {
        let is_of_session = |token: &&Token| token.claims.sid == sid;
        self.tokens
            .iter()
            .find(is_of_session)
            .is_some_and(|token| self.store.revocations.session_revoked_at(&token.claims).is_some())
    }

    /// Restarts a node. It loses its requests, its pending entries and its revocation list.
    fn restart(&mut self, number: usize, config: Config) {
        self.requests.retain(|request| request.node != number);
        let node = &mut self.nodes[number];
        let store = &mut self.store;
        let pending = std::mem::take(&mut node.uncommitted);
        if node.cut_off {
            node.ready = false;
        } else {
            *node = Node::start(number, node.keys.clone(), (node.skew, node.clock_offset), config, store, self.at);
        }
        let forgotten =
            pending.iter().filter(|revoke| matches!(revoke, Revoke::Session { sid, .. } if !self.is_on_disk(*sid)));
        for _ in 0..forgotten.count() {
            self.count(Observation::PendingForgotten);
        }
    }
}

/// Returns the index modulo the length, or `None` for a length of 0.
fn wrap(index: usize, length: usize) -> Option<usize> {
    index.checked_rem(length)
}
