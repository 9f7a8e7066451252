//! Accounts: who may sign in, and the types that their fields are checked into.

pub mod credentials;
#[cfg(feature = "server")]
pub(crate) mod password;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::id;

/// A field of an account that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadField(&'static str);

impl BadField {
    /// The rule, in words.
    pub const fn rule(self) -> &'static str {
        self.0
    }
}

/// `[a-z0-9][a-z0-9._@-]{0,63}`, after ASCII lower-casing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginName(String);

impl LoginName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LoginName {
    type Err = BadField;

    fn from_str(text: &str) -> Result<Self, BadField> {
        let name = text.to_ascii_lowercase();
        let ordinary = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = name.bytes().next().is_some_and(ordinary);
        if starts_well && name.len() <= 64 && name.bytes().all(|byte| ordinary(byte) || b"._@-".contains(&byte)) {
            Ok(Self(name))
        } else if text.trim() != text && text.trim().parse::<Self>().is_ok() {
            Err(BadField("a login name has no blank at its beginning or end; remove it"))
        } else {
            Err(BadField(
                "a login name is 1 to 64 letters, digits, dots, underscores, at signs or hyphens, and begins with a letter or digit",
            ))
        }
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Roles, each `[A-Za-z0-9_.:-]{1,64}`, sorted and joined by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(String);

impl Roles {
    /// The longest list, joined, that a token's claims accept.
    const MAX_BYTES: usize = 1024;

    /// Whether the text can be a role.
    pub fn is_role(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
    }

    /// The roles of an account, in any order.
    ///
    /// # Errors
    /// [`BadField`] if one breaks the rule, or they are too long together.
    pub fn new(roles: &[String]) -> Result<Self, BadField> {
        if !roles.iter().all(|role| Self::is_role(role)) {
            return Err(BadField("a role is 1 to 64 letters, digits, underscores, dots, colons or hyphens"));
        }
        let mut sorted: Vec<&str> = roles.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let joined = sorted.join(",");
        if joined.len() > Self::MAX_BYTES {
            return Err(BadField("the roles of an account, joined by commas, have at most 1024 bytes"));
        }
        Ok(Self(joined))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// At most 256 bytes of text without control characters; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DisplayName(String);

impl DisplayName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = BadField;

    fn from_str(text: &str) -> Result<Self, BadField> {
        if text.len() <= 256 && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadField("a display name has at most 256 bytes and no control characters"))
        }
    }
}

/// An address of visible ASCII with an `@` inside, at most 254 bytes; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Email(String);

impl Email {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = BadField;

    fn from_str(text: &str) -> Result<Self, BadField> {
        let parts = text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if text.is_empty() || (parts && text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic())) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadField("an email address is visible ASCII with an @ inside, at most 254 bytes"))
        }
    }
}

/// Reason why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPassword {
    /// Fewer than 8 characters.
    TooShort,
    /// More than [`Password::MAX_BYTES`].
    TooLong,
    /// One of the first that are guessed.
    Common,
}

impl BadPassword {
    /// The rule that it breaks.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::TooShort => "a password has at least 8 characters",
            Self::TooLong => "a password has at most 1024 bytes",
            Self::Common => {
                "this password is among the first that are guessed, perhaps with digits or punctuation added; choose another, such as several words"
            }
        }
    }
}

impl fmt::Display for BadPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl std::error::Error for BadPassword {}

impl From<BadPassword> for BadField {
    fn from(bad: BadPassword) -> Self {
        Self(bad.rule())
    }
}

/// A password in the one spelling that is hashed and compared: zeroed when dropped, never printed.
///
/// Keyboards and systems write the same text as different code points: "\u{e4}" or "a\u{308}", and several kinds of spaces. So
/// spaces become U+0020, and then the text is normalised (NFC), as the profile `OpaqueString` of [RFC 8265 section
/// 4.2](https://www.rfc-editor.org/rfc/rfc8265#section-4.2) says. No character is forbidden.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Maximum length in UTF-8, after normalisation. It keeps the time of a hash independent of the password.
    pub const MAX_BYTES: usize = 1024;

    /// The password that this text spells.
    pub fn new(text: Zeroizing<String>) -> Self {
        // The usual case, and nothing is copied.
        if text.is_ascii() { Self(text) } else { Self(Zeroizing::new(normalize(&text))) }
    }

    /// Whether it has more than [`Self::MAX_BYTES`]. No password that can be set has.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > Self::MAX_BYTES
    }

    /// Checks that it may be set: at least 8 characters, and no rules of composition. A character is a code point after
    /// normalisation. [NIST SP 800-63B-4 section
    /// 3.1.1.2](https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver) asks for 15 characters if the password is the only
    /// factor; `docs/passwords.md` names that difference.
    ///
    /// # Errors
    /// [`BadPassword::TooShort`] and [`BadPassword::TooLong`].
    pub fn check_new(&self) -> Result<(), BadPassword> {
        if self.0.chars().count() < 8 {
            return Err(BadPassword::TooShort);
        }
        if self.is_too_long() {
            return Err(BadPassword::TooLong);
        }
        Ok(())
    }

    /// The bytes, for hashing.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, for the check against common passwords.
    #[cfg(feature = "server")]
    pub(crate) fn expose_text(&self) -> &str {
        &self.0
    }
}

/// Replaces every space (general category Zs) by U+0020, and normalises to NFC.
pub(crate) fn normalize(text: &str) -> String {
    let space = |c: char| if is_other_space(c) { ' ' } else { c };
    // NFC is at most three times as long (UAX 15). The text never moves to other memory, where a copy of it would stay behind.
    let mut normal = String::with_capacity(3 * text.len());
    normal.extend(text.chars().map(space).nfc());
    normal
}

/// Whether it is a space separator (general category Zs) other than U+0020.
const fn is_other_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What an account is made of, besides its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name to sign in with.
    pub login_name: LoginName,
    /// What to call the user.
    pub display_name: DisplayName,
    /// An address.
    pub email: Email,
    /// Its roles.
    pub roles: Roles,
}

/// A new account's subject: 128 random bits, so that an account made again under the same name is another subject.
pub fn new_subject() -> String {
    URL_SAFE_NO_PAD.encode(id::random::<16>())
}
