//! Tests of the two deadlines: how they are computed, and that nothing extends the deadlines of an issued token.

use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::keyring::KeyRing;
use sealjar::revocation::WhenStale;
use sealjar::session::lifetime::{Deadlines, Lifetime};
use sealjar::session::{Lifetimes, Refusal, SealedSession};

use crate::fixture::{DAY, HOUR, LIFETIMES, MINUTE, ORDINARY, REMEMBERED, World, key, key_with, lifetime};

/// Logs in, with or without a remembered session.
fn log_in(world: &World, remember: bool) -> SealedSession {
    if remember { world.remember() } else { world.sign_in() }
}

/// Whether the session is remembered, and its lifetime.
const LIFETIMES_BY_TYPE: [(bool, Lifetime); 2] = [(false, ORDINARY), (true, REMEMBERED)];

#[test]
fn an_unused_session_expires_exactly_at_its_idle_deadline() {
    for (remember, lifetime) in LIFETIMES_BY_TYPE {
        let mut world = World::new();
        let session = log_in(&world, remember);
        let expected =
            Deadlines { idle: world.now.wall.plus(lifetime.idle), absolute: world.now.wall.plus(lifetime.absolute) };
        assert_eq!(session.deadlines, expected, "remembered: {remember}");
        world.pass(lifetime.idle.as_secs() - 1);
        assert_eq!(world.verify(&session.token), Ok(session.sid), "remembered: {remember}");
        world.pass(1);
        assert_eq!(world.verify(&session.token), Err(Refusal::Expired), "remembered: {remember}");
    }
}

#[test]
fn a_used_session_expires_exactly_at_its_absolute_deadline() {
    for (remember, lifetime) in LIFETIMES_BY_TYPE {
        let mut world = World::new();
        let first = log_in(&world, remember);
        let mut token = first.token;
        let mut renewals = 0;
        while world.now.wall.0 + lifetime.idle.as_secs() / 2 < first.deadlines.absolute.0 {
            world.pass(lifetime.idle.as_secs() / 2);
            let Some(renewed) = world.renew(&token).expect("a live session") else { continue };
            let idle = world.now.wall.plus(lifetime.idle).min(first.deadlines.absolute);
            assert_eq!(renewed.deadlines, Deadlines { idle, ..first.deadlines }, "remembered: {remember}");
            token = renewed.token;
            renewals += 1;
        }
        assert!(renewals > 10, "remembered: {remember}, renewed {renewals} times");
        world.pass(first.deadlines.absolute.since(world.now.wall).as_secs() - 1);
        assert_eq!(world.verify(&token), Ok(first.sid), "remembered: {remember}");
        world.pass(1);
        assert_eq!(world.verify(&token), Err(Refusal::Expired), "remembered: {remember}");
        assert!(world.renew(&token).is_err(), "remembered: {remember}");
    }
}

#[test]
fn an_expired_session_cannot_be_renewed() {
    let mut world = World::new();
    let session = world.sign_in();
    world.pass(ORDINARY.idle.as_secs());
    assert!(matches!(world.renew(&session.token), Err(Refusal::Expired)));
}

#[test]
fn a_renewal_does_not_change_the_deadlines_of_the_old_token() {
    let mut world = World::new();
    let first = world.sign_in();
    world.pass(ORDINARY.idle.as_secs() - 1);
    let renewed = world.renew(&first.token).expect("live").expect("due");
    world.pass(1);
    assert_eq!(world.verify(&first.token), Err(Refusal::Expired));
    assert_eq!(world.verify(&renewed.token), Ok(first.sid));
}

#[test]
fn a_session_shorter_than_its_idle_timeout_is_not_renewed() {
    let short = Lifetimes { ordinary: lifetime(HOUR, 10 * MINUTE), ..LIFETIMES };
    let mut world = World::with(KeyRing::new(vec![key(1)]), short, WhenStale::Refuse);
    let session = world.sign_in();
    assert_eq!(session.deadlines.idle, session.deadlines.absolute);
    world.pass(10 * MINUTE - 1);
    assert!(world.renew(&session.token).expect("live").is_none(), "a renewal cannot change a deadline");
    world.pass(1);
    assert_eq!(world.verify(&session.token), Err(Refusal::Expired));
}

/// Lifetimes that were configured at the login, and lifetimes that are configured later.
const CHANGES: [(Lifetime, Lifetime); 5] = [
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(5 * HOUR, 20 * HOUR)),
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(30 * MINUTE, 20 * HOUR)),
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(5 * HOUR, 2 * HOUR)),
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(5 * MINUTE, HOUR)),
    (lifetime(30 * MINUTE, 30 * MINUTE), lifetime(5 * HOUR, 20 * HOUR)),
];

#[test]
fn a_new_configuration_does_not_change_issued_tokens() {
    for (before, after) in CHANGES {
        let ring = || KeyRing::new(vec![key(1)]);
        let session = World::with(ring(), Lifetimes { ordinary: before, ..LIFETIMES }, WhenStale::Refuse).sign_in();
        let mut world = World::with(ring(), Lifetimes { ordinary: after, ..LIFETIMES }, WhenStale::Refuse);
        world.pass(before.idle.as_secs() - 1);
        assert_eq!(world.verify(&session.token), Ok(session.sid), "{before:?} to {after:?}");
        world.pass(1);
        assert_eq!(world.verify(&session.token), Err(Refusal::Expired), "{before:?} to {after:?}");
    }
}

#[test]
fn a_renewal_uses_a_new_idle_timeout_but_no_new_deadline() {
    for (before, after) in CHANGES {
        let ring = || KeyRing::new(vec![key(1)]);
        let session = World::with(ring(), Lifetimes { ordinary: before, ..LIFETIMES }, WhenStale::Refuse).sign_in();
        let mut world = World::with(ring(), Lifetimes { ordinary: after, ..LIFETIMES }, WhenStale::Refuse);
        world.pass(10 * MINUTE);
        let renewed = world.renew(&session.token).expect("live");
        if session.deadlines.idle == session.deadlines.absolute {
            assert!(renewed.is_none(), "{before:?} to {after:?}");
            continue;
        }
        let deadlines = renewed.expect("due").deadlines;
        assert_eq!(deadlines.absolute, session.deadlines.absolute, "{before:?} to {after:?}");
        assert_eq!(deadlines.idle, world.now.wall.plus(after.idle).min(deadlines.absolute), "{before:?} to {after:?}");
    }
}

#[test]
fn the_sealing_key_limits_both_deadlines() {
    // Maximum lifetime of the key, and the resulting idle and absolute timeout of an ordinary session.
    for (cap, idle, absolute) in [
        (90 * DAY, 30 * MINUTE, 12 * HOUR),
        (12 * HOUR, 30 * MINUTE, 12 * HOUR),
        (12 * HOUR - 1, 30 * MINUTE, 12 * HOUR - 1),
        (HOUR, 30 * MINUTE, HOUR),
        (10 * MINUTE, 10 * MINUTE, 10 * MINUTE),
        (0, 0, 0),
    ] {
        let limited_key = key_with(1, |dates| dates.max_lifetime = Duration::from_secs(cap));
        let mut world = World::with(KeyRing::new(vec![limited_key]), LIFETIMES, WhenStale::Refuse);
        let session = world.sign_in();
        let login_time = world.now.wall.0;
        let expected = Deadlines { idle: UnixTime(login_time + idle), absolute: UnixTime(login_time + absolute) };
        assert_eq!(session.deadlines, expected, "{cap}");
        world.pass(idle);
        assert_eq!(world.verify(&session.token), Err(Refusal::Expired), "{cap}");
    }
}

#[test]
fn renewals_keep_the_deadline_and_respect_the_limit_of_the_key() {
    let mut world = World::new();
    let session = world.sign_in();
    let hour = Duration::from_secs(HOUR);
    for (number, cap) in [(2, Duration::from_secs(10 * MINUTE)), (3, hour), (4, 5 * hour), (5, Duration::ZERO)] {
        let next = key_with(number, |dates| {
            dates.activates_at = Some(UnixTime(number.into()));
            dates.max_lifetime = cap;
        });
        world.sessions.replace_ring(KeyRing::new(vec![key(1), next]));
        world.pass(10 * MINUTE);
        let renewed = world.renew(&session.token).expect("live").expect("due").deadlines;
        assert_eq!(renewed.absolute, session.deadlines.absolute, "{cap:?}");
        assert_eq!(renewed.idle, world.now.wall.plus(ORDINARY.idle.min(cap)), "{cap:?}");
        world.sessions.replace_ring(KeyRing::new(vec![key(1)]));
        world.now.wall = session.sealed_at;
    }
}

#[test]
fn a_logout_with_a_short_lived_token_also_ends_older_tokens() {
    let mut world = World::new();
    let older = world.remember();
    let shorter = key_with(2, |dates| {
        dates.activates_at = Some(UnixTime(1));
        dates.max_lifetime = Duration::from_secs(HOUR);
    });
    world.sessions.replace_ring(KeyRing::new(vec![key(1), shorter]));
    world.pass(2 * DAY);
    let renewed = world.renew(&older.token).expect("live").expect("due");
    world.revoke(&renewed);
    for _ in 0..14 {
        world.pass(DAY);
        world.list().prune(world.now.wall);
        assert!(world.verify(&older.token).is_err(), "a copy of the older token is valid after the logout");
    }
}
