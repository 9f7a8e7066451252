//! From a password to a fresh session, as in `src/http/sign_in.rs` and `password.rs`.

use sealjar::clock::CLOCK_SKEW;
use sealjar::id::{Chain, Link};
use sealjar::session::claims::{Claims, Methods};
use sealjar::session::{Identity, SealedSession};

use super::request::Outcome::{self, Answered, Goes};
use super::request::{Ask, Next, REFUSED, Reply, Request, Stage};
use super::store::{Account, Revoke};
use super::tally::Seen;
use super::world::{Token, World};
use crate::fixture::{ALICE, SITE};

/// What was read before the password was hashed.
pub(super) struct Checked {
    account: Option<Account>,
    global_generation: u64,
    current: Option<Box<Claims<'static>>>,
    /// When the store was last asked.
    read: u64,
}

impl World {
    pub(super) fn reads_account(&mut self, request: &Request, current: Option<Box<Claims<'static>>>) -> Outcome {
        if self.nodes[request.node].cut_off {
            self.count(Seen::StoreAway);
            return REFUSED;
        }
        let global_generation = self.store.state.global_generation;
        let account = self.store.accounts[request.user].clone();
        Goes(Stage::Checking(Checked { account, global_generation, current, read: self.at }))
    }

    pub(super) fn checked(&mut self, request: &Request, mut checked: Checked) -> Outcome {
        let right = |account: &&Account| account.password == request.password && !account.disabled;
        let Some(account) = checked.account.as_ref().filter(right) else { return REFUSED };
        if self.nodes[request.node].cut_off {
            self.count(Seen::StoreAway);
            return REFUSED;
        }
        let unchanged = self.store.accounts[request.user]
            .as_ref()
            .is_some_and(|now| (now.sub, now.generation, now.disabled) == (account.sub, account.generation, false));
        let of_session = checked
            .current
            .as_ref()
            .map(|current| current.identity)
            .is_none_or(|current| (current.sub, current.account_generation) == (account.sub, account.generation));
        if !unchanged || !of_session {
            self.count(Seen::Overtaken);
            return REFUSED;
        }
        let list = self.nodes[request.node].sessions.revocations();
        let is_ended = |old: &Claims<'_>| {
            let Identity { sub, account_generation, global_generation, .. } = old.identity;
            list.refuses(old.sid, sub, account_generation, global_generation)
        };
        if checked.current.as_deref().is_some_and(is_ended) {
            self.count(Seen::Overtaken);
            return REFUSED;
        }
        let account = account.clone();
        checked.read = self.at;
        match request.ask {
            Ask::ChangePassword => Goes(Stage::Hashing(checked)),
            _ => self.begins(request, account, &checked),
        }
    }

    pub(super) fn changes_password(&mut self, request: &Request, mut checked: Checked) -> Outcome {
        let node = &mut self.nodes[request.node];
        let Some(mut account) = checked.account.clone() else { return REFUSED };
        if node.cut_off {
            self.count(Seen::StoreAway);
            return REFUSED;
        }
        let changed = self.store.change_own_password(request.user, &account, node.time(self.at), self.at);
        let Some((generation, ended)) = changed else {
            self.count(Seen::Overtaken);
            return REFUSED;
        };
        node.take(&ended);
        checked.read = self.at;
        (account.generation, account.password) = (generation, self.store.passwords[request.user]);
        self.begins(request, account, &checked)
    }

    /// Ends what came with the request, before a fresh session begins.
    pub(super) fn begins(&mut self, request: &Request, account: Account, checked: &Checked) -> Outcome {
        let remember = match (request.ask, &checked.current) {
            (Ask::SignIn { remember, .. }, _) => remember,
            (_, current) => current.as_ref().is_some_and(|current| current.flags.remembered()),
        };
        if request.ask == Ask::StepUp && checked.current.as_ref().is_some_and(|old| self.store.ended.at(old).is_some())
        {
            self.count(Seen::StepUpOutlivedSignOut);
        }
        let presented = self.presented(request);
        let list = self.nodes[request.node].sessions.revocations();
        let ended =
            |claims: &Claims<'_>| list.is_durable_below(claims.identity.sub, claims.identity.account_generation + 1);
        let time = self.nodes[request.node].time(self.at);
        let node = &self.nodes[request.node];
        let due = |token: &&Token| {
            time < token.claims.absolute_deadline.plus(CLOCK_SKEW) && node.does_not_open(token.kid).is_none()
        };
        let replaced = self.cookie(request).filter(due).map(|token| token.claims.sid);
        let revokes = presented.into_iter().filter(|(_, claims)| !ended(claims)).map(|(session, _)| session).collect();
        let (global_generation, read) = (checked.global_generation, checked.read);
        self.waits(request, revokes, Next::Seal { account, global_generation, read, remember, replaced })
    }

    pub(super) fn committed(&mut self, request: &Request, revokes: &[Revoke], next: Next) -> Outcome {
        for revoke in revokes {
            let ended = match *revoke {
                Revoke::Session { sid, .. } => self.is_on_disk(sid),
                Revoke::Subject { sub, below } => self.store.ended.generation_at(sub, below - 1, u64::MAX).is_some(),
            };
            assert!(ended, "{revoke:?} is answered and not on disk");
        }
        let Next::Seal { account, global_generation, read, remember, replaced } = next else {
            self.count(Seen::SignedOut);
            return Answered(Reply::Removal);
        };
        assert!(replaced.is_none_or(|sid| self.is_on_disk(sid)), "what came with a sign-in is not ended on disk");
        let node = &self.nodes[request.node];
        let list = node.sessions.revocations();
        if !list.is_current(node.now(self.at)) {
            self.count(Seen::Stale);
            return REFUSED;
        }
        if !list.is_recent(node.now(read), node.now(self.at)) {
            self.count(Seen::HeldUp);
            return REFUSED;
        }
        if list.refuses_generation(account.sub, account.generation, global_generation) {
            assert!(node.heard.generation_at(account.sub, account.generation, global_generation).is_some());
            self.count(Seen::Overtaken);
            return REFUSED;
        }
        let identity = identity(&account, global_generation);
        let sealed = match node.sessions.sign_in(&identity, Methods::PASSWORD, remember, b"", SITE, node.now(self.at)) {
            Ok(sealed) => sealed,
            Err(error) => return self.not_sealed(error),
        };
        let claims = claims(&sealed, &identity);
        let token = Token::new(sealed.token.expose(), claims.clone(), replaced);
        assert!(self.tokens.iter().all(|token| token.claims.sid != claims.sid), "a session id was used again");
        let current = self.store.accounts[request.user].as_ref();
        let typed = if request.ask == Ask::ChangePassword { account.password } else { request.password };
        match self.store.ended.at(&claims) {
            // Nothing ended it, so its password is still the one, and it lives here at once.
            None => {
                assert_eq!(current.map(|now| (now.sub, now.password)), Some((account.sub, typed)));
                assert_eq!(node.verdict(&token, self.at), Ok(()), "a fresh session does not live");
            }
            Some(_) => self.count(Seen::SealedDead),
        }
        self.count(Seen::SignedIn);
        Answered(Reply::Session(self.keeps_of(request.node, token)))
    }
}

fn identity(account: &Account, global_generation: u64) -> Identity<'static> {
    Identity { sub: account.sub, account_generation: account.generation, global_generation, ..ALICE }
}

/// What a fresh token holds, with texts that outlive it.
fn claims(sealed: &SealedSession, identity: &Identity<'static>) -> Claims<'static> {
    Claims {
        sid: sealed.sid,
        // Not told, and not looked at by any check.
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
