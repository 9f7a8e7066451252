//! Reference implementation: a second encoder and decoder of the token, which was written from `tests/vectors/README.md` and not from `src/`.
//! So a mistake passes the tests only if both implementations have it.
//!
//! The code is simple instead of fast, and has a fixed text for every reason of a refusal. It shares only the cipher, the hash
//! and HKDF with the library.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::encoding::{base64url, from_base64url, hex};

const CLOCK_SKEW_SECS: u64 = 60;

/// Claims, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    #[serde(with = "hex")]
    pub(crate) sid: Vec<u8>,
    #[serde(with = "hex")]
    pub(crate) chain: Vec<u8>,
    pub(crate) renewals: u64,
    #[serde(with = "hex")]
    pub(crate) link: Vec<u8>,
    #[serde(with = "hex")]
    pub(crate) parent: Vec<u8>,
    #[serde(with = "hex")]
    pub(crate) site: Vec<u8>,
    pub(crate) sub: String,
    pub(crate) account_generation: u64,
    pub(crate) global_generation: u64,
    pub(crate) login_name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) roles: String,
    pub(crate) authenticated_at: u64,
    pub(crate) sealed_at: u64,
    pub(crate) idle_deadline: u64,
    pub(crate) absolute_deadline: u64,
    pub(crate) methods: u8,
    pub(crate) flags: u8,
    #[serde(with = "hex")]
    pub(crate) app_data: Vec<u8>,
}

/// Key of the ring.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    #[serde(with = "hex")]
    pub(crate) key: Vec<u8>,
    #[serde(default)]
    pub(crate) revoked: bool,
}

/// Revocations: tokens that are refused before their deadlines.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Revocations {
    pub(crate) sids: Vec<String>,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) global_generation: u64,
}

/// Revocation of the tokens of `sub` with an account generation lower than `below`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subject {
    pub(crate) sub: String,
    pub(crate) below: u64,
}

/// Error for the first check that failed: the reason and the detail, as in README.md.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad(pub(crate) &'static str, pub(crate) &'static str);

pub(crate) fn kid(key: &[u8]) -> Vec<u8> {
    Sha256::digest([b"sealjar kid v1", key].concat())[..8].to_vec()
}

pub(crate) fn purpose_key(key: &[u8], purpose: &str) -> [u8; 32] {
    let mut derived = [0; 32];
    let info = format!("sealjar v1 {purpose}");
    Hkdf::<Sha256>::new(None, key).expand(info.as_bytes(), &mut derived).expect("32 bytes");
    derived
}

pub(crate) fn aad(kid: &[u8], purpose: &str, cookie: &str) -> Vec<u8> {
    let fields = [&[1], kid, purpose.as_bytes(), cookie.as_bytes()];
    fields.iter().flat_map(|field| [&[u8::try_from(field.len()).expect("short")], *field].concat()).collect()
}

pub(crate) fn seal(key: &[u8], purpose: &str, cookie: &str, nonce: &[u8], plaintext: &[u8]) -> String {
    let aad = aad(&kid(key), purpose, cookie);
    let nonce: [u8; 24] = nonce.try_into().expect("24 bytes");
    let cipher = XChaCha20Poly1305::new(&purpose_key(key, purpose).into());
    let mut text = plaintext.to_vec();
    let tag = cipher.encrypt_inout_detached(&XNonce::from(nonce), &aad, text.as_mut_slice().into()).expect("short");
    base64url(&[&[1], &kid(key)[..], &nonce, &text, &tag].concat())
}

/// Decrypts the bytes of a token with `key`, even if the token names another key. Returns the plaintext, or `None` if the token
/// is not authentic.
pub(crate) fn open(key: &[u8], purpose: &str, cookie: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let aad = aad(&bytes[1..9], purpose, cookie);
    let nonce: [u8; 24] = bytes[9..33].try_into().expect("24 bytes");
    let cipher = XChaCha20Poly1305::new(&purpose_key(key, purpose).into());
    let (text, tag) = bytes[33..].split_last_chunk::<16>()?;
    let mut text = text.to_vec();
    let tag = Tag::from(*tag);
    cipher.decrypt_inout_detached(&XNonce::from(nonce), &aad, text.as_mut_slice().into(), &tag).ok()?;
    Some(text)
}

/// Makes every check of README.md on the value of a cookie, in the same order.
pub(crate) fn verify(
    token: &str,
    ring: &[Key],
    cookie: &str,
    site_host: &str,
    now: u64,
    revocations: &Revocations,
) -> Result<Claims, Bad> {
    if !(67..=4096).contains(&token.len()) {
        return Err(Bad("malformed", "length"));
    }
    let bytes = from_base64url(token).map_err(|detail| Bad("malformed", detail))?;
    if bytes[0] != 1 {
        return Err(Bad("malformed", "version"));
    }
    let key = ring.iter().find(|candidate| kid(&candidate.key) == bytes[1..9]).ok_or(Bad("unknown key", ""))?;
    if key.revoked {
        return Err(Bad("revoked key", ""));
    }
    let plaintext = open(&key.key, "session", cookie, &bytes).ok_or(Bad("not authentic", ""))?;
    let claims = decode(&plaintext).map_err(|detail| Bad("bad claims", detail))?;
    let below = |subject: &Subject| subject.sub == claims.sub && claims.account_generation < subject.below;
    if claims.site != Sha256::digest(site_host.to_ascii_lowercase())[..8] {
        Err(Bad("wrong site", ""))
    } else if claims.sealed_at.saturating_sub(now) > CLOCK_SKEW_SECS {
        Err(Bad("from the future", ""))
    } else if now >= claims.absolute_deadline {
        Err(Bad("expired", "absolute"))
    } else if now >= claims.idle_deadline {
        Err(Bad("expired", "idle"))
    } else if revocations.sids.contains(&hex::encode(&claims.sid)) {
        Err(Bad("revoked", "sid"))
    } else if revocations.subjects.iter().any(below) {
        Err(Bad("revoked", "account generation"))
    } else if claims.global_generation < revocations.global_generation {
        Err(Bad("revoked", "global generation"))
    } else {
        Ok(claims)
    }
}

pub(crate) fn encode(claims: &Claims) -> Vec<u8> {
    let number = |mut number: u64| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).expect("seven bits"));
        bytes
    };
    let string = |bytes: &[u8]| [number(bytes.len() as u64), bytes.to_vec()].concat();
    [
        claims.sid.clone(),
        claims.chain.clone(),
        number(claims.renewals),
        claims.link.clone(),
        claims.parent.clone(),
        claims.site.clone(),
        string(claims.sub.as_bytes()),
        number(claims.account_generation),
        number(claims.global_generation),
        string(claims.login_name.as_bytes()),
        string(claims.display_name.as_bytes()),
        string(claims.email.as_bytes()),
        string(claims.roles.as_bytes()),
        number(claims.authenticated_at),
        number(claims.sealed_at),
        number(claims.idle_deadline),
        number(claims.absolute_deadline),
        vec![claims.methods, claims.flags],
        string(&claims.app_data),
    ]
    .concat()
}

pub(crate) fn decode(plaintext: &[u8]) -> Result<Claims, &'static str> {
    let mut rest = plaintext;
    let from = &mut rest;
    let claims = Claims {
        sid: take(from, 16)?,
        chain: take(from, 16)?,
        renewals: number(from)?,
        link: take(from, 8)?,
        parent: take(from, 8)?,
        site: take(from, 8)?,
        sub: text(from, 64)?,
        account_generation: number(from)?,
        global_generation: number(from)?,
        login_name: text(from, 64)?,
        display_name: text(from, 256)?,
        email: text(from, 254)?,
        roles: text(from, 1024)?,
        authenticated_at: number(from)?,
        sealed_at: number(from)?,
        idle_deadline: number(from)?,
        absolute_deadline: number(from)?,
        methods: take(from, 1)?[0],
        flags: take(from, 1)?[0],
        app_data: string(from)?,
    };
    match claims {
        _ if !rest.is_empty() => Err("left over"),
        Claims { ref sub, .. } if sub.is_empty() => Err("empty sub"),
        Claims { ref sub, .. } if !sub.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) => {
            Err("sub not visible ASCII")
        }
        Claims { methods: 64.., .. } => Err("unknown method"),
        Claims { flags: 2.., .. } => Err("unknown flag"),
        Claims { idle_deadline, absolute_deadline, .. } if idle_deadline > absolute_deadline => {
            Err("idle after absolute")
        }
        claims => Ok(claims),
    }
}

fn take(from: &mut &[u8], count: u64) -> Result<Vec<u8>, &'static str> {
    let count = usize::try_from(count).map_err(|_| "truncated")?;
    let (taken, rest) = from.split_at_checked(count).ok_or("truncated")?;
    *from = rest;
    Ok(taken.to_vec())
}

fn number(from: &mut &[u8]) -> Result<u64, &'static str> {
    let mut number = 0u128;
    for index in 0..10 {
        let byte = u128::from(take(from, 1)?[0]);
        number |= (byte & 0x7f) << (7 * index);
        if byte == 0 && index > 0 {
            return Err("a number longer than it need be");
        }
        if byte < 0x80 {
            return u64::try_from(number).map_err(|_| "more than 64 bits");
        }
    }
    Err("more than 64 bits")
}

fn string(from: &mut &[u8]) -> Result<Vec<u8>, &'static str> {
    let length = number(from)?;
    take(from, length)
}

fn text(from: &mut &[u8], max_bytes: usize) -> Result<String, &'static str> {
    let text = String::from_utf8(string(from)?).map_err(|_| "not UTF-8")?;
    if text.len() > max_bytes { Err("too long") } else { Ok(text) }
}
