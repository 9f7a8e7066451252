//! Tests of `Sessions::presented`. A logout or login revokes every token of its request that any node may still accept.

use std::time::Duration;

use sealjar::clock::{CLOCK_SKEW, UnixTime};
use sealjar::id::{Sid, Site};
use sealjar::keyring::KeyRing;
use sealjar::seal::Purpose;
use sealjar::session::Identity;
use sealjar::session::claims::Methods;

use crate::fixture::{ALICE, COOKIE, DAY, ORDINARY, SITE, World, field, forge, key_with};

/// Name of a case, and the change of the world before the token is presented.
type Change<S> = (&'static str, fn(&mut World, S));

/// Returns the ids of the presented sessions in cookies with these values.
fn sids(world: &World, values: &[&str]) -> Vec<Sid> {
    let fields: Vec<Vec<u8>> = values.iter().map(|value| field(value)).collect();
    world
        .sessions
        .presented(fields.iter().map(Vec::as_slice), world.now)
        .into_iter()
        .map(|presented| presented.sid)
        .collect()
}

#[test]
fn returns_a_token_while_any_node_may_accept_it() {
    let changes: [Change<Sid>; 7] = [
        ("live", |_, _| ()),
        ("idle-expired", |world, _| world.pass(ORDINARY.idle.as_secs())),
        ("a second before a slow node is past the absolute deadline", |world, _| {
            world.pass(ORDINARY.absolute.as_secs() + CLOCK_SKEW.as_secs() - 1);
        }),
        ("already logged out", |world, sid| assert!(world.list().add_pending(sid, UnixTime(u64::MAX)))),
        ("of an old global generation", |world, _| world.list().raise_global_generation(100)),
        ("the list is stale", |world, _| world.pass_unsynced(Duration::from_secs(60))),
        ("from the future", |world, _| world.step(-2 * 3600)),
    ];
    for (name, change) in changes {
        let mut world = World::new();
        let session = world.sign_in();
        change(&mut world, session.sid);
        assert_eq!(sids(&world, &[session.token.expose()]), [session.sid], "{name}");
    }
}

#[test]
fn returns_a_token_of_another_host() {
    let world = World::new();
    let session = world
        .sessions
        .sign_in(&ALICE, Methods::PASSWORD, false, b"", Site::of_host("elsewhere"), world.now)
        .expect("a session");
    assert_eq!(sids(&world, &[session.token.expose()]), [session.sid]);
}

#[test]
fn omits_tokens_that_no_node_accepts_and_invalid_tokens() {
    let changes: [Change<()>; 4] = [
        ("absolute-expired", |world, ()| world.pass(ORDINARY.absolute.as_secs() + CLOCK_SKEW.as_secs())),
        ("absolute-expired at the time of the last removal", |world, ()| {
            let past = world.now.wall.plus(ORDINARY.absolute).plus(CLOCK_SKEW);
            world.list().raise_pruned_through(past);
        }),
        ("its key is revoked", |world, ()| {
            let revoked = key_with(1, |dates| dates.revoked_at = Some(UnixTime(1)));
            world.sessions.replace_ring(KeyRing::new(vec![revoked]));
        }),
        ("its key was removed", |world, ()| world.sessions.replace_ring(KeyRing::new(vec![]))),
    ];
    for (name, change) in changes {
        let mut world = World::new();
        let session = world.sign_in();
        change(&mut world, ());
        assert_eq!(sids(&world, &[session.token.expose()]), [], "{name}");
    }
    let world = World::new();
    let token = world.sign_in().token.expose().to_owned();
    let for_a_form = forge(1, Purpose::LoginForm, COOKIE, b"x");
    for other in
        ["", "x", &token[1..], &token[..token.len() - 1], &for_a_form, &forge(2, Purpose::Session, COOKIE, b"x")]
    {
        assert_eq!(sids(&world, &[other]), [], "{other}");
    }
    let other_name = [format!("__Secure-sealjar={token}").into_bytes()];
    assert_eq!(world.sessions.presented(other_name.iter().map(Vec::as_slice), world.now), []);
}

#[test]
fn returns_each_session_once_among_any_number_of_tokens() {
    let mut world = World::new();
    let first = world.sign_in();
    let second = world.remember();
    world.pass(ORDINARY.idle.as_secs() / 2);
    let renewed = world.renew(&first.token).expect("live").expect("due");
    let [first_token, renewed, second_token] = [&first, &renewed, &second].map(|session| session.token.expose());
    assert_eq!(sids(&world, &[first_token, renewed, second_token, first_token]), [first.sid, second.sid]);
    let invalid = "A".repeat(100);
    for count in [3, 4, 5, 400] {
        let values = [vec![&*invalid; count], vec![first_token, second_token]].concat();
        assert_eq!(sids(&world, &values), [first.sid, second.sid], "after {count}");
    }
}

#[test]
fn returns_the_facts_that_determine_the_expiry_of_an_entry() {
    let world = World::new();
    world.list().add_pending_below("another", 7);
    for (sub, account_generation, remember, is_revoked) in
        [("mine", 6, false, false), ("mine", 6, true, false), ("another", 6, false, true), ("another", 7, true, false)]
    {
        let identity = Identity { sub, account_generation, ..ALICE };
        let session =
            world.sessions.sign_in(&identity, Methods::PASSWORD, remember, b"", SITE, world.now).expect("a session");
        let fields = [field(session.token.expose())];
        let presented = world.sessions.presented(fields.iter().map(Vec::as_slice), world.now);
        let [presented] = &presented[..] else {
            panic!("expected one session, but the presented sessions are {presented:?}")
        };
        assert_eq!(
            (presented.sid, &*presented.sub, presented.account_generation),
            (session.sid, sub, account_generation)
        );
        assert_eq!(
            (presented.is_generation_revoked, presented.flags.is_remembered()),
            (is_revoked, remember),
            "{sub} {account_generation}"
        );
        let lifetime = if remember { 90 * DAY } else { DAY / 2 };
        assert_eq!(presented.absolute_deadline, world.now.wall.plus(Duration::from_secs(lifetime)));
    }
}
