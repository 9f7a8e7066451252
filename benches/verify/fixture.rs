//! Fixtures of the benchmarks: revocation lists, sessions, and tokens. A token is available as a browser sends it, and in parts
//! for the raw cipher.

use std::hint::black_box;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20::R20;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sealjar::clock::{Now, UnixTime};
use sealjar::id::{Kid, Sid, Site};
use sealjar::keyring::{Dates, Key, KeyRing};
use sealjar::revocation::{Entry, Freshness, RevocationList, WhenStale};
use sealjar::seal::CookieName;
use sealjar::seal::token::UntrustedToken;
use sealjar::secret::Secret;
use sealjar::session::claims::Methods;
use sealjar::session::lifetime::Lifetime;
use sealjar::session::{Identity, Lifetimes, Sessions};
use sha2::Sha256;

use crate::HOUR;

const COOKIE: &str = "__Host-sealjar";
const OTHER_COOKIES: &str = "theme=dark; lang=en-GB; ";
const SECRET: [u8; 32] = [7; 32];

/// A session's token. It is split into its parts according to the description of the format, without the code under test.
pub(crate) struct Token {
    pub(crate) header: Vec<u8>,
    pub(crate) sid: Sid,
    pub(crate) nonce: XNonce,
    pub(crate) associated_data: Vec<u8>,
    pub(crate) claims: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) tag: Tag,
}

impl Token {
    /// Creates a session and returns its token.
    pub(crate) fn sealed_by(sessions: &Sessions, now: Now) -> Self {
        let sealed = sessions.sign_in(&alice(), Methods::PASSWORD, false, b"", site(), now).expect("a short session");
        let bytes = URL_SAFE_NO_PAD.decode(sealed.token.expose()).expect("base64url");
        let (fields, tag) = bytes.split_last_chunk::<16>().expect("a tag");
        let (nonce, ciphertext) = fields[9..].split_first_chunk::<24>().expect("a nonce");
        let nonce = XNonce::from(*nonce);
        let tag = Tag::from(*tag);
        let kid = Kid::of_key(&SECRET);
        let parts = [&[1], kid.as_bytes().as_slice(), b"session", COOKIE.as_bytes()];
        let associated_data: Vec<u8> =
            parts.iter().flat_map(|part| [&[u8::try_from(part.len()).expect("short")], *part].concat()).collect();
        let mut claims = ciphertext.to_vec();
        let opened =
            other_cipher().decrypt_inout_detached(&nonce, &associated_data, claims.as_mut_slice().into(), &tag);
        opened.expect("the raw cipher opens the sealed token");
        let header = Self::header(sealed.token.expose());
        let ciphertext = ciphertext.to_vec();
        Self { header, sid: sealed.sid, nonce, associated_data, claims, ciphertext, tag }
    }

    /// Returns a `Cookie` field with this token and other cookies.
    pub(crate) fn header(token: &str) -> Vec<u8> {
        format!("{OTHER_COOKIES}{COOKIE}={token}").into_bytes()
    }

    /// Returns the value of the cookie.
    pub(crate) fn value(&self) -> &[u8] {
        &self.header[OTHER_COOKIES.len() + COOKIE.len() + 1..]
    }

    /// Returns the value of the cookie as the type that `Sessions::open` takes.
    pub(crate) fn untrusted(&self) -> UntrustedToken<'_> {
        UntrustedToken::from_cookie_value(self.value()).expect("the length is valid")
    }

    /// Reads every byte of the token, so that it is in the CPU cache.
    pub(crate) fn read_all(&self) {
        for part in [&self.header, &self.associated_data, &self.claims, &self.ciphertext] {
            black_box(part.iter().fold(0, |sum, byte| sum ^ byte));
        }
    }
}

/// Derives the key for session tokens according to the description of the format.
fn raw_key() -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, &SECRET).expand(b"sealjar v1 session", &mut key).expect("32 bytes");
    key
}

/// Returns the cipher of the crate `chacha20poly1305`.
pub(crate) fn other_cipher() -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&raw_key().into())
}

/// The cipher without the code around it, in the fastest available implementation: HChaCha20 of `chacha20`, then `ring`.
pub(crate) struct RawCipher([u8; 32]);

impl RawCipher {
    pub(crate) fn new() -> Self {
        Self(raw_key())
    }

    pub(crate) fn open(&self, token: &Token, text: &mut [u8]) {
        let (key, nonce) = self.inner(token);
        let aad = Aad::from(&token.associated_data);
        let tag = <[u8; 16]>::from(token.tag).into();
        key.open_in_place_separate_tag(nonce, aad, tag, text, 0..).expect("authentic");
    }

    pub(crate) fn seal(&self, token: &Token, text: &mut [u8]) -> impl AsRef<[u8]> + use<> {
        let (key, nonce) = self.inner(token);
        key.seal_in_place_separate_tag(nonce, Aad::from(&token.associated_data), text).expect("short")
    }

    fn inner(&self, token: &Token) -> (LessSafeKey, Nonce) {
        let (first, rest) = token.nonce.split_first_chunk::<16>().expect("24 bytes");
        let subkey = chacha20::hchacha::<R20>((&self.0).into(), first.into());
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(rest);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("32 bytes");
        (LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce))
    }
}

/// Creates a revocation list that refuses these sessions.
pub(crate) fn list_of(sids: &[Sid], expires_at: UnixTime, now: Now) -> RevocationList {
    let list = RevocationList::new(Freshness { max_staleness: 24 * HOUR, when_stale: WhenStale::Refuse });
    list.mark_synced(now);
    sids.iter().for_each(|sid| list.add_durable(&Entry::Session { sid: *sid, expires_at }));
    list.resize_filters();
    list
}

/// Creates sessions with this revocation list and a single key, which is active.
pub(crate) fn sessions_under(list: Arc<RevocationList>) -> Sessions {
    let epoch = UnixTime(0);
    let dates = Dates { created_at: epoch, activates_at: Some(epoch), revoked_at: None, max_lifetime: 24 * HOUR };
    let ring = KeyRing::new(vec![Key::new(Secret::from_bytes(SECRET), dates)]);
    let lifetime = Lifetime { idle: HOUR, absolute: 12 * HOUR };
    let cookie = CookieName::new(COOKIE).expect("a token");
    Sessions::new(ring, list, cookie, Lifetimes { ordinary: lifetime, remembered: lifetime })
}

/// Returns the site of all sessions of the benchmarks.
pub(crate) fn site() -> Site {
    Site::from_bytes([3; 8])
}

/// Returns the identity of a user with a display name, an email address and roles.
pub(crate) fn alice() -> Identity<'static> {
    Identity {
        sub: "0123456789abcdef0123456789abcdef",
        account_generation: 1,
        global_generation: 0,
        login_name: "alice",
        display_name: "Alice Example",
        email: "alice@example.org",
        roles: "admin,ops",
    }
}
