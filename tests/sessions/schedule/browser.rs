//! Model of browsers, and the check of every token on every node after each step.
//!
//! A request has the cookie that the jar contains when it is sent. A reply changes the jar when it arrives, in any order.

use std::time::Duration;

use super::node::START;
use super::request::{Action, Reply, Request, Stage};
use super::step::Commit;
use super::store::USERS;
use super::tally::Observation;
use super::world::{BROWSERS, SLOWEST, Token, World};
use crate::fixture::MAX_STALENESS;

impl World {
    /// Creates a request with the current cookie of a browser.
    pub(super) fn request(&self, browser: usize, node: usize, action: Action) -> Request {
        let browser = browser % BROWSERS;
        let node = node % self.nodes.len();
        let user = browser % USERS;
        let uses_old_password = matches!(action, Action::SignIn { old_password: true, .. });
        let password = self.store.passwords[user] - u32::from(uses_old_password);
        let cookie = self.jars[browser];
        Request { browser: Some(browser), user, node, action, cookie, password, stage: Stage::Arrived }
    }

    /// Sends a request and handles all its stages at once. If the browser has no live session, it logs in instead.
    pub(super) fn send_and_finish(&mut self, browser: usize, node: usize, action: Action) {
        let action = match action {
            Action::SignIn { .. } => action,
            _ if self.jars[browser].is_some_and(|token| self.is_live(token)) => action,
            _ => Action::SignIn { old_password: false, remember: self.at.is_multiple_of(2) },
        };
        let mut request = self.request(browser, node, action);
        let node = request.node;
        loop {
            if let Stage::Waiting(..) = request.stage {
                self.requests.push(request);
                self.commit(node, Commit::Done, 0);
                request = self.requests.pop().expect("the request");
            }
            let requests = self.requests.len();
            let replies = self.replies.len();
            self.advance(request);
            if self.replies.len() > replies {
                let (_, reply) = self.replies.pop().expect("the reply");
                return self.deliver(browser, &reply);
            }
            if self.requests.len() == requests {
                return;
            }
            request = self.requests.pop().expect("the request");
        }
    }

    /// Applies a reply to the cookie jar of a browser.
    pub(super) fn deliver(&mut self, browser: usize, reply: &Reply) {
        let old = self.jars[browser];
        let is_live = |token: usize| self.is_live(token);
        let replaces =
            |new: usize| old.filter(|old| is_live(*old) && self.tokens[*old].claims.sid != self.tokens[new].claims.sid);
        let (jar, observation) = match *reply {
            Reply::Keep => return,
            Reply::Removal => (None, old.filter(|old| is_live(*old)).map(|_| Observation::Overwritten)),
            Reply::Session(new) => (Some(new), replaces(new).map(|_| Observation::Overwritten)),
            Reply::Renewal(new) => {
                let sid = self.tokens[new].claims.sid;
                let overwritten = replaces(new);
                if overwritten.is_some_and(|old| self.tokens[old].replaced == Some(sid)) {
                    assert!(!is_live(new), "a late renewal made a replaced session valid again");
                }
                (Some(new), overwritten.map(|_| Observation::LateRenewal))
            }
        };
        self.jars[browser] = jar;
        observation.into_iter().for_each(|observation| self.count(observation));
    }

    /// Whether a token is valid at the true time, if all revocations are taken into account.
    pub(super) fn is_live(&self, token: usize) -> bool {
        let claims = &self.tokens[token].claims;
        START.plus(Duration::from_secs(self.at)) < claims.idle_deadline
            && self.store.revocations.session_revoked_at(claims).is_none()
    }

    /// Checks every token on every node, and compares the verdict with the model. Skips tokens that have expired by the slowest
    /// clock.
    pub(super) fn check_invariants(&mut self, context: &dyn Fn() -> String) {
        for node in &mut self.nodes {
            (0..std::mem::take(&mut node.pruned)).for_each(|_| self.tally.count(Observation::Pruned));
        }
        let true_time = START.plus(Duration::from_secs(self.at));
        let may_be_accepted = |token: &&Token| true_time < token.claims.idle_deadline.plus(SLOWEST);
        for node in self.nodes.iter().filter(|node| node.ready) {
            for token in self.tokens.iter().filter(may_be_accepted) {
                let verdict = node.actual_verdict(token, self.at);
                assert_eq!(verdict, node.expected_verdict(token, self.at), "{}", context());
                let revoked_at = self
                    .store
                    .revocations
                    .session_revoked_at(&token.claims)
                    .into_iter()
                    .chain(self.store.revocations.key_revoked_at(token.kid))
                    .min();
                let (Ok(()), Some(revoked_at)) = (verdict, revoked_at) else { continue };
                if node.fails_open() {
                    self.tally.count(Observation::AcceptedWhileOpen);
                } else {
                    assert!(
                        self.at <= revoked_at + MAX_STALENESS.as_secs(),
                        "a revoked session was accepted for too long, {}",
                        context()
                    );
                    self.tally.count(Observation::AcceptedWithinLag);
                }
            }
        }
    }
}
