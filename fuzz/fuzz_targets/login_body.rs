//! Fuzz target for login bodies with any bytes. It asserts four properties:
//!
//! * Parsing never panics.
//! * The parser accepts the same bodies as a generic parser of the format together with simple checks of the fields.
//! * The parser distinguishes malformed JSON from wrong fields.
//! * A password is never printed.
//!
//! Input: the first byte selects JSON or form encoding. The rest is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealjar::account::credentials::{BadBody, Credentials, MediaType};
use serde_json::{Map, Value};

/// Fields of a login, and the additional fields of the login form.
const FIELDS: [&str; 5] = ["login", "password", "remember", "csrf_token", "rd"];

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    if choice % 2 == 0 { check_json(body) } else { check_form(body) }
});

fn check_json(body: &[u8]) {
    let expected: Result<Value, _> = serde_json::from_slice(body);
    let parsed = Credentials::parse(MediaType::Json, body);
    match (&parsed, &expected) {
        (Ok(credentials), Ok(Value::Object(fields))) => {
            check_credentials(credentials, fields);
            assert!(fields.get("remember").is_none_or(Value::is_boolean));
            let again = Credentials::parse(MediaType::Json, Value::Object(fields.clone()).to_string().as_bytes());
            assert_eq!(again.expect("the same fields").login_name.as_str(), credentials.login_name.as_str());
        }
        (Ok(_), other) => panic!("accepted a body that is not a JSON object: {other:?}"),
        (Err(BadBody::NotJson), Ok(value)) => panic!("refused {value} as malformed"),
        (Err(_), Ok(value)) => assert!(has_invalid_field(value) || repeats_a_name(body), "refused {value}"),
        // This includes well-formed JSON with a number that is too large for any type, which the generic parser refuses.
        (Err(_), Err(_)) => {}
    }
}

fn check_form(body: &[u8]) {
    if let Ok(credentials) = Credentials::parse(MediaType::Form, body) {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).expect("form encoding, as parsed above");
        assert!(pairs.len() <= FIELDS.len());
        let fields: Map<String, Value> =
            pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        assert_eq!(fields.len(), pairs.len(), "a field was accepted twice");
        check_credentials(&credentials, &fields);
        assert!(fields.get("remember").is_none_or(|value| value == "true" || value == "false"));
    }
}

/// Asserts that accepted credentials have only known fields with valid values, and that `Debug` prints nothing of the password.
fn check_credentials(credentials: &Credentials, fields: &Map<String, Value>) {
    assert!(fields.keys().all(|name| FIELDS.contains(&name.as_str())));
    let text = |name: &str| fields[name].as_str().expect("a text");
    let login = without_blanks(text("login"));
    assert_eq!(credentials.login_name.as_str(), login.to_ascii_lowercase());
    assert!(is_a_login_name(login));
    assert!(text("password").len() <= 1024);
    let remember = fields.get("remember").is_some_and(|value| *value == true || value == "true");
    let other = serde_json::json!({ "login": text("login"), "password": "another", "remember": remember });
    let other = Credentials::parse(MediaType::Json, other.to_string().as_bytes()).expect("well formed");
    assert_eq!(format!("{credentials:#?}"), format!("{other:#?}"), "the output depends on the password");
}

/// Whether a body must be refused because of its fields.
fn has_invalid_field(value: &Value) -> bool {
    let Value::Object(fields) = value else {
        return true;
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let is_valid = fields.keys().all(|name| FIELDS.contains(&name.as_str()))
        && text("login").is_some_and(|login| is_a_login_name(without_blanks(login)))
        && text("password").is_some_and(|password| password.len() <= 1024)
        && fields.get("remember").is_none_or(Value::is_boolean);
    !is_valid
}

/// Removes leading and trailing spaces and tabs of a login name, which the parser ignores.
fn without_blanks(login: &str) -> &str {
    login.trim_matches([' ', '\t'])
}

/// Whether `name` matches `[a-z0-9][a-z0-9._@-]{0,63}`, in upper or lower case.
fn is_a_login_name(name: &str) -> bool {
    let is_letter = |character: char| character.is_ascii_alphanumeric();
    name.len() <= 64
        && name.starts_with(is_letter)
        && name.chars().all(|character| is_letter(character) || matches!(character, '.' | '_' | '@' | '-'))
}

/// Whether two fields may have the same name. The generic parser then keeps the last field, but the parser under test refuses
/// the body.
///
/// Escapes allow many encodings of a name, so this function only compares the number of colons with the number of fields.
fn repeats_a_name(body: &[u8]) -> bool {
    let fields = serde_json::from_slice::<Map<String, Value>>(body).map_or(0, |fields| fields.len());
    body.iter().filter(|byte| **byte == b':').count() > fields
}
