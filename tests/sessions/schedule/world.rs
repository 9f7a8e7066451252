//! Browsers, a thief, nodes and a store, and what may happen to them, one step at a time.

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
use super::tally::{Seen, Tally};
use crate::fixture::MINUTE;

pub(super) const BROWSERS: usize = 4;
const QUARTER: u64 = 15 * MINUTE;
/// How many quarters of an hour a clock is set wrong by at most.
pub(super) const QUARTERS: i64 = 8;
/// How far a clock is behind at most.
pub(super) const SLOWEST: Duration = Duration::from_secs(QUARTERS.unsigned_abs() * QUARTER + CLOCK_SKEW.as_secs());

pub(super) struct Token {
    pub(super) value: String,
    pub(super) claims: Claims<'static>,
    pub(super) kid: Kid,
    /// The session that ended when this one began.
    pub(super) replaced: Option<Sid>,
}

impl Token {
    pub(super) fn new(value: &str, claims: Claims<'static>, replaced: Option<Sid>) -> Self {
        let kid = UntrustedToken::from_cookie_value(value.as_bytes()).and_then(UntrustedToken::kid);
        Self { value: value.to_owned(), claims, kid: kid.expect("ours"), replaced }
    }
}

pub(super) struct World {
    /// Seconds since the start, truly.
    pub(super) at: u64,
    pub(super) store: Store,
    pub(super) nodes: Vec<Node>,
    pub(super) jars: [Option<usize>; BROWSERS],
    pub(super) tokens: Vec<Token>,
    pub(super) requests: Vec<Request>,
    pub(super) replies: Vec<(usize, Reply)>,
    pub(super) tally: Tally,
    /// The absolute deadline of each session, as it began.
    began: HashMap<Sid, UnixTime>,
}

impl World {
    /// Nodes with these clocks, off the right time by at most half of what two may differ by.
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
            began: HashMap::new(),
        }
    }

    pub(super) fn count(&mut self, seen: Seen) {
        self.tally.count(seen);
    }

    pub(super) fn keeps(&mut self, token: Token) -> usize {
        let Claims { sid, absolute_deadline, .. } = token.claims;
        let first = *self.began.entry(sid).or_insert(absolute_deadline);
        assert_eq!(absolute_deadline, first, "the absolute deadline of a session moved");
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    pub(super) fn take(&mut self, step: Step) {
        let (at, node_count) = (self.at, self.nodes.len());
        match step {
            Step::Send { browser, node, ask } => {
                let request = self.request(browser, node, ask);
                self.requests.push(request);
            }
            Step::Whole { browser, node, ask } => self.whole(browser % BROWSERS, node, ask),
            Step::Steal { token, node, ask } => {
                let Some(token) = self.recent(token) else { return };
                let request = Request { browser: None, cookie: Some(token), ..self.request(0, node, ask) };
                self.work(request);
            }
            Step::Plant { browser, token } => {
                if let Some(token) = wrap(token, self.tokens.len()) {
                    self.jars[browser % BROWSERS] = Some(token);
                }
            }
            Step::Work { request } => {
                if let Some(request) = wrap(request, self.requests.len()) {
                    let request = self.requests.remove(request);
                    self.work(request);
                }
            }
            Step::Arrive { reply } => {
                if let Some(reply) = wrap(reply, self.replies.len()) {
                    let (browser, reply) = self.replies.remove(reply);
                    self.arrive(browser, &reply);
                }
            }
            Step::Lose { reply } => {
                if let Some(reply) = wrap(reply, self.replies.len()) {
                    match self.replies.remove(reply).1 {
                        Reply::Keep => {}
                        Reply::Renewal(_) => self.count(Seen::RenewalLost),
                        Reply::Session(_) => self.count(Seen::SignInLost),
                        Reply::Removal => self.count(Seen::RemovalLost),
                    }
                }
            }
            Step::Commit { node, outcome, began_before } => {
                self.commit(node % node_count, outcome, began_before);
            }
            Step::LosePatience { request } => {
                if let Some(request) = wrap(request, self.requests.len())
                    && let Stage::Waiting(..) = self.requests[request].stage
                {
                    self.requests[request].stage = Stage::NotDurable;
                }
            }
            Step::RenewWhileSignedOut { token, node } => {
                if let Some(token) = wrap(token, self.tokens.len())
                    && self.nodes[node % node_count].ready
                {
                    self.renews_while_it_is_signed_out(token, node % node_count);
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
            Step::PassToDeadline { token, off } => {
                let Some(token) = self.recent(token) else { return };
                let then = self.tokens[token].claims.idle_deadline.0.saturating_add_signed(off);
                self.pass(then.saturating_sub(START.0 + at));
            }
            Step::PassInSilence { secs } => self.at += secs,
            Step::SetClock { node, quarters } => {
                let node = &mut self.nodes[node % node_count];
                // That a clock is set while the store is away as well, and set back before it returns, is not provided for.
                if !node.cut_off && node.ready {
                    node.set_clock(quarters * QUARTER as i64, &mut self.store, at);
                }
            }
            Step::Cli { user, node, change } => {
                let wall = self.nodes[node % node_count].now(at).wall;
                self.store.change_account(user % USERS, change, wall, at);
            }
            Step::MakeAccount { user } => self.store.add_account(user % USERS),
            Step::CliRevoke { token, node } => {
                let Some(token) = wrap(token, self.tokens.len()) else { return };
                let revoke = Revoke::Session { sid: self.tokens[token].claims.sid, token: None };
                self.store.revoke(&[revoke], self.nodes[node % node_count].now(at).wall, at);
            }
            Step::KeyFile { token, node, file } => {
                let Some(token) = self.recent(token) else { return };
                let node = &mut self.nodes[node % node_count];
                // That a key comes while the store is away, which then cannot be told, is not provided for.
                if !node.cut_off && node.ready {
                    let keys = node.keys.clone().with(self.tokens[token].kid, file);
                    node.set_keys(keys, &mut self.store, at);
                }
            }
            Step::CliRevokeKey { token } => {
                let Some(token) = self.recent(token) else { return };
                self.store.revoke_key(self.tokens[token].kid, at);
            }
            Step::CliEveryone => self.store.revoke_everyone(at),
        }
    }

    pub(super) fn commit(&mut self, number: usize, outcome: Commit, began_before: u64) {
        let node = &mut self.nodes[number];
        if node.unsettled.is_empty() {
            return;
        }
        let outcome = if node.cut_off { Commit::Failed } else { outcome };
        let batch = node.unsettled.clone();
        let entries = match outcome {
            Commit::Failed => Vec::new(),
            Commit::Done | Commit::DoneUnknown => {
                let began = UnixTime(node.time(self.at).0.saturating_sub(began_before));
                self.store.revoke(&batch, began, self.at)
            }
        };
        let done = matches!(outcome, Commit::Done);
        if done {
            entries.iter().for_each(|entry| node.take(entry));
            node.unsettled.clear();
        }
        for request in self.requests.iter_mut().filter(|request| request.node == number) {
            request.stage = match std::mem::replace(&mut request.stage, Stage::NotDurable) {
                Stage::Waiting(revokes, next) if done => Stage::Committed(revokes, next),
                Stage::Waiting(..) => Stage::NotDurable,
                other => other,
            };
        }
    }

    fn pass(&mut self, secs: u64) {
        self.at += secs;
        let Self { nodes, store, at, .. } = self;
        nodes.iter_mut().for_each(|node| node.round(store, *at, Delivery::InOrder));
    }

    /// One of the last tokens; most of the older ones are dead.
    fn recent(&self, token: usize) -> Option<usize> {
        wrap(token, self.tokens.len().min(12)).map(|back| self.tokens.len() - 1 - back)
    }

    /// Whether a session is ended, with others or alone, and the store has it.
    pub(super) fn is_on_disk(&self, sid: Sid) -> bool {
        let of_session = |token: &&Token| token.claims.sid == sid;
        self.tokens.iter().find(of_session).is_some_and(|token| self.store.ended.at(&token.claims).is_some())
    }

    /// Its requests, what is pending and the list are gone.
    fn restart(&mut self, number: usize, config: Config) {
        self.requests.retain(|request| request.node != number);
        let (node, store) = (&mut self.nodes[number], &mut self.store);
        let pending = std::mem::take(&mut node.unsettled);
        if node.cut_off {
            node.ready = false;
        } else {
            *node = Node::start(number, node.keys.clone(), (node.skew, node.set_by), config, store, self.at);
        }
        let forgotten =
            pending.iter().filter(|revoke| matches!(revoke, Revoke::Session { sid, .. } if !self.is_on_disk(*sid)));
        for _ in 0..forgotten.count() {
            self.count(Seen::PendingForgotten);
        }
    }
}

fn wrap(index: usize, length: usize) -> Option<usize> {
    index.checked_rem(length)
}
