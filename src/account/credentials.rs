//! The body of a sign-in, as JSON or as a form: `login`, `password`, and optionally `remember`.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::{LoginName, Password};

/// Longer passwords are refused, so that hashing one costs no more than another. In bytes.
const MAX_PASSWORD_BYTES: usize = 1024;

/// How a sign-in is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// A well-formed sign-in, not checked against any account.
#[derive(Debug)]
pub struct Credentials {
    /// Who.
    pub login_name: LoginName,
    /// The password as given.
    pub password: Password,
    /// Whether the session is to be a remembered one.
    pub remember: bool,
}

/// Why a body is no sign-in. What it held is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBody {
    /// Not JSON.
    NotJson,
    /// Other fields than those of a sign-in, or of other types.
    Fields,
    /// Not a login name.
    LoginName,
    /// A password over 1024 bytes.
    PasswordLength,
}

impl BadBody {
    /// What to do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NotJson => "the body is not well-formed JSON",
            Self::Fields => "the fields are login and password, both texts, and optionally remember, true or false",
            Self::LoginName => {
                "login must be 1 to 64 letters, digits, dots, underscores, at signs or hyphens, and begin with a letter or digit"
            }
            Self::PasswordLength => "password must have at most 1024 bytes",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    login: Zeroizing<String>,
    password: Zeroizing<String>,
    #[serde(default)]
    remember: bool,
}

impl Credentials {
    /// Parses a body.
    ///
    /// # Errors
    /// [`BadBody`].
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let fields = match media_type {
            MediaType::Json => parse_json(body)?,
            MediaType::Form => serde_urlencoded::from_bytes(body).map_err(|_| BadBody::Fields)?,
        };
        let Fields { login, password, remember } = fields;
        let login_name = login.parse().map_err(|_| BadBody::LoginName)?;
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(BadBody::PasswordLength);
        }
        Ok(Self { login_name, password: Password::new(password), remember })
    }
}

fn parse_json(body: &[u8]) -> Result<Fields, BadBody> {
    // JSON is UTF-8 (RFC 8259 section 8.1); what is ignored would not be looked at for that.
    let text = str::from_utf8(body).map_err(|_| BadBody::NotJson)?;
    // A list of the fields' values would pass for the object.
    let object = text.trim_ascii_start().starts_with('{');
    match serde_json::from_str::<Fields>(text) {
        Ok(fields) if object => Ok(fields),
        _ if serde_json::from_str::<IgnoredAny>(text).is_ok() => Err(BadBody::Fields),
        _ => Err(BadBody::NotJson),
    }
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<(String, bool), BadBody> {
        Credentials::parse(MediaType::Json, body.as_bytes()).map(|found| (found.login_name.to_string(), found.remember))
    }

    fn form(body: &str) -> Result<(String, bool), BadBody> {
        Credentials::parse(MediaType::Form, body.as_bytes()).map(|found| (found.login_name.to_string(), found.remember))
    }

    #[test]
    fn takes_json_and_forms() {
        assert_eq!(json(r#"{"login":"Alice","password":"x"}"#), Ok(("alice".to_owned(), false)));
        assert_eq!(json(r#" {"password":"","login":"a","remember":true} "#), Ok(("a".to_owned(), true)));
        assert_eq!(form("login=Alice%40x.y&password=a+b%26&remember=true"), Ok(("alice@x.y".to_owned(), true)));
    }

    #[test]
    fn tells_malformed_json_from_wrong_fields() {
        for body in ["", "{", "nonsense", r#"{"login":"a","password":"b"}x"#, "{\"login\":\"\u{1}\"}"] {
            assert_eq!(json(body), Err(BadBody::NotJson), "{body}");
        }
        for body in [
            "null",
            "[]",
            r#"["a","b"]"#,
            r#"["a","b",true]"#,
            r#""a""#,
            "{}",
            r#"{"login":"a"}"#,
            r#"{"login":1,"password":"b"}"#,
            r#"{"login":"a","password":null}"#,
            r#"{"login":"a","password":"b","x":1}"#,
            r#"{"login":"a","password":"b","password":"c"}"#,
            r#"{"login":"a","password":"b","remember":"true"}"#,
        ] {
            assert_eq!(json(body), Err(BadBody::Fields), "{body}");
        }
        assert_eq!(Credentials::parse(MediaType::Json, b"{\"login\":\"\xff\"}").err(), Some(BadBody::NotJson));
        assert_eq!(json(r#"{"login":"a b","password":"x"}"#), Err(BadBody::LoginName));
        assert_eq!(
            json(&format!(r#"{{"login":"a","password":"{}"}}"#, "x".repeat(1025))),
            Err(BadBody::PasswordLength)
        );
    }

    #[test]
    fn refuses_a_form_with_other_fields() {
        for body in [
            "",
            "login=a",
            "login=a&password=b&x=1",
            "login=a&login=b&password=c",
            "login=a&password=b&remember=on",
            "%ff=1",
        ] {
            assert_eq!(form(body), Err(BadBody::Fields), "{body}");
        }
    }

    #[test]
    fn never_prints_the_password() {
        let credentials = Credentials::parse(MediaType::Form, b"login=a&password=hunter2").expect("well formed");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
