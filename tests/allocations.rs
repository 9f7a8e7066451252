//! Tests that a check of a session allocates no heap memory, for every verdict. With allocations, the threads would compete for
//! the allocator during a flood of requests.

#![allow(missing_docs)]

#[allow(dead_code, reason = "shared with the session tests, which use all of it")]
#[path = "sessions/fixture.rs"]
mod fixture;

use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Sid;
use sealjar::keyring::KeyRing;
use sealjar::revocation::{Entry, WhenStale};
use sealjar::seal::Purpose;
use sealjar::session::claims::Methods;
use sealjar::session::lifetime::RenewalWindow;
use sealjar::session::{Cause, Identity, Refusal};

use fixture::{ALICE, COOKIE, HOUR, LIFETIMES, ORDINARY, SITE, World, field, forge, key, key_with};

/// Creates a world whose revocation list has many entries: pending and durable ones for sessions, and durable ones for accounts.
fn world() -> World {
    let revoked_key = key_with(2, |dates| dates.revoked_at = Some(UnixTime(1)));
    let world = World::with(KeyRing::new(vec![key(1), revoked_key]), LIFETIMES, WhenStale::Refuse);
    let expires_at = world.now.wall.plus(Duration::from_secs(HOUR));
    for number in 0..10_000 {
        let sub = format!("account {number}");
        world.list().add_durable(&Entry::Session { sid: Sid::random(), expires_at });
        world.list().add_durable(&Entry::Subject { sub: sub.into(), below: 1, expires_at });
        if number % 100 == 0 {
            world.list().add_pending(Sid::random(), expires_at);
        }
    }
    world
}

/// Returns the verdict on these `Cookie` fields, and the number of allocations of the check.
fn verify_counted(world: &World, fields: &[Vec<u8>]) -> (Result<Sid, Refusal>, u64) {
    let mut verdict = Err(Refusal::Missing);
    let counts = allocation_counter::measure(|| verdict = world.verify_fields(fields));
    (verdict, counts.count_total)
}

#[test]
fn the_counter_counts_allocations() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 10]))).count_total, 1);
    let world = world();
    assert!(allocation_counter::measure(|| drop(world.sign_in())).count_total > 0, "sealing allocates a string");
}

#[test]
fn checking_a_session_allocates_nothing_for_any_verdict() {
    let mut world = world();
    let sign_in = |sub, remember| {
        let identity = Identity { sub, ..ALICE };
        world.sessions.sign_in(&identity, Methods::PASSWORD, remember, &[7; 500], SITE, world.now).expect("seals")
    };
    // Sessions with different verdicts.
    let [expired, logged_out, pending] = ["a", "b", "c"].map(|sub| sign_in(sub, false));
    let [live, ended, other] = ["d", "e", "f"].map(|sub| sign_in(sub, true));
    world.pass(ORDINARY.idle.as_secs() - 1);
    world.revoke(&logged_out);
    world.list().add_pending(pending.sid, pending.deadlines.absolute);
    let below = ALICE.account_generation + 1;
    world.list().add_durable(&Entry::Subject { sub: "e".into(), below, expires_at: ended.deadlines.absolute });

    // Each cookie alone in a request.
    let text = |session: &sealjar::session::SealedSession| session.token.expose().to_owned();
    let truncated = text(&live)[..200].to_owned();
    let invalid = |cause| Err(Refusal::Invalid(cause));
    let mut cases = vec![
        ("live", text(&live), Ok(live.sid)),
        ("logged out", text(&logged_out), Err(Refusal::Revoked)),
        ("logged out, not yet durable", text(&pending), Err(Refusal::Revoked)),
        ("revoked account generation", text(&ended), Err(Refusal::Revoked)),
        ("empty", String::new(), invalid(Cause::Malformed)),
        ("not base64url", "!".repeat(500), invalid(Cause::Malformed)),
        ("too long", "A".repeat(9000), invalid(Cause::Malformed)),
        ("truncated", truncated, invalid(Cause::NotAuthentic)),
        ("an unknown key", forge(3, Purpose::Session, COOKIE, &[1; 100]), invalid(Cause::UnknownKey)),
        ("a revoked key", forge(2, Purpose::Session, COOKIE, &[1; 100]), invalid(Cause::RevokedKey)),
        ("another purpose", forge(1, Purpose::LoginForm, COOKIE, &[1; 100]), invalid(Cause::NotAuthentic)),
        ("invalid claims", forge(1, Purpose::Session, COOKIE, &[1; 100]), invalid(Cause::BadClaims)),
    ];
    for (name, value, expected) in &cases {
        assert_eq!(verify_counted(&world, &[field(value)]), (*expected, 0), "{name}");
    }
    assert_eq!(verify_counted(&world, &[]), (Err(Refusal::Missing), 0), "no cookie");
    assert_eq!(
        verify_counted(&world, &[b"theme=dark; lang=en".to_vec()]),
        (Err(Refusal::Missing), 0),
        "cookies with other names"
    );
    world.pass(1);
    assert_eq!(verify_counted(&world, &[field(&text(&expired))]), (Err(Refusal::Expired), 0), "expired");

    // Many cookies in one request.
    cases.retain(|(_, value, _)| value.len() > 66 && value.len() <= 4096);
    let invalid_fields: Vec<Vec<u8>> = cases.iter().skip(1).map(|(_, value, _)| field(value)).collect();
    assert_eq!(
        verify_counted(&world, &invalid_fields),
        (Err(Refusal::Revoked), 0),
        "many cookies without a live session"
    );
    let last = [invalid_fields.as_slice(), &[field(&text(&other))]].concat();
    assert_eq!(verify_counted(&world, &last), (Ok(other.sid), 0), "a live session after many invalid cookies");
    // A list that is too old.
    world.pass_unsynced(Duration::from_secs(60));
    assert_eq!(verify_counted(&world, &[field(&text(&live))]), (Err(Refusal::Stale), 0), "stale");
}

#[test]
fn a_check_without_a_due_renewal_allocates_nothing() {
    let world = world();
    let session = world.sign_in();
    let token = session.token;
    let fields = [field(token.expose())];
    world.sessions.detect_copies(Some(1 << 20));
    let window = RenewalWindow::WhenDue;
    let counts = allocation_counter::measure(|| {
        let fields = fields.iter().map(Vec::as_slice);
        let on_copy = |_| unreachable!("the cookie has one holder");
        let outcome = world.sessions.verify_and_detect(fields, SITE, world.now, window, on_copy, |session| {
            matches!(world.sessions.renew(session, window), Ok(None))
        });
        assert_eq!(outcome, Ok(true));
    });
    assert_eq!(counts.count_total, 0);
}
