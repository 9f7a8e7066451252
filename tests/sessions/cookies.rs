//! Tests with several cookies of the session cookie's name, in one or more `Cookie` fields, and with other cookies.

use std::time::Duration;

use sealjar::clock::UnixTime;
use sealjar::id::Site;
use sealjar::keyring::KeyRing;
use sealjar::revocation::WhenStale;
use sealjar::seal::Purpose;
use sealjar::session::claims::Claims;
use sealjar::session::{Cause, Refusal};

use crate::fixture::{COOKIE, HOUR, LIFETIMES, SITE, World, field, forge, key, key_with};

/// Returns four cookie values that are not valid tokens. Their lengths are possible lengths of a token.
fn invalid_values(world: &World) -> [String; 4] {
    let token = world.sign_in().token.expose().to_owned();
    let unknown = forge(9, Purpose::Session, COOKIE, b"no claims");
    let changed = format!("{}AAAA", &token[..token.len() / 4 * 4 - 4]);
    ["A".repeat(100), unknown, changed, format!("{token}!")]
}

/// Returns the cookies in three layouts: all in one `Cookie` field, each in its own field, and split into two fields.
fn spread(values: &[String]) -> [Vec<Vec<u8>>; 3] {
    let pairs: Vec<String> = values.iter().map(|value| format!("{COOKIE}={value}")).collect();
    let (first, rest) = pairs.split_at(pairs.len() / 2);
    [
        vec![pairs.join("; ").into_bytes()],
        pairs.iter().map(|pair| pair.clone().into_bytes()).collect(),
        vec![first.join("; ").into_bytes(), rest.join(";").into_bytes()],
    ]
}

#[test]
fn finds_the_session_behind_any_number_of_other_cookies() {
    let world = World::new();
    let session = world.sign_in();
    let invalid = invalid_values(&world);
    for before in [0, 1, 3, 4, 5, 10, 100, 500] {
        for after in [0, 1, 10] {
            let some_invalid = |count: usize| invalid.iter().cloned().cycle().take(count).collect::<Vec<_>>();
            let values = [some_invalid(before), vec![session.token.expose().to_owned()], some_invalid(after)].concat();
            for fields in spread(&values) {
                assert_eq!(world.verify_fields(&fields), Ok(session.sid), "{before} before, {after} after");
            }
        }
    }
}

#[test]
fn reports_too_many_candidates_before_it_misses_a_session() {
    const MAX_CANDIDATES: usize = 5;
    let world = World::new();
    let session = world.sign_in();
    let invalid = invalid_values(&world)[0].clone();
    let World { sessions, now, .. } = world;
    let sessions = sessions.with_max_candidates(MAX_CANDIDATES);
    for before in 0..=2 * MAX_CANDIDATES {
        let values = [vec![invalid.clone(); before], vec![session.token.expose().to_owned()]].concat();
        for fields in spread(&values) {
            let fields = || fields.iter().map(Vec::as_slice);
            assert_eq!(sessions.has_too_many_candidates(fields()), before >= MAX_CANDIDATES, "{before} before");
            let found = sessions.verify(fields(), SITE, now, |session| session.claims().sid);
            let presented: Vec<_> = sessions.presented(fields(), now).into_iter().map(|token| token.sid).collect();
            if before < MAX_CANDIDATES {
                assert_eq!((found, presented), (Ok(session.sid), vec![session.sid]), "{before} before");
            } else {
                assert_eq!((found, presented), (Err(Refusal::Invalid(Cause::Malformed)), vec![]), "{before} before");
            }
        }
    }
}

#[test]
fn values_too_short_or_long_for_a_token_are_not_counted() {
    let world = World::new();
    let session = world.sign_in();
    for filler in [String::new(), "x".into(), "A".repeat(66), "A".repeat(4097)] {
        let mut values = vec![filler.clone(); 20];
        values.push(session.token.expose().to_owned());
        for fields in spread(&values) {
            assert_eq!(world.verify_fields(&fields), Ok(session.sid), "20 of {} characters", filler.len());
        }
    }
}

#[test]
fn the_first_of_two_sessions_is_used_until_it_is_revoked() {
    let world = World::new();
    let sessions = [world.sign_in(), world.sign_in()];
    let values = sessions.each_ref().map(|session| session.token.expose().to_owned());
    for (count, expected) in [Ok(sessions[0].sid), Ok(sessions[1].sid), Err(Refusal::Revoked)].into_iter().enumerate() {
        for fields in spread(&values) {
            assert_eq!(world.verify_fields(&fields), expected, "{count} revoked");
        }
        sessions.get(count).into_iter().for_each(|session| world.revoke(session));
    }
}

#[test]
fn reports_the_failure_that_passed_most_checks_in_any_order() {
    let revoked_key = key_with(2, |dates| dates.revoked_at = Some(UnixTime(1)));
    let mut world = World::with(KeyRing::new(vec![key(1), revoked_key]), LIFETIMES, WhenStale::Refuse);
    let stale = world.sign_in();
    let revoked = world.sign_in();
    world.revoke(&revoked);
    world.pass_unsynced(Duration::from_secs(11));
    let altered = |number, change: fn(&mut Claims<'_>)| {
        world.read(&stale.token, |claims| {
            let mut claims = claims.clone();
            change(&mut claims);
            forge(number, Purpose::Session, COOKIE, &claims.encode().expect("valid claims"))
        })
    };
    let text = |text: &str| text.to_owned();
    // The rows are in the order of the checks: each failure passes more checks than the failures in earlier rows.
    let table = [
        (Refusal::Missing, None),
        (Refusal::Invalid(Cause::Malformed), Some("A".repeat(100))),
        (Refusal::Invalid(Cause::UnknownKey), Some(altered(3, |_| ()))),
        (Refusal::Invalid(Cause::RevokedKey), Some(altered(2, |_| ()))),
        (Refusal::Invalid(Cause::NotAuthentic), Some(forge(1, Purpose::LoginForm, COOKIE, b"x"))),
        (Refusal::Invalid(Cause::BadClaims), Some(forge(1, Purpose::Session, COOKIE, b"x"))),
        (Refusal::Invalid(Cause::WrongSite), Some(altered(1, |claims| claims.site = Site::of_host("elsewhere")))),
        (Refusal::Invalid(Cause::FromTheFuture), Some(altered(1, |claims| claims.sealed_at.0 += HOUR))),
        (Refusal::Expired, Some(altered(1, |claims| claims.idle_deadline = UnixTime(1)))),
        (Refusal::Revoked, Some(text(revoked.token.expose()))),
        (Refusal::Stale, Some(text(stale.token.expose()))),
    ];
    for (one, (earlier, first)) in table.iter().enumerate() {
        for (other, (later, second)) in table.iter().enumerate() {
            let values: Vec<String> = [first, second].into_iter().flatten().cloned().collect();
            let expected = if one < other { later } else { earlier };
            for fields in spread(&values) {
                assert_eq!(world.verify_fields(&fields), Err(*expected), "{earlier:?} and {later:?}");
            }
        }
    }
}

#[test]
fn finds_the_session_among_8000_bytes_of_other_cookies() {
    let world = World::new();
    let session = world.sign_in();
    let session_cookie = field(session.token.expose());
    let others: [(&str, Vec<u8>); 6] = [
        ("many", (0..400).map(|number| format!("cookie{number:04}=some value; ")).collect::<String>().into_bytes()),
        ("one long", [b"big=".to_vec(), vec![b'x'; 8000], b"; ".to_vec()].concat()),
        ("any byte but a semicolon", (0..=255).filter(|byte| *byte != b';').cycle().take(8000).chain(*b";").collect()),
        ("semicolons", vec![b';'; 8000]),
        ("similar names", format!("x{COOKIE}=x; {COOKIE}x=x; {COOKIE}").repeat(180).into_bytes()),
        ("the cookie, quoted in another cookie", format!("q=\"{COOKIE}=x\"; ").repeat(400).into_bytes()),
    ];
    for (name, others) in others {
        assert!(others.len() >= 7990, "{name}: {}", others.len());
        let others = [&others[..], b"; "].concat();
        let before = vec![[&others[..], &session_cookie].concat()];
        let around = vec![[&others[..], &session_cookie, b"; ", &others].concat()];
        let apart = vec![others.clone(), session_cookie.clone(), others.clone()];
        for fields in [before, around, apart] {
            assert_eq!(world.verify_fields(&fields), Ok(session.sid), "{name}");
        }
        assert_eq!(world.verify_fields(&[others]), Err(Refusal::Missing), "{name}, without the session cookie");
    }
}
