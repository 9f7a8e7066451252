//! Type for a 256-bit secret.
//!
//! Invariant: a secret is never printed, is compared in constant time, and is wiped from memory when it is dropped.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::id;

/// A 256-bit secret. It is wiped when it is dropped, is compared in constant time, and is never printed.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Creates a random secret.
    pub fn random() -> Self {
        Self(id::random())
    }

    /// Creates the secret with these bytes. The caller must wipe its own copy of the bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, to derive keys and to write the key file.
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
    fn never_prints_the_bytes() {
        assert_eq!(format!("{:?}", Secret::from_bytes([0x41; 32])), "Secret(..)");
    }

    #[test]
    fn compares_by_content() {
        assert_eq!(Secret::from_bytes([1; 32]), Secret::from_bytes([1; 32]));
        assert_ne!(Secret::random(), Secret::random());
    }
}
