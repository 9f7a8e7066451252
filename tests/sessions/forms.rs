//! Tests of form tokens, and of the cookie of the login form.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use proptest::prelude::*;
use sealjar::id::{FormId, Sid};
use sealjar::keyring::KeyRing;
use sealjar::seal::{CookieName, Purpose};
use sealjar::session::SealError;
use sealjar::session::form::{FormBinding, SIGN_IN_FORM_LIFETIME};

use crate::fixture::{COOKIE, World, forge, key, key_with, secret};

const FORM: &str = "__Host-sealjar-form";

fn form_cookie() -> CookieName {
    CookieName::new(FORM).expect("a valid cookie name")
}

/// Returns the id of the login form in these `Cookie` fields, or `None`.
fn open_login_form(world: &World, fields: &[String]) -> Option<FormId> {
    world.sessions.sign_in_form(fields.iter().map(String::as_bytes), &form_cookie(), world.now)
}

#[test]
fn a_token_opens_to_what_it_is_bound_to_and_differs_each_time() {
    let world = World::new();
    let id = [7; 16];
    for bound in [FormBinding::Session(Sid::from_bytes(id)), FormBinding::SignIn(FormId::from_bytes(id))] {
        let token = || world.sessions.form_token(bound, world.now).expect("an active key");
        assert_eq!(world.sessions.open_form_token(token().expose().as_bytes()), Some(bound));
        assert_ne!(token().expose(), token().expose());
    }
}

#[test]
fn a_deterministic_token_is_constant_and_names_its_session() {
    let world = World::new();
    let deterministic =
        |number: u8| world.sessions.deterministic_form_token(Sid::from_bytes([number; 16]), world.now).expect("a key");
    assert_eq!(deterministic(7), deterministic(7));
    assert_ne!(deterministic(7), deterministic(8));
    let bound = FormBinding::Session(Sid::from_bytes([7; 16]));
    assert_eq!(world.sessions.open_form_token(deterministic(7).expose()), Some(bound));
}

#[test]
fn a_deterministic_token_is_the_id_and_its_mac() {
    let world = World::new();
    let sid = Sid::from_bytes([7; 16]);
    let token = world.sessions.deterministic_form_token(sid, world.now).expect("a key");
    let mut mac_key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, secret(1).expose())
        .expand(b"sealjar v1 form token mac", &mut mac_key)
        .expect("a key of 32 bytes");
    let mut mac = (*sid.as_bytes()).into();
    aes::Aes256::new(&mac_key.into()).encrypt_block(&mut mac);
    let kid = *sealjar::id::Kid::of_key(secret(1).expose()).as_bytes();
    let bytes = [&[1][..], &kid, sid.as_bytes(), &mac].concat();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(token.expose(), text.as_bytes());
}

#[test]
fn refuses_any_change_of_a_token_and_any_other_binding() {
    let world = World::new();
    let bound = FormBinding::Session(Sid::from_bytes([7; 16]));
    let open = |text: &[u8]| world.sessions.open_form_token(text);
    let deterministic_token = world.sessions.deterministic_form_token(Sid::from_bytes([7; 16]), world.now);
    let sealed = world.sessions.form_token(bound, world.now).expect("an active key");
    for token in [sealed.expose().as_bytes(), deterministic_token.expect("a key").expose()] {
        for length in 0..token.len() {
            assert_eq!(open(&token[..length]), None);
        }
        for at in 0..token.len() {
            let mut changed = token.to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(open(&changed), None, "character {at}");
        }
    }
    let content = [&[0][..], &[7; 16]].concat();
    assert_eq!(open(forge(1, Purpose::FormToken, COOKIE, &content).as_bytes()), Some(bound));
    for forged in [
        forge(1, Purpose::Session, COOKIE, &content),
        forge(1, Purpose::LoginForm, COOKIE, &content),
        forge(1, Purpose::FormToken, FORM, &content),
        forge(2, Purpose::FormToken, COOKIE, &content),
        forge(1, Purpose::FormToken, COOKIE, &content[..16]),
        forge(1, Purpose::FormToken, COOKIE, &[&content[..], &[0]].concat()),
        forge(1, Purpose::FormToken, COOKIE, &[&[2][..], &[7; 16]].concat()),
        world.sign_in().token.expose().to_owned(),
    ] {
        assert_eq!(open(forged.as_bytes()), None);
    }
}

#[test]
fn a_login_form_is_valid_for_exactly_ten_minutes() {
    let mut world = World::new();
    let form = FormId::from_bytes([9; 16]);
    let token = world.sessions.seal_sign_in_form(form, &form_cookie(), world.now).expect("an active key");
    let cookie = [format!("a=1; {FORM}=bad; {FORM}={}", token.expose()), "b=2".to_owned()];
    assert_eq!(open_login_form(&world, &cookie), Some(form));
    world.pass(SIGN_IN_FORM_LIFETIME.as_secs() - 1);
    assert_eq!(open_login_form(&world, &cookie), Some(form));
    world.pass(1);
    assert_eq!(open_login_form(&world, &cookie), None);
}

#[test]
fn a_login_form_from_a_fast_clock_is_not_valid_for_longer() {
    let mut world = World::new();
    let form = FormId::from_bytes([9; 16]);
    let sealed = |world: &World| {
        let token = world.sessions.seal_sign_in_form(form, &form_cookie(), world.now).expect("an active key");
        [format!("{FORM}={}", token.expose())]
    };
    world.step(60);
    let sealed_within_limit = sealed(&world);
    world.step(1);
    let sealed_beyond_limit = sealed(&world);
    world.step(-61);
    assert_eq!(
        (open_login_form(&world, &sealed_within_limit), open_login_form(&world, &sealed_beyond_limit)),
        (Some(form), None)
    );
}

#[test]
fn no_other_cookie_is_accepted_as_a_login_form() {
    let world = World::new();
    let content = [&[9; 16][..], &(world.now.wall.0 + 60).to_be_bytes()].concat();
    assert!(open_login_form(&world, &[format!("{FORM}={}", forge(1, Purpose::LoginForm, FORM, &content))]).is_some());
    for forged in [
        forge(1, Purpose::LoginForm, COOKIE, &content),
        forge(1, Purpose::Session, FORM, &content),
        forge(1, Purpose::FormToken, FORM, &content),
        forge(2, Purpose::LoginForm, FORM, &content),
        forge(1, Purpose::LoginForm, FORM, &content[..23]),
        forge(1, Purpose::LoginForm, FORM, &[&content[..], &[0]].concat()),
        world.sign_in().token.expose().to_owned(),
    ] {
        assert_eq!(open_login_form(&world, &[format!("{FORM}={forged}")]), None);
    }
    let renamed = forge(1, Purpose::LoginForm, FORM, &content);
    assert_eq!(
        open_login_form(&world, &[format!("__%48ost-sealjar-form={renamed}"), format!("{COOKIE}={renamed}")]),
        None
    );
}

#[test]
fn forms_are_valid_while_their_key_opens_tokens() {
    let sid = Sid::from_bytes([7; 16]);
    let bound = FormBinding::Session(sid);
    let mut world = World::new();
    let old = world.sessions.form_token(bound, world.now).expect("an active key");
    let old_deterministic = world.sessions.deterministic_form_token(sid, world.now).expect("a key");
    let now = world.now.wall;
    world.sessions.replace_ring(KeyRing::new(vec![key(1), key_with(2, |dates| dates.activates_at = Some(now))]));
    let new = world.sessions.form_token(bound, world.now).expect("an active key");
    let new_deterministic = world.sessions.deterministic_form_token(sid, world.now).expect("a key");
    let texts =
        [old.expose().as_bytes(), old_deterministic.expose(), new.expose().as_bytes(), new_deterministic.expose()];
    for token in texts {
        assert_eq!(world.sessions.open_form_token(token), Some(bound), "a rotation does not invalidate a form");
    }
    world.sessions.replace_ring(KeyRing::new(vec![key(1), key_with(2, |dates| dates.revoked_at = Some(now))]));
    for token in &texts[2..] {
        assert_eq!(world.sessions.open_form_token(token), None);
    }
    world.sessions.replace_ring(KeyRing::new(vec![key_with(1, |dates| dates.revoked_at = Some(now))]));
    world.pass(1);
    assert_eq!(world.sessions.form_token(bound, world.now), Err(SealError::NoActiveKey));
    assert_eq!(world.sessions.deterministic_form_token(sid, world.now), Err(SealError::NoActiveKey));
    let form = FormId::random();
    assert_eq!(world.sessions.seal_sign_in_form(form, &form_cookie(), world.now), Err(SealError::NoActiveKey));
}

proptest! {
    #[test]
    fn random_bytes_are_not_a_form_token(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(World::new().sessions.open_form_token(&bytes), None);
    }
}
