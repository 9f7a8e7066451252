//! The content of a session's token, and its bytes: postcard, in the order of the fields of [`Claims`], and of [`Identity`] in
//! its place.
//!
//! Numbers are varints, texts and byte strings have their length in front, identifiers are bare bytes. Decoding is exact:
//! nothing may be left over, every length and flag is checked, and texts are borrowed from the opened token. The *plaintext*
//! of a session token is these bytes and nothing else.

mod bits;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::identity::Identity;
use crate::clock::UnixTime;
use crate::id::{Chain, Link, Sid, Site};
pub use bits::{Flags, Methods};

/// The content of a session's token.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Claims<'a> {
    /// The session: what logout revokes.
    pub sid: Sid,
    /// Id of the chain of renewals, one for each browser. Fresh at sign-in and step-up. Renewals keep it.
    pub chain: Chain,
    /// Number of renewals since the chain began.
    pub renewals: u64,
    /// Id of this token within its chain. Fresh at each renewal. New application data keeps it.
    pub link: Link,
    /// The link of the token that was renewed. Zero at the start of the chain.
    pub parent: Link,
    /// The host (or cookie domain) it was issued for.
    pub site: Site,
    /// The account that the session speaks for.
    pub identity: Identity<'a>,
    /// When the password was last given.
    pub authenticated_at: UnixTime,
    /// When the session began or was last renewed. New application data keeps it.
    pub sealed_at: UnixTime,
    /// When it dies unused.
    pub idle_deadline: UnixTime,
    /// When the session dies whatever happens. Renewal never moves it.
    pub absolute_deadline: UnixTime,
    /// How the user proved the identity.
    pub methods: Methods,
    /// Kinds of session.
    pub flags: Flags,
    /// The application's own bytes. Last response wins, and the user can bring an earlier value back within a token's life:
    /// keep no counters or grants here.
    pub app_data: &'a [u8],
}

impl<'a> Claims<'a> {
    /// Decodes an opened token.
    ///
    /// # Errors
    /// [`BadClaims`] if the bytes are not exactly one set of claims.
    #[inline(always)]
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, BadClaims> {
        let mut fields = Fields::of(plaintext);
        let [sid, chain] = fields.arrays()?;
        let renewals = fields.number()?;
        let [link, parent, site] = fields.arrays()?;
        let texts_begin = fields.at;
        let sub = fields.place()?;
        let account_generation = fields.number()?;
        let global_generation = fields.number()?;
        let places = [sub, fields.place()?, fields.place()?, fields.place()?, fields.place()?];
        let [sub, login_name, display_name, email, roles] = texts_at(plaintext, texts_begin, places)?;
        let [authenticated_at, sealed_at, idle_deadline, absolute_deadline] = fields.instants()?;
        let [methods, flags] = fields.array()?;
        let methods = Methods::from_bits(methods).ok_or(BadClaims)?;
        let flags = Flags::from_bits(flags).ok_or(BadClaims)?;
        let app_data = plaintext.get(fields.place()?).ok_or(BadClaims)?;
        let claims = Self {
            sid: Sid::from_bytes(sid),
            chain: Chain::from_bytes(chain),
            renewals,
            link: Link::from_bytes(link),
            parent: Link::from_bytes(parent),
            site: Site::from_bytes(site),
            identity: Identity { sub, account_generation, global_generation, login_name, display_name, email, roles },
            authenticated_at,
            sealed_at,
            idle_deadline,
            absolute_deadline,
            methods,
            flags,
            app_data,
        };
        if fields.at == plaintext.len() && claims.is_well_formed() { Ok(claims) } else { Err(BadClaims) }
    }

    /// The bytes to seal.
    ///
    /// # Errors
    /// [`BadClaims`] if a field is longer than [`Claims::decode`] would accept.
    pub fn encode(&self) -> Result<Vec<u8>, BadClaims> {
        if !self.is_well_formed() {
            return Err(BadClaims);
        }
        Ok(postcard::to_stdvec(self).expect("writing plain fields to memory cannot fail"))
    }

    #[inline(always)]
    fn is_well_formed(&self) -> bool {
        self.identity.is_well_formed() && self.idle_deadline <= self.absolute_deadline
    }
}

/// postcard's bytes, and how far they were read. By hand, because reading the same through serde takes three times as long, and
/// accepts numbers that are written longer than they need be.
struct Fields<'a> {
    bytes: &'a [u8],
    /// May be past the end, where nothing can be read.
    at: usize,
}

impl<'a> Fields<'a> {
    #[inline(always)]
    const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline(always)]
    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadClaims> {
        let array = self.left().first_chunk().ok_or(BadClaims)?;
        self.at += N;
        Ok(*array)
    }

    /// Arrays one after the other, of which the length is checked once.
    #[inline(always)]
    fn arrays<const N: usize, const COUNT: usize>(&mut self) -> Result<[[u8; N]; COUNT], BadClaims> {
        let arrays = self.left().as_chunks().0.first_chunk().ok_or(BadClaims)?;
        self.at += N * COUNT;
        Ok(*arrays)
    }

    /// Seven bits a byte, the lowest first; all bytes but the last have the top bit set.
    #[inline(always)]
    fn number(&mut self) -> Result<u64, BadClaims> {
        match self.bytes.get(self.at) {
            // Most lengths and generations.
            Some(&byte @ ..0x80) => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.number_of_several_bytes(),
        }
    }

    #[cold]
    fn number_of_several_bytes(&mut self) -> Result<u64, BadClaims> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let low = u64::from(byte & 0x7f);
            number |= low << shift;
            if byte < 0x80 {
                return if byte > 0 && number >> shift == low { Ok(number) } else { Err(BadClaims) };
            }
        }
        Err(BadClaims)
    }

    /// Four numbers, at once if each has five bytes.
    #[inline(always)]
    fn instants(&mut self) -> Result<[UnixTime; 4], BadClaims> {
        if let Some(bytes) = self.left().first_chunk::<20>()
            && let [a, b, c, d] = *bytes.as_chunks().0
            && let (Some(a), Some(b), Some(c), Some(d)) = (of_five(a), of_five(b), of_five(c), of_five(d))
        {
            self.at += bytes.len();
            return Ok([a, b, c, d].map(UnixTime));
        }
        Ok([self.number()?, self.number()?, self.number()?, self.number()?].map(UnixTime))
    }

    /// Where so many bytes are as the number in front says; perhaps past the end.
    #[inline(always)]
    fn place(&mut self) -> Result<Range<usize>, BadClaims> {
        let length = usize::try_from(self.number()?).map_err(|_| BadClaims)?;
        let start = self.at;
        self.at = start.checked_add(length).ok_or(BadClaims)?;
        Ok(start..self.at)
    }
}

/// A number of five bytes, if it is one: instants from 1978 to 3058.
#[inline(always)]
fn of_five([low @ .., high]: [u8; 5]) -> Option<u64> {
    const MORE: u32 = 0x8080_8080;
    let low = u32::from_le_bytes(low);
    let is_one = low & MORE == MORE && (1..0x80).contains(&high);
    // Two of 14 bits, and then one of 28.
    let low = low & 0x007f_007f | (low & 0x7f00_7f00) >> 1;
    let low = low & 0x3fff | (low & 0x3fff_0000) >> 2;
    is_one.then_some(u64::from(low) | u64::from(high) << 28)
}

/// The texts that stand in `bytes` at these places, one after the other, none before `begin`. They are checked at once with what is
/// between them, which takes a quarter of the time; one by one if that is not UTF-8, because a length or number there is above 127.
#[inline(always)]
fn texts_at<const N: usize>(bytes: &[u8], begin: usize, places: [Range<usize>; N]) -> Result<[&str; N], BadClaims> {
    let end = places.last().map_or(begin, |last| last.end);
    let bytes = bytes.get(begin..end).ok_or(BadClaims)?;
    let whole = str::from_utf8(bytes).unwrap_or_default();
    let mut texts = [""; N];
    for (text, place) in texts.iter_mut().zip(places) {
        let place = place.start - begin..place.end - begin;
        *text = match whole.get(place.clone()) {
            Some(text) => text,
            None => str::from_utf8(&bytes[place]).map_err(|_| BadClaims)?,
        };
    }
    Ok(texts)
}

/// The sid is no credential; the rest is the user's business, and not the log's.
impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("sid", &self.sid).field("sub", &self.identity.sub).finish_non_exhaustive()
    }
}

/// Not the bytes of a session's claims, or claims that cannot be sealed: a field is too long, the subject is empty, or the
/// idle deadline is after the absolute one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the claims break a rule of their format: a field is too long, the subject is empty, or the deadlines are in the wrong order"
)]
pub struct BadClaims;
