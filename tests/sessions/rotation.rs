//! Tests of keys that are added, replaced, revoked and removed while sessions are in use.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealjar::clock::UnixTime;
use sealjar::id::Kid;
use sealjar::keyring::{Key, KeyRing};
use sealjar::revocation::WhenStale;
use sealjar::seal::SealedToken;
use sealjar::session::claims::Methods;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Cause, Lifetimes, Refusal, SealedSession, Sessions};

use crate::fixture::{ALICE, HOUR, LIFETIMES, MINUTE, ORDINARY, SITE, World, cookie, field, key, key_with, lifetime};

const ROTATIONS: u8 = 30;

/// Returns the id of the key that sealed a token.
fn sealed_by(token: &SealedToken) -> Kid {
    let bytes = URL_SAFE_NO_PAD.decode(token.expose()).expect("a valid token");
    Kid::from_bytes(*bytes[1..].first_chunk().expect("a key id"))
}

/// Returns the keys 1 to `last`. The first key has always been active. Each later key becomes active one hour
/// after the key before it.
fn ring(start: UnixTime, last: u8) -> Vec<Key> {
    let activates_at = |number: u8| match number {
        1 => UnixTime(0),
        _ => start.plus(Duration::from_secs(HOUR * u64::from(number - 1))),
    };
    (1..=last).map(|number| key_with(number, |dates| dates.activates_at = Some(activates_at(number)))).collect()
}

#[test]
fn thirty_rotations_refuse_no_session_if_nodes_read_keys_late() {
    let longer = Lifetimes { ordinary: lifetime(30 * MINUTE, 48 * HOUR), ..LIFETIMES };
    let mut early = World::with(KeyRing::new(vec![key(1)]), longer, WhenStale::Refuse);
    let start = early.now.wall;
    let list = Arc::clone(early.sessions.revocations());
    let late = Sessions::new(KeyRing::new(vec![key(1)]), list, cookie(), longer);
    let never_renewed = early.remember();
    let mut sessions: Vec<SealedSession> = (0..6).map(|_| early.sign_in()).collect();
    let mut sealers = vec![sealed_by(&sessions[0].token)];
    for minute in 1..=u64::from(ROTATIONS) * 60 + 30 {
        early.pass(MINUTE);
        let next = u8::try_from(minute / 60).expect("30 hours") + 2;
        match minute % 60 {
            50 => early.sessions.replace_ring(KeyRing::new(ring(start, next))),
            59 => late.replace_ring(KeyRing::new(ring(start, next))),
            _ => {}
        }
        let active = ring(start, next - 1).pop().expect("at least one key").kid();
        let renew_on = |node: &Sessions, token: &SealedToken| {
            node.verify([field(token.expose()).as_slice()], SITE, early.now, |session| {
                node.renew(session, RenewalWindow::WhenDue)
            })
        };
        for (number, session) in (0..).zip(&mut sessions) {
            let nodes = if (minute + number) % 2 == 0 { [&early.sessions, &late] } else { [&late, &early.sessions] };
            for node in nodes {
                let renewed =
                    renew_on(node, &session.token).unwrap_or_else(|refusal| panic!("{refusal:?} in minute {minute}"));
                let Some(renewed) = renewed.expect("a key is active") else { continue };
                assert_eq!(sealed_by(&renewed.token), active, "minute {minute}");
                if sealers.last() != Some(&active) {
                    sealers.push(active);
                }
                *session = renewed;
            }
        }
        assert!(renew_on(&late, &never_renewed.token).is_ok(), "minute {minute}");
    }
    assert_eq!(sealers.len(), usize::from(ROTATIONS) + 1, "every key has sealed tokens, in the order of the keys");
}

#[test]
fn replacing_the_ring_during_requests_refuses_none_of_them() {
    let world = World::new();
    let ring = |active: u8| {
        let published = |number| {
            key_with(number, |dates| dates.activates_at = (number <= active).then_some(UnixTime(number.into())))
        };
        KeyRing::new((1..=ROTATIONS).map(published).collect())
    };
    let session = world.sign_in();
    world.sessions.replace_ring(ring(1));
    let done = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !done.load(Ordering::Acquire) {
                (1..=ROTATIONS).for_each(|active| world.sessions.replace_ring(ring(active)));
                swaps += 1;
            }
            swaps
        });
        let mut sealers = HashSet::new();
        while sealers.len() < 3 {
            let fresh = world.sign_in();
            sealers.insert(*sealed_by(&fresh.token).as_bytes());
            assert_eq!(world.verify(&fresh.token), Ok(fresh.sid));
            assert_eq!(world.verify(&session.token), Ok(session.sid));
        }
        done.store(true, Ordering::Release);
        swapper.join().expect("no panic")
    });
    assert!(swaps > 0);
}

#[test]
fn a_token_of_a_published_but_inactive_key_opens() {
    let mut world = World::new();
    world.sessions.replace_ring(KeyRing::new(vec![key(2)]));
    let early = world.sign_in();
    let unscheduled = key_with(2, |dates| dates.activates_at = None);
    world.sessions.replace_ring(KeyRing::new(vec![key(1), unscheduled]));
    assert_eq!(world.verify(&early.token), Ok(early.sid), "another node has already sealed with this key");
    world.pass(ORDINARY.idle.as_secs() / 2);
    let renewed = world.renew(&early.token).expect("live").expect("due");
    assert_eq!(sealed_by(&renewed.token), key(1).kid(), "this node does not yet seal with it");
}

#[test]
fn revoking_a_key_refuses_only_its_tokens() {
    let mut world = World::new();
    let first = world.sign_in();
    let second = || key_with(2, |dates| dates.activates_at = Some(UnixTime(1)));
    world.sessions.replace_ring(KeyRing::new(vec![key(1), second()]));
    let other = world.sign_in();
    world.pass(ORDINARY.idle.as_secs() / 2);
    let revoked = key_with(2, |dates| {
        dates.activates_at = Some(UnixTime(1));
        dates.revoked_at = Some(UnixTime(2));
    });
    world.sessions.replace_ring(KeyRing::new(vec![key(1), revoked]));
    assert_eq!(world.verify(&other.token), Err(Refusal::Invalid(Cause::RevokedKey)));
    let renewed = world.renew(&first.token).expect("live").expect("due");
    assert_eq!(sealed_by(&renewed.token), key(1).kid(), "the retired key is active again");
}

/// A read of the key directory may end between the refusal and the check whether a key is missing.
#[test]
fn a_refusal_reports_a_missing_key_even_if_it_has_arrived() {
    let world = World::new();
    let other_node =
        Sessions::new(KeyRing::new(vec![key(2)]), Arc::clone(world.sessions.revocations()), cookie(), LIFETIMES);
    let new = field(
        other_node.sign_in(&ALICE, Methods::PASSWORD, false, b"", SITE, world.now).expect("a session").token.expose(),
    );
    let old = field(world.sign_in().token.expose());
    let refusal = world.verify_fields(std::slice::from_ref(&new)).expect_err("the key of the token is missing");
    world.sessions.replace_ring(KeyRing::new(vec![key(1), key(2)]));
    assert!(world.sessions.may_have_lacked_key([&*new], refusal));
    let refusal = Refusal::Invalid(Cause::NotAuthentic);
    assert!(!world.sessions.may_have_lacked_key([&*new, &*old], refusal), "no key is missing");
    world.sessions.replace_ring(KeyRing::new(vec![key(1)]));
    assert!(world.sessions.may_have_lacked_key([&*old, &*new], refusal), "the key of the other token may have arrived");
}
