//! Fuzz target for `Cookie` fields with any content. It asserts three properties:
//!
//! * The library finds the same cookies of our name as a naive parser.
//! * No cookie from the fuzzer is accepted.
//! * A genuine cookie is found among at most three other cookies of our name.
//!
//! Input: the first byte is the position of the genuine cookie. The rest is the `Cookie` fields, one per line, in which `@` is
//! replaced by the name of our cookie.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sealjar::clock::{Now, UnixTime};
use sealjar::id::Site;
use sealjar::keyring::{Dates, Key, KeyRing};
use sealjar::revocation::{Freshness, RevocationList, WhenStale};
use sealjar::seal::CookieName;
use sealjar::secret::Secret;
use sealjar::session::claims::Methods;
use sealjar::session::cookie_header::values;
use sealjar::session::lifetime::Lifetime;
use sealjar::session::{Cause, Identity, Lifetimes, Refusal, SealedSession, Sessions};

const NAME: &str = "__Host-sealjar";
const NOW: Now = Now { wall: UnixTime(1_764_000_000), boot: Duration::from_secs(1) };

static SESSIONS: LazyLock<Sessions> = LazyLock::new(|| {
    let dates = Dates {
        created_at: UnixTime(0),
        activates_at: Some(UnixTime(0)),
        revoked_at: None,
        max_lifetime: Duration::from_secs(3600),
    };
    let ring = KeyRing::new(vec![Key::new(Secret::from_bytes([7; 32]), dates)]);
    let freshness = Freshness { max_staleness: Duration::from_secs(10), when_stale: WhenStale::Refuse };
    let lifetime = Lifetime { idle: Duration::from_secs(1800), absolute: Duration::from_secs(3600) };
    let lifetimes = Lifetimes { ordinary: lifetime, remembered: lifetime };
    let name = CookieName::new(NAME).expect("a cookie name");
    let list = RevocationList::new(freshness);
    list.mark_synced(NOW);
    Sessions::new(ring, Arc::new(list), name, lifetimes)
});

static GENUINE: LazyLock<SealedSession> = LazyLock::new(|| {
    let identity = Identity {
        sub: "1",
        account_generation: 0,
        global_generation: 0,
        login_name: "alice",
        display_name: "",
        email: "",
        roles: "",
    };
    SESSIONS.sign_in(&identity, Methods::PASSWORD, false, b"", site(), NOW).expect("seals")
});

fuzz_target!(|data: &[u8]| {
    let Some((&position, text)) = data.split_first() else { return };
    let fields: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(with_name).collect();

    // The library finds the same cookies as the naive parser.
    let found: Vec<&[u8]> = values(slices(&fields), SESSIONS.cookie()).collect();
    let expected: Vec<Vec<u8>> = fields.iter().flat_map(|field| naive_values(field)).collect();
    assert_eq!(found, expected);

    // None of them is accepted, neither as a session nor as a form token.
    let refusal = verify(&fields).expect_err("no cookie of the fuzzer was sealed with the key");
    match refusal {
        Refusal::Missing => assert!(expected.is_empty()),
        Refusal::Invalid(Cause::Malformed) => assert!(!expected.is_empty()),
        // The shortest token has 67 characters.
        Refusal::Invalid(Cause::UnknownKey | Cause::NotAuthentic) => {
            assert!(expected.iter().any(|value| value.len() >= 67))
        }
        refusal => panic!("{refusal:?} needs a token that opens"),
    }
    assert_eq!(SESSIONS.presented(slices(&fields), NOW), []);
    assert_eq!(SESSIONS.sign_in_form(slices(&fields), SESSIONS.cookie(), NOW), None);
    assert_eq!(SESSIONS.open_form_token(text), None);

    // A genuine cookie is found among the others.
    let fields = with_genuine_cookie(&fields, usize::from(position));
    let sid = verify(&fields).expect("the genuine token is found among at most three others");
    assert_eq!(sid, GENUINE.sid);
    assert_eq!(
        SESSIONS.sign_in_form(slices(&fields), SESSIONS.cookie(), NOW),
        None,
        "a session token is not a form token"
    );
    let presented = SESSIONS.presented(slices(&fields), NOW);
    assert_eq!(presented.iter().map(|presented| presented.sid).collect::<Vec<_>>(), [sid]);
});

fn verify(fields: &[Vec<u8>]) -> Result<sealjar::id::Sid, Refusal> {
    SESSIONS.verify(slices(fields), site(), NOW, |verified| verified.claims().sid)
}

fn slices(fields: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    fields.iter().map(Vec::as_slice)
}

fn site() -> Site {
    Site::of_host("app.example.com")
}

/// Replaces each `@` with the name of our cookie.
fn with_name(field: &[u8]) -> Vec<u8> {
    let replace = |byte: &u8| if *byte == b'@' { NAME.as_bytes().to_vec() } else { vec![*byte] };
    field.iter().flat_map(replace).collect()
}

/// Naive parser for the cookies of our name: loops over single bytes, without iterators.
fn naive_values(field: &[u8]) -> Vec<Vec<u8>> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c);
    let mut found = Vec::new();
    let mut start = 0;
    while start <= field.len() {
        let mut end = start;
        while end < field.len() && field[end] != b';' {
            end += 1;
        }
        let mut from = start;
        let mut to = end;
        while from < to && is_space(field[from]) {
            from += 1;
        }
        let wanted = format!("{NAME}=");
        if field[from..to].len() >= wanted.len() && field[from..from + wanted.len()] == *wanted.as_bytes() {
            from += wanted.len();
            while from < to && is_space(field[to - 1]) {
                to -= 1;
            }
            found.push(field[from..to].to_vec());
        }
        start = end + 1;
    }
    found
}

/// Inserts the genuine cookie at index `position` of all pairs, modulo their number. Removes all cookies of our name except the
/// first three.
fn with_genuine_cookie(fields: &[Vec<u8>], position: usize) -> Vec<Vec<u8>> {
    let pairs = |field: &Vec<u8>| field.split(|byte| *byte == b';').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut fields: Vec<Vec<Vec<u8>>> = fields.iter().map(pairs).collect();
    let mut count_of_ours = 0;
    for field in &mut fields {
        field.retain(|pair| {
            let is_ours = !naive_values(pair).is_empty();
            count_of_ours += usize::from(is_ours);
            !is_ours || count_of_ours <= 3
        });
    }
    let genuine = format!(" {NAME}={}", GENUINE.token.expose()).into_bytes();
    let count: usize = fields.iter().map(Vec::len).sum();
    let mut index = position % (count + 1);
    for field in &mut fields {
        if index <= field.len() {
            field.insert(index, genuine);
            break;
        }
        index -= field.len();
    }
    fields.iter().map(|pairs| pairs.join(&b';')).collect()
}
