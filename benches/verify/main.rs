//! What a session check costs, beside the one thing that no sealed cookie can do without: opening the AEAD.
//!
//! All cases take turns in short batches within one run, and ratios and differences are medians over the rounds, so that a
//! busy machine slows both sides alike: read the ratios, not the figures. The raw side is HChaCha20 and `ring`, key at hand, on
//! the same bytes; `chacha20poly1305` is there to compare.
//!
//! `cargo bench` measures. `cargo bench -- --test`, `SEALJAR_BENCH_QUICK=1` and `cargo test --benches` run the same code at a
//! tiny size: the verdicts are checked there too, and the figures mean nothing.

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
use harness::{Case, median, paired, take_turns};

/// What opening and checking may cost over the raw open.
const AIM_NS: f64 = 150.0;
const HOUR: Duration = Duration::from_secs(3600);

struct Size {
    /// Live entries of the list.
    revocations: usize,
    /// Different tokens that are verified, so that the list is not looked up where it was looked up just before.
    tokens: usize,
    rounds: usize,
    /// Operations of a case in a round.
    batch: usize,
    /// Live entries of the lists that are held against each other.
    lengths: [usize; 4],
    prunings: usize,
    /// Sessions that copy detection remembers.
    chains: usize,
    /// Operations of each of two threads in a round, and rounds.
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
    // Cargo passes `--bench` when it benches and not when it tests.
    let told = |word: &str| std::env::args().any(|argument| argument == word);
    let quick = told("--test") || !told("--bench") || std::env::var_os("SEALJAR_BENCH_QUICK").is_some();
    let size = if quick { QUICK } else { FULL };
    let now = Now::read();
    let sids = |count| (0..count).map(|_| Sid::random()).collect::<Vec<_>>();
    let (revoked, strangers) = (sids(size.revocations), sids(size.revocations));

    let list = Arc::new(list_of(&revoked, now.wall.plus(HOUR), now));
    for sub in strangers.iter().step_by(100).map(Sid::to_string) {
        list.add_durable(&Entry::Subject { sub: sub.into(), below: 1, expires_at: now.wall.plus(HOUR) });
    }
    list.fit();
    let sessions = sessions_under(list);
    let tokens: Vec<Token> = (0..size.tokens).map(|_| Token::sealed_by(&sessions, now)).collect();
    check_verdicts(&sessions, &tokens, now);
    print_costs(&sessions, &tokens, &revoked, &strangers, &size);
    println!("\nGoal: open and check takes at most {AIM_NS} ns more than the decryption alone.\n");
    copies::print_cost_of_detection(size.chains, size.rounds, size.batch);
    growth::print_cost_of_length(&tokens, size.lengths, size.rounds, size.batch);
    pruning::print_slowest_verify(&tokens, &revoked, size.prunings);
    let (batch, rounds) = size.cores;
    cores::print_two_threads(&sessions, &tokens, rounds, batch);
}

/// Whatever is timed below gives the right answer, and both sides open the same bytes.
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
    let leaver = Token::sealed_by(sessions, now);
    sessions.revocations().add_durable(&Entry::Session { sid: leaver.sid, expires_at: now.wall.plus(HOUR) });
    let expired = Now { wall: now.wall.plus(HOUR), ..now };
    assert_eq!(verify(b"theme=dark", now), Err(Refusal::Missing));
    assert_eq!(verify(&forged, now), Err(Refusal::Invalid(Cause::NotAuthentic)));
    assert_eq!(verify(&tokens[0].header, expired), Err(Refusal::Expired));
    assert_eq!(verify(&leaver.header, now), Err(Refusal::Revoked));
}

fn print_costs(sessions: &Sessions, tokens: &[Token], revoked: &[Sid], strangers: &[Sid], size: &Size) {
    let now = Now::read();
    let unrestricted = sessions_under(Arc::new(list_of(&[], now.wall, now)));
    let (cipher, other, ring, list) = (RawCipher::new(), other_cipher(), sessions.ring(), sessions.revocations());
    let (mut opening, mut buffer) = (token_buffer(), token_buffer());
    let (mut other_opening, mut sealing) = (token_buffer(), token_buffer());
    let (mut checking, mut checking_long) = (token_buffer(), token_buffer());
    let Identity { sub, account_generation, global_generation, .. } =
        Claims::decode(&tokens[0].claims).expect("claims").identity;
    let refuses = |sid| list.refuses(sid, sub, account_generation, global_generation);
    let pick = |number: usize| &tokens[number % tokens.len()];

    let cases = [
        Case::raw("decryption alone", |number| {
            let token = pick(number);
            let text = &mut opening[..token.ciphertext.len()];
            text.copy_from_slice(&token.ciphertext);
            cipher.open(token, text);
        }),
        Case::beside("decryption alone", "the same, with the crate `chacha20poly1305`", |number| {
            let Token { nonce, associated_data, ciphertext, tag, .. } = pick(number);
            let text = &mut other_opening[..ciphertext.len()];
            text.copy_from_slice(ciphertext);
            other.decrypt_inout_detached(nonce, associated_data, text.into(), tag).expect("authentic");
        }),
        Case::beside("decryption alone", "open: base64, decryption, decoding", |number| {
            sessions.open(pick(number).untrusted(), &mut buffer).expect("ours").sid
        }),
        Case::beside("decryption alone", "**open and check**, empty revocation list", |number| {
            let claims = unrestricted.open(pick(number).untrusted(), &mut checking).expect("ours");
            unrestricted.check(&claims, site(), now).expect("live")
        }),
        Case::beside("decryption alone", "open and check, with the revocation list", |number| {
            let claims = sessions.open(pick(number).untrusted(), &mut checking_long).expect("ours");
            sessions.check(&claims, site(), now).expect("live")
        }),
        Case::beside("decryption alone", "revocation lookup, miss", |number| {
            assert!(!refuses(strangers[number % strangers.len()]));
        }),
        Case::beside("decryption alone", "revocation lookup, hit", |number| {
            assert!(refuses(revoked[number % revoked.len()]));
        }),
        Case::beside("decryption alone", "read the clocks", |_| Now::read()),
        Case::beside("decryption alone", "verify, empty revocation list", |number| {
            let fields = [pick(number).header.as_slice()];
            unrestricted.verify(fields, site(), Now::read(), |session| session.claims().sid).expect("live")
        }),
        Case::beside("decryption alone", "verify, with the revocation list", |number| {
            let fields = [pick(number).header.as_slice()];
            sessions.verify(fields, site(), Now::read(), |session| session.claims().sid).expect("live")
        }),
        Case::raw("encryption alone", |number| {
            let token = pick(number);
            let text = &mut sealing[..token.claims.len()];
            text.copy_from_slice(&token.claims);
            cipher.seal(token, text)
        }),
        Case::beside("encryption alone", "seal: encryption, base64", |number| {
            let Token { nonce, claims, .. } = pick(number);
            let sealer = ring.keys()[0].sealer();
            sealer.seal(Purpose::Session, sessions.cookie(), nonce.as_ref(), claims).expect("short")
        }),
        Case::beside("encryption alone", "start a session: 64 random bytes, encoding, seal", |_| {
            sessions.sign_in(&alice(), Methods::PASSWORD, false, b"", site(), Now::read()).expect("short")
        }),
    ];
    let measured = take_turns(cases, size.rounds, size.batch, |number| pick(number).read_all());

    println!(
        "Each token has {} bytes of claims. The revocation list has {} entries.\n",
        tokens[0].claims.len(),
        size.revocations
    );
    println!("| operation | ns | AEAD alone, ns | ratio | difference, ns |");
    println!("|---|---:|---:|---:|---:|");
    for (case, samples) in &measured {
        let Some(raw) = measured.iter().find(|(raw, _)| Some(raw.name) == case.beside).map(|(_, samples)| samples)
        else {
            println!("| {} | {:.0} | | | |", case.name, median(samples.clone()));
            continue;
        };
        let (ns, raw_ns) = (median(samples.clone()), median(raw.clone()));
        let ratio = paired(samples, raw, |case, raw| case / raw);
        let difference = paired(samples, raw, |case, raw| case - raw);
        println!("| {} | {ns:.0} | {raw_ns:.0} | {ratio:.2} | {difference:+.0} |", case.name);
    }
}
