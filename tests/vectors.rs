//! Tests of two implementations of the token with the public test vectors: the library, and the small reference implementation in
//! `vectors/reference.rs`, which was written only from the text in `vectors/README.md`.

#![allow(missing_docs)]

#[path = "vectors/encoding.rs"]
mod encoding;
#[path = "vectors/library.rs"]
mod library;
#[path = "vectors/readme.rs"]
mod readme;
#[path = "vectors/reference.rs"]
mod reference;

use std::collections::BTreeSet;

use encoding::{from_base64url, hex};
use library::{Verifier, cookie, secret, verify, word};
use reference::{Bad, Claims, Key, Revocations};
use sealjar::seal::{Purpose, Sealer};
use sealjar::session::{Cause, Refusal, claims};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const GOOD: &str = include_str!("vectors/good.json");
const BAD: &str = include_str!("vectors/bad.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoodVector {
    name: String,
    #[serde(with = "hex")]
    key: Vec<u8>,
    #[serde(with = "hex")]
    kid: Vec<u8>,
    purpose: String,
    #[serde(with = "hex")]
    purpose_key: Vec<u8>,
    cookie: String,
    #[serde(with = "hex")]
    nonce: Vec<u8>,
    #[serde(with = "hex")]
    aad: Vec<u8>,
    #[serde(with = "hex")]
    plaintext: Vec<u8>,
    token: String,
    site_host: String,
    now: u64,
    #[serde(default)]
    revocations: Revocations,
    claims: Claims,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BadVector {
    name: String,
    reason: String,
    #[serde(default)]
    detail: String,
    /// Plaintext that was sealed, if the plaintext is the reason for the refusal.
    plaintext: Option<String>,
    ring: Vec<Key>,
    cookie: String,
    site_host: String,
    now: u64,
    #[serde(default)]
    revocations: Revocations,
    token: String,
    /// Token before one bit was flipped or one base64 group was cut off.
    genuine: Option<String>,
    /// Key, purpose and cookie with which the token was sealed, if they differ from those of the verification.
    sealed: Option<Sealed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    #[serde(with = "hex")]
    key: Vec<u8>,
    purpose: String,
    cookie: String,
}

fn good() -> Vec<GoodVector> {
    serde_json::from_str(GOOD).expect("good.json has the format that README.md specifies")
}

fn bad() -> Vec<BadVector> {
    serde_json::from_str(BAD).expect("bad.json has the format that README.md specifies")
}

#[test]
fn the_files_are_unchanged_since_their_publication() {
    let digest = |text: &str| hex::encode(&Sha256::digest(text));
    assert_eq!(digest(GOOD), "437ab06e6213119358497c8e282c4e4255375b90a885481bfda3861af31abfb6", "good.json");
    assert_eq!(digest(BAD), "15b67b9b6c8523777e57c978619bba2b19ca209dccb6f430060defce9d528f2c", "bad.json");
}

#[test]
fn the_reference_seals_every_good_token_from_its_inputs() {
    for vector in good() {
        let GoodVector { name, key, purpose, cookie, nonce, plaintext, .. } = &vector;
        assert_eq!(reference::kid(key), vector.kid, "{name}: kid");
        assert_eq!(reference::purpose_key(key, purpose)[..], vector.purpose_key, "{name}: key of the purpose");
        assert_eq!(reference::aad(&reference::kid(key), purpose, cookie), vector.aad, "{name}: associated data");
        assert_eq!(hex::encode(&reference::encode(&vector.claims)), hex::encode(plaintext), "{name}: plaintext");
        assert_eq!(reference::seal(key, purpose, cookie, nonce, plaintext), vector.token, "{name}: token");
    }
}

#[test]
fn the_library_seals_every_good_token_from_its_inputs() {
    for vector in good() {
        let name = &vector.name;
        let sealer = Sealer::new(&secret(&vector.key));
        assert_eq!(sealer.kid().as_bytes()[..], vector.kid, "{name}: kid");
        assert_eq!(vector.purpose, Purpose::Session.name(), "{name}: purpose");
        let decoded = claims::Claims::decode(&vector.plaintext).expect(name);
        assert_eq!(decoded.encode().expect(name), vector.plaintext, "{name}: plaintext");
        let nonce = vector.nonce.as_slice().try_into().expect("24 bytes");
        let token = sealer.seal(Purpose::Session, &cookie(&vector.cookie), nonce, &vector.plaintext).expect(name);
        assert_eq!(token.expose(), vector.token, "{name}: token");
    }
}

#[test]
fn both_implementations_accept_every_good_token() {
    for vector in good() {
        let GoodVector { name, token, cookie, site_host, now, revocations, .. } = &vector;
        let ring = [Key { key: vector.key.clone(), revoked: false }];
        let by_reference = reference::verify(token, &ring, cookie, site_host, *now, revocations);
        assert_eq!(by_reference.as_ref(), Ok(&vector.claims), "{name}: the reference");
        let by_library = verify(token, &ring, cookie, site_host, *now, revocations);
        assert_eq!(by_library.as_ref(), Ok(&vector.claims), "{name}: the library");
    }
}

#[test]
fn both_implementations_refuse_every_bad_token_for_its_reason() {
    for vector in bad() {
        let BadVector { name, reason, detail, token, ring, cookie, site_host, now, revocations, .. } = &vector;
        let Bad(class, particular) = reference::verify(token, ring, cookie, site_host, *now, revocations)
            .expect_err(&format!("{name}: the reference accepts it"));
        assert_eq!((class, particular), (reason.as_str(), detail.as_str()), "{name}: the reference");
        let refusal = verify(token, ring, cookie, site_host, *now, revocations)
            .expect_err(&format!("{name}: the library accepts it"));
        assert_eq!(word(refusal), reason, "{name}: the library");
    }
}

#[test]
fn every_bad_token_with_a_plaintext_is_authentic() {
    let vectors: Vec<_> = bad().into_iter().filter(|vector| vector.plaintext.is_some()).collect();
    for BadVector { name, ring, cookie, token, plaintext, .. } in &vectors {
        let bytes = from_base64url(token).expect(name);
        let opened = reference::open(&ring[0].key, "session", cookie, &bytes);
        assert_eq!(opened.as_deref().map(hex::encode).as_ref(), plaintext.as_ref(), "{name}");
    }
    assert!(vectors.len() > 70);
}

#[test]
fn refuses_every_good_token_in_a_wrong_context() {
    let not_authentic = Err(Refusal::Invalid(Cause::NotAuthentic));
    for vector in good() {
        let GoodVector { name, token, cookie, site_host, now, revocations, .. } = &vector;
        let ring = [Key { key: vector.key.clone(), revoked: false }];
        let renamed = format!("x{}", &cookie[1..]);
        assert_eq!(
            verify(token, &ring, &renamed, site_host, *now, revocations),
            not_authentic,
            "{name}: another cookie"
        );
        let other_site = verify(token, &ring, cookie, "elsewhere.example", *now, revocations);
        assert_eq!(other_site, Err(Refusal::Invalid(Cause::WrongSite)), "{name}: another site");
        let late = verify(token, &ring, cookie, site_host, vector.claims.idle_deadline, revocations);
        assert_eq!(late, Err(Refusal::Expired), "{name}: at its idle deadline");
        let logged_out = Revocations { sids: vec![hex::encode(&vector.claims.sid)], ..revocations.clone() };
        let revoked = verify(token, &ring, cookie, site_host, *now, &logged_out);
        assert_eq!(revoked, Err(Refusal::Revoked), "{name}: logged out");
        let without_key = verify(token, &[], cookie, site_host, *now, revocations);
        assert_eq!(without_key, Err(Refusal::Invalid(Cause::UnknownKey)), "{name}: without its key");
        let verifier = Verifier::new(&ring, cookie, site_host, *now, revocations);
        for end in 0..token.len() {
            assert!(verifier.verify(&token[..end]).is_err(), "{name}: cut at {end}");
        }
    }
}

#[test]
fn an_unauthentic_token_has_exactly_one_defect() {
    let not_authentic: Vec<_> = bad().into_iter().filter(|vector| vector.reason == "not authentic").collect();
    for vector in &not_authentic {
        let name = &vector.name;
        let bytes = from_base64url(&vector.token).expect(name);
        if let Some(genuine) = &vector.genuine {
            let BadVector { ring, cookie, site_host, now, revocations, .. } = vector;
            assert!(verify(genuine, ring, cookie, site_host, *now, revocations).is_ok(), "{name}: without the change");
            let genuine = from_base64url(genuine).expect(name);
            let flipped: u32 = genuine.iter().zip(&bytes).map(|(one, other)| (one ^ other).count_ones()).sum();
            let removed = genuine.len() - bytes.len();
            assert!(matches!((flipped, removed), (1, 0) | (0, 3)), "{name}: {flipped} bits, {removed} bytes");
        } else {
            let Sealed { key, purpose, cookie } = vector.sealed.as_ref().expect(name);
            let plaintext = reference::open(key, purpose, cookie, &bytes).expect(name);
            assert!(reference::decode(&plaintext).is_ok(), "{name}: with the key, purpose and cookie of the sealing");
        }
    }
    assert!(not_authentic.len() >= 6);
}

#[test]
fn one_byte_more_than_the_largest_token_is_refused() {
    let vectors = good();
    let length = |vector: &GoodVector| vector.cookie.len() + vector.token.len();
    let largest = vectors.iter().max_by_key(|vector| length(vector)).expect("there are vectors");
    assert!((4095..=4096).contains(&length(largest)), "{}", length(largest));
    let longer = [&largest.plaintext[..], &[0]].concat();
    let nonce = largest.nonce.as_slice().try_into().expect("24 bytes");
    let outcome = Sealer::new(&secret(&largest.key)).seal(Purpose::Session, &cookie(&largest.cookie), nonce, &longer);
    assert!(outcome.is_err_and(|error| error.bytes > 4096));
}

#[test]
fn every_reason_has_a_vector_and_the_names_are_unique() {
    let reasons: BTreeSet<String> = bad().into_iter().map(|vector| vector.reason).collect();
    let expected = [
        "bad claims",
        "expired",
        "from the future",
        "malformed",
        "not authentic",
        "revoked",
        "revoked key",
        "unknown key",
        "wrong site",
    ];
    assert_eq!(reasons.iter().collect::<Vec<_>>(), expected);
    let names = good().into_iter().map(|vector| vector.name).chain(bad().into_iter().map(|vector| vector.name));
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for name in names {
        assert!(seen.insert(name.clone()), "two vectors have the name {name}");
        count += 1;
    }
    assert!(count > 130, "{count}");
}
