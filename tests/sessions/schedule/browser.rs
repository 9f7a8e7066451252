//! Browsers: a request goes out with the cookie that the jar holds then, and a response changes the jar when it arrives, in
//! whatever order. And the check of everything that was ever in a jar.

use std::time::Duration;

use super::node::START;
use super::request::{Ask, Reply, Request, Stage};
use super::step::Commit;
use super::store::USERS;
use super::tally::Seen;
use super::world::{BROWSERS, SLOWEST, Token, World};
use crate::fixture::MAX_STALENESS;

impl World {
    pub(super) fn request(&self, browser: usize, node: usize, ask: Ask) -> Request {
        let (browser, node) = (browser % BROWSERS, node % self.nodes.len());
        let user = browser % USERS;
        let before = matches!(ask, Ask::SignIn { password_before: true, .. });
        let password = self.store.passwords[user] - u32::from(before);
        let cookie = self.jars[browser];
        Request { browser: Some(browser), user, node, ask, cookie, password, stage: Stage::Arrived }
    }

    pub(super) fn whole(&mut self, browser: usize, node: usize, ask: Ask) {
        let ask = match ask {
            Ask::SignIn { .. } => ask,
            _ if self.jars[browser].is_some_and(|token| self.lives(token)) => ask,
            _ => Ask::SignIn { password_before: false, remember: self.at.is_multiple_of(2) },
        };
        let mut request = self.request(browser, node, ask);
        let node = request.node;
        loop {
            if let Stage::Waiting(..) = request.stage {
                self.requests.push(request);
                self.commit(node, Commit::Done, 0);
                request = self.requests.pop().expect("pushed");
            }
            let (requests, replies) = (self.requests.len(), self.replies.len());
            self.work(request);
            if self.replies.len() > replies {
                let (_, reply) = self.replies.pop().expect("answered");
                return self.arrive(browser, &reply);
            }
            if self.requests.len() == requests {
                return;
            }
            request = self.requests.pop().expect("goes on");
        }
    }

    pub(super) fn arrive(&mut self, browser: usize, reply: &Reply) {
        let held = self.jars[browser];
        let lives = |token: usize| self.lives(token);
        let replaces = |new: usize| {
            held.filter(|held| lives(*held) && self.tokens[*held].claims.sid != self.tokens[new].claims.sid)
        };
        let (jar, seen) = match *reply {
            Reply::Keep => return,
            Reply::Removal => (None, held.filter(|held| lives(*held)).map(|_| Seen::Overwritten)),
            Reply::Session(new) => (Some(new), replaces(new).map(|_| Seen::Overwritten)),
            Reply::Renewal(new) => {
                let sid = self.tokens[new].claims.sid;
                let successor = replaces(new);
                if successor.is_some_and(|held| self.tokens[held].replaced == Some(sid)) {
                    assert!(!lives(new), "a late renewal brought a replaced session back to life");
                }
                (Some(new), successor.map(|_| Seen::LateRenewal))
            }
        };
        self.jars[browser] = jar;
        seen.into_iter().for_each(|seen| self.count(seen));
    }

    /// Whether a token is good, by the right time and all that was ever ended.
    pub(super) fn lives(&self, token: usize) -> bool {
        let claims = &self.tokens[token].claims;
        START.plus(Duration::from_secs(self.at)) < claims.idle_deadline && self.store.ended.at(claims).is_none()
    }

    /// Holds every token that was ever made against every node, until it is dead by the slowest clock.
    pub(super) fn check(&mut self, when: &dyn Fn() -> String) {
        for node in &mut self.nodes {
            (0..std::mem::take(&mut node.pruned)).for_each(|_| self.tally.count(Seen::Pruned));
        }
        let right = START.plus(Duration::from_secs(self.at));
        let not_long_dead = |token: &&Token| right < token.claims.idle_deadline.plus(SLOWEST);
        for node in self.nodes.iter().filter(|node| node.ready) {
            for token in self.tokens.iter().filter(not_long_dead) {
                let said = node.said(token, self.at);
                assert_eq!(said, node.verdict(token, self.at), "{}", when());
                let ended =
                    self.store.ended.at(&token.claims).into_iter().chain(self.store.ended.key_at(token.kid)).min();
                let (Ok(()), Some(ended)) = (said, ended) else { continue };
                if node.fails_open() {
                    self.tally.count(Seen::AcceptedWhileOpen);
                } else {
                    assert!(self.at <= ended + MAX_STALENESS.as_secs(), "accepted too long, {}", when());
                    self.tally.count(Seen::AcceptedWithinLag);
                }
            }
        }
    }
}
