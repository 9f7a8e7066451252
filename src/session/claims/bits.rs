//! The two bytes of the claims that are sets of bits. A token with an unknown bit is refused, because a bit can only be added by a
//! version that gives it a meaning.

use serde::Serialize;

/// How the user proved the identity: one bit for each method. No bit is set if the application did it (`embed`).
///
/// Bits 0 to 5 belong to the format: password, TOTP, recovery code, passkey, passkey with user verification, one-time link. This
/// version sets bit 0 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Methods(u8);

impl Methods {
    /// No method that Sealjar knows of.
    pub const NONE: Self = Self(0);
    /// The password of the account.
    pub const PASSWORD: Self = Self(1);
    const KNOWN: u8 = 0b11_1111;

    #[inline(always)]
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// The byte of the token.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The names of the methods, as `sealjar inspect` prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 6] = ["password", "totp", "recovery-code", "passkey", "passkey-verified", "link"];
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// Kinds of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Flags(u8);

impl Flags {
    /// The user asked to be remembered: the longer pair of lifetimes, and a cookie that outlives the browser.
    pub const REMEMBERED: Self = Self(1);
    const KNOWN: u8 = Self::REMEMBERED.0;

    #[inline(always)]
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// Whether the session is a remembered one.
    pub const fn remembered(self) -> bool {
        self.0 & Self::REMEMBERED.0 != 0
    }
}
