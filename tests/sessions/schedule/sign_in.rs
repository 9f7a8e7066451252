//! Model of `src/http/sign_in.rs` and `password.rs`: from a password to a new session.

use sealjar::clock::CLOCK_SKEW;
use sealjar::id::{Chain, Link};
use sealjar::session::claims::{Claims, Methods};
use sealjar::session::{Identity, SealedSession};

use super::request::Outcome::{self, Answered, Continues};
use super::request::{Action, Next, REFUSED, Reply, Request, Stage};
use super::store::{Account, Revoke};
use super::tally::Observation;
use super::world::{Token, World};
use crate::fixture::{ALICE, SITE};

/// Data that was read before the password was hashed.
pub(super) struct Checked {
    account: Option<Account>,
    global_generation: u64,
    current: Option<Box<Claims<'static>>>,
    /// True time of the last query of the store.
    read: u64,
}

impl World {
    /// Reads the account before its password is checked.
    pub(super) fn read_account(&mut self, request: &Request, current: Option<Box<Claims<'static>>>) -> Outcome {
        if self.nodes[request.node].cut_off {
            self.count(Observation::StoreUnavailable);
            return REFUSED;
        }
        let global_generation = self.store.state.global_generation;
        let account = self.store.accounts[request.user].clone();
        Continues(Stage::Checking(Checked { account, global_generation, current, read: self.at }))
    }

    /// Continues after the password check. The account and the session must not have changed meanwhile.
    pub(super) fn check_account_again(&mut self, request: &Request, mut checked: Checked) -> Outcome {
        let is_correct = |account: &&Account| account.password == request.password && !account.disabled;
        let Some(account) = checked.account.as_ref().filter(is_correct) else { return REFUSED };
        if self.nodes[request.node].cut_off {
            self.count(Observation::StoreUnavailable);
            return REFUSED;
        }
        let is_unchanged = self.store.accounts[request.user]
            .as_ref()
            .is_some_and(|now| (now.sub, now.generation, now.disabled) == (account.sub, account.generation, false));
        let is_of_account = checked
            .current
            .as_ref()
            .map(|current| current.identity)
            .is_none_or(|current| (current.sub, current.account_generation) == (account.sub, account.generation));
        if !is_unchanged || !is_of_account {
            self.count(Observation::ChangedMeanwhile);
            return REFUSED;
        }
        let list = self.nodes[request.node].sessions.revocations();
        let is_ended = |old: &Claims<'_>| {
            let Identity { sub, account_generation, global_generation, .. } = old.identity;
            list.refuses(old.sid, sub, account_generation, global_generation)
        };
        if checked.current.as_deref().is_some_and(is_ended) {
            self.count(Observation::ChangedMeanwhile);
            return REFUSED;
        }
        let account = account.clone();
        checked.read = self.at;
        match request.action {
            Action::ChangePassword => Continues(Stage::Hashing(checked)),
            _ => self.revoke_presented(request, account, &checked),
        }
    }

    /// Stores the new password after it was hashed.
    pub(super) fn change_password(&mut self, request: &Request, mut checked: Checked) -> Outcome {
        let node = &mut self.nodes[request.node];
        let Some(mut account) = checked.account.clone() else { return REFUSED };
        if node.cut_off {
            self.count(Observation::StoreUnavailable);
            return REFUSED;
        }
        let changed = self.store.change_own_password(request.user, &account, node.time(self.at), self.at);
        let Some((generation, ended)) = changed else {
            self.count(Observation::ChangedMeanwhile);
            return REFUSED;
        };
        node.apply(&ended);
        checked.read = self.at;
        account.generation = generation;
        account.password = self.store.passwords[request.user];
        self.revoke_presented(request, account, &checked)
    }

    /// Revokes the sessions in the request, before a new session starts.
    pub(super) fn revoke_presented(&mut self, request: &Request, account: Account, checked: &Checked) -> Outcome {
        let remember = match (request.action, &checked.current) {
            (Action::SignIn { remember, .. }, _) => remember,
            (_, current) => current.as_ref().is_some_and(|current| current.flags.is_remembered()),
        };
        if request.action == Action::StepUp
            && checked.current.as_ref().is_some_and(|old| self.store.revocations.session_revoked_at(old).is_some())
        {
            self.count(Observation::StepUpOutlivedSignOut);
        }
        let presented = self.presented(request);
        let list = self.nodes[request.node].sessions.revocations();
        let ended =
            |claims: &Claims<'_>| list.is_durable_below(claims.identity.sub, claims.identity.account_generation + 1);
        let time = self.nodes[request.node].time(self.at);
        let node = &self.nodes[request.node];
        let must_end = |token: &&Token| {
            time < token.claims.absolute_deadline.plus(CLOCK_SKEW) && node.reason_not_to_open(token.kid).is_none()
        };
        let replaced = self.cookie(request).filter(must_end).map(|token| token.claims.sid);
        let revokes = presented.into_iter().filter(|(_, claims)| !ended(claims)).map(|(session, _)| session).collect();
        let global_generation = checked.global_generation;
        let read = checked.read;
        self.wait_for_commit(request, revokes, Next::Seal { account, global_generation, read, remember, replaced })
    }

    /// Finishes a logout or login after its revocations are on disk.
    pub(super) fn finish(&mut self, request: &Request, revokes: &[Revoke], next: Next) -> Outcome {
        for revoke in revokes {
            let is_durable = match *revoke {
                Revoke::Session { sid, .. } => self.is_on_disk(sid),
                Revoke::Subject { sub, below } => {
                    self.store.revocations.generation_revoked_at(sub, below - 1, u64::MAX).is_some()
                }
            };
            assert!(is_durable, "{revoke:?} was confirmed, but it is not on disk");
        }
        let Next::Seal { account, global_generation, read, remember, replaced } = next else {
            self.count(Observation::SignedOut);
            return Answered(Reply::Removal);
        };
        assert!(
            replaced.is_none_or(|sid| self.is_on_disk(sid)),
            "the revocation of the session in a login request is not on disk"
        );
        let node = &self.nodes[request.node];
        let list = node.sessions.revocations();
        if !list.is_current(node.now(self.at)) {
            self.count(Observation::Stale);
            return REFUSED;
        }
        if !list.is_recent(node.now(read), node.now(self.at)) {
            self.count(Observation::Delayed);
            return REFUSED;
        }
        if list.refuses_generation(account.sub, account.generation, global_generation) {
            assert!(node.known.generation_revoked_at(account.sub, account.generation, global_generation).is_some());
            self.count(Observation::ChangedMeanwhile);
            return REFUSED;
        }
        let identity = identity(&account, global_generation);
        let sealed = match node.sessions.sign_in(&identity, Methods::PASSWORD, remember, b"", SITE, node.now(self.at)) {
            Ok(sealed) => sealed,
            Err(error) => return self.not_sealed(error),
        };
        let claims = claims(&sealed, &identity);
        let token = Token::new(sealed.token.expose(), claims.clone(), replaced);
        assert!(
            self.tokens.iter().all(|token| token.claims.sid != claims.sid),
            "a new session has the id of an earlier session"
        );
        let current = self.store.accounts[request.user].as_ref();
        let typed_password = if request.action == Action::ChangePassword { account.password } else { request.password };
        match self.store.revocations.session_revoked_at(&claims) {
            // Nothing has revoked the session. So the password is still current, and the session is valid at once.
            None => {
                assert_eq!(current.map(|now| (now.sub, now.password)), Some((account.sub, typed_password)));
                assert_eq!(node.expected_verdict(&token, self.at), Ok(()), "a new session is not valid");
            }
            Some(_) => self.count(Observation::SealedRevoked),
        }
        self.count(Observation::SignedIn);
        Answered(Reply::Session(self.add_sealed_token(request.node, token)))
    }
}

fn identity(account: &Account, global_generation: u64) -> Identity<'static> {
    Identity { sub: account.sub, account_generation: account.generation, global_generation, ..ALICE }
}

/// Returns the claims of a new token, with texts of a static lifetime.
fn claims(sealed: &SealedSession, identity: &Identity<'static>) -> Claims<'static> {
    Claims {
        sid: sealed.sid,
        // The model does not read the next four fields, so they have placeholder values.
        chain: Chain::from_bytes([0; 16]),
        renewals: 0,
        link: Link::from_bytes([0; 8]),
        parent: Link::from_bytes([0; 8]),
        site: SITE,
        identity: *identity,
        authenticated_at: sealed.sealed_at,
        sealed_at: sealed.sealed_at,
        idle_deadline: sealed.deadlines.idle,
        absolute_deadline: sealed.deadlines.absolute,
        methods: Methods::PASSWORD,
        flags: sealed.flags,
        app_data: b"",
    }
}
