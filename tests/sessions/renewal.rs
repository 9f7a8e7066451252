//! Tests of sealing: tokens of logins and renewals, the time of a renewal, and cases in which no token is sealed.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealjar::clock::UnixTime;
use sealjar::keyring::{Key, KeyRing};
use sealjar::revocation::{Entry, WhenStale};
use sealjar::seal::SealedToken;
use sealjar::session::claims::{Claims, Methods};
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Identity, Refusal, SealError, SealedSession};

use crate::fixture::{ALICE, COOKIE, LIFETIMES, MINUTE, ORDINARY, REMEMBERED, SITE, World, field, key, key_with};

#[test]
fn renews_exactly_when_the_renewal_interval_has_passed() {
    for remember in [false, true] {
        let mut world = World::new();
        let mut session = if remember { world.remember() } else { world.sign_in() };
        for sealing in 0..5 {
            world.pass(5 * MINUTE - 1);
            assert_eq!(world.renew(&session.token), Ok(None), "remembered: {remember}, sealing {sealing}");
            world.pass(1);
            let renewed = world.renew(&session.token).expect("live");
            session = renewed.unwrap_or_else(|| panic!("remembered: {remember}, sealing {sealing}"));
            assert_eq!(session.sealed_at, world.now.wall);
        }
    }
}

#[test]
fn a_renewed_token_is_the_same_session_with_a_new_link() {
    let mut world = World::new();
    let first = world.remember();
    world.pass(REMEMBERED.idle.as_secs() / 2);
    let renewed = world.renew(&first.token).expect("live").expect("due");
    assert_eq!((renewed.sid, renewed.flags), (first.sid, first.flags));
    world.read(&first.token, |before| {
        world.read(&renewed.token, |after| {
            assert_ne!(before.link, after.link);
            assert_eq!((after.renewals, after.parent), (before.renewals + 1, before.link));
            let Claims { renewals, link, parent, sealed_at, idle_deadline, .. } = before.clone();
            assert_eq!(Claims { renewals, link, parent, sealed_at, idle_deadline, ..after.clone() }, *before);
        });
    });
    let [before, after] =
        [&first, &renewed].map(|session| URL_SAFE_NO_PAD.decode(session.token.expose()).expect("a valid token"));
    assert_eq!(before[..9], after[..9], "version and key id");
    let equal_bytes = before[9..].iter().zip(&after[9..]).filter(|(one, other)| one == other).count();
    assert!(equal_bytes < 16, "nonce, ciphertext and tag agree in {equal_bytes} of {} bytes", before.len() - 9);
}

#[test]
fn every_login_gets_a_unique_id_chain_and_token() {
    let world = World::new();
    let sessions: Vec<_> = (0..500).map(|_| world.sign_in()).collect();
    let sids: HashSet<_> = sessions.iter().map(|session| *session.sid.as_bytes()).collect();
    let tokens: HashSet<_> = sessions.iter().map(|session| session.token.expose()).collect();
    let chains: HashSet<_> = sessions.iter().map(|session| world.read(&session.token, |claims| claims.chain)).collect();
    let links: HashSet<_> =
        sessions.iter().map(|session| world.read(&session.token, |claims| *claims.link.as_bytes())).collect();
    assert_eq!((sids.len(), tokens.len(), chains.len(), links.len()), (500, 500, 500, 500));
}

/// Name of a case, and a function that ends a session in this way.
type Ending = (&'static str, fn(&World, &Claims<'_>));

const ENDINGS: [Ending; 4] = [
    ("a logout that is not yet on disk", |world, claims| {
        world.list().add_pending(claims.sid, claims.absolute_deadline);
    }),
    ("a logout", |world, claims| {
        world.list().add_durable(&Entry::Session { sid: claims.sid, expires_at: claims.absolute_deadline });
    }),
    ("the end of the account's generation", |world, claims| {
        let sub = claims.identity.sub.into();
        let below = claims.identity.account_generation + 1;
        world.list().add_durable(&Entry::Subject { sub, below, expires_at: claims.absolute_deadline });
    }),
    ("the end of every session", |world, claims| {
        world.list().raise_global_generation(claims.identity.global_generation + 1);
    }),
];

#[test]
fn a_session_that_ends_before_its_renewal_gets_no_token() {
    for (ending, end) in ENDINGS {
        let mut world = World::new();
        let session = world.sign_in();
        world.pass(ORDINARY.idle.as_secs() / 2);
        let fields = [field(session.token.expose())];
        let fields = fields.iter().map(Vec::as_slice);
        let outcome = world.sessions.verify(fields, SITE, world.now, |verified| {
            end(&world, verified.claims());
            (world.sessions.renew(verified, RenewalWindow::WhenDue), world.sessions.replace_app_data(verified, b"new"))
        });
        assert_eq!(outcome, Ok((Ok(None), Ok(None))), "{ending}");
        assert_eq!(world.verify(&session.token), Err(Refusal::Revoked), "{ending}");
    }
}

/// If such a session were renewed, an attacker with the revoked key could get a token that is sealed with the new key.
#[test]
fn a_key_refused_after_the_check_renews_no_session() {
    type Revoke = fn(&World);
    let cases: [(&str, Revoke); 3] = [
        ("in the log", |world| world.list().add_durable(&Entry::Key { kid: key(1).kid() })),
        ("in its file", |world| {
            let revoked = key_with(1, |dates| dates.revoked_at = Some(UnixTime(1)));
            world.sessions.replace_ring(KeyRing::new(vec![revoked, key(2)]));
        }),
        ("by its removal", |world| world.sessions.replace_ring(KeyRing::new(vec![key(2)]))),
    ];
    for (case, revoke) in cases {
        let later = key_with(2, |dates| dates.activates_at = Some(UnixTime(1)));
        let mut world = World::with(KeyRing::new(vec![key(1)]), LIFETIMES, WhenStale::Refuse);
        let session = world.sign_in();
        world.sessions.replace_ring(KeyRing::new(vec![key(1), later]));
        world.pass(ORDINARY.idle.as_secs() / 2);
        let fields = [field(session.token.expose())];
        let outcome = world.sessions.verify(fields.iter().map(Vec::as_slice), SITE, world.now, |verified| {
            revoke(&world);
            (world.sessions.renew(verified, RenewalWindow::WhenDue), world.sessions.replace_app_data(verified, b"new"))
        });
        assert_eq!(outcome, Ok((Ok(None), Ok(None))), "{case}");
        assert!(
            world.sessions.sign_in(&ALICE, Methods::PASSWORD, false, b"", SITE, world.now).is_ok(),
            "{case}: another key seals"
        );
    }
}

#[test]
fn a_revoked_session_is_refused_with_each_of_its_tokens() {
    let mut world = World::new();
    let mut tokens = vec![world.sign_in()];
    for _ in 0..4 {
        world.pass(5 * MINUTE);
        let newest = &tokens[tokens.len() - 1];
        let renewed = world.renew(&newest.token).expect("live").expect("due");
        tokens.push(renewed);
    }
    world.revoke(&tokens[2]);
    for (number, session) in tokens.iter().enumerate() {
        assert_eq!(world.verify(&session.token), Err(Refusal::Revoked), "token {number}");
    }
}

#[test]
fn a_generation_ends_older_sessions_of_that_account_only() {
    let world = World::new();
    let sign_in = |identity| {
        world.sessions.sign_in(&identity, Methods::PASSWORD, false, b"", SITE, world.now).expect("a session").token
    };
    let old = sign_in(ALICE);
    let new = sign_in(Identity { account_generation: 6, ..ALICE });
    let bob = sign_in(Identity { sub: "another", account_generation: 0, ..ALICE });
    let end = Entry::Subject { sub: ALICE.sub.into(), below: 6, expires_at: UnixTime(u64::MAX) };
    world.list().add_durable(&end);
    assert_eq!(world.verify(&old), Err(Refusal::Revoked));
    assert!(world.verify(&new).is_ok() && world.verify(&bob).is_ok());
    world.list().raise_global_generation(ALICE.global_generation + 1);
    for token in [old, new, bob] {
        assert_eq!(world.verify(&token), Err(Refusal::Revoked), "the global generation revokes all sessions");
    }
}

/// Replaces the application data of a session, and returns its new token.
fn replace_app_data(world: &World, token: &SealedToken) -> SealedSession {
    let fields = [field(token.expose())];
    let replaced = world.sessions.verify(fields.iter().map(Vec::as_slice), SITE, world.now, |verified| {
        world.sessions.replace_app_data(verified, b"other").expect("short data").expect("live")
    });
    replaced.expect("live")
}

#[test]
fn new_application_data_is_sealed_and_nothing_else_changes() {
    let mut world = World::new();
    let session = world.sign_in();
    world.pass(5 * MINUTE - 1);
    let replaced = replace_app_data(&world, &session.token);
    let SealedSession { sid, flags, sealed_at, deadlines, .. } = session;
    assert_eq!(replaced, SealedSession { sid, flags, sealed_at, deadlines, token: replaced.token.clone() });
    world.read(&session.token, |before| {
        world.read(&replaced.token, |after| {
            assert_eq!(Claims { app_data: b"other", ..before.clone() }, *after);
        });
    });
}

#[test]
fn a_session_that_is_due_is_renewed_with_its_new_data() {
    let mut world = World::new();
    let session = world.sign_in();
    world.pass(5 * MINUTE);
    let replaced = replace_app_data(&world, &session.token);
    assert_eq!(replaced.sealed_at, world.now.wall);
    world.read(&session.token, |before| {
        world.read(&replaced.token, |after| {
            assert_eq!((after.renewals, after.parent, after.app_data), (1, before.link, &b"other"[..]));
            assert_ne!(after.link, before.link);
        });
    });
}

/// If the deadline were kept, a token would be valid for longer than the maximum lifetime of its key.
#[test]
fn new_data_sealed_with_a_shorter_lived_key_expires_earlier() {
    let mut world = World::new();
    let session = world.sign_in();
    world.pass(MINUTE);
    let shorter = key_with(2, |dates| {
        dates.activates_at = Some(world.now.wall);
        dates.max_lifetime = Duration::from_secs(MINUTE);
    });
    world.sessions.replace_ring(KeyRing::new(vec![key(1), shorter]));
    let replaced = replace_app_data(&world, &session.token);
    assert_eq!(replaced.deadlines.idle, world.now.wall.plus(Duration::from_secs(MINUTE)));
    assert_eq!(replaced.deadlines.absolute, session.deadlines.absolute);
}

#[test]
fn seals_nothing_without_an_active_key() {
    let rings: [(&str, Vec<Key>); 4] = [
        ("no key", vec![]),
        ("not scheduled", vec![key_with(1, |dates| dates.activates_at = None)]),
        ("active later", vec![key_with(1, |dates| dates.activates_at = Some(UnixTime(u64::MAX)))]),
        ("revoked", vec![key_with(1, |dates| dates.revoked_at = Some(UnixTime(0)))]),
    ];
    for (name, keys) in rings {
        let world = World::with(KeyRing::new(keys), LIFETIMES, WhenStale::Refuse);
        let outcome = world.sessions.sign_in(&ALICE, Methods::PASSWORD, false, b"", SITE, world.now);
        assert_eq!(outcome, Err(SealError::NoActiveKey), "{name}");
    }
}

#[test]
fn refuses_to_seal_invalid_claims_and_oversized_cookies() {
    let world = World::new();
    let long = "x".repeat(4096);
    let seal = |identity: Identity<'_>, app_data: &[u8]| {
        world.sessions.sign_in(&identity, Methods::PASSWORD, false, app_data, SITE, world.now).map(|_| ())
    };
    for identity in [
        Identity { sub: "", ..ALICE },
        Identity { sub: "a b", ..ALICE },
        Identity { sub: &long[..65], ..ALICE },
        Identity { login_name: &long[..65], ..ALICE },
        Identity { display_name: &long[..257], ..ALICE },
        Identity { email: &long[..255], ..ALICE },
        Identity { roles: &long[..1025], ..ALICE },
    ] {
        assert!(matches!(seal(identity, b""), Err(SealError::BadClaims(_))), "{identity:?}");
    }
    assert!(matches!(seal(ALICE, long.as_bytes()), Err(SealError::TooLarge(_))));
    let longest = (0..3000)
        .rev()
        .find(|length| seal(ALICE, &long.as_bytes()[..*length]).is_ok())
        .expect("at least one length fits");
    let session = world
        .sessions
        .sign_in(&ALICE, Methods::PASSWORD, false, &long.as_bytes()[..longest], SITE, world.now)
        .expect("data that fits");
    assert_eq!(world.verify(&session.token), Ok(session.sid), "the longest token that is sealed can be opened");
    assert_eq!(COOKIE.len() + session.token.expose().len(), 4096);
}

#[test]
fn a_session_of_a_retired_key_is_renewed_with_the_active_key() {
    let mut world = World::new();
    let session = world.sign_in();
    let next = key_with(2, |dates| dates.activates_at = Some(world.now.wall));
    let kid = next.kid();
    world.sessions.replace_ring(KeyRing::new(vec![key(1), next]));
    world.pass(ORDINARY.idle.as_secs() / 2);
    let renewed = world.renew(&session.token).expect("live").expect("due");
    assert_eq!(URL_SAFE_NO_PAD.decode(renewed.token.expose()).expect("a valid token")[1..9], *kid.as_bytes());
    world.sessions.replace_ring(KeyRing::new(vec![key_with(2, |dates| dates.activates_at = Some(session.sealed_at))]));
    assert_eq!(world.verify(&renewed.token), Ok(session.sid));
    assert!(world.verify(&session.token).is_err(), "the key of the old token was removed");
}
