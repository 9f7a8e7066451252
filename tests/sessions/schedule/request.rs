//! Model of the handlers in `src/http/`. A request has stages, and between two stages a handler waits or can be delayed.

use sealjar::clock::CLOCK_SKEW;
use sealjar::id::Sid;
use sealjar::session::claims::Claims;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Cause, Refusal, SealError, SealedSession};

use super::keys::Unopened;
use super::node::START;
use super::sign_in::Checked;
use super::store::{Account, Revoke};
use super::tally::Observation;
use super::world::{Token, World};
use crate::fixture::{SITE, field};

/// Action that a request asks the server to perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Status,
    /// Login. With `old_password`, the user types the previous password.
    SignIn {
        old_password: bool,
        remember: bool,
    },
    StepUp,
    ChangePassword,
    SignOut,
    SignOutEverywhere,
}

/// Request in progress.
pub(super) struct Request {
    /// Browser that sent it. A thief has no browser.
    pub(super) browser: Option<usize>,
    pub(super) user: usize,
    pub(super) node: usize,
    pub(super) action: Action,
    /// Index of the token in its cookie.
    pub(super) cookie: Option<usize>,
    /// Number of the password that the user has typed.
    pub(super) password: u32,
    pub(super) stage: Stage,
}

/// Stage of a request. Other steps can happen between two stages.
pub(super) enum Stage {
    /// The request has arrived.
    Arrived,
    /// The password is being checked against the account as it was read.
    Checking(Checked),
    /// The new password is being hashed.
    Hashing(Checked),
    /// The request waits for the commit of these revocations.
    Waiting(Vec<Revoke>, Next),
    /// The revocations are on disk.
    Committed(Vec<Revoke>, Next),
    /// The commit has failed or timed out.
    NotDurable,
}

/// Continuation of a request after its commit.
pub(super) enum Next {
    /// Starts a session for the account as it was read.
    Seal {
        account: Account,
        global_generation: u64,
        /// True time of the last query of the store.
        read: u64,
        remember: bool,
        /// Id of the session in the request.
        replaced: Option<Sid>,
    },
    /// Removes the session cookie.
    Removal,
}

/// Effect of a response on the cookie of the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The cookie is not changed.
    Keep,
    /// The cookie is replaced by a renewed token of the same session.
    Renewal(usize),
    /// The cookie is replaced by the token of a new session.
    Session(usize),
    /// The cookie is removed.
    Removal,
}

/// Result of a stage.
pub(super) enum Outcome {
    /// The request continues with this stage.
    Continues(Stage),
    /// The request has its response.
    Answered(Reply),
}

use Outcome::{Answered, Continues};

/// Outcome of a refused request, whose response does not change the cookie.
pub(super) const REFUSED: Outcome = Answered(Reply::Keep);

impl World {
    /// Handles the next stage of a request.
    pub(super) fn advance(&mut self, mut request: Request) {
        if !self.nodes[request.node].ready {
            return self.count(Observation::NodeDown);
        }
        let stage = std::mem::replace(&mut request.stage, Stage::NotDurable);
        let outcome = match stage {
            Stage::Arrived => self.handle_arrival(&request),
            Stage::Checking(checked) => self.check_account_again(&request, checked),
            Stage::Hashing(checked) => self.change_password(&request, checked),
            Stage::Waiting(revokes, next) => Continues(Stage::Waiting(revokes, next)),
            Stage::Committed(revokes, next) => self.finish(&request, &revokes, next),
            Stage::NotDurable => {
                let is_logout = matches!(request.action, Action::SignOut | Action::SignOutEverywhere);
                self.count(if is_logout { Observation::SignOutNotDurable } else { Observation::SignInNotDurable });
                REFUSED
            }
        };
        match (outcome, request.browser) {
            (Continues(stage), _) => self.requests.push(Request { stage, ..request }),
            (Answered(reply), Some(browser)) => self.replies.push((browser, reply)),
            (Answered(_), None) => {}
        }
    }

    fn handle_arrival(&mut self, request: &Request) -> Outcome {
        match request.action {
            Action::Status => self.status(request),
            Action::SignIn { .. } => self.read_account(request, None),
            Action::StepUp | Action::ChangePassword => match self.verify(request) {
                Ok(current) => self.read_account(request, Some(Box::new(current))),
                Err(refusal) => self.record_refusal(request, refusal),
            },
            Action::SignOut => {
                if let Unopened::Unknown = self.look_up_unopened(request) {
                    return REFUSED;
                }
                let revokes = self.presented(request).into_iter().map(|(session, _)| session).collect();
                self.wait_for_commit(request, revokes, Next::Removal)
            }
            Action::SignOutEverywhere => {
                if let Unopened::Unknown = self.look_up_unopened(request) {
                    return REFUSED;
                }
                let presented = self.presented(request);
                let all = match self.verify(request) {
                    Ok(claims) => Some(revoke_account(&claims)),
                    Err(refusal) => {
                        let list = self.nodes[request.node].list();
                        let is_retry = |claims: &&Claims<'static>| match refusal {
                            Refusal::Revoked => {
                                list.refuses_account(claims.identity.sub, claims.identity.account_generation)
                            }
                            Refusal::Stale => true,
                            _ => false,
                        };
                        match presented.iter().map(|(_, claims)| claims).find(is_retry) {
                            Some(claims) => Some(revoke_account(claims)),
                            None => return self.record_refusal(request, refusal),
                        }
                    }
                };
                let revokes = presented.into_iter().map(|(session, _)| session).chain(all).collect();
                self.wait_for_commit(request, revokes, Next::Removal)
            }
        }
    }

    fn status(&mut self, request: &Request) -> Outcome {
        let before = self.cookie(request).map(|token| token.claims.clone());
        let node = &self.nodes[request.node];
        let fields = self.fields(request);
        let fields = fields.iter().map(Vec::as_slice);
        let renewed = node
            .sessions
            .verify(fields, SITE, node.now(self.at), |session| node.sessions.renew(session, RenewalWindow::WhenDue));
        match (renewed, before) {
            (Ok(Ok(Some(renewed))), Some(before)) => {
                Answered(Reply::Renewal(self.record_renewal(request.node, &before, renewed)))
            }
            (Ok(Err(error)), _) => self.not_sealed(error),
            (Ok(_), _) => Answered(Reply::Keep),
            (Err(refusal), _) => self.record_refusal(request, refusal),
        }
    }

    /// Checks a renewal against the rules in `schedule.rs`, and records its token.
    fn record_renewal(&mut self, node: usize, before: &Claims<'static>, renewed: SealedSession) -> usize {
        let time = self.nodes[node].time(self.at);
        let lifetime = self.nodes[node].lifetimes.of(before.flags);
        assert_eq!((renewed.sid, renewed.flags, renewed.sealed_at), (before.sid, before.flags, time));
        assert_eq!(renewed.deadlines.absolute, before.absolute_deadline, "a renewal changed the absolute deadline");
        assert!(renewed.deadlines.idle <= time.plus(lifetime.idle).min(before.absolute_deadline));
        assert!(self.nodes[node].known.session_revoked_at(before).is_none(), "a revoked session has been renewed");
        self.count(Observation::Renewed);
        let claims = Claims { sealed_at: time, idle_deadline: renewed.deadlines.idle, ..before.clone() };
        self.add_sealed_token(node, Token::new(renewed.token.expose(), claims, None))
    }

    pub(super) fn not_sealed(&mut self, error: SealError) -> Outcome {
        assert_eq!(error, SealError::NoActiveKey);
        self.count(Observation::NoActiveKey);
        REFUSED
    }

    /// Records a token that a node has sealed. Asserts that the node can open tokens with the same key.
    pub(super) fn add_sealed_token(&mut self, node: usize, token: Token) -> usize {
        assert_eq!(self.nodes[node].reason_not_to_open(token.kid), None, "a token was sealed with a refused key");
        self.add_token(token)
    }

    /// Adds pending entries, and lets the request wait for their commit unless all revocations are durable already.
    pub(super) fn wait_for_commit(&mut self, request: &Request, revokes: Vec<Revoke>, next: Next) -> Outcome {
        let must_wait = self.nodes[request.node].add_pending(&revokes);
        Continues(if must_wait { Stage::Waiting(revokes, next) } else { Stage::Committed(revokes, next) })
    }

    /// Renews a session that another thread logs out between the check and the sealing. The renewal must not succeed.
    pub(super) fn renew_during_sign_out(&mut self, token: usize, node: usize) {
        let Some(Token { value, claims, .. }) = self.tokens.get(token) else { return };
        let node = &mut self.nodes[node];
        let field = field(value);
        let now = node.now(self.at);
        let renewed = node.sessions.verify([field.as_slice()], SITE, now, |session| {
            node.list().add_pending(claims.sid, claims.absolute_deadline);
            node.sessions.renew(session, RenewalWindow::WhenDue)
        });
        if let Ok(renewed) = renewed {
            assert_eq!(renewed, Ok(None), "a session was renewed that had been logged out meanwhile");
            node.add_pending(&[revoke_session(claims)]);
        }
    }

    pub(super) fn verify(&self, request: &Request) -> Result<Claims<'static>, Refusal> {
        let node = &self.nodes[request.node];
        let fields = self.fields(request);
        let sid = node
            .sessions
            .verify(fields.iter().map(Vec::as_slice), SITE, node.now(self.at), |session| session.claims().sid)?;
        let token = self.cookie(request).expect("the token of the request");
        assert_eq!(token.claims.sid, sid);
        Ok(token.claims.clone())
    }

    /// Returns the sessions in the request that a logout or login must revoke.
    pub(super) fn presented(&mut self, request: &Request) -> Vec<(Revoke, Claims<'static>)> {
        let node = &self.nodes[request.node];
        let fields = self.fields(request);
        let opened = node.sessions.presented(fields.iter().map(Vec::as_slice), node.now(self.at));
        let Some(claims) = self.cookie(request).map(|token| token.claims.clone()) else {
            assert_eq!(opened, []);
            return Vec::new();
        };
        let can_open = self.cookie(request).is_some_and(|token| node.reason_not_to_open(token.kid).is_none());
        if !can_open {
            assert_eq!(opened, []);
            return Vec::new();
        }
        if node.time(self.at) >= claims.absolute_deadline.plus(CLOCK_SKEW) {
            assert_eq!(opened, []);
            if START.0 + self.at < claims.absolute_deadline.0
                && self.store.revocations.session_revoked_at(&claims).is_none()
            {
                self.count(Observation::SignedOutPastTheDeadlineOfAFastClock);
            }
            return Vec::new();
        }
        let opened: Vec<_> = opened.iter().map(|opened| (opened.sid, &*opened.sub, opened.absolute_deadline)).collect();
        assert_eq!(
            opened,
            [(claims.sid, claims.identity.sub, claims.absolute_deadline)],
            "the sessions that must be revoked"
        );
        vec![(revoke_session(&claims), claims)]
    }

    fn fields(&self, request: &Request) -> Vec<Vec<u8>> {
        self.cookie(request).map(|token| field(&token.value)).into_iter().collect()
    }

    pub(super) fn cookie(&self, request: &Request) -> Option<&Token> {
        request.cookie.map(|token| &self.tokens[token])
    }

    /// Refuses a request with 401 or 503. Asserts that the refusal is the expected one, and counts it if it is a
    /// disadvantage for the user.
    fn record_refusal(&mut self, request: &Request, refusal: Refusal) -> Outcome {
        let Some(token) = self.cookie(request) else {
            assert_eq!(refusal, Refusal::Missing);
            return REFUSED;
        };
        let claims = token.claims.clone();
        let node = &self.nodes[request.node];
        assert_eq!(node.expected_verdict(token, self.at), Err(refusal));
        let is_live =
            START.0 + self.at < claims.idle_deadline.0 && self.store.revocations.session_revoked_at(&claims).is_none();
        let observation = match refusal {
            Refusal::Stale => Some(Observation::Stale),
            Refusal::Invalid(Cause::UnknownKey | Cause::RevokedKey) => is_live.then_some(Observation::KeyNotOpened),
            Refusal::Expired | Refusal::Invalid(_) if is_live && node.clock_offset != 0 => Some(Observation::ClockSet),
            Refusal::Expired if is_live && node.is_wrong_about_time(self.at) => Some(Observation::PrunedAhead),
            Refusal::Revoked if is_live => Some(Observation::RefusedWhilePending),
            _ => None,
        };
        observation.into_iter().for_each(|observation| self.count(observation));
        REFUSED
    }
}

/// Returns the revocation of one session.
fn revoke_session(claims: &Claims<'static>) -> Revoke {
    Revoke::Session { sid: claims.sid, token: Some((claims.absolute_deadline, claims.flags.is_remembered())) }
}

/// Returns the revocation of all sessions of an account up to the generation in `claims`.
fn revoke_account(claims: &Claims<'static>) -> Revoke {
    Revoke::Subject { sub: claims.identity.sub, below: claims.identity.account_generation + 1 }
}
