//! Bit sets in the claims: [`Methods`] and [`Flags`], one byte each.
//!
//! Invariant: a token with an unknown bit is refused, because only a later version that defines the bit can have set it.

use serde::Serialize;

/// Methods by which the user proved the identity, one bit per method. No bit is set if the application authenticated the user
/// (`embed`).
///
/// The format defines bits 0 to 5: password, TOTP, recovery code, passkey, passkey with user verification, one-time link. This
/// version sets only bit 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Methods(u8);

impl Methods {
    /// No method: the application authenticated the user.
    pub const NONE: Self = Self(0);
    /// Password of the account.
    pub const PASSWORD: Self = Self(1);
    const KNOWN: u8 = 0b11_1111;

    #[inline(always)]
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// Returns the byte in the token.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the names of the methods that `sealjar inspect` prints.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 6] = ["password", "totp", "recovery-code", "passkey", "passkey-verified", "link"];
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// Type of a session: ordinary or remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Flags(u8);

impl Flags {
    /// The session is remembered: it has longer timeouts, and its cookie is kept when the browser is closed.
    pub const REMEMBERED: Self = Self(1);
    const KNOWN: u8 = Self::REMEMBERED.0;

    #[inline(always)]
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// Whether the session is remembered.
    pub const fn is_remembered(self) -> bool {
        self.0 & Self::REMEMBERED.0 != 0
    }
}
