//! Fuzz target for sealed tokens. The plaintext consists of valid claims, invalid claims, or any bytes. The key of the token is
//! active, revoked, or missing in the ring. The target asserts these properties:
//!
//! * The library and the reference implementation (`tests/vectors/reference.rs`) seal a plaintext as the same token, and
//!   decode it to the same claims.
//! * For every token, both return the same claims or the same reason for its refusal. The time and the staleness of the
//!   revocation list are computed in this file.
//! * A token with one changed byte or one changed character does not open.
//! * The function that lists the sessions of a request for a logout returns the session if and only if the token opens and is
//!   not expired by the slowest possible clock.
//! * An accepted token is renewed if and only if it is due, and new application data renew it if and only if it is due. The new
//!   token follows the rules in `tests/vectors/README.md`.
//!
//! Input: a [`Scenario`], followed by the plaintext, or by the bytes from which the claims are generated.

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

/// Name of the session cookie.
const COOKIE_NAME: &str = "__Host-sealjar";
/// Host of the requests.
const HOST: &str = "app.example.com";
/// Key with which the tokens are sealed.
const KEY: [u8; 32] = [7; 32];
const MAX_STALENESS_SECS: u8 = 100;
/// Maximum lifetime that the key allows. It is shorter than some idle timeouts.
const KEY_LIFETIME: Duration = Duration::from_secs(50_000);
const LIFETIMES: Lifetimes = Lifetimes {
    ordinary: Lifetime { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43_200) },
    remembered: Lifetime { idle: Duration::from_secs(20_000), absolute: Duration::from_secs(60_000) },
};
/// Maximum length of a plaintext. The other parts of a token have 49 bytes. The base64url of 3012 + 49 bytes has 4082 characters,
/// and with the 14 bytes of the cookie name this is 4096, the maximum length of a cookie.
const MAX_PLAINTEXT_BYTES: usize = 3012;

/// Everything except the plaintext that determines whether a token is accepted.
#[derive(Arbitrary, Debug)]
struct Scenario {
    /// Whether the plaintext is the encoding of generated claims.
    is_generated: bool,
    /// Current time, unless a switch selects another time; in seconds after `sealed_at`.
    now: i32,
    /// Time of the last pruning, in seconds after `sealed_at`.
    pruned_through: i32,
    /// Conditions of the scenario, one per bit; see [`switch`].
    switches: u8,
    /// Lowest account generation that the revocation list accepts, relative to the generation in the token.
    account_generation_offset: i8,
    /// Lowest global generation that the revocation list accepts, relative to the generation in the token.
    global_generation_offset: i8,
    /// Time since the revocation list was last synchronized.
    staleness_secs: u8,
    nonce: [u8; 24],
    /// Index of the byte or character to change, modulo the length.
    position: u16,
    /// Bits to flip in that byte or character; 0 for no change.
    change: u8,
}

/// Bits of [`Scenario::switches`].
mod switch {
    /// The key is not in the ring.
    pub(super) const KEY_MISSING: u8 = 1 << 0;
    /// The key is revoked.
    pub(super) const KEY_REVOKED: u8 = 1 << 1;
    /// A pending entry refuses the sid.
    pub(super) const SID_PENDING: u8 = 1 << 2;
    /// A durable entry refuses the sid.
    pub(super) const SID_DURABLE: u8 = 1 << 3;
    /// The entry of the account is pending; without this bit it is durable.
    pub(super) const ACCOUNT_PENDING: u8 = 1 << 4;
    /// The current time is the first second at which the token is due, unless `SECOND_BEFORE_DUE` is set.
    pub(super) const FIRST_DUE_SECOND: u8 = 1 << 5;
    /// The current time is the second before the first second at which the token is due.
    pub(super) const SECOND_BEFORE_DUE: u8 = 1 << 6;
}

impl Scenario {
    /// Whether any of the bits in `mask` is set.
    fn has_any(&self, mask: u8) -> bool {
        self.switches & mask != 0
    }
}

/// Maximum time from the sealing of a token until it is due for renewal. `tests/vectors/README.md` specifies this value.
const MAX_RENEWAL_INTERVAL_SECS: u64 = 300;
/// A token is due at the latest after the idle timeout divided by this number. `tests/vectors/README.md` specifies this value.
const RENEWALS_PER_IDLE_TIMEOUT: u64 = 6;

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(scenario) = Scenario::arbitrary(&mut input) else { return };
    let plaintext = if scenario.is_generated {
        let Ok(claims) = generate_claims(&mut input) else { return };
        let bytes = reference::encode(&claims);
        assert!(reference::decode(&bytes).map_or(true, |decoded| decoded == claims));
        bytes
    } else {
        input.take_rest().to_vec()
    };
    let decoded = assert_decoders_agree(&plaintext);

    let sealer = Sealer::new(&secret(&KEY));
    let sealed = sealer.seal(Purpose::Session, &cookie(COOKIE_NAME), &scenario.nonce, &plaintext);
    assert_eq!(sealed.is_err(), plaintext.len() > MAX_PLAINTEXT_BYTES);
    let Ok(token) = sealed else { return };
    assert_eq!(token.expose(), reference::seal(&KEY, "session", COOKIE_NAME, &scenario.nonce, &plaintext));

    assert_verdicts_agree(&scenario, token.expose(), decoded.as_ref());
    assert_changed_token_does_not_open(&scenario, token.expose(), decoded.as_ref());
});

/// Asserts that the library and the reference decode the plaintext to the same claims, and encode these as the same bytes.
/// Returns the claims, or `None` if the plaintext is invalid.
fn assert_decoders_agree(plaintext: &[u8]) -> Option<Claims> {
    let expected = reference::decode(plaintext).ok();
    let decoded = claims::Claims::decode(plaintext).ok();
    assert_eq!(decoded.as_ref().map(plain), expected);
    if let Some(claims) = &decoded {
        let bytes = claims.encode().expect("decoded claims follow every rule");
        assert_eq!(claims::Claims::decode(&bytes).as_ref(), Ok(claims));
        assert_eq!(Some(bytes), expected.as_ref().map(reference::encode));
    }
    expected
}

/// Asserts that the library and the reference have the same verdict on a token: its claims, or the reason for its refusal.
/// Asserts that a logout finds the session exactly if the token opens and is not expired by the slowest possible clock. The
/// reference does not implement staleness and `pruned_through`, so this function and [`times`] do.
fn assert_verdicts_agree(scenario: &Scenario, token: &str, decoded: Option<&Claims>) {
    let (sessions, revocations) = create_sessions(scenario, decoded);
    let (now, time) = times(scenario, decoded);
    let ring = (!scenario.has_any(switch::KEY_MISSING))
        .then(|| reference::Key { key: KEY.to_vec(), revoked: scenario.has_any(switch::KEY_REVOKED) });
    let expected = match reference::verify(token, ring.as_slice(), COOKIE_NAME, HOST, time, &revocations) {
        Ok(_) if scenario.staleness_secs > MAX_STALENESS_SECS => Err("stale"),
        Ok(claims) => Ok(claims),
        Err(Bad(reason, _)) => Err(reason),
    };
    let field = format!("{COOKIE_NAME}={token}");
    let verdict = sessions.verify([field.as_bytes()], Site::of_host(HOST), now, |verified| {
        assert_renewals(&sessions, verified, now, time);
        plain(verified.claims())
    });
    assert_eq!(verdict.map_err(word), expected);

    // `presented` returns a session until its absolute deadline has passed on the slowest possible clock.
    let is_expired_everywhere = |claims: &Claims| time >= claims.absolute_deadline.saturating_add(CLOCK_SKEW.as_secs());
    let opens = !scenario.has_any(switch::KEY_MISSING | switch::KEY_REVOKED)
        && decoded.is_some_and(|claims| !is_expired_everywhere(claims));
    let presented = sessions.presented([field.as_bytes()], now);
    let sids: Vec<&[u8]> = presented.iter().map(|presented| presented.sid.as_bytes().as_slice()).collect();
    let expected: Vec<&[u8]> = decoded.filter(|_| opens).iter().map(|claims| claims.sid.as_slice()).collect();
    assert_eq!(sids, expected);
}

/// Asserts that a token is renewed if and only if it is due, and, for the window `LastThird`, if also two thirds of its idle
/// timeout have passed. Asserts that new application data renew a token that is due. In a token that is not due, they change
/// only the data and, if the key requires it, the idle deadline. [`assert_is_renewal`] checks a renewed token.
fn assert_renewals(sessions: &Sessions, verified: &Verified<'_>, now: Now, time: u64) {
    let before = verified.claims();
    let age = u128::from(time.saturating_sub(before.sealed_at.0));
    let idle = u128::from(before.idle_deadline.0.saturating_sub(before.sealed_at.0));
    let is_due = before.idle_deadline < before.absolute_deadline
        && (age >= MAX_RENEWAL_INTERVAL_SECS.into() || u128::from(RENEWALS_PER_IDLE_TIMEOUT) * age >= idle);

    let windows = [(RenewalWindow::WhenDue, is_due), (RenewalWindow::LastThird, is_due && 3 * age >= 2 * idle)];
    for (window, expected) in windows {
        match sessions.renew(verified, window) {
            // The renewed claims can be longer, because numbers have variable lengths.
            Err(SealError::TooLarge(_)) => assert!(expected),
            outcome => {
                let sealed = outcome.expect("the claims are valid and the key is active");
                assert_eq!(sealed.is_some(), expected, "{window:?}");
                if let Some(sealed) = sealed {
                    assert_is_renewal(sessions, before, &sealed, before.app_data, now, time);
                }
            }
        }
    }

    let sealed = match sessions.replace_app_data(verified, b"new") {
        Err(SealError::TooLarge(_)) => return,
        outcome => outcome.expect("the claims are valid and the key is active").expect("the session is not revoked"),
    };
    if is_due {
        return assert_is_renewal(sessions, before, &sealed, b"new", now, time);
    }
    let key_limit = UnixTime(time.saturating_add(KEY_LIFETIME.as_secs()));
    let expected =
        claims::Claims { idle_deadline: before.idle_deadline.min(key_limit), app_data: b"new", ..before.clone() };
    assert_contains(sessions, &expected, &sealed, now, time);
}

/// Asserts that `sealed` is a renewal of `before`: it has the same session and chain, a new link, and as parent the link of
/// `before`. It expires no later than the session and the key.
fn assert_is_renewal(
    sessions: &Sessions,
    before: &claims::Claims<'_>,
    sealed: &SealedSession,
    app_data: &[u8],
    now: Now,
    time: u64,
) {
    let mut buffer = token_buffer();
    let token = UntrustedToken::from_cookie_value(sealed.token.expose().as_bytes())
        .expect("the value has the length of a token");
    let link = sessions.open(token, &mut buffer).expect("a renewed token opens").link;
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
    assert_contains(sessions, &expected, sealed, now, time);
}

/// Asserts that `sealed` contains exactly the claims `expected`, that its public fields agree with them, and that the token is
/// accepted.
fn assert_contains(sessions: &Sessions, expected: &claims::Claims<'_>, sealed: &SealedSession, now: Now, time: u64) {
    let mut buffer = token_buffer();
    let token = UntrustedToken::from_cookie_value(sealed.token.expose().as_bytes())
        .expect("the value has the length of a token");
    let after = sessions.open(token, &mut buffer).expect("a new token opens");
    assert_eq!(plain(&after), plain(expected));
    assert_eq!((sealed.sid, sealed.flags, sealed.sealed_at), (after.sid, after.flags, after.sealed_at));
    assert_eq!(sealed.deadlines.idle, after.idle_deadline);
    assert_eq!(sealed.deadlines.absolute, after.absolute_deadline);
    assert_eq!(sessions.check(&after, Site::of_host(HOST), now), Ok(UnixTime(time)));
}

/// Asserts that the token does not open after a change of one byte of the decoded base64url, or of one character.
fn assert_changed_token_does_not_open(scenario: &Scenario, token: &str, decoded: Option<&Claims>) {
    if scenario.change == 0 {
        return;
    }
    let (sessions, _) = create_sessions(&Scenario { switches: 0, ..*scenario }, decoded);
    let opens = |token: &[u8]| {
        let mut buffer = token_buffer();
        UntrustedToken::from_cookie_value(token).map(|token| match sessions.open(token, &mut buffer) {
            Err(Refusal::Invalid(Cause::Malformed | Cause::UnknownKey | Cause::NotAuthentic)) => false,
            Ok(_) | Err(_) => true,
        })
    };
    let mut bytes = from_base64url(token).expect("a sealed token is base64url");
    let index = usize::from(scenario.position) % bytes.len();
    bytes[index] ^= scenario.change;
    assert_ne!(opens(base64url(&bytes).as_bytes()), Some(true), "byte {index} ^ {:#04x}", scenario.change);
    let mut text = token.as_bytes().to_vec();
    let index = usize::from(scenario.position) % text.len();
    text[index] ^= scenario.change;
    assert_ne!(opens(&text), Some(true), "character {index} ^ {:#04x}", scenario.change);
}

/// Generates claims. Most of them are valid.
fn generate_claims(input: &mut Unstructured<'_>) -> arbitrary::Result<Claims> {
    let sealed_at: u64 = input.arbitrary()?;
    // Usually returns a time at most 2^16 seconds after `start`, and sometimes any time.
    let time_after = |input: &mut Unstructured<'_>, start: u64| -> arbitrary::Result<u64> {
        Ok(if input.ratio(7, 8)? {
            start.saturating_add(u64::from(input.arbitrary::<u16>()?))
        } else {
            input.arbitrary()?
        })
    };
    let idle_deadline = time_after(input, sealed_at)?;
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
        absolute_deadline: time_after(input, idle_deadline)?,
        flags: if input.ratio(7, 8)? { input.int_in_range(0..=1)? } else { input.arbitrary()? },
        sub: if input.ratio(7, 8)? { format!("u{}", input.arbitrary::<u64>()?) } else { input.arbitrary()? },
        login_name: input.arbitrary()?,
        display_name: input.arbitrary()?,
        email: input.arbitrary()?,
        roles: input.arbitrary()?,
        app_data: input.arbitrary()?,
    })
}

/// Time at which the revocation list was last synchronized.
const SYNCED_AT: Now = Now { wall: UnixTime(0), boot: Duration::from_secs(1) };

/// Creates the `Sessions` of the library and the revocations of the reference for a scenario.
fn create_sessions(scenario: &Scenario, decoded: Option<&Claims>) -> (Sessions, Revocations) {
    let when_stale = WhenStale::Refuse;
    let list =
        RevocationList::new(Freshness { max_staleness: Duration::from_secs(MAX_STALENESS_SECS.into()), when_stale });
    list.mark_synced(SYNCED_AT);
    let mut revocations = Revocations::default();
    if let Some(claims) = decoded {
        let sid = Sid::from_bytes(claims.sid.as_slice().try_into().expect("a sid has 16 bytes"));
        let expires_at = UnixTime(u64::MAX);
        if scenario.has_any(switch::SID_PENDING) {
            list.add_pending(sid, expires_at);
        }
        if scenario.has_any(switch::SID_DURABLE) {
            list.add_durable(&Entry::Session { sid, expires_at });
        }
        if scenario.has_any(switch::SID_PENDING | switch::SID_DURABLE) {
            revocations.sids.push(hex::encode(&claims.sid));
        }
        let below = claims.account_generation.saturating_add_signed(scenario.account_generation_offset.into());
        if !scenario.has_any(switch::ACCOUNT_PENDING) {
            list.add_durable(&Entry::Subject { sub: claims.sub.as_str().into(), below, expires_at });
        } else {
            list.add_pending_below(&claims.sub, below);
        }
        revocations.subjects.push(Subject { sub: claims.sub.clone(), below });
        revocations.global_generation =
            claims.global_generation.saturating_add_signed(scenario.global_generation_offset.into());
        list.raise_global_generation(revocations.global_generation);
        list.raise_pruned_through(UnixTime(claims.sealed_at.saturating_add_signed(scenario.pruned_through.into())));
    }
    let dates = Dates {
        created_at: UnixTime(0),
        activates_at: Some(UnixTime(0)),
        revoked_at: scenario.has_any(switch::KEY_REVOKED).then_some(UnixTime(0)),
        max_lifetime: KEY_LIFETIME,
    };
    let keys = if !scenario.has_any(switch::KEY_MISSING) { vec![Key::new(secret(&KEY), dates)] } else { Vec::new() };
    (Sessions::new(KeyRing::new(keys), Arc::new(list), cookie(COOKIE_NAME), LIFETIMES), revocations)
}

/// Returns the clocks, and the time in Unix seconds that the verification uses: the wall clock, or the time of the last pruning
/// if that is later.
fn times(scenario: &Scenario, decoded: Option<&Claims>) -> (Now, u64) {
    let sealed_at = decoded.map_or(0, |claims| claims.sealed_at);
    let idle = decoded.map_or(0, |claims| claims.idle_deadline.saturating_sub(sealed_at));
    let first_due_second =
        sealed_at.saturating_add(idle.div_ceil(RENEWALS_PER_IDLE_TIMEOUT).min(MAX_RENEWAL_INTERVAL_SECS));
    let wall = if scenario.has_any(switch::SECOND_BEFORE_DUE) {
        first_due_second.saturating_sub(1)
    } else if scenario.has_any(switch::FIRST_DUE_SECOND) {
        first_due_second
    } else {
        sealed_at.saturating_add_signed(scenario.now.into())
    };
    let pruned_through = decoded.map_or(0, |_| sealed_at.saturating_add_signed(scenario.pruned_through.into()));
    let boot = SYNCED_AT.boot + Duration::from_secs(scenario.staleness_secs.into());
    (Now { wall: UnixTime(wall), boot }, wall.max(pruned_through))
}
