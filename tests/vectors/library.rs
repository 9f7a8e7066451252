//! Adapter that calls the library with the inputs of the reference implementation and converts the results to its types.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Site;
use sealjar::keyring::{self, Dates, KeyRing};
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale};
use sealjar::seal::CookieName;
use sealjar::secret::Secret;
use sealjar::session::lifetime::Lifetime;
use sealjar::session::{Cause, Lifetimes, Refusal, Sessions, claims};

use super::reference::{Claims, Key, Revocations};

/// Returns the verdict of the library on a request with this one cookie.
pub(crate) fn verify(
    token: &str,
    ring: &[Key],
    name: &str,
    site_host: &str,
    now: u64,
    revocations: &Revocations,
) -> Result<Claims, Refusal> {
    Verifier::new(ring, name, site_host, now, revocations).verify(token)
}

/// Sessions of the library for the inputs of one vector, to verify several tokens.
pub(crate) struct Verifier {
    sessions: Sessions,
    name: String,
    site: Site,
    now: Now,
}

impl Verifier {
    pub(crate) fn new(ring: &[Key], name: &str, site_host: &str, now: u64, revocations: &Revocations) -> Self {
        let list = RevocationList::new(Freshness { max_staleness: Duration::ZERO, when_stale: WhenStale::Refuse });
        for sid in &revocations.sids {
            let sid = sid.parse().expect("32 hexadecimal digits");
            list.add_durable(&Entry::Session { sid, expires_at: UnixTime(u64::MAX) });
        }
        for subject in &revocations.subjects {
            let sub = subject.sub.as_str().into();
            list.add_durable(&Entry::Subject { sub, below: subject.below, expires_at: UnixTime(u64::MAX) });
        }
        list.raise_global_generation(revocations.global_generation);
        let now = Now { wall: UnixTime(now), boot: Duration::from_secs(1) };
        list.mark_synced(now);
        let keys = ring.iter().map(|Key { key, revoked }| {
            let dates = Dates {
                created_at: UnixTime(0),
                activates_at: Some(UnixTime(0)),
                revoked_at: revoked.then_some(UnixTime(0)),
                max_lifetime: Duration::MAX,
            };
            keyring::Key::new(secret(key), dates)
        });
        // Only sealing uses the lifetimes, so their values do not matter here.
        let lifetime = Lifetime { idle: Duration::ZERO, absolute: Duration::ZERO };
        let lifetimes = Lifetimes { ordinary: lifetime, remembered: lifetime };
        let sessions = Sessions::new(KeyRing::new(keys.collect()), Arc::new(list), cookie(name), lifetimes);
        Self { sessions, name: name.to_owned(), site: Site::of_host(site_host), now }
    }

    /// Returns the verdict on a request with this one cookie.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let field = format!("{}={token}", self.name);
        self.sessions.verify([field.as_bytes()], self.site, self.now, |verified| plain(verified.claims()))
    }
}

/// Converts claims of the library to the type of the reference.
pub(crate) fn plain(claims: &claims::Claims<'_>) -> Claims {
    let identity = &claims.identity;
    Claims {
        sid: claims.sid.as_bytes().to_vec(),
        chain: claims.chain.as_bytes().to_vec(),
        renewals: claims.renewals,
        link: claims.link.as_bytes().to_vec(),
        parent: claims.parent.as_bytes().to_vec(),
        site: claims.site.as_bytes().to_vec(),
        sub: identity.sub.to_owned(),
        account_generation: identity.account_generation,
        global_generation: identity.global_generation,
        login_name: identity.login_name.to_owned(),
        display_name: identity.display_name.to_owned(),
        email: identity.email.to_owned(),
        roles: identity.roles.to_owned(),
        authenticated_at: claims.authenticated_at.0,
        sealed_at: claims.sealed_at.0,
        idle_deadline: claims.idle_deadline.0,
        absolute_deadline: claims.absolute_deadline.0,
        methods: claims.methods.bits(),
        flags: u8::from(claims.flags.is_remembered()),
        app_data: claims.app_data.to_vec(),
    }
}

/// Returns the reason in the words of the vector files.
pub(crate) const fn word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => "missing",
        Refusal::Invalid(Cause::Malformed) => "malformed",
        Refusal::Invalid(Cause::UnknownKey) => "unknown key",
        Refusal::Invalid(Cause::RevokedKey) => "revoked key",
        Refusal::Invalid(Cause::NotAuthentic) => "not authentic",
        Refusal::Invalid(Cause::BadClaims) => "bad claims",
        Refusal::Invalid(Cause::WrongSite) => "wrong site",
        Refusal::Invalid(Cause::FromTheFuture) => "from the future",
        Refusal::Expired => "expired",
        Refusal::Revoked => "revoked",
        Refusal::Stale => "stale",
    }
}

pub(crate) fn secret(key: &[u8]) -> Secret {
    Secret::from_bytes(key.try_into().expect("32 bytes"))
}

pub(crate) fn cookie(name: &str) -> CookieName {
    CookieName::new(name).expect("a cookie name")
}
