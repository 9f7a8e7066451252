//! No check of a session touches the heap, whatever its outcome: memory is what a flood of requests would contend for.

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

/// A world whose list is filled with sessions, pending and durable, and with accounts.
fn world() -> World {
    let revoked_key = key_with(2, |dates| dates.revoked_at = Some(UnixTime(1)));
    let world = World::with(KeyRing::new(vec![key(1), revoked_key]), LIFETIMES, WhenStale::Refuse);
    let expires_at = world.now.wall.plus(Duration::from_secs(HOUR));
    for number in 0..10_000 {
        let (sid, sub) = (Sid::random(), format!("account {number}"));
        world.list().add_durable(&Entry::Session { sid, expires_at });
        world.list().add_durable(&Entry::Subject { sub: sub.into(), below: 1, expires_at });
        if number % 100 == 0 {
            world.list().add_pending(Sid::random(), expires_at);
        }
    }
    world
}

/// The verdict on these fields, and how many allocations it took.
fn counted(world: &World, fields: &[Vec<u8>]) -> (Result<Sid, Refusal>, u64) {
    let mut verdict = Err(Refusal::Missing);
    let counts = allocation_counter::measure(|| verdict = world.verify_fields(fields));
    (verdict, counts.count_total)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 10]))).count_total, 1);
    let world = world();
    assert!(allocation_counter::measure(|| drop(world.sign_in())).count_total > 0, "sealing makes a string");
}

#[test]
fn checking_a_session_allocates_nothing_whatever_the_verdict() {
    let mut world = world();
    let sign_in = |sub, remember| {
        let identity = Identity { sub, ..ALICE };
        world.sessions.sign_in(&identity, Methods::PASSWORD, remember, &[7; 500], SITE, world.now).expect("signs in")
    };
    let [expired, signed_out, pending] = ["a", "b", "c"].map(|sub| sign_in(sub, false));
    let [live, ended, other] = ["d", "e", "f"].map(|sub| sign_in(sub, true));
    world.pass(ORDINARY.idle.as_secs() - 1);
    world.revoke(&signed_out);
    world.list().add_pending(pending.sid, pending.deadlines.absolute);
    let below = ALICE.account_generation + 1;
    world.list().add_durable(&Entry::Subject { sub: "e".into(), below, expires_at: ended.deadlines.absolute });

    let text = |session: &sealjar::session::SealedSession| session.token.expose().to_owned();
    let cut = text(&live)[..200].to_owned();
    let invalid = |cause| Err(Refusal::Invalid(cause));
    let mut cases = vec![
        ("live", text(&live), Ok(live.sid)),
        ("signed out", text(&signed_out), Err(Refusal::Revoked)),
        ("signed out, not yet on disk", text(&pending), Err(Refusal::Revoked)),
        ("of an ended generation", text(&ended), Err(Refusal::Revoked)),
        ("empty", String::new(), invalid(Cause::Malformed)),
        ("not base64url", "!".repeat(500), invalid(Cause::Malformed)),
        ("too long", "A".repeat(9000), invalid(Cause::Malformed)),
        ("cut short", cut, invalid(Cause::NotAuthentic)),
        ("an unknown key", forge(3, Purpose::Session, COOKIE, &[1; 100]), invalid(Cause::UnknownKey)),
        ("a revoked key", forge(2, Purpose::Session, COOKIE, &[1; 100]), invalid(Cause::RevokedKey)),
        ("another purpose", forge(1, Purpose::LoginForm, COOKIE, &[1; 100]), invalid(Cause::NotAuthentic)),
        ("no claims", forge(1, Purpose::Session, COOKIE, &[1; 100]), invalid(Cause::BadClaims)),
    ];
    for (name, value, expected) in &cases {
        assert_eq!(counted(&world, &[field(value)]), (*expected, 0), "{name}");
    }
    assert_eq!(counted(&world, &[]), (Err(Refusal::Missing), 0), "no cookie");
    assert_eq!(counted(&world, &[b"theme=dark; lang=en".to_vec()]), (Err(Refusal::Missing), 0), "others' cookies");
    world.pass(1);
    assert_eq!(counted(&world, &[field(&text(&expired))]), (Err(Refusal::Expired), 0), "expired");

    cases.retain(|(_, value, _)| value.len() > 66 && value.len() <= 4096);
    let bad: Vec<Vec<u8>> = cases.iter().skip(1).map(|(_, value, _)| field(value)).collect();
    assert_eq!(counted(&world, &bad), (Err(Refusal::Revoked), 0), "many cookies that are no session");
    let behind = [bad.as_slice(), &[field(&text(&other))]].concat();
    assert_eq!(counted(&world, &behind), (Ok(other.sid), 0), "a session behind many that are none");
    world.pass_without_news(Duration::from_secs(60));
    assert_eq!(counted(&world, &[field(&text(&live))]), (Err(Refusal::Stale), 0), "stale");
}

#[test]
fn a_check_and_the_question_for_a_renewal_allocate_nothing() {
    let world = world();
    let session = world.sign_in();
    let token = session.token;
    let fields = [field(token.expose())];
    world.sessions.detect_copies(Some(1 << 20));
    let window = RenewalWindow::WhenDue;
    let counts = allocation_counter::measure(|| {
        let fields = fields.iter().map(Vec::as_slice);
        let copied = |_| unreachable!("the cookie has one holder");
        let outcome = world.sessions.verify_and_detect(fields, SITE, world.now, window, copied, |session| {
            matches!(world.sessions.renew(session, window), Ok(None))
        });
        assert_eq!(outcome, Ok(true));
    });
    assert_eq!(counts.count_total, 0);
}
