//! Fuzz target for login bodies with any bytes. It asserts these properties:
//!
//! * Parsing never panics.
//! * A JSON body is accepted if and only if a generic parser accepts it, no field is repeated, and all fields are valid. Bodies
//!   in which a field may be repeated, and bodies that the generic parser refuses, may be refused.
//! * Accepted JSON is accepted again, with the same login name, after the generic parser has written it.
//! * JSON that the generic parser accepts is never refused as malformed.
//! * An accepted form has only known and valid fields, and none twice. The target does not check refused forms.
//! * The `Debug` output of accepted credentials does not depend on the password.
//!
//! Input: the first byte selects JSON or form encoding. The rest is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealjar::account::credentials::{BadBody, Credentials, MediaType};
use serde_json::{Map, Value};

/// Allowed fields of a login: those of the login, and the additional fields of the login form.
const FIELDS: [&str; 5] = ["login", "password", "remember", "csrf_token", "rd"];

/// Maximum length of a password.
const MAX_PASSWORD_BYTES: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let Some((format_selector, body)) = input.split_first() else {
        return;
    };
    if format_selector % 2 == 0 { check_json(body) } else { check_form(body) }
});

/// Compares the parser with a generic JSON parser.
fn check_json(body: &[u8]) {
    let expected: Result<Value, _> = serde_json::from_slice(body);
    let parsed = Credentials::parse(MediaType::Json, body);
    match (&parsed, &expected) {
        (Ok(credentials), Ok(Value::Object(fields))) => {
            check_credentials(credentials, fields);
            assert!(fields.get("remember").is_none_or(Value::is_boolean));
            let parsed_again =
                Credentials::parse(MediaType::Json, Value::Object(fields.clone()).to_string().as_bytes());
            assert_eq!(
                parsed_again.expect("the rewritten JSON has the same fields").login_name.as_str(),
                credentials.login_name.as_str()
            );
        }
        (Ok(_), other) => panic!("accepted a body that is not a JSON object: {other:?}"),
        (Err(BadBody::NotJson), Ok(value)) => panic!("refused {value} as malformed"),
        (Err(_), Ok(value)) => assert!(has_invalid_field(value) || may_repeat_field(body), "refused {value}"),
        // The generic parser also refuses well-formed JSON with a number that is too large for `f64`. The error of the parser
        // under test may then be any.
        (Err(_), Err(_)) => {}
    }
}

/// Checks an accepted form with a generic form parser.
fn check_form(body: &[u8]) {
    if let Ok(credentials) = Credentials::parse(MediaType::Form, body) {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body)
            .expect("the generic parser accepts a form that the parser under test has accepted");
        assert!(pairs.len() <= FIELDS.len());
        let fields: Map<String, Value> =
            pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        assert_eq!(fields.len(), pairs.len(), "a field was accepted twice");
        check_credentials(&credentials, &fields);
        assert!(fields.get("remember").is_none_or(|value| value == "true" || value == "false"));
    }
}

/// Asserts that the fields of accepted credentials are known, that the login name and the password are valid, and that the
/// `Debug` output does not depend on the password.
fn check_credentials(credentials: &Credentials, fields: &Map<String, Value>) {
    assert!(fields.keys().all(|name| FIELDS.contains(&name.as_str())));
    let text = |name: &str| fields[name].as_str().expect("the field is a string");
    let login = trim_blanks(text("login"));
    assert_eq!(credentials.login_name.as_str(), login.to_ascii_lowercase());
    assert!(is_login_name(login));
    assert!(text("password").len() <= MAX_PASSWORD_BYTES);
    let remember = fields.get("remember").is_some_and(|value| *value == true || value == "true");
    // The same login with another password.
    let other = serde_json::json!({ "login": text("login"), "password": "another", "remember": remember });
    let other = Credentials::parse(MediaType::Json, other.to_string().as_bytes())
        .expect("the login with another password is valid");
    assert_eq!(format!("{credentials:#?}"), format!("{other:#?}"), "the output depends on the password");
}

/// Whether a JSON body must be refused: it is not an object, or has a missing, unknown or invalid field.
fn has_invalid_field(value: &Value) -> bool {
    let Value::Object(fields) = value else {
        return true;
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let is_valid = fields.keys().all(|name| FIELDS.contains(&name.as_str()))
        && text("login").is_some_and(|login| is_login_name(trim_blanks(login)))
        && text("password").is_some_and(|password| password.len() <= MAX_PASSWORD_BYTES)
        && fields.get("remember").is_none_or(Value::is_boolean);
    !is_valid
}

/// Removes leading and trailing spaces and tabs of a login name. The parser ignores them.
fn trim_blanks(login: &str) -> &str {
    login.trim_matches([' ', '\t'])
}

/// Whether `name` matches `[a-z0-9][a-z0-9._@-]{0,63}`, in upper or lower case.
fn is_login_name(name: &str) -> bool {
    let is_letter_or_digit = |character: char| character.is_ascii_alphanumeric();
    name.len() <= 64
        && name.starts_with(is_letter_or_digit)
        && name.chars().all(|character| is_letter_or_digit(character) || matches!(character, '.' | '_' | '@' | '-'))
}

/// Whether two fields may have the same name: the body has more colons than the parsed object has fields. Names are not compared,
/// because escapes allow many encodings of a name.
///
/// For a repeated name, the generic parser keeps the last field, and the parser under test refuses the body.
fn may_repeat_field(body: &[u8]) -> bool {
    let fields = serde_json::from_slice::<Map<String, Value>>(body).map_or(0, |fields| fields.len());
    body.iter().filter(|byte| **byte == b':').count() > fields
}
