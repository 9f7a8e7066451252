//! Measures the time of a session check, compared with the one step that no encrypted cookie can avoid: the AEAD decryption.
//!
//! All cases run alternately in short batches within one run. Ratios and differences are medians over the rounds, so that other
//! work on the machine slows both sides equally: the ratios are more reliable than the absolute figures. The baseline is
//! HChaCha20 and `ring` on the same bytes, with a prepared key. The crate `chacha20poly1305` is measured for comparison.
//!
//! `cargo bench` measures. `cargo bench -- --test`, `SEALJAR_BENCH_QUICK=1` and `cargo test --benches` run the same code with small sizes:
//! they check the results of the operations too, but their figures have no meaning.

mod copies;
mod cores;
mod fixture;
mod growth;
mod harness;
mod pruning;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::AeadInOut;
use sealjar::clock::Now;
use sealjar::id::Sid;
use sealjar::revocation::Entry;
use sealjar::seal::Purpose;
use sealjar::seal::token::token_buffer;
use sealjar::session::claims::{Claims, Methods};
use sealjar::session::{Cause, Identity, Refusal, Sessions};

use fixture::{RawCipher, Token, alice, list_of, other_cipher, sessions_under, site};
use harness::{Case, measure_alternately, median, paired};

/// Goal: maximum nanoseconds of opening and checking a token in addition to the decryption.
const GOAL_NS: f64 = 150.0;
const HOUR: Duration = Duration::from_secs(3600);

/// Sizes of the measurements.
struct Size {
    /// Number of valid entries of the revocation list.
    revocations: usize,
    /// Number of different tokens, so that consecutive lookups read different parts of the list.
    tokens: usize,
    rounds: usize,
    /// Number of operations of a case per round.
    batch: usize,
    /// Numbers of entries of the lists that are compared with each other.
    lengths: [usize; 4],
    prunings: usize,
    /// Number of sessions that copy detection records.
    chains: usize,
    /// Number of operations per thread and round, and number of rounds, for the measurement with two threads.
    cores: (usize, usize),
}

const FULL: Size = Size {
    revocations: 1_000_000,
    tokens: 16_384,
    rounds: 4_000,
    batch: 64,
    lengths: [0, 10_000, 1_000_000, 10_000_000],
    prunings: 15,
    chains: 1_000_000,
    cores: (20_000, 50),
};
const QUICK: Size = Size {
    revocations: 10_000,
    tokens: 64,
    rounds: 5,
    batch: 16,
    lengths: [0, 100, 1_000, 10_000],
    prunings: 1,
    chains: 1_000,
    cores: (64, 2),
};

fn main() {
    // `cargo bench` passes `--bench`. `cargo test` does not.
    let has_flag = |flag: &str| std::env::args().any(|argument| argument == flag);
    let quick = has_flag("--test") || !has_flag("--bench") || std::env::var_os("SEALJAR_BENCH_QUICK").is_some();
    let size = if quick { QUICK } else { FULL };
    let now = Now::read();
    let sids = |count| (0..count).map(|_| Sid::random()).collect::<Vec<_>>();
    let revoked = sids(size.revocations);
    let unlisted = sids(size.revocations);

    let list = Arc::new(list_of(&revoked, now.wall.plus(HOUR), now));
    for sub in unlisted.iter().step_by(100).map(Sid::to_string) {
        list.add_durable(&Entry::Subject { sub: sub.into(), below: 1, expires_at: now.wall.plus(HOUR) });
    }
    list.resize_filters();
    let sessions = sessions_under(list);
    let tokens: Vec<Token> = (0..size.tokens).map(|_| Token::sealed_by(&sessions, now)).collect();
    check_verdicts(&sessions, &tokens, now);
    print_costs(&sessions, &tokens, &revoked, &unlisted, &size);
    println!("\nGoal: open and check takes at most {GOAL_NS} ns more than the decryption alone.\n");
    copies::print_cost_of_detection(size.chains, size.rounds, size.batch);
    growth::print_cost_of_length(&tokens, size.lengths, size.rounds, size.batch);
    pruning::print_slowest_verify(&tokens, &revoked, size.prunings);
    let (batch, rounds) = size.cores;
    cores::print_two_threads(&sessions, &tokens, rounds, batch);
}

/// Checks that the measured operations return correct results, and that both sides of the comparison open the same bytes.
fn check_verdicts(sessions: &Sessions, tokens: &[Token], now: Now) {
    let verify = |header: &[u8], now| sessions.verify([header], site(), now, |session| session.claims().sid);
    for token in tokens {
        assert_eq!(verify(&token.header, now), Ok(token.sid));
        let mut buffer = token_buffer();
        let opened = sessions.open(token.untrusted(), &mut buffer);
        assert_eq!(opened.map(|claims| claims.encode().expect("well formed")), Ok(token.claims.clone()));
    }
    let mut forged = URL_SAFE_NO_PAD.decode(tokens[0].value()).expect("base64url");
    forged[50] ^= 1;
    let forged = Token::header(&URL_SAFE_NO_PAD.encode(forged));
    let revoked = Token::sealed_by(sessions, now);
    sessions.revocations().add_durable(&Entry::Session { sid: revoked.sid, expires_at: now.wall.plus(HOUR) });
    let expired = Now { wall: now.wall.plus(HOUR), ..now };
    assert_eq!(verify(b"theme=dark", now), Err(Refusal::Missing));
    assert_eq!(verify(&forged, now), Err(Refusal::Invalid(Cause::NotAuthentic)));
    assert_eq!(verify(&tokens[0].header, expired), Err(Refusal::Expired));
    assert_eq!(verify(&revoked.header, now), Err(Refusal::Revoked));
}

/// Prints a table with the time of each step of a session check and of a login.
fn print_costs(sessions: &Sessions, tokens: &[Token], revoked: &[Sid], unlisted: &[Sid], size: &Size) {
    let now = Now::read();
    let unrestricted = sessions_under(Arc::new(list_of(&[], now.wall, now)));
    let cipher = RawCipher::new();
    let other = other_cipher();
    let ring = sessions.ring();
    let list = sessions.revocations();
    // Each case has its own buffer.
    let mut opening = token_buffer();
    let mut buffer = token_buffer();
    let mut other_opening = token_buffer();
    let mut sealing = token_buffer();
    let mut checking = token_buffer();
    let mut checking_long = token_buffer();
    let Identity { sub, account_generation, global_generation, .. } =
        Claims::decode(&tokens[0].claims).expect("claims").identity;
    let refuses = |sid| list.refuses(sid, sub, account_generation, global_generation);
    let pick = |number: usize| &tokens[number % tokens.len()];

    let cases = [
        Case::baseline("decryption alone", |number| {
            let token = pick(number);
            let text = &mut opening[..token.ciphertext.len()];
            text.copy_from_slice(&token.ciphertext);
            cipher.open(token, text);
        }),
        Case::compared_to("decryption alone", "the same, with the crate `chacha20poly1305`", |number| {
            let Token { nonce, associated_data, ciphertext, tag, .. } = pick(number);
            let text = &mut other_opening[..ciphertext.len()];
            text.copy_from_slice(ciphertext);
            other.decrypt_inout_detached(nonce, associated_data, text.into(), tag).expect("authentic");
        }),
        Case::compared_to("decryption alone", "open: base64, decryption, decoding", |number| {
            sessions.open(pick(number).untrusted(), &mut buffer).expect("ours").sid
        }),
        Case::compared_to("decryption alone", "**open and check**, empty revocation list", |number| {
            let claims = unrestricted.open(pick(number).untrusted(), &mut checking).expect("ours");
            unrestricted.check(&claims, site(), now).expect("live")
        }),
        Case::compared_to("decryption alone", "open and check, with the revocation list", |number| {
            let claims = sessions.open(pick(number).untrusted(), &mut checking_long).expect("ours");
            sessions.check(&claims, site(), now).expect("live")
        }),
        Case::compared_to("decryption alone", "revocation lookup, miss", |number| {
            assert!(!refuses(unlisted[number % unlisted.len()]));
        }),
        Case::compared_to("decryption alone", "revocation lookup, hit", |number| {
            assert!(refuses(revoked[number % revoked.len()]));
        }),
        Case::compared_to("decryption alone", "read the clocks", |_| Now::read()),
        Case::compared_to("decryption alone", "verify, empty revocation list", |number| {
            let fields = [pick(number).header.as_slice()];
            unrestricted.verify(fields, site(), Now::read(), |session| session.claims().sid).expect("live")
        }),
        Case::compared_to("decryption alone", "verify, with the revocation list", |number| {
            let fields = [pick(number).header.as_slice()];
            sessions.verify(fields, site(), Now::read(), |session| session.claims().sid).expect("live")
        }),
        Case::baseline("encryption alone", |number| {
            let token = pick(number);
            let text = &mut sealing[..token.claims.len()];
            text.copy_from_slice(&token.claims);
            cipher.seal(token, text)
        }),
        Case::compared_to("encryption alone", "seal: encryption, base64", |number| {
            let Token { nonce, claims, .. } = pick(number);
            let sealer = ring.keys()[0].sealer();
            sealer.seal(Purpose::Session, sessions.cookie(), nonce.as_ref(), claims).expect("short")
        }),
        Case::compared_to("encryption alone", "start a session: 64 random bytes, encoding, seal", |_| {
            sessions.sign_in(&alice(), Methods::PASSWORD, false, b"", site(), Now::read()).expect("short")
        }),
    ];
    let measured = measure_alternately(cases, size.rounds, size.batch, |number| pick(number).read_all());

    println!(
        "Each token has {} bytes of claims. The revocation list has {} entries.\n",
        tokens[0].claims.len(),
        size.revocations
    );
    println!("| operation | ns | AEAD alone, ns | ratio | difference, ns |");
    println!("|---|---:|---:|---:|---:|");
    for (case, samples) in &measured {
        let Some(raw) =
            measured.iter().find(|(other, _)| Some(other.name) == case.baseline).map(|(_, samples)| samples)
        else {
            println!("| {} | {:.0} | | | |", case.name, median(samples.clone()));
            continue;
        };
        let ns = median(samples.clone());
        let raw_ns = median(raw.clone());
        let ratio = paired(samples, raw, |case, raw| case / raw);
        let difference = paired(samples, raw, |case, raw| case - raw);
        println!("| {} | {ns:.0} | {raw_ns:.0} | {ratio:.2} | {difference:+.0} |", case.name);
    }
}
