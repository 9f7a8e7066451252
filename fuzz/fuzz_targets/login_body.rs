//! A sign-in's body may hold any bytes: parsing it never panics, what it accepts is what a plain reading of the format accepts, it
//! tells malformed JSON from wrong fields, and it never prints a password.
//!
//! The first byte of the input chooses JSON or a form; the rest is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealjar::account::credentials::{BadBody, Credentials, MediaType};
use serde_json::{Map, Value};

/// The fields of a sign-in, and those that its form has besides.
const FIELDS: [&str; 5] = ["login", "password", "remember", "csrf_token", "rd"];

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    if choice % 2 == 0 { json(body) } else { form(body) }
});

fn json(body: &[u8]) {
    let read: Result<Value, _> = serde_json::from_slice(body);
    let parsed = Credentials::parse(MediaType::Json, body);
    match (&parsed, &read) {
        (Ok(credentials), Ok(Value::Object(fields))) => {
            check(credentials, fields);
            assert!(fields.get("remember").is_none_or(Value::is_boolean));
            let again = Credentials::parse(MediaType::Json, Value::Object(fields.clone()).to_string().as_bytes());
            assert_eq!(again.expect("the same fields").login_name.as_str(), credentials.login_name.as_str());
        }
        (Ok(_), other) => panic!("accepted what is no object: {other:?}"),
        // A number too large for any type is well-formed JSON that the plain reader gives up on.
        (Err(BadBody::NotJson), Ok(value)) => panic!("called {value} malformed"),
        (Err(_), Ok(value)) => assert!(has_a_fault(value) || repeats_a_name(body), "refused {value}"),
        (Err(_), Err(_)) => {}
    }
}

fn form(body: &[u8]) {
    if let Ok(credentials) = Credentials::parse(MediaType::Form, body) {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).expect("read before as a sign-in");
        assert!(pairs.len() <= FIELDS.len());
        let fields: Map<String, Value> =
            pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        assert_eq!(fields.len(), pairs.len(), "a name came twice");
        check(&credentials, &fields);
        assert!(fields.get("remember").is_none_or(|value| value == "true" || value == "false"));
    }
}

/// What is accepted are these fields and no others, each within its rule, and nothing of the password shows.
fn check(credentials: &Credentials, fields: &Map<String, Value>) {
    assert!(fields.keys().all(|name| FIELDS.contains(&name.as_str())));
    let text = |name: &str| fields[name].as_str().expect("a text");
    let login = without_blanks(text("login"));
    assert_eq!(credentials.login_name.as_str(), login.to_ascii_lowercase());
    assert!(is_a_login_name(login));
    assert!(text("password").len() <= 1024);
    let remember = fields.get("remember").is_some_and(|value| *value == true || value == "true");
    let other = serde_json::json!({ "login": text("login"), "password": "another", "remember": remember });
    let other = Credentials::parse(MediaType::Json, other.to_string().as_bytes()).expect("well formed");
    assert_eq!(format!("{credentials:#?}"), format!("{other:#?}"), "the password shows");
}

/// Whether a plain reading finds something to refuse.
fn has_a_fault(value: &Value) -> bool {
    let Value::Object(fields) = value else {
        return true;
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let good = fields.keys().all(|name| FIELDS.contains(&name.as_str()))
        && text("login").is_some_and(|login| is_a_login_name(without_blanks(login)))
        && text("password").is_some_and(|password| password.len() <= 1024)
        && fields.get("remember").is_none_or(Value::is_boolean);
    !good
}

/// A login name without the spaces and tabs around it, which do not count.
fn without_blanks(login: &str) -> &str {
    login.trim_matches([' ', '\t'])
}

/// `[a-z0-9][a-z0-9._@-]{0,63}` in any case.
fn is_a_login_name(name: &str) -> bool {
    let letter = |symbol: char| symbol.is_ascii_alphanumeric();
    name.len() <= 64
        && name.starts_with(letter)
        && name.chars().all(|symbol| letter(symbol) || matches!(symbol, '.' | '_' | '@' | '-'))
}

/// The plain reader keeps the last of two fields of one name; the parser refuses both. Escapes can spell a name in many ways, so
/// counting colons is as near as a plain look comes.
fn repeats_a_name(body: &[u8]) -> bool {
    let fields = serde_json::from_slice::<Map<String, Value>>(body).map_or(0, |fields| fields.len());
    body.iter().filter(|byte| **byte == b':').count() > fields
}
