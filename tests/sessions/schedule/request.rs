//! Requests at a node, in the stages between which the handlers of `src/http/` wait or may be held up.

use sealjar::clock::CLOCK_SKEW;
use sealjar::id::Sid;
use sealjar::session::claims::Claims;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Cause, Refusal, SealError, SealedSession};

use super::keys::Unopened;
use super::node::START;
use super::sign_in::Checked;
use super::store::{Account, Revoke};
use super::tally::Seen;
use super::world::{Token, World};
use crate::fixture::{SITE, field};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Status,
    SignIn { password_before: bool, remember: bool },
    StepUp,
    ChangePassword,
    SignOut,
    SignOutEverywhere,
}

pub(super) struct Request {
    /// Whose; a thief has no jar.
    pub(super) browser: Option<usize>,
    pub(super) user: usize,
    pub(super) node: usize,
    pub(super) ask: Ask,
    pub(super) cookie: Option<usize>,
    /// The password that was typed when it was sent.
    pub(super) password: u32,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    Arrived,
    /// The password is being checked against the account as it was read.
    Checking(Checked),
    /// The new password is being hashed.
    Hashing(Checked),
    /// For a commit of these.
    Waiting(Vec<Revoke>, Next),
    Committed(Vec<Revoke>, Next),
    NotDurable,
}

pub(super) enum Next {
    /// Begin a session for the account as it was read.
    Seal {
        account: Account,
        global_generation: u64,
        read: u64,
        remember: bool,
        /// The session that came with it.
        replaced: Option<Sid>,
    },
    Removal,
}

/// What the response does to the cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Keep,
    Renewal(usize),
    Session(usize),
    Removal,
}

pub(super) enum Outcome {
    Goes(Stage),
    Answered(Reply),
}

use Outcome::{Answered, Goes};

pub(super) const REFUSED: Outcome = Answered(Reply::Keep);

impl World {
    /// Takes a request one stage further.
    pub(super) fn work(&mut self, mut request: Request) {
        if !self.nodes[request.node].ready {
            return self.count(Seen::NodeDown);
        }
        let stage = std::mem::replace(&mut request.stage, Stage::NotDurable);
        let outcome = match stage {
            Stage::Arrived => self.arrives(&request),
            Stage::Checking(checked) => self.checked(&request, checked),
            Stage::Hashing(checked) => self.changes_password(&request, checked),
            Stage::Waiting(revokes, next) => Goes(Stage::Waiting(revokes, next)),
            Stage::Committed(revokes, next) => self.committed(&request, &revokes, next),
            Stage::NotDurable => {
                let signing_out = matches!(request.ask, Ask::SignOut | Ask::SignOutEverywhere);
                self.count(if signing_out { Seen::SignOutNotDurable } else { Seen::SignInNotDurable });
                REFUSED
            }
        };
        match (outcome, request.browser) {
            (Goes(stage), _) => self.requests.push(Request { stage, ..request }),
            (Answered(reply), Some(browser)) => self.replies.push((browser, reply)),
            (Answered(_), None) => {}
        }
    }

    fn arrives(&mut self, request: &Request) -> Outcome {
        match request.ask {
            Ask::Status => self.status(request),
            Ask::SignIn { .. } => self.reads_account(request, None),
            Ask::StepUp | Ask::ChangePassword => match self.verify(request) {
                Ok(current) => self.reads_account(request, Some(Box::new(current))),
                Err(refusal) => self.refused(request, refusal),
            },
            Ask::SignOut => {
                if let Unopened::NotKnown = self.unopened(request) {
                    return REFUSED;
                }
                let revokes = self.presented(request).into_iter().map(|(session, _)| session).collect();
                self.waits(request, revokes, Next::Removal)
            }
            Ask::SignOutEverywhere => {
                if let Unopened::NotKnown = self.unopened(request) {
                    return REFUSED;
                }
                let presented = self.presented(request);
                let all = match self.verify(request) {
                    Ok(claims) => Some(everywhere(&claims)),
                    Err(refusal) => {
                        let list = self.nodes[request.node].list();
                        let tried_again = |claims: &&Claims<'static>| match refusal {
                            Refusal::Revoked => {
                                list.refuses_account(claims.identity.sub, claims.identity.account_generation)
                            }
                            Refusal::Stale => true,
                            _ => false,
                        };
                        match presented.iter().map(|(_, claims)| claims).find(tried_again) {
                            Some(claims) => Some(everywhere(claims)),
                            None => return self.refused(request, refusal),
                        }
                    }
                };
                let revokes = presented.into_iter().map(|(session, _)| session).chain(all).collect();
                self.waits(request, revokes, Next::Removal)
            }
        }
    }

    fn status(&mut self, request: &Request) -> Outcome {
        let before = self.cookie(request).map(|token| token.claims.clone());
        let (node, fields) = (&self.nodes[request.node], self.fields(request));
        let fields = fields.iter().map(Vec::as_slice);
        let renewed = node
            .sessions
            .verify(fields, SITE, node.now(self.at), |session| node.sessions.renew(session, RenewalWindow::WhenDue));
        match (renewed, before) {
            (Ok(Ok(Some(renewed))), Some(before)) => {
                Answered(Reply::Renewal(self.renewed(request.node, &before, renewed)))
            }
            (Ok(Err(error)), _) => self.not_sealed(error),
            (Ok(_), _) => Answered(Reply::Keep),
            (Err(refusal), _) => self.refused(request, refusal),
        }
    }

    /// Holds a renewal against its promises, and keeps the token.
    fn renewed(&mut self, node: usize, before: &Claims<'static>, renewed: SealedSession) -> usize {
        let (time, lifetime) = (self.nodes[node].time(self.at), self.nodes[node].lifetimes.of(before.flags));
        assert_eq!((renewed.sid, renewed.flags, renewed.sealed_at), (before.sid, before.flags, time));
        assert_eq!(renewed.deadlines.absolute, before.absolute_deadline, "a renewal moved the absolute deadline");
        assert!(renewed.deadlines.idle <= time.plus(lifetime.idle).min(before.absolute_deadline));
        assert!(self.nodes[node].heard.at(before).is_none(), "a session that was ended has been renewed");
        self.count(Seen::Renewed);
        let claims = Claims { sealed_at: time, idle_deadline: renewed.deadlines.idle, ..before.clone() };
        self.keeps_of(node, Token::new(renewed.token.expose(), claims, None))
    }

    pub(super) fn not_sealed(&mut self, error: SealError) -> Outcome {
        assert_eq!(error, SealError::NoActiveKey);
        self.count(Seen::NoActiveKey);
        REFUSED
    }

    /// Keeps a token that a node has sealed, with a key that it opens with.
    pub(super) fn keeps_of(&mut self, node: usize, token: Token) -> usize {
        assert_eq!(self.nodes[node].does_not_open(token.kid), None, "sealed with a key that is refused");
        self.keeps(token)
    }

    pub(super) fn waits(&mut self, request: &Request, revokes: Vec<Revoke>, next: Next) -> Outcome {
        let waits = self.nodes[request.node].refuse(&revokes);
        Goes(if waits { Stage::Waiting(revokes, next) } else { Stage::Committed(revokes, next) })
    }

    /// A renewal between whose check and whose sealing another thread signs the session out.
    pub(super) fn renews_while_it_is_signed_out(&mut self, token: usize, node: usize) {
        let Some(Token { value, claims, .. }) = self.tokens.get(token) else { return };
        let node = &mut self.nodes[node];
        let (field, now) = (field(value), node.now(self.at));
        let renewed = node.sessions.verify([field.as_slice()], SITE, now, |session| {
            node.list().add_pending(claims.sid, claims.absolute_deadline);
            node.sessions.renew(session, RenewalWindow::WhenDue)
        });
        if let Ok(renewed) = renewed {
            assert_eq!(renewed, Ok(None), "renewed though it was signed out meanwhile");
            node.refuse(&[alone(claims)]);
        }
    }

    pub(super) fn verify(&self, request: &Request) -> Result<Claims<'static>, Refusal> {
        let (node, fields) = (&self.nodes[request.node], self.fields(request));
        let sid = node
            .sessions
            .verify(fields.iter().map(Vec::as_slice), SITE, node.now(self.at), |session| session.claims().sid)?;
        let token = self.cookie(request).expect("what was verified came with the request");
        assert_eq!(token.claims.sid, sid);
        Ok(token.claims.clone())
    }

    /// What of the request's cookie a sign-out or sign-in must end.
    pub(super) fn presented(&mut self, request: &Request) -> Vec<(Revoke, Claims<'static>)> {
        let (node, fields) = (&self.nodes[request.node], self.fields(request));
        let found = node.sessions.presented(fields.iter().map(Vec::as_slice), node.now(self.at));
        let Some(claims) = self.cookie(request).map(|token| token.claims.clone()) else {
            assert_eq!(found, []);
            return Vec::new();
        };
        let opens = self.cookie(request).is_some_and(|token| node.does_not_open(token.kid).is_none());
        if !opens {
            assert_eq!(found, []);
            return Vec::new();
        }
        if node.time(self.at) >= claims.absolute_deadline.plus(CLOCK_SKEW) {
            assert_eq!(found, []);
            if START.0 + self.at < claims.absolute_deadline.0 && self.store.ended.at(&claims).is_none() {
                self.count(Seen::SignedOutPastTheDeadlineOfAFastClock);
            }
            return Vec::new();
        }
        let found: Vec<_> = found.iter().map(|found| (found.sid, &*found.sub, found.absolute_deadline)).collect();
        assert_eq!(found, [(claims.sid, claims.identity.sub, claims.absolute_deadline)], "what must be ended");
        vec![(alone(&claims), claims)]
    }

    fn fields(&self, request: &Request) -> Vec<Vec<u8>> {
        self.cookie(request).map(|token| field(&token.value)).into_iter().collect()
    }

    pub(super) fn cookie(&self, request: &Request) -> Option<&Token> {
        request.cookie.map(|token| &self.tokens[token])
    }

    /// Answers 401 or 503. The verdict is the foretold one; what it costs is counted.
    fn refused(&mut self, request: &Request, refusal: Refusal) -> Outcome {
        let Some(token) = self.cookie(request) else {
            assert_eq!(refusal, Refusal::Missing);
            return REFUSED;
        };
        let claims = token.claims.clone();
        let node = &self.nodes[request.node];
        assert_eq!(node.verdict(token, self.at), Err(refusal));
        let lives = START.0 + self.at < claims.idle_deadline.0 && self.store.ended.at(&claims).is_none();
        let seen = match refusal {
            Refusal::Stale => Some(Seen::Stale),
            Refusal::Invalid(Cause::UnknownKey | Cause::RevokedKey) => lives.then_some(Seen::KeyNotOpened),
            Refusal::Expired | Refusal::Invalid(_) if lives && node.set_by != 0 => Some(Seen::ClockSet),
            Refusal::Expired if lives && node.is_wrong_about_time(self.at) => Some(Seen::PrunedAhead),
            Refusal::Revoked if lives => Some(Seen::RefusedWhilePending),
            _ => None,
        };
        seen.into_iter().for_each(|seen| self.count(seen));
        REFUSED
    }
}

fn alone(claims: &Claims<'static>) -> Revoke {
    Revoke::Session { sid: claims.sid, token: Some((claims.absolute_deadline, claims.flags.remembered())) }
}

fn everywhere(claims: &Claims<'static>) -> Revoke {
    Revoke::Subject { sub: claims.identity.sub, below: claims.identity.account_generation + 1 }
}
