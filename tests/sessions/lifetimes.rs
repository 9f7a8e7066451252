//! The two deadlines: what they are, who sets them, and that nothing lengthens a token that was issued.

use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::keyring::KeyRing;
use sealjar::revocation::WhenStale;
use sealjar::session::lifetime::{Deadlines, Lifetime};
use sealjar::session::{Lifetimes, Refusal, SealedSession};

use crate::fixture::{DAY, HOUR, LIFETIMES, MINUTE, ORDINARY, REMEMBERED, World, key, key_with, lifetime};

fn begin(world: &World, remember: bool) -> SealedSession {
    if remember { world.remember() } else { world.sign_in() }
}

const KINDS: [(bool, Lifetime); 2] = [(false, ORDINARY), (true, REMEMBERED)];

#[test]
fn an_unused_session_dies_at_the_second_of_its_idle_deadline() {
    for (remember, kind) in KINDS {
        let mut world = World::new();
        let session = begin(&world, remember);
        let ends = Deadlines { idle: world.now.wall.plus(kind.idle), absolute: world.now.wall.plus(kind.absolute) };
        assert_eq!(session.deadlines, ends, "remembered: {remember}");
        world.pass(kind.idle.as_secs() - 1);
        assert_eq!(world.verify(&session.token), Ok(session.sid), "remembered: {remember}");
        world.pass(1);
        assert_eq!(world.verify(&session.token), Err(Refusal::Expired), "remembered: {remember}");
    }
}

#[test]
fn a_session_in_use_dies_at_the_second_of_its_absolute_deadline() {
    for (remember, kind) in KINDS {
        let mut world = World::new();
        let first = begin(&world, remember);
        let (mut token, mut renewals) = (first.token, 0);
        while world.now.wall.0 + kind.idle.as_secs() / 2 < first.deadlines.absolute.0 {
            world.pass(kind.idle.as_secs() / 2);
            let Some(renewed) = world.renew(&token).expect("in use") else { continue };
            let idle = world.now.wall.plus(kind.idle).min(first.deadlines.absolute);
            assert_eq!(renewed.deadlines, Deadlines { idle, ..first.deadlines }, "remembered: {remember}");
            (token, renewals) = (renewed.token, renewals + 1);
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
fn an_idle_session_is_not_brought_back_by_renewing_it_late() {
    let mut world = World::new();
    let session = world.sign_in();
    world.pass(ORDINARY.idle.as_secs());
    assert!(matches!(world.renew(&session.token), Err(Refusal::Expired)));
}

#[test]
fn a_renewal_leaves_the_deadlines_of_the_older_token_alone() {
    let mut world = World::new();
    let first = world.sign_in();
    world.pass(ORDINARY.idle.as_secs() - 1);
    let renewed = world.renew(&first.token).expect("live").expect("due");
    world.pass(1);
    assert_eq!(world.verify(&first.token), Err(Refusal::Expired));
    assert_eq!(world.verify(&renewed.token), Ok(first.sid));
}

#[test]
fn a_session_shorter_than_its_idle_time_ends_at_its_deadline() {
    let short = Lifetimes { ordinary: lifetime(HOUR, 10 * MINUTE), ..LIFETIMES };
    let mut world = World::with(KeyRing::new(vec![key(1)]), short, WhenStale::Refuse);
    let session = world.sign_in();
    assert_eq!(session.deadlines.idle, session.deadlines.absolute);
    world.pass(10 * MINUTE - 1);
    assert!(world.renew(&session.token).expect("live").is_none(), "a renewal could move nothing");
    world.pass(1);
    assert_eq!(world.verify(&session.token), Err(Refusal::Expired));
}

/// (configured when the session began, configured later)
const CHANGES: [(Lifetime, Lifetime); 5] = [
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(5 * HOUR, 20 * HOUR)),
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(30 * MINUTE, 20 * HOUR)),
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(5 * HOUR, 2 * HOUR)),
    (lifetime(30 * MINUTE, 2 * HOUR), lifetime(5 * MINUTE, HOUR)),
    (lifetime(30 * MINUTE, 30 * MINUTE), lifetime(5 * HOUR, 20 * HOUR)),
];

#[test]
fn another_configuration_changes_no_token_that_was_issued() {
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
fn a_renewal_takes_on_a_new_idle_time_and_no_new_deadline() {
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
fn the_key_that_seals_caps_both_deadlines() {
    // (max_lifetime of the key, idle and absolute deadline that it leaves to an ordinary session)
    for (cap, idle, absolute) in [
        (90 * DAY, 30 * MINUTE, 12 * HOUR),
        (12 * HOUR, 30 * MINUTE, 12 * HOUR),
        (12 * HOUR - 1, 30 * MINUTE, 12 * HOUR - 1),
        (HOUR, 30 * MINUTE, HOUR),
        (10 * MINUTE, 10 * MINUTE, 10 * MINUTE),
        (0, 0, 0),
    ] {
        let capped = key_with(1, |dates| dates.max_lifetime = Duration::from_secs(cap));
        let mut world = World::with(KeyRing::new(vec![capped]), LIFETIMES, WhenStale::Refuse);
        let (session, began) = (world.sign_in(), world.now.wall.0);
        let expected = Deadlines { idle: UnixTime(began + idle), absolute: UnixTime(began + absolute) };
        assert_eq!(session.deadlines, expected, "{cap}");
        world.pass(idle);
        assert_eq!(world.verify(&session.token), Err(Refusal::Expired), "{cap}");
    }
}

#[test]
fn the_absolute_deadline_stays_and_no_token_outlives_its_key() {
    let mut world = World::new();
    let session = world.sign_in();
    let hour = Duration::from_secs(HOUR);
    for (number, cap) in [(2, Duration::from_secs(10 * MINUTE)), (3, hour), (4, 5 * hour), (5, Duration::ZERO)] {
        let next = key_with(number, |dates| {
            (dates.activates_at, dates.max_lifetime) = (Some(UnixTime(number.into())), cap);
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
fn a_sign_out_with_a_short_lived_token_ends_older_tokens_too() {
    let mut world = World::new();
    let older = world.remember();
    let shorter =
        key_with(2, |dates| (dates.activates_at, dates.max_lifetime) = (Some(UnixTime(1)), Duration::from_secs(HOUR)));
    world.sessions.replace_ring(KeyRing::new(vec![key(1), shorter]));
    world.pass(2 * DAY);
    let renewed = world.renew(&older.token).expect("live").expect("due");
    world.revoke(&renewed);
    for _ in 0..14 {
        world.pass(DAY);
        world.list().prune(world.now.wall);
        assert!(world.verify(&older.token).is_err(), "a copy of the older token is alive after the sign-out");
    }
}
