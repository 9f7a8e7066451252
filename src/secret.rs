//! Bytes that must not be printed, compared in variable time, or left behind in memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::id;

/// A 256-bit secret: zeroed when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A fresh secret.
    pub fn random() -> Self {
        Self(id::random())
    }

    /// The secret with exactly these bytes. The caller's own copy is the caller's to wipe.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for deriving keys and for writing the key file.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints() {
        assert_eq!(format!("{:?}", Secret::from_bytes([0x41; 32])), "Secret(..)");
    }

    #[test]
    fn compares_by_content() {
        assert_eq!(Secret::from_bytes([1; 32]), Secret::from_bytes([1; 32]));
        assert_ne!(Secret::random(), Secret::random());
    }
}
