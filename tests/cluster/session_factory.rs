//! Creation of many sessions without checking a password. The library seals them with the keys of the home directory, as a
//! login does.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::Now;
use sealjar::id::{Sid, Site};
use sealjar::keyring::KeyRing;
use sealjar::revocation::{Freshness, RevocationList, WhenStale};
use sealjar::seal::CookieName;
use sealjar::session::claims::Methods;
use sealjar::session::lifetime::Lifetime;
use sealjar::session::{Identity, Lifetimes, Sessions};

use crate::harness::{Home, Session};
use crate::postgres::Postgres;

/// Factory of sessions of `alice` for the host 127.0.0.1.
pub(crate) struct SessionFactory {
    sessions: Sessions,
    sub: String,
    account_generation: u64,
    global_generation: u64,
}

impl SessionFactory {
    pub(crate) fn new(home: &Home, database: &Postgres) -> Self {
        let ring = KeyRing::load(&home.path("keys")).expect("the home directory has keys");
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Allow };
        let cookie = CookieName::new("__Host-sealjar").expect("a valid cookie name");
        // The default lifetimes of servers, so that revocations are kept as long as these sessions are valid.
        let default = Lifetime { idle: Duration::from_secs(1800), absolute: Duration::from_secs(12 * 3600) };
        let lifetimes = Lifetimes { ordinary: default, remembered: default };
        let account = database.sql("SELECT sub, generation FROM account WHERE login_name = 'alice'");
        let (sub, generation) = account.split_once('|').expect("two columns");
        let global = database.sql("SELECT global_generation FROM state");
        Self {
            sessions: Sessions::new(ring, Arc::new(RevocationList::new(freshness)), cookie, lifetimes),
            sub: sub.to_owned(),
            account_generation: generation.parse().expect("a number"),
            global_generation: global.parse().expect("a number"),
        }
    }

    /// Returns a new session and its id.
    pub(crate) fn session(&self) -> (Session, Sid) {
        let identity = Identity {
            sub: &self.sub,
            account_generation: self.account_generation,
            global_generation: self.global_generation,
            login_name: "alice",
            display_name: "",
            email: "",
            roles: "staff",
        };
        let site = Site::of_host("127.0.0.1");
        let sealed = self
            .sessions
            .sign_in(&identity, Methods::PASSWORD, false, &[], site, Now::read())
            .expect("a key is active");
        (Session(sealed.token.expose().to_owned()), sealed.sid)
    }
}
