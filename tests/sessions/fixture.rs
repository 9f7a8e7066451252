//! One server for the tests: sessions with chosen keys, a revocation list, and a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::{Now, StepGuard, UnixTime};
use sealjar::id::{self, Sid, Site};
use sealjar::keyring::{Dates, Key, KeyRing};
use sealjar::revocation::retention::{self, MaxLifetimes};
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale};
use sealjar::seal::token::{UntrustedToken, token_buffer};
use sealjar::seal::{CookieName, Purpose, SealedToken, Sealer};
use sealjar::secret::Secret;
use sealjar::session::claims::{Claims, Methods};
use sealjar::session::lifetime::{Lifetime, RenewalWindow};
use sealjar::session::{Identity, Lifetimes, Refusal, SealedSession, Sessions};

pub(crate) const COOKIE: &str = "__Host-sealjar";
pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const ORDINARY: Lifetime = lifetime(30 * MINUTE, 12 * HOUR);
pub(crate) const REMEMBERED: Lifetime = lifetime(14 * DAY, 90 * DAY);
pub(crate) const LIFETIMES: Lifetimes = Lifetimes { ordinary: ORDINARY, remembered: REMEMBERED };
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(10);
pub(crate) const SITE: Site = Site::from_bytes([7; 8]);
pub(crate) const ALICE: Identity<'static> = Identity {
    sub: "0123456789abcdef",
    account_generation: 5,
    global_generation: 3,
    login_name: "alice",
    display_name: "Alice Example",
    email: "alice@example.org",
    roles: "admin,ops",
};

/// A server and its clocks.
pub(crate) struct World {
    pub(crate) sessions: Sessions,
    pub(crate) now: Now,
    lifetimes: Lifetimes,
}

impl World {
    /// Creates a server with one key and the default lifetimes. It refuses sessions while its list is stale.
    pub(crate) fn new() -> Self {
        Self::with(KeyRing::new(vec![key(1)]), LIFETIMES, WhenStale::Refuse)
    }

    /// Creates a server with these keys, lifetimes and rule for a stale list. Its list is synchronized.
    pub(crate) fn with(ring: KeyRing, lifetimes: Lifetimes, when_stale: WhenStale) -> Self {
        let list = RevocationList::new(Freshness { max_staleness: MAX_STALENESS, when_stale });
        let now = Now { wall: UnixTime(1_800_000_000), boot: Duration::from_secs(1_000) };
        list.mark_synced(now);
        Self { sessions: Sessions::new(ring, Arc::new(list), cookie(), lifetimes), now, lifetimes }
    }

    pub(crate) fn list(&self) -> &RevocationList {
        self.sessions.revocations()
    }

    /// Moves both clocks forward, and marks the list as synchronized.
    pub(crate) fn pass(&mut self, secs: u64) {
        self.pass_unsynced(Duration::from_secs(secs));
        self.list().mark_synced(self.now);
    }

    /// Moves both clocks forward. The list is not marked as synchronized, as if the store were unavailable.
    pub(crate) fn pass_unsynced(&mut self, span: Duration) {
        self.now.wall = self.now.wall.plus(span);
        self.now.boot += span;
    }

    /// Moves the wall clock forward or back by this number of seconds. The boot clock does not change.
    pub(crate) fn step(&mut self, secs: i64) {
        self.now.wall = UnixTime(self.now.wall.0.saturating_add_signed(secs));
    }

    /// Logs Alice in with an ordinary session.
    pub(crate) fn sign_in(&self) -> SealedSession {
        self.sessions.sign_in(&ALICE, Methods::PASSWORD, false, b"app", SITE, self.now).expect("an active key")
    }

    /// Logs Alice in with a remembered session.
    pub(crate) fn remember(&self) -> SealedSession {
        self.sessions.sign_in(&ALICE, Methods::PASSWORD, true, b"app", SITE, self.now).expect("an active key")
    }

    pub(crate) fn verify(&self, token: &SealedToken) -> Result<Sid, Refusal> {
        self.verify_fields(&[field(token.expose())])
    }

    /// Verifies these `Cookie` fields.
    pub(crate) fn verify_fields(&self, fields: &[Vec<u8>]) -> Result<Sid, Refusal> {
        self.sessions.verify(fields.iter().map(Vec::as_slice), SITE, self.now, |session| session.claims().sid)
    }

    /// Verifies a token, and renews the session if it is due.
    pub(crate) fn renew(&self, token: &SealedToken) -> Result<Option<SealedSession>, Refusal> {
        let fields = [field(token.expose())];
        self.sessions.verify(fields.iter().map(Vec::as_slice), SITE, self.now, |session| {
            self.sessions.renew(session, RenewalWindow::WhenDue).expect("an active key")
        })
    }

    /// Returns the expiry that the store would compute for a revocation entry. The entry revokes `session`, or a whole account
    /// if `session` is `None`.
    pub(crate) fn expiry(&self, session: Option<&SealedSession>) -> UnixTime {
        let Lifetime { idle, absolute } =
            session.map_or(self.lifetimes.remembered, |session| self.lifetimes.of(session.flags));
        let longest = MaxLifetimes { idle, absolute, lag: MAX_STALENESS, fail_open: false };
        let absolute_deadline = session.map(|session| session.deadlines.absolute);
        retention::expiry(self.list().time(self.now), absolute_deadline, longest)
    }

    /// Adds a durable entry for a session, with the expiry that the store would give it.
    pub(crate) fn revoke(&self, session: &SealedSession) {
        self.list().add_durable(&Entry::Session { sid: session.sid, expires_at: self.expiry(Some(session)) });
    }

    /// Removes expired entries if `guard` permits it, as the follower does. Returns whether `guard` has permitted it.
    pub(crate) fn prune(&self, guard: &mut StepGuard) -> bool {
        guard.observe(self.now);
        let may_prune = guard.may_prune(self.now);
        if may_prune {
            self.list().prune(self.list().time(self.now));
        }
        may_prune
    }

    /// Opens a token, even if it has expired, and passes its claims to `read`.
    pub(crate) fn read<R>(&self, token: &SealedToken, read: impl FnOnce(&Claims<'_>) -> R) -> R {
        let mut buffer = token_buffer();
        let token = UntrustedToken::from_cookie_value(token.expose().as_bytes()).expect("a valid length");
        read(&self.sessions.open(token, &mut buffer).expect("a token that opens"))
    }
}

/// Returns the key with this number, which has always been active. The same number gives the same key in every run.
pub(crate) fn key(number: u8) -> Key {
    key_with(number, |_| ())
}

/// Returns the key with this number, with changed dates.
pub(crate) fn key_with(number: u8, change: impl FnOnce(&mut Dates)) -> Key {
    let mut dates = Dates {
        created_at: UnixTime(0),
        activates_at: Some(UnixTime(0)),
        revoked_at: None,
        max_lifetime: Duration::from_secs(90 * DAY),
    };
    change(&mut dates);
    Key::new(secret(number), dates)
}

pub(crate) const fn secret(number: u8) -> Secret {
    Secret::from_bytes([number; 32])
}

pub(crate) const fn lifetime(idle_secs: u64, absolute_secs: u64) -> Lifetime {
    Lifetime { idle: Duration::from_secs(idle_secs), absolute: Duration::from_secs(absolute_secs) }
}

pub(crate) fn cookie() -> CookieName {
    CookieName::new(COOKIE).expect("a valid cookie name")
}

/// Returns a `Cookie` field that contains only the session cookie, with this value.
pub(crate) fn field(value: &str) -> Vec<u8> {
    format!("{COOKIE}={value}").into_bytes()
}

/// Seals any plaintext with any key, for any purpose and cookie name. Only a holder of the key can create such a token.
pub(crate) fn forge(number: u8, purpose: Purpose, cookie: &str, plaintext: &[u8]) -> String {
    let cookie = CookieName::new(cookie).expect("a valid cookie name");
    let sealed = Sealer::new(&secret(number)).seal(purpose, &cookie, &id::random(), plaintext);
    sealed.expect("a short plaintext").expose().to_owned()
}
