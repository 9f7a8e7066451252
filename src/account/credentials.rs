//! The bodies that carry passwords, as JSON or as a form: a sign-in (`login`, `password`, and optionally `remember`), a step-up
//! (`password`) and a change of the password (`old_password`, `new_password`; without a session also `login`, and optionally
//! `remember`).
//!
//! A form's own fields, `csrf_token` and `rd`, may stand beside these; any other is refused.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
#[cfg(feature = "server")]
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{LoginName, Password};

/// How a body is written.
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

/// A step-up: the password again.
#[derive(Debug)]
pub struct Reauthentication {
    /// The password as given.
    pub password: Password,
}

/// A change of the own password. Whether the new one is good enough is not looked at.
#[derive(Debug)]
pub struct PasswordChange {
    /// Whose; `None` for that of the live session.
    pub login_name: Option<LoginName>,
    /// Whether the session that begins with it is to be a remembered one. Only looked at with a login name.
    pub remember: bool,
    /// The password until now, as given.
    pub old_password: Password,
    /// The one from now on.
    pub new_password: Password,
    /// Whether it was entered twice in the same way, or only once.
    pub is_repeated: bool,
}

/// Why a body is not what it should be. What it held is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBody {
    /// Not JSON.
    NotJson,
    /// Other fields than these, or of other types.
    Fields(&'static str),
    /// Not a login name.
    LoginName,
    /// A password over [`Password::MAX_BYTES`].
    PasswordLength,
}

impl BadBody {
    /// What to do about it.
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
    const FIELDS: &str = "the fields are login and password, both texts, and optionally remember, true or false";

    /// Parses the body of a sign-in.
    ///
    /// # Errors
    /// [`BadBody`].
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let SignInBody { login, password, remember, .. } = fields(media_type, body, Self::FIELDS)?;
        let login_name = login_name(&login)?;
        Ok(Self { login_name, password: bounded(password)?, remember })
    }
}

impl Reauthentication {
    const FIELDS: &str = "the field is password, a text";

    /// Parses the body of a step-up.
    ///
    /// # Errors
    /// [`BadBody`].
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let StepUpBody { password, .. } = fields(media_type, body, Self::FIELDS)?;
        Ok(Self { password: bounded(password)? })
    }
}

impl PasswordChange {
    const FIELDS: &str = "the fields are old_password and new_password, both texts, and optionally new_password_again; without a session also login, a text, and optionally remember, true or false";

    /// Parses the body of a change of the password.
    ///
    /// # Errors
    /// [`BadBody`].
    pub fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, BadBody> {
        let PasswordChangeBody { login, old_password, new_password, new_password_again, remember, .. } =
            fields(media_type, body, Self::FIELDS)?;
        let login_name = login.as_deref().map(|login| login_name(login)).transpose()?;
        let (old_password, new_password) = (bounded(old_password)?, Password::new(new_password));
        let is_repeated = new_password_again.is_none_or(|again| Password::new(again).expose() == new_password.expose());
        Ok(Self { login_name, remember, old_password, new_password, is_repeated })
    }
}

/// A sign-in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(ToSchema), schema(as = SignIn))]
pub(crate) struct SignInBody {
    /// The login name. Upper and lower case are the same. Spaces and tabs around it are ignored.
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

/// The password again.
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

/// A change of the user's password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(ToSchema), schema(as = PasswordChange))]
pub(crate) struct PasswordChangeBody {
    /// The login name. Without it, the account is that of the session.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]*$"))]
    login: Option<Zeroizing<String>>,
    /// At most 1024 bytes in UTF-8, after normalisation to NFC.
    #[cfg_attr(feature = "server", schema(value_type = String, max_length = 1024, format = Password))]
    old_password: Zeroizing<String>,
    /// At most 1024 bytes in UTF-8, after normalisation to NFC. Not the old password, and not a common one.
    #[cfg_attr(feature = "server", schema(value_type = String, min_length = 8, max_length = 1024, format = Password))]
    new_password: Zeroizing<String>,
    /// The new password again, as a form asks for it. If it is sent, it must be the same.
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

/// Parses a login name, without the blanks around it: keyboards of phones append one after a word that they complete. No login name
/// has a blank, so nobody is taken for another. Everything after this, rate limits included, sees only the name without them.
fn login_name(text: &str) -> Result<LoginName, BadBody> {
    text.trim_matches([' ', '\t']).parse().map_err(|_| BadBody::LoginName)
}

/// The length of the body bounds what is normalised here.
fn bounded(password: Zeroizing<String>) -> Result<Password, BadBody> {
    let password = Password::new(password);
    if password.is_too_long() { Err(BadBody::PasswordLength) } else { Ok(password) }
}

fn fields<T: DeserializeOwned>(media_type: MediaType, body: &[u8], expected: &'static str) -> Result<T, BadBody> {
    match media_type {
        MediaType::Json => parse_json(body, expected),
        MediaType::Form => serde_urlencoded::from_bytes(body).map_err(|_| BadBody::Fields(expected)),
    }
}

fn parse_json<T: DeserializeOwned>(body: &[u8], expected: &'static str) -> Result<T, BadBody> {
    // JSON is UTF-8 (RFC 8259 section 8.1); what is ignored would not be looked at for that.
    let text = str::from_utf8(body).map_err(|_| BadBody::NotJson)?;
    // A list of the fields' values would pass for the object.
    let object = text.trim_ascii_start().starts_with('{');
    match serde_json::from_str(text) {
        Ok(fields) if object => Ok(fields),
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
        assert_eq!(form("login=a&password=b&csrf_token=x&rd=%2Fy"), Ok(("a".to_owned(), false)));
        let step_up = |body: &str| Reauthentication::parse(MediaType::Form, body.as_bytes());
        assert!(step_up("password=x&csrf_token=y&rd=z").is_ok() && step_up("password=x&login=a").is_err());
        let change = |body: &str| PasswordChange::parse(MediaType::Form, body.as_bytes());
        assert!(change("old_password=x&new_password=y&csrf_token=z").is_ok() && change("new_password=y").is_err());
    }

    #[test]
    fn a_blank_around_the_login_name_does_not_count() {
        assert_eq!(json(r#"{"login":"Alice ","password":"x"}"#), Ok(("alice".to_owned(), false)));
        assert_eq!(form("login=+alice%09&password=+x+"), Ok(("alice".to_owned(), false)));
        let password = Credentials::parse(MediaType::Form, b"login=a+&password=+x+").expect("well formed").password;
        assert_eq!(password.expose(), b" x ", "the password is as it was typed");
        let change = PasswordChange::parse(MediaType::Form, b"login=alice+&old_password=x&new_password=y");
        assert_eq!(change.ok().and_then(|change| change.login_name).as_ref().map(LoginName::as_str), Some("alice"));
        for other in ["a b", "a\u{a0}", " ", "a\n"] {
            let body = serde_json::json!({ "login": other, "password": "x" }).to_string();
            assert_eq!(json(&body), Err(BadBody::LoginName), "{other:?}");
        }
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
    fn refuses_a_form_with_other_fields() {
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
    fn never_prints_the_password() {
        let credentials = Credentials::parse(MediaType::Form, b"login=a&password=hunter2").expect("well formed");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
