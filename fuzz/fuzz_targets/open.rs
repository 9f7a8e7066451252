//! Tokens sealed with a key of the ring: of well-formed claims, of claims that break a rule, of any bytes. The library and the
//! second decoder of the test vectors must agree on every one: on the claims, or on the reason for refusing them. One byte
//! changed, and a token never opens. A token that is accepted is renewed if and only if it is due, and as README.md of the vectors
//! says.
//!
//! The input is a [`World`] and then the plaintext: bytes as they are, or made into claims.

#![no_main]

#[path = "../../tests/vectors/encoding.rs"]
mod encoding;
#[path = "../../tests/vectors/library.rs"]
#[allow(dead_code)]
mod library;
#[path = "../../tests/vectors/reference.rs"]
mod reference;

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use encoding::{base64url, from_base64url, hex};
use libfuzzer_sys::fuzz_target;
use library::{cookie, plain, secret, word};
use reference::{Bad, Claims, Revocations, Subject};
use sealjar::clock::{CLOCK_SKEW, Now, UnixTime};
use sealjar::id::{Sid, Site};
use sealjar::keyring::{Dates, Key, KeyRing};
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale};
use sealjar::seal::token::{UntrustedToken, token_buffer};
use sealjar::seal::{Purpose, Sealer};
use sealjar::session::lifetime::{Lifetime, RenewalWindow};
use sealjar::session::{Cause, Lifetimes, Refusal, SealError, SealedSession, Sessions, Verified, claims};

const NAME: &str = "__Host-sealjar";
const HOST: &str = "app.example.com";
const KEY: [u8; 32] = [7; 32];
const MAX_STALENESS_SECS: u8 = 100;
/// The longest that the key allows; shorter than some idle deadlines are away.
const KEY_LIFETIME: Duration = Duration::from_secs(50_000);
const LIFETIMES: Lifetimes = Lifetimes {
    ordinary: Lifetime { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43_200) },
    remembered: Lifetime { idle: Duration::from_secs(20_000), absolute: Duration::from_secs(60_000) },
};
/// With 49 bytes more, in base64, and the name: 4096.
const MAX_PLAINTEXT_BYTES: usize = 3012;

/// All that a verdict depends on besides the plaintext.
#[derive(Arbitrary, Debug)]
struct World {
    /// Whether the plaintext is made into claims.
    made: bool,
    /// Seconds after `sealed_at` that it is, and that entries were thrown away.
    now: i32,
    pruned_through: i32,
    /// Bit 0: not held; bit 1: revoked; bit 2: the sid is refused by a pending entry; bit 3: by a durable one;
    /// bit 4: the account's entry is pending. Bit 5: the time is the first second at which the token is due, and not `now`;
    /// bit 6: the second before.
    refusals: u8,
    /// Generations refused, as far above the token's own.
    account: i8,
    global: i8,
    staleness_secs: u8,
    nonce: [u8; 24],
    /// Where to change the token, and how.
    place: u16,
    change: u8,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(world) = World::arbitrary(&mut input) else { return };
    let plaintext = if world.made {
        let Ok(claims) = made(&mut input) else { return };
        let bytes = reference::encode(&claims);
        assert!(reference::decode(&bytes).map_or(true, |decoded| decoded == claims));
        bytes
    } else {
        input.take_rest().to_vec()
    };
    let decoded = decodes_alike(&plaintext);

    let sealer = Sealer::new(&secret(&KEY));
    let sealed = sealer.seal(Purpose::Session, &cookie(NAME), &world.nonce, &plaintext);
    assert_eq!(sealed.is_err(), plaintext.len() > MAX_PLAINTEXT_BYTES);
    let Ok(token) = sealed else { return };
    assert_eq!(token.expose(), reference::seal(&KEY, "session", NAME, &world.nonce, &plaintext));

    verifies_alike(&world, token.expose(), decoded.as_ref());
    never_opens_changed(&world, token.expose(), decoded.as_ref());
});

/// The claims in `plaintext`, if both decoders find some.
fn decodes_alike(plaintext: &[u8]) -> Option<Claims> {
    let expected = reference::decode(plaintext).ok();
    let decoded = claims::Claims::decode(plaintext).ok();
    assert_eq!(decoded.as_ref().map(plain), expected);
    if let Some(claims) = &decoded {
        let bytes = claims.encode().expect("what was decoded keeps every rule");
        assert_eq!(claims::Claims::decode(&bytes).as_ref(), Ok(claims));
        assert_eq!(Some(bytes), expected.as_ref().map(reference::encode));
    }
    expected
}

/// Holds the library's verdict against that of the second decoder, which knows neither staleness nor `pruned_through`.
fn verifies_alike(world: &World, token: &str, decoded: Option<&Claims>) {
    let (sessions, revocations) = sessions(world, decoded);
    let (now, time) = times(world, decoded);
    let ring =
        (world.refusals & 1 == 0).then(|| reference::Key { key: KEY.to_vec(), revoked: world.refusals & 2 != 0 });
    let expected = match reference::verify(token, ring.as_slice(), NAME, HOST, time, &revocations) {
        Ok(_) if world.staleness_secs > MAX_STALENESS_SECS => Err("stale"),
        Ok(claims) => Ok(claims),
        Err(Bad(reason, _)) => Err(reason),
    };
    let field = format!("{NAME}={token}");
    let verdict = sessions.verify([field.as_bytes()], Site::of_host(HOST), now, |verified| {
        renews_within_the_deadlines(&sessions, verified, now, time);
        plain(verified.claims())
    });
    assert_eq!(verdict.map_err(word), expected);

    // Not past it by the slowest clock there may be.
    let dead_everywhere = |claims: &Claims| time >= claims.absolute_deadline.saturating_add(CLOCK_SKEW.as_secs());
    let opens = world.refusals & 3 == 0 && decoded.is_some_and(|claims| !dead_everywhere(claims));
    let presented = sessions.presented([field.as_bytes()], now);
    let sids: Vec<&[u8]> = presented.iter().map(|presented| presented.sid.as_bytes().as_slice()).collect();
    let expected: Vec<&[u8]> = decoded.filter(|_| opens).iter().map(|claims| claims.sid.as_slice()).collect();
    assert_eq!(sids, expected);
}

/// A token is renewed if and only if it is due. Other application data renew it too if it is due, and else change nothing besides.
/// A renewal stays in its session and chain, follows the old token, and ends no later than the session.
fn renews_within_the_deadlines(sessions: &Sessions, verified: &Verified<'_>, now: Now, time: u64) {
    let before = verified.claims();
    let age = u128::from(time.saturating_sub(before.sealed_at.0));
    let idle = u128::from(before.idle_deadline.0.saturating_sub(before.sealed_at.0));
    let is_due = before.idle_deadline < before.absolute_deadline && (age >= 300 || 6 * age >= idle);

    let windows = [(RenewalWindow::WhenDue, is_due), (RenewalWindow::LastThird, is_due && 3 * age >= 2 * idle)];
    for (window, expected) in windows {
        match sessions.renew(verified, window) {
            // The number of renewals can need one byte more.
            Err(SealError::TooLarge(_)) => assert!(expected),
            outcome => {
                let sealed = outcome.expect("good claims, an active key");
                assert_eq!(sealed.is_some(), expected, "{window:?}");
                if let Some(sealed) = sealed {
                    is_child(sessions, before, &sealed, before.app_data, now, time);
                }
            }
        }
    }

    let sealed = match sessions.replace_app_data(verified, b"new") {
        Err(SealError::TooLarge(_)) => return,
        outcome => outcome.expect("good claims, an active key").expect("not revoked"),
    };
    if is_due {
        return is_child(sessions, before, &sealed, b"new", now, time);
    }
    let longest = UnixTime(time.saturating_add(KEY_LIFETIME.as_secs()));
    let expected =
        claims::Claims { idle_deadline: before.idle_deadline.min(longest), app_data: b"new", ..before.clone() };
    is_sealed(sessions, &expected, &sealed, now, time);
}

/// Asserts that `sealed` holds a renewal of `before`.
fn is_child(
    sessions: &Sessions,
    before: &claims::Claims<'_>,
    sealed: &SealedSession,
    app_data: &[u8],
    now: Now,
    time: u64,
) {
    let mut buffer = token_buffer();
    let token = UntrustedToken::from_cookie_value(sealed.token.expose().as_bytes()).expect("as long as a token");
    let link = sessions.open(token, &mut buffer).expect("just sealed").link;
    assert_ne!(link, before.link);
    let lifetime = LIFETIMES.of(before.flags).idle.min(KEY_LIFETIME);
    let expected = claims::Claims {
        renewals: before.renewals.saturating_add(1),
        link,
        parent: before.link,
        sealed_at: UnixTime(time),
        idle_deadline: UnixTime(time).plus(lifetime).min(before.absolute_deadline),
        app_data,
        ..before.clone()
    };
    is_sealed(sessions, &expected, sealed, now, time);
}

/// Asserts that `sealed` holds exactly these claims, says the same of them, and is accepted.
fn is_sealed(sessions: &Sessions, expected: &claims::Claims<'_>, sealed: &SealedSession, now: Now, time: u64) {
    let mut buffer = token_buffer();
    let token = UntrustedToken::from_cookie_value(sealed.token.expose().as_bytes()).expect("as long as a token");
    let after = sessions.open(token, &mut buffer).expect("just sealed");
    assert_eq!(plain(&after), plain(expected));
    assert_eq!((sealed.sid, sealed.flags, sealed.sealed_at), (after.sid, after.flags, after.sealed_at));
    assert_eq!(sealed.deadlines.idle, after.idle_deadline);
    assert_eq!(sealed.deadlines.absolute, after.absolute_deadline);
    assert_eq!(sessions.check(&after, Site::of_host(HOST), now), Ok(UnixTime(time)));
}

/// Changes one byte beneath the base64url, and one character of it.
fn never_opens_changed(world: &World, token: &str, decoded: Option<&Claims>) {
    if world.change == 0 {
        return;
    }
    let (sessions, _) = sessions(&World { refusals: 0, ..*world }, decoded);
    let opens = |token: &[u8]| {
        let mut buffer = token_buffer();
        UntrustedToken::from_cookie_value(token).map(|token| match sessions.open(token, &mut buffer) {
            Err(Refusal::Invalid(Cause::Malformed | Cause::UnknownKey | Cause::NotAuthentic)) => false,
            Ok(_) | Err(_) => true,
        })
    };
    let mut bytes = from_base64url(token).expect("sealed by us");
    let place = usize::from(world.place) % bytes.len();
    bytes[place] ^= world.change;
    assert_ne!(opens(base64url(&bytes).as_bytes()), Some(true), "byte {place} ^ {:#04x}", world.change);
    let mut text = token.as_bytes().to_vec();
    let place = usize::from(world.place) % text.len();
    text[place] ^= world.change;
    assert_ne!(opens(&text), Some(true), "character {place} ^ {:#04x}", world.change);
}

/// Claims of any content, more often than not within the rules.
fn made(input: &mut Unstructured<'_>) -> arbitrary::Result<Claims> {
    let sealed_at: u64 = input.arbitrary()?;
    let later = |input: &mut Unstructured<'_>, from: u64| -> arbitrary::Result<u64> {
        Ok(if input.ratio(7, 8)? {
            from.saturating_add(u64::from(input.arbitrary::<u16>()?))
        } else {
            input.arbitrary()?
        })
    };
    let idle_deadline = later(input, sealed_at)?;
    let site = if input.ratio(7, 8)? { Site::of_host(HOST) } else { Site::from_bytes(input.arbitrary()?) };
    Ok(Claims {
        sid: input.arbitrary::<[u8; 16]>()?.to_vec(),
        chain: input.arbitrary::<[u8; 16]>()?.to_vec(),
        renewals: input.arbitrary()?,
        link: input.arbitrary::<[u8; 8]>()?.to_vec(),
        parent: input.arbitrary::<[u8; 8]>()?.to_vec(),
        methods: if input.ratio(7, 8)? { input.int_in_range(0..=63)? } else { input.arbitrary()? },
        site: site.as_bytes().to_vec(),
        account_generation: input.arbitrary()?,
        global_generation: input.arbitrary()?,
        authenticated_at: input.arbitrary()?,
        sealed_at,
        idle_deadline,
        absolute_deadline: later(input, idle_deadline)?,
        flags: if input.ratio(7, 8)? { input.int_in_range(0..=1)? } else { input.arbitrary()? },
        sub: if input.ratio(7, 8)? { format!("u{}", input.arbitrary::<u64>()?) } else { input.arbitrary()? },
        login_name: input.arbitrary()?,
        display_name: input.arbitrary()?,
        email: input.arbitrary()?,
        roles: input.arbitrary()?,
        app_data: input.arbitrary()?,
    })
}

/// When the list was last read.
const SYNCED: Now = Now { wall: UnixTime(0), boot: Duration::from_secs(1) };

/// The library's side of the world, and the reference's.
fn sessions(world: &World, decoded: Option<&Claims>) -> (Sessions, Revocations) {
    let when_stale = WhenStale::Refuse;
    let list =
        RevocationList::new(Freshness { max_staleness: Duration::from_secs(MAX_STALENESS_SECS.into()), when_stale });
    list.mark_synced(SYNCED);
    let mut revocations = Revocations::default();
    if let Some(claims) = decoded {
        let sid = Sid::from_bytes(claims.sid.as_slice().try_into().expect("16 bytes"));
        let expires_at = UnixTime(u64::MAX);
        if world.refusals & 4 != 0 {
            list.add_pending(sid, expires_at);
        }
        if world.refusals & 8 != 0 {
            list.add_durable(&Entry::Session { sid, expires_at });
        }
        if world.refusals & 12 != 0 {
            revocations.sids.push(hex::of(&claims.sid));
        }
        let below = claims.account_generation.saturating_add_signed(world.account.into());
        if world.refusals & 16 == 0 {
            list.add_durable(&Entry::Subject { sub: claims.sub.as_str().into(), below, expires_at });
        } else {
            list.add_pending_below(&claims.sub, below);
        }
        revocations.subjects.push(Subject { sub: claims.sub.clone(), below });
        revocations.global_generation = claims.global_generation.saturating_add_signed(world.global.into());
        list.raise_global_generation(revocations.global_generation);
        list.raise_pruned_through(UnixTime(claims.sealed_at.saturating_add_signed(world.pruned_through.into())));
    }
    let dates = Dates {
        created_at: UnixTime(0),
        activates_at: Some(UnixTime(0)),
        revoked_at: (world.refusals & 2 != 0).then_some(UnixTime(0)),
        max_lifetime: KEY_LIFETIME,
    };
    let keys = if world.refusals & 1 == 0 { vec![Key::new(secret(&KEY), dates)] } else { Vec::new() };
    (Sessions::new(KeyRing::new(keys), Arc::new(list), cookie(NAME), LIFETIMES), revocations)
}

/// The clocks, and the time that counts.
fn times(world: &World, decoded: Option<&Claims>) -> (Now, u64) {
    let sealed_at = decoded.map_or(0, |claims| claims.sealed_at);
    let idle = decoded.map_or(0, |claims| claims.idle_deadline.saturating_sub(sealed_at));
    let due = sealed_at.saturating_add(idle.div_ceil(6).min(300));
    let wall = match world.refusals >> 5 & 3 {
        0 => sealed_at.saturating_add_signed(world.now.into()),
        1 => due,
        _ => due.saturating_sub(1),
    };
    let floor = decoded.map_or(0, |_| sealed_at.saturating_add_signed(world.pruned_through.into()));
    let boot = SYNCED.boot + Duration::from_secs(world.staleness_secs.into());
    (Now { wall: UnixTime(wall), boot }, wall.max(floor))
}
