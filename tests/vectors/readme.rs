//! Tests of the library with those parts of README.md that have no vectors: key files, the maximum length of application data,
//! and form tokens. They were written from README.md too.

use std::sync::Arc;
use std::time::Duration;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use sealjar::clock::{Now, UnixTime};
use sealjar::id::{FormId, Sid, random};
use sealjar::keyring::{Dates, Key, KeyRing, file};
use sealjar::revocation::{Freshness, RevocationList, WhenStale};
use sealjar::seal::{Purpose, Sealer};
use sealjar::session::form::FormBinding;
use sealjar::session::lifetime::Lifetime;
use sealjar::session::{Lifetimes, Sessions, claims};

use super::encoding::{base64url, from_base64url, hex};
use super::library::{cookie, secret};
use super::{good, reference};

const README: &str = include_str!("README.md");
const KEY: [u8; 32] = [7; 32];
const COOKIE: &str = "__Host-sealjar";
const FORM_COOKIE: &str = "__Host-sealjar-form";
const NOW: Now = Now { wall: UnixTime(1_764_000_000), boot: Duration::from_secs(1) };

/// Returns the key file in README.md.
fn key_file() -> &'static str {
    README
        .split("```text\n")
        .find_map(|block| block.split("```").next().filter(|text| text.starts_with("created_at")))
        .expect("a key file")
}

#[test]
fn the_key_file_in_the_readme_is_the_key_of_most_vectors() {
    let key = file::parse(key_file()).expect("a key file");
    let vector = &good()[0];
    assert_eq!(key.kid().as_bytes()[..], vector.kid);
    assert!(README.contains(&format!("`{}.key`", key.kid())));
    assert!(key_file().contains(&format!("secret = \"{}\"", base64url(&vector.key))));
}

#[test]
fn a_revoked_at_in_the_future_revokes_a_key_file() {
    let is_revoked = |line: &str| file::parse(&format!("{line}\n{}", key_file())).expect("a key file").is_revoked();
    assert!(!is_revoked("# none"));
    assert!(is_revoked("revoked_at = 2025-11-24T17:00:00Z") && is_revoked("revoked_at = 9999-01-01T00:00:00+01:00"));
}

#[test]
fn a_key_opens_before_it_is_active_and_after_its_lifetime() {
    let dates =
        Dates { created_at: UnixTime(0), activates_at: None, revoked_at: None, max_lifetime: Duration::from_secs(1) };
    let vector = &good()[1];
    let sessions = sessions(&vector.key, dates);
    let field = format!("{COOKIE}={}", vector.token);
    let site = sealjar::id::Site::of_host(&vector.site_host);
    assert!(sessions.verify([field.as_bytes()], site, NOW, |_| ()).is_ok());
}

#[test]
fn the_maximum_length_of_application_data_is_as_specified() {
    let sealer = Sealer::new(&secret(&KEY));
    let fits = |claims: &claims::Claims<'_>, length: usize| {
        let app_data = vec![0; length];
        let bytes = claims::Claims { app_data: &app_data, ..claims.clone() }.encode().expect("valid claims");
        (sealer.seal(Purpose::Session, &cookie(COOKIE), &[0; 24], &bytes).is_ok(), bytes.len())
    };
    for (index, max_length) in [(0, 2939), (1, 2908)] {
        let plaintext = &good()[index].plaintext;
        let claims = claims::Claims::decode(plaintext).expect("valid claims");
        assert_eq!((fits(&claims, max_length), fits(&claims, max_length + 1).0), ((true, 3012), false));
        assert!(README.contains(&format!("{max_length} bytes")), "{max_length}");
    }
}

#[test]
fn sealed_form_tokens_have_the_specified_content() {
    let sessions = sessions(&KEY, active());
    let open = |purpose, name, token: &str| {
        reference::open(&KEY, purpose, name, &from_base64url(token).expect("base64url")).expect("authentic")
    };
    let sid = [0xa5; 16];
    let form = FormId::from_bytes([0x5a; 16]);
    for (form_type, id, bound) in
        [(0, sid, FormBinding::Session(Sid::from_bytes(sid))), (1, *form.as_bytes(), FormBinding::SignIn(form))]
    {
        let token = sessions.form_token(bound, NOW).expect("an active key");
        assert_eq!(open("form token", COOKIE, token.expose()), [&[form_type], &id[..]].concat());
        assert_ne!(token.expose().len(), 82);
        let by_reference =
            reference::seal(&KEY, "form token", COOKIE, &random::<24>(), &[&[form_type], &id[..]].concat());
        assert_eq!(sessions.open_form_token(by_reference.as_bytes()), Some(bound));
    }
    let token = sessions.seal_sign_in_form(form, &cookie(FORM_COOKIE), NOW).expect("an active key");
    let deadline = NOW.wall.0 + 600;
    let plaintext = [&form.as_bytes()[..], &deadline.to_be_bytes()].concat();
    assert_eq!(open("login form", FORM_COOKIE, token.expose()), plaintext);

    let is_accepted = |deadline: u64| {
        let plaintext = [&form.as_bytes()[..], &deadline.to_be_bytes()].concat();
        let token = reference::seal(&KEY, "login form", FORM_COOKIE, &random::<24>(), &plaintext);
        let field = format!("{FORM_COOKIE}={token}");
        sessions.sign_in_form([field.as_bytes()], &cookie(FORM_COOKIE), NOW).is_some()
    };
    let now = NOW.wall.0;
    assert_eq!([now, now + 1, now + 660, now + 661].map(is_accepted), [false, true, true, false]);
}

#[test]
fn the_deterministic_form_token_is_as_specified() {
    let sessions = sessions(&KEY, active());
    let sid = [0xa5; 16];
    let mut block = sid.into();
    Aes256::new(&reference::purpose_key(&KEY, "form token mac").into()).encrypt_block(&mut block);
    let expected = hex::encode(&[&[1], &reference::kid(&KEY)[..], &sid, &block].concat());
    let token = sessions.deterministic_form_token(Sid::from_bytes(sid), NOW).expect("an active key");
    assert_eq!((token.expose(), token.expose().len()), (expected.as_bytes(), 82));
    assert_eq!(sessions.open_form_token(expected.as_bytes()), Some(FormBinding::Session(Sid::from_bytes(sid))));
}

fn active() -> Dates {
    Dates {
        created_at: UnixTime(0),
        activates_at: Some(UnixTime(0)),
        revoked_at: None,
        max_lifetime: Duration::from_secs(3600),
    }
}

fn sessions(key: &[u8], dates: Dates) -> Sessions {
    let list = RevocationList::new(Freshness { max_staleness: Duration::ZERO, when_stale: WhenStale::Refuse });
    list.mark_synced(NOW);
    let lifetime = Lifetime { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43_200) };
    let lifetimes = Lifetimes { ordinary: lifetime, remembered: lifetime };
    Sessions::new(KeyRing::new(vec![Key::new(secret(key), dates)]), Arc::new(list), cookie(COOKIE), lifetimes)
}
