//! Parses the request bodies that contain passwords, as JSON or as a form:
//!
//! * login: `login`, `password`, and optionally `remember`;
//! * step-up authentication: `password`;
//! * change of the password: `old_password`, `new_password`, and optionally `new_password_again`. Without a session
//!   also `login`, and optionally `remember`.
//!
//! The fields `csrf_token` and `rd` of Sealjar's own forms are also accepted. A body with any other field is refused.
//! The text of a password never appears in an error.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
#[cfg(feature = "server")]
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{LoginName, Password};

/// Format of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// A well-formed login request. Nothing in it has been compared with an account.
#[derive(Debug)]
pub struct Credentials {
    /// Name of the account.
    pub login_name: LoginName,
    /// Password that the client sent.
    pub password: Password,
    /// Whether the user wants a remembered session.
    pub remember: bool,
}

/// A well-formed step-up request: the user enters the password again.
#[derive(Debug)]
pub struct Reauthentication {
    /// Password that the client sent.
    pub password: Password,
}

/// A well-formed request to change the user's own password. The strength of the new password has not been checked.
#[derive(Debug)]
pub struct PasswordChange {
    /// Name of the account, or `None` for the account of the live session.
    pub login_name: Option<LoginName>,
    /// Whether the user wants a remembered session. Used only with a login name.
    pub remember: bool,
    /// Current password, as the client sent it.
    pub old_password: Password,
    /// New password.
    pub new_password: Password,
    /// Whether the repetition of the new password is equal to it. Also true if the client sent no repetition.
    pub is_confirmed: bool,
}

/// Error for a body that cannot be parsed. It never contains text of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBody {
    /// The body is not JSON.
    NotJson,
    /// A field is missing, unknown or of the wrong type. Contains a list of the expected fields.
    Fields(&'static str),
    /// The field `login` is not a valid login name.
    LoginName,
    /// A password has more than [`Password::MAX_BYTES`] bytes.
    PasswordLength,
}

impl BadBody {
    /// Returns a sentence that tells the developer of the client what to correct.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NotJson => "the body is not well-formed JSON",
            Self::Fields(expected) => expected,
            Self::LoginName => {
                "login must be 1 to 64 letters, digits, dots, underscores, at signs or hyphens, and begin with a letter or digit"
            }
            Self::PasswordLength => "password must have at most 1024 bytes",
        }
    }
}

impl Credentials {
    /// Expected fields, for the error message.
    const FIELDS: &str = "the fields must be login and password (strings), and optionally remember (boolean)";

    /// Parses the body of a login request.
    ///
    /// # Errors
    /// [`BadBody`] if the body is not well-formed, or a field is invalid.
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let SignInBody { login, password, remember, .. } = parse_fields(media_type, body, Self::FIELDS)?;
        let login_name = parse_login_name(&login)?;
        Ok(Self { login_name, password: bounded_password(password)?, remember })
    }
}

impl Reauthentication {
    /// Expected fields, for the error message.
    const FIELDS: &str = "the body must have only the field password (string)";

    /// Parses the body of a step-up request.
    ///
    /// # Errors
    /// [`BadBody`] if the body is not well-formed, or a field is invalid.
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let StepUpBody { password, .. } = parse_fields(media_type, body, Self::FIELDS)?;
        Ok(Self { password: bounded_password(password)? })
    }
}

impl PasswordChange {
    /// Expected fields, for the error message.
    const FIELDS: &str = "the fields must be old_password and new_password (strings), and optionally new_password_again (string); without a session also login (string), and optionally remember (boolean)";

    /// Parses the body of a request to change the password.
    ///
    /// # Errors
    /// [`BadBody`] if the body is not well-formed, or a field is invalid.
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let PasswordChangeBody { login, old_password, new_password, new_password_again, remember, .. } =
            parse_fields(media_type, body, Self::FIELDS)?;
        let login_name = login.as_deref().map(|login| parse_login_name(login)).transpose()?;
        let old_password = bounded_password(old_password)?;
        let new_password = Password::new(new_password);
        let is_confirmed =
            new_password_again.is_none_or(|again| Password::new(again).expose() == new_password.expose());
        Ok(Self { login_name, remember, old_password, new_password, is_confirmed })
    }
}

/// Body of a login request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(ToSchema), schema(as = SignIn))]
pub(crate) struct SignInBody {
    /// The login name. Case is ignored. Spaces and tabs before and after it are ignored.
    #[cfg_attr(feature = "server", schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]*$"))]
    login: Zeroizing<String>,
    /// At most 1024 bytes in UTF-8, after normalisation to NFC.
    #[cfg_attr(feature = "server", schema(value_type = String, max_length = 1024, format = Password))]
    password: Zeroizing<String>,
    /// Whether the session outlives the browser.
    #[serde(default)]
    remember: bool,
    /// The CSRF token of the form. Read in forms only.
    #[serde(default, rename = "csrf_token")]
    _csrf_token: Option<String>,
    /// Return URL of the form. Read in forms only.
    #[serde(default, rename = "rd")]
    _rd: Option<String>,
}

/// Body of a step-up request: the password again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(ToSchema), schema(as = StepUp))]
pub(crate) struct StepUpBody {
    /// At most 1024 bytes in UTF-8, after normalisation to NFC.
    #[cfg_attr(feature = "server", schema(value_type = String, max_length = 1024, format = Password))]
    password: Zeroizing<String>,
    /// The CSRF token of the form. Read in forms only.
    #[serde(default, rename = "csrf_token")]
    _csrf_token: Option<String>,
    /// Return URL of the form. Read in forms only.
    #[serde(default, rename = "rd")]
    _rd: Option<String>,
}

/// Body of a request to change the user's password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(ToSchema), schema(as = PasswordChange))]
pub(crate) struct PasswordChangeBody {
    /// The login name. If it is absent, the password of the session's account is changed.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]*$"))]
    login: Option<Zeroizing<String>>,
    /// At most 1024 bytes in UTF-8, after normalisation to NFC.
    #[cfg_attr(feature = "server", schema(value_type = String, max_length = 1024, format = Password))]
    old_password: Zeroizing<String>,
    /// At most 1024 bytes in UTF-8, after normalisation to NFC. Not the old password, and not a common one.
    #[cfg_attr(feature = "server", schema(value_type = String, min_length = 8, max_length = 1024, format = Password))]
    new_password: Zeroizing<String>,
    /// The new password again. If it is sent, it must be equal to `new_password`.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, max_length = 1024, format = Password))]
    new_password_again: Option<Zeroizing<String>>,
    /// Whether the session outlives the browser. Read only with `login`.
    #[serde(default)]
    remember: bool,
    /// The CSRF token of the form. Read in forms only.
    #[serde(default, rename = "csrf_token")]
    _csrf_token: Option<String>,
    /// Return URL of the form. Read in forms only.
    #[serde(default, rename = "rd")]
    _rd: Option<String>,
}

/// Parses a login name after removing spaces and tabs at both ends: the keyboards of phones append a space to a word
/// that they complete. No login name contains a space or tab, so the result cannot be the name of another account. All
/// later code, including the rate limits, gets only the trimmed name.
fn parse_login_name(text: &str) -> Result<LoginName, BadBody> {
    text.trim_matches([' ', '\t']).parse().map_err(|_| BadBody::LoginName)
}

/// Normalises a password and checks its maximum length. The time of the normalisation is bounded,
/// because the length of a body is limited.
fn bounded_password(password: Zeroizing<String>) -> Result<Password, BadBody> {
    let password = Password::new(password);
    if password.is_too_long() { Err(BadBody::PasswordLength) } else { Ok(password) }
}

/// Deserializes a body. `expected` describes the fields in the error.
fn parse_fields<T: DeserializeOwned>(media_type: MediaType, body: &[u8], expected: &'static str) -> Result<T, BadBody> {
    match media_type {
        MediaType::Json => parse_json(body, expected),
        MediaType::Form => serde_urlencoded::from_bytes(body).map_err(|_| BadBody::Fields(expected)),
    }
}

/// Deserializes a JSON object.
fn parse_json<T: DeserializeOwned>(body: &[u8], expected: &'static str) -> Result<T, BadBody> {
    // JSON must be UTF-8 (RFC 8259 section 8.1). serde_json does not check this for values that it ignores.
    let text = str::from_utf8(body).map_err(|_| BadBody::NotJson)?;
    // serde also deserializes a struct from an array of its values. Only an object is accepted here.
    let is_object = text.trim_ascii_start().starts_with('{');
    match serde_json::from_str(text) {
        Ok(fields) if is_object => Ok(fields),
        _ if serde_json::from_str::<IgnoredAny>(text).is_ok() => Err(BadBody::Fields(expected)),
        _ => Err(BadBody::NotJson),
    }
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hint())
    }
}

impl std::error::Error for BadBody {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a login request in JSON. Returns the login name and `remember`.
    fn json(body: &str) -> Result<(String, bool), BadBody> {
        Credentials::parse(MediaType::Json, body.as_bytes())
            .map(|parsed| (parsed.login_name.to_string(), parsed.remember))
    }

    /// Parses a login request in a form. Returns the login name and `remember`.
    fn form(body: &str) -> Result<(String, bool), BadBody> {
        Credentials::parse(MediaType::Form, body.as_bytes())
            .map(|parsed| (parsed.login_name.to_string(), parsed.remember))
    }

    #[test]
    fn accepts_json_and_forms() {
        assert_eq!(json(r#"{"login":"Alice","password":"x"}"#), Ok(("alice".to_owned(), false)));
        assert_eq!(json(r#" {"password":"","login":"a","remember":true} "#), Ok(("a".to_owned(), true)));
        assert_eq!(form("login=Alice%40x.y&password=a+b%26&remember=true"), Ok(("alice@x.y".to_owned(), true)));
        assert_eq!(form("login=a&password=b&csrf_token=x&rd=%2Fy"), Ok(("a".to_owned(), false)));
        let step_up = |body: &str| Reauthentication::parse(MediaType::Form, body.as_bytes());
        assert!(step_up("password=x&csrf_token=y&rd=z").is_ok() && step_up("password=x&login=a").is_err());
        let change = |body: &str| PasswordChange::parse(MediaType::Form, body.as_bytes());
        assert!(change("old_password=x&new_password=y&csrf_token=z").is_ok() && change("new_password=y").is_err());
    }

    #[test]
    fn ignores_spaces_and_tabs_around_the_login_name() {
        assert_eq!(json(r#"{"login":"Alice ","password":"x"}"#), Ok(("alice".to_owned(), false)));
        assert_eq!(form("login=+alice%09&password=+x+"), Ok(("alice".to_owned(), false)));
        let password = Credentials::parse(MediaType::Form, b"login=a+&password=+x+").expect("well formed").password;
        assert_eq!(password.expose(), b" x ", "the password is not trimmed");
        let change = PasswordChange::parse(MediaType::Form, b"login=alice+&old_password=x&new_password=y");
        assert_eq!(change.ok().and_then(|change| change.login_name).as_ref().map(LoginName::as_str), Some("alice"));
        for invalid in ["a b", "a\u{a0}", " ", "a\n"] {
            let body = serde_json::json!({ "login": invalid, "password": "x" }).to_string();
            assert_eq!(json(&body), Err(BadBody::LoginName), "{invalid:?}");
        }
    }

    #[test]
    fn distinguishes_malformed_json_from_wrong_fields() {
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
            assert_eq!(json(body), Err(BadBody::Fields(Credentials::FIELDS)), "{body}");
        }
        assert_eq!(Credentials::parse(MediaType::Json, b"{\"login\":\"\xff\"}").err(), Some(BadBody::NotJson));
        assert_eq!(json(r#"{"login":"a b","password":"x"}"#), Err(BadBody::LoginName));
        assert_eq!(
            json(&format!(r#"{{"login":"a","password":"{}"}}"#, "x".repeat(1025))),
            Err(BadBody::PasswordLength)
        );
    }

    #[test]
    fn refuses_a_form_with_missing_or_unknown_fields() {
        for body in [
            "",
            "login=a",
            "login=a&password=b&x=1",
            "login=a&login=b&password=c",
            "login=a&password=b&remember=on",
            "%ff=1",
        ] {
            assert_eq!(form(body), Err(BadBody::Fields(Credentials::FIELDS)), "{body}");
        }
    }

    #[test]
    fn debug_output_of_credentials_hides_the_password() {
        let credentials = Credentials::parse(MediaType::Form, b"login=a&password=hunter2").expect("well formed");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
