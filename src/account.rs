//! The fields of an account, each parsed into a type that can only hold a valid value.
//!
//! The submodule [`credentials`] parses request bodies that contain passwords. The submodule `password` hashes and
//! checks passwords. Used by `store` (account records), `http` (login) and `cli` (`sealjar users`).

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

/// Error for a field of an account that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadField(&'static str);

impl BadField {
    /// Returns the broken rule as a sentence for the user.
    pub const fn rule(self) -> &'static str {
        self.0
    }
}

/// Login name: matches `[a-z0-9][a-z0-9._@-]{0,63}` after conversion to ASCII lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginName(String);

impl LoginName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LoginName {
    type Err = BadField;

    fn from_str(text: &str) -> Result<Self, BadField> {
        let name = text.to_ascii_lowercase();
        let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let has_valid_start = name.bytes().next().is_some_and(is_alphanumeric);
        if has_valid_start
            && name.len() <= 64
            && name.bytes().all(|byte| is_alphanumeric(byte) || b"._@-".contains(&byte))
        {
            Ok(Self(name))
        } else if text.trim() != text && text.trim().parse::<Self>().is_ok() {
            Err(BadField("a login name must not begin or end with whitespace; remove it"))
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

/// Roles of an account. Each role matches `[A-Za-z0-9_.:-]{1,64}`. The roles are sorted and joined with commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(String);

impl Roles {
    /// Maximum length of the joined roles. The claims of a token accept the same maximum.
    const MAX_BYTES: usize = 1024;

    /// Returns whether the text is a valid role.
    pub fn is_role(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
    }

    /// Sorts and joins the roles of an account. Duplicates are removed.
    ///
    /// # Errors
    /// [`BadField`] if a role is invalid, or if the joined roles are too long.
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

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Display name: at most 256 bytes without control characters. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DisplayName(String);

impl DisplayName {
    /// Returns the text.
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

/// Email address: at most 254 visible ASCII characters with an `@` that is not at the beginning or end. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Email(String);

impl Email {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = BadField;

    fn from_str(text: &str) -> Result<Self, BadField> {
        let has_both_parts =
            text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if text.is_empty() || (has_both_parts && text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadField("an email address is visible ASCII with an @ inside, at most 254 bytes"))
        }
    }
}

/// Reason why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPassword {
    /// The password has fewer than 8 characters.
    TooShort,
    /// The password has more than [`Password::MAX_BYTES`] bytes.
    TooLong,
    /// The password is so common that attackers guess it first.
    Common,
}

impl BadPassword {
    /// Returns the broken rule as a sentence for the user.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::TooShort => "a password has at least 8 characters",
            Self::TooLong => "a password has at most 1024 bytes",
            Self::Common => {
                "this password is too common, or is a common password with digits or punctuation added; choose another, such as several words"
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

/// A password in the normalised form that is hashed and compared. It is zeroed when dropped, and never printed.
///
/// Keyboards and systems encode the same text with different code points, such as "\u{e4}" and "a\u{308}", and with different
/// space characters. Therefore every space character is replaced by U+0020, and then the text is normalised to NFC. This is
/// the profile `OpaqueString` of [RFC 8265 section 4.2](https://www.rfc-editor.org/rfc/rfc8265#section-4.2), except that no
/// character is forbidden.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Maximum length in bytes of UTF-8, after normalisation. Because of this limit, the length of a password has almost
    /// no influence on the time of its hash.
    pub const MAX_BYTES: usize = 1024;

    /// Normalises the text.
    pub fn new(text: Zeroizing<String>) -> Self {
        // ASCII text is already normalised. It is the most common case, and needs no copy.
        if text.is_ascii() { Self(text) } else { Self(Zeroizing::new(normalize(&text))) }
    }

    /// Returns whether the password has more than [`Self::MAX_BYTES`] bytes. No account can have such a password.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > Self::MAX_BYTES
    }

    /// Checks the length of a new password: at least 8 characters. A character is a code point after normalisation. No mix of
    /// character types is required.
    ///
    /// [NIST SP 800-63B-4 section 3.1.1.2](https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver) requires 15
    /// characters if the password is the only factor. `docs/passwords.md` documents this difference.
    ///
    /// # Errors
    /// [`BadPassword::TooShort`] or [`BadPassword::TooLong`].
    pub fn check_new(&self) -> Result<(), BadPassword> {
        if self.0.chars().count() < 8 {
            return Err(BadPassword::TooShort);
        }
        if self.is_too_long() {
            return Err(BadPassword::TooLong);
        }
        Ok(())
    }

    /// Returns the bytes to hash.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the text, for the comparison with common passwords.
    #[cfg(feature = "server")]
    pub(crate) fn expose_text(&self) -> &str {
        &self.0
    }
}

/// Replaces every space character (Unicode general category Zs) by U+0020, and normalises the text to NFC.
pub(crate) fn normalize(text: &str) -> String {
    let with_plain_space = |c: char| if is_other_space(c) { ' ' } else { c };
    // NFC makes a text at most three times as long (UAX 15). With this capacity, the string is never reallocated: a
    // reallocation would leave an unwiped copy of the password in memory.
    let mut normalized = String::with_capacity(3 * text.len());
    normalized.extend(text.chars().map(with_plain_space).nfc());
    normalized
}

/// Returns whether the character is a space separator (Unicode general category Zs) other than U+0020.
const fn is_other_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The fields of an account other than its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name that the user enters to log in.
    pub login_name: LoginName,
    /// Name that applications show for the user.
    pub display_name: DisplayName,
    /// Email address of the user.
    pub email: Email,
    /// Roles of the account.
    pub roles: Roles,
}

/// Returns a random subject (128 bits) for a new account. If an account is deleted and created again with the same
/// name, it gets a different subject.
pub fn new_subject() -> String {
    URL_SAFE_NO_PAD.encode(id::random::<16>())
}
