//! Tests of invalid session cookies, and of the refusal that each of them gets.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sealjar::clock::UnixTime;
use sealjar::id::Site;
use sealjar::keyring::{KeyRing, NoKey};
use sealjar::revocation::{Entry, WhenStale};
use sealjar::seal::Purpose;
use sealjar::session::claims::{Claims, Methods};
use sealjar::session::{Cause, Identity, Refusal, SealError};

use crate::fixture::{ALICE, COOKIE, HOUR, LIFETIMES, ORDINARY, SITE, World, cookie, field, forge, key, key_with};

use Cause::{BadClaims, FromTheFuture, Malformed, NotAuthentic, RevokedKey, UnknownKey, WrongSite};
use Refusal::{Expired, Invalid, Missing, Revoked, Stale};

/// Returns a world in which key 1 is active and key 2 is revoked, and the token of a live session.
fn world() -> (World, String) {
    let revoked = key_with(2, |dates| dates.revoked_at = Some(UnixTime(1)));
    let world = World::with(KeyRing::new(vec![key(1), revoked]), LIFETIMES, WhenStale::Refuse);
    let token = world.sign_in().token.expose().to_owned();
    assert!(world.verify_fields(&[field(&token)]).is_ok());
    (world, token)
}

/// Verifies a cookie with this value, and returns the refusal. Panics if the cookie is accepted.
fn verdict(world: &World, value: &str) -> Refusal {
    world.verify_fields(&[field(value)]).expect_err("refused")
}

/// Decodes a token, changes its bytes, and encodes it again.
fn changed(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("a valid token");
    change(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn reports_missing_without_a_cookie_of_the_exact_name() {
    let (world, token) = world();
    let none: Vec<Vec<u8>> = Vec::new();
    assert_eq!(world.verify_fields(&none), Err(Missing));
    for field in [
        String::new(),
        ";;; ;".into(),
        "theme=dark; lang=en".into(),
        COOKIE.into(),
        format!("{COOKIE}x={token}"),
        format!("x{COOKIE}={token}"),
        format!("{COOKIE} ={token}"),
        format!("\"{COOKIE}\"={token}"),
        format!("${COOKIE}={token}"),
        format!("__host-sealjar={token}"),
        format!("__Secure-sealjar={token}"),
        format!("sealjar={token}"),
        format!("__%48ost-sealjar={token}"),
        format!("%5F%5FHost-sealjar={token}"),
        format!("theme={COOKIE}={token}"),
        format!("{COOKIE},{COOKIE}={token}"),
        format!("={token}"),
        token.clone(),
    ] {
        assert_eq!(world.verify_fields(&[field.clone().into_bytes()]), Err(Missing), "{field}");
    }
}

#[test]
fn refuses_a_token_cut_at_every_length_from_either_end() {
    let (world, token) = world();
    for end in 0..token.len() {
        assert!(matches!(verdict(&world, &token[..end]), Invalid(Malformed | NotAuthentic)), "cut to {end}");
        assert!(matches!(verdict(&world, &token[end + 1..]), Invalid(Malformed | UnknownKey)), "cut from {end}");
    }
}

#[test]
fn refuses_a_token_with_any_bit_of_its_bytes_flipped() {
    let (world, token) = world();
    let length = URL_SAFE_NO_PAD.decode(&token).expect("a valid token").len();
    for index in 0..length {
        let expected = match index {
            0 => Malformed,
            1..9 => UnknownKey,
            _ => NotAuthentic,
        };
        for bit in 0..8 {
            let flipped = changed(&token, |bytes| bytes[index] ^= 1 << bit);
            assert_eq!(verdict(&world, &flipped), Invalid(expected), "bit {bit} of byte {index}");
        }
    }
}

#[test]
fn refuses_a_token_with_any_bit_of_its_text_flipped() {
    let (world, token) = world();
    for index in 0..token.len() {
        for bit in 0..8 {
            let mut field = field(&token);
            let start = field.len() - token.len();
            field[start + index] ^= 1 << bit;
            let refusal = world.verify_fields(&[field]).expect_err("refused");
            assert!(matches!(refusal, Invalid(_)), "bit {bit} of character {index}: {refusal:?}");
        }
    }
}

#[test]
fn refuses_every_other_spelling_of_a_token() {
    // The application data has three lengths, so that tokens with and without Base64 padding and spare bits occur.
    for length in 0..3 {
        let (world, _) = world();
        let has_special_character = |text: &str| text.contains(['-', '_']);
        let seal = || {
            world
                .sessions
                .sign_in(&ALICE, Methods::PASSWORD, false, &b"app"[..length], SITE, world.now)
                .expect("short data")
                .token
        };
        let token = std::iter::repeat_with(seal)
            .find(|token| has_special_character(token.expose()))
            .expect("one of the next tokens");
        let token = token.expose();
        let bytes = URL_SAFE_NO_PAD.decode(token).expect("a valid token");
        let padding = "=".repeat((3 - bytes.len() % 3) % 3);
        let mut others = vec![
            ("percent-encoded", token.replace('-', "%2D").replace('_', "%5F")),
            ("percent-encoded letter", format!("%{:02X}{}", token.as_bytes()[0], &token[1..])),
            ("the standard alphabet", STANDARD_NO_PAD.encode(&bytes)),
            ("the standard alphabet, padded", STANDARD.encode(&bytes)),
            ("padding that is not needed", format!("{token}{}", "=".repeat(3 - padding.len()))),
            ("quoted", format!("\"{token}\"")),
            ("quoted at the end", format!("{token}\"")),
            ("a space before it", format!(" {token}")),
            ("a space within it", format!("{} {}", &token[..70], &token[70..])),
            ("a line break within it", format!("{}\r\n{}", &token[..70], &token[70..])),
            ("a NUL after it", format!("{token}\0")),
            ("a letter beyond ASCII", format!("{}\u{e9}{}", &token[..70], &token[70..])),
            ("twice, with a comma", format!("{token},{token}")),
        ];
        if !padding.is_empty() {
            others.push(("padded", URL_SAFE.encode(&bytes)));
            let alphabet = base64::alphabet::URL_SAFE.as_str();
            let last = alphabet.find(&token[token.len() - 1..]).expect("in the alphabet");
            let spare = format!("{}{}", &token[..token.len() - 1], &alphabet[last + 1..last + 2]);
            others.push(("a spare bit set", spare));
        }
        for text in [token.to_ascii_uppercase(), token.repeat(2)] {
            assert!(matches!(verdict(&world, &text), Invalid(_)), "{text}");
        }
        for (name, text) in others {
            assert_ne!(text, token, "{name}");
            assert_eq!(verdict(&world, &text), Invalid(Malformed), "{name}, data of {length} bytes");
        }
    }
}

#[test]
fn refuses_values_that_are_too_short_or_too_long_to_be_tokens() {
    let (world, token) = world();
    for value in [String::new(), "A".repeat(66), "A".repeat(4097), "A".repeat(100_000), token.repeat(20)] {
        assert_eq!(verdict(&world, &value), Invalid(Malformed), "{} characters", value.len());
    }
}

/// The log gets the exact cause. The client gets one of four reasons.
#[test]
fn reports_the_exact_cause_for_the_log() {
    let (mut world, token) = world();
    let mut plaintext = Vec::new();
    let live = world.sign_in();
    world.read(&live.token, |claims| plaintext = claims.encode().expect("valid claims"));
    let flags = plaintext.len() - b"app".len() - 2;
    let altered = |change: fn(&mut Claims<'_>)| {
        world.read(&live.token, |claims| {
            let mut claims = claims.clone();
            change(&mut claims);
            forge(1, Purpose::Session, COOKIE, &claims.encode().expect("valid claims"))
        })
    };
    let mut with_unknown_flag = plaintext.clone();
    with_unknown_flag[flags] |= 0x80;
    let sealed = |number, plaintext: &[u8]| forge(number, Purpose::Session, COOKIE, plaintext);
    let revoked = world.sign_in();
    let expires_at = revoked.deadlines.absolute;
    world.list().add_durable(&Entry::Session { sid: revoked.sid, expires_at });
    let below = Identity { sub: "below", ..ALICE };
    let below =
        world.sessions.sign_in(&below, Methods::PASSWORD, false, b"", SITE, world.now).expect("a session").token;
    world.list().add_durable(&Entry::Subject { sub: "below".into(), below: ALICE.account_generation + 1, expires_at });

    let cases = [
        ("version 0", changed(&token, |bytes| bytes[0] = 0), Invalid(Malformed)),
        ("version 2", changed(&token, |bytes| bytes[0] = 2), Invalid(Malformed)),
        ("no ciphertext", changed(&token, |bytes| bytes.truncate(49)), Invalid(Malformed)),
        ("an unknown key", sealed(3, &plaintext), Invalid(UnknownKey)),
        ("a revoked key", sealed(2, &plaintext), Invalid(RevokedKey)),
        ("another purpose", forge(1, Purpose::LoginForm, COOKIE, &plaintext), Invalid(NotAuthentic)),
        ("another cookie", forge(1, Purpose::Session, "__Secure-sealjar", &plaintext), Invalid(NotAuthentic)),
        ("a byte appended", changed(&token, |bytes| bytes.push(0)), Invalid(NotAuthentic)),
        ("another nonce", changed(&token, |bytes| bytes[9..33].fill(7)), Invalid(NotAuthentic)),
        (
            "another tag",
            changed(&token, |bytes| bytes.iter_mut().rev().take(16).for_each(|byte| *byte = 7)),
            Invalid(NotAuthentic),
        ),
        ("claims cut short", sealed(1, &plaintext[..plaintext.len() - 1]), Invalid(BadClaims)),
        ("something after the claims", sealed(1, &[&plaintext[..], b"x"].concat()), Invalid(BadClaims)),
        ("no claims", sealed(1, b"x"), Invalid(BadClaims)),
        ("an unknown flag", sealed(1, &with_unknown_flag), Invalid(BadClaims)),
        ("another site", altered(|claims| claims.site = Site::from_bytes([8; 8])), Invalid(WrongSite)),
        ("sealed too far ahead", altered(|claims| claims.sealed_at.0 += HOUR), Invalid(FromTheFuture)),
        ("past the idle deadline", altered(|claims| claims.idle_deadline.0 -= ORDINARY.idle.as_secs()), Expired),
        (
            "past both deadlines",
            altered(|claims| {
                claims.idle_deadline = UnixTime(1);
                claims.absolute_deadline = UnixTime(1);
            }),
            Expired,
        ),
        ("logged out", revoked.token.expose().to_owned(), Revoked),
        ("of an old account generation", below.expose().to_owned(), Revoked),
        ("of an old global generation", altered(|claims| claims.identity.global_generation = 0), Revoked),
    ];
    world.list().raise_global_generation(1);
    assert_eq!(refusal_of(&world, &altered(|_| ())), None, "unchanged claims are a valid session");
    for (name, token, expected) in &cases {
        assert_eq!(refusal_of(&world, token), Some(*expected), "{name}");
    }
    world.pass_unsynced(std::time::Duration::from_secs(11));
    for (name, token, expected) in &cases {
        assert_eq!(refusal_of(&world, token), Some(*expected), "{name}, and the list is stale");
    }
    assert_eq!(verdict(&world, &token), Stale, "only an otherwise valid token is refused because the list is stale");
}

/// Verifies a cookie with this value. Returns the refusal, or `None` if the session is valid.
fn refusal_of(world: &World, token: &str) -> Option<Refusal> {
    world.verify_fields(&[field(token)]).err()
}

#[test]
fn a_session_of_one_host_is_refused_on_every_other_host() {
    let (world, token) = world();
    let fields = [field(&token)];
    for host in ["example.com", "example.org", ""] {
        let verdict = world.sessions.verify(fields.iter().map(Vec::as_slice), Site::of_host(host), world.now, |_| ());
        assert_eq!(verdict, Err(Invalid(WrongSite)), "{host}");
    }
}

#[test]
fn the_key_is_checked_before_the_content_of_the_token() {
    let (mut world, token) = world();
    world.pass(24 * HOUR);
    assert_eq!(verdict(&world, &token), Expired);
    world.sessions.replace_ring(KeyRing::new(vec![key_with(1, |dates| dates.revoked_at = Some(UnixTime(1)))]));
    assert_eq!(verdict(&world, &token), Invalid(RevokedKey));
    world.sessions.replace_ring(KeyRing::new(vec![key(3)]));
    assert_eq!(verdict(&world, &token), Invalid(UnknownKey));
    assert_eq!(verdict(&world, &changed(&token, |bytes| bytes[0] = 0)), Invalid(Malformed));
}

#[test]
fn a_key_revoked_in_the_list_does_not_open_or_seal() {
    let (world, token) = world();
    let both = || KeyRing::new(vec![key(1), key_with(2, |dates| dates.activates_at = None)]);
    world.sessions.replace_ring(both());
    let revoke = |number: u8| world.list().add_durable(&Entry::Key { kid: key(number).kid() });
    revoke(9);
    assert!(world.verify_fields(&[field(&token)]).is_ok(), "the revocation of another key has no effect");
    revoke(1);
    assert_eq!(verdict(&world, &token), Invalid(RevokedKey));
    assert_eq!(
        world.sessions.sign_in(&ALICE, Methods::PASSWORD, false, b"", SITE, world.now).err(),
        Some(SealError::NoActiveKey)
    );
    for ring in [both(), KeyRing::new(vec![key(1)]), both()] {
        world.sessions.replace_ring(ring);
        assert_eq!(verdict(&world, &token), Invalid(RevokedKey));
    }
    world.list().prune(UnixTime(u64::MAX - 1));
    assert_eq!(verdict(&world, &token), Invalid(RevokedKey), "entries for keys are kept forever");
    let field = field(&token);
    let cookie = cookie();
    let not_opened = world.sessions.unusable_keys([field.as_slice()], &cookie);
    assert_eq!(not_opened.collect::<Vec<_>>(), [(key(1).kid(), NoKey::Revoked)]);
}
