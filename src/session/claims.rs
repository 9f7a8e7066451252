//! Claims of a session, and their encoding. The *plaintext* of a session token consists of exactly these bytes.
//!
//! The encoding is [postcard](https://postcard.jamesmunns.com/wire-format), in the order of the fields of [`Claims`]. The
//! fields of [`Identity`] are encoded at the position of `identity`. Numbers are varints, texts and byte strings have a length
//! prefix, and ids are bytes without a prefix.
//!
//! Invariant: each set of claims has exactly one encoding. Decoding checks every length and flag and refuses additional bytes.
//! Texts are borrowed from the opened token.

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

/// Claims in a session token.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Claims<'a> {
    /// Session id. A logout revokes it.
    pub sid: Sid,
    /// Id of the token chain: the sequence of tokens in which each token renews the previous token. The id is new at login and
    /// step-up. Renewals keep it.
    pub chain: Chain,
    /// Number of renewals since the chain began.
    pub renewals: u64,
    /// Id of this token in its chain. The id is new at each renewal. A replacement of the application data keeps it.
    pub link: Link,
    /// Link of the token that was renewed. Zero at the start of the chain.
    pub parent: Link,
    /// Host or cookie domain for which the token was issued.
    pub site: Site,
    /// Account of the session.
    pub identity: Identity<'a>,
    /// Time at which the user last entered the password.
    pub authenticated_at: UnixTime,
    /// Time at which the session began or was last renewed. A replacement of the application data keeps it.
    pub sealed_at: UnixTime,
    /// Time at which the token expires if it is not renewed.
    pub idle_deadline: UnixTime,
    /// Time at which the session expires in any case. Renewals never move it.
    pub absolute_deadline: UnixTime,
    /// Methods by which the user proved the identity.
    pub methods: Methods,
    /// Type of the session: ordinary or remembered.
    pub flags: Flags,
    /// Data of the application. The last response that arrives determines the value. The user can restore an earlier value by
    /// sending an older token that has not expired, so do not keep counters or permissions here.
    pub app_data: &'a [u8],
}

impl<'a> Claims<'a> {
    /// Decodes an opened token.
    ///
    /// # Errors
    /// [`BadClaims`] if the bytes are not exactly one set of claims.
    #[inline(always)]
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, BadClaims> {
        let mut fields = FieldReader::new(plaintext);
        let [sid, chain] = fields.arrays()?;
        let renewals = fields.number()?;
        let [link, parent, site] = fields.arrays()?;
        // The generations are between the first text and the second one. All texts are then validated together.
        let texts_begin = fields.position;
        let sub = fields.prefixed_range()?;
        let account_generation = fields.number()?;
        let global_generation = fields.number()?;
        let ranges = [
            sub,
            fields.prefixed_range()?,
            fields.prefixed_range()?,
            fields.prefixed_range()?,
            fields.prefixed_range()?,
        ];
        let [sub, login_name, display_name, email, roles] = texts_in(plaintext, texts_begin, ranges)?;
        let [authenticated_at, sealed_at, idle_deadline, absolute_deadline] = fields.instants()?;
        let [methods, flags] = fields.array()?;
        let methods = Methods::from_bits(methods).ok_or(BadClaims)?;
        let flags = Flags::from_bits(flags).ok_or(BadClaims)?;
        let app_data = plaintext.get(fields.prefixed_range()?).ok_or(BadClaims)?;
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
        if fields.position == plaintext.len() && claims.is_well_formed() { Ok(claims) } else { Err(BadClaims) }
    }

    /// Encodes the claims, for sealing.
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

/// Reader of fields in postcard's encoding. Decoding with serde would take three times as long, and would also accept numbers
/// with more bytes than necessary.
struct FieldReader<'a> {
    bytes: &'a [u8],
    /// Index of the next byte to read. It may be past the end; every read then fails.
    position: usize,
}

impl<'a> FieldReader<'a> {
    #[inline(always)]
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    #[inline(always)]
    fn remaining(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadClaims> {
        let array = self.remaining().first_chunk().ok_or(BadClaims)?;
        self.position += N;
        Ok(*array)
    }

    /// Reads consecutive arrays, with one check of the length.
    #[inline(always)]
    fn arrays<const N: usize, const COUNT: usize>(&mut self) -> Result<[[u8; N]; COUNT], BadClaims> {
        let arrays = self.remaining().as_chunks().0.first_chunk().ok_or(BadClaims)?;
        self.position += N * COUNT;
        Ok(*arrays)
    }

    /// Reads a varint: seven bits per byte, the lowest first. All bytes except the last have the top bit set.
    #[inline(always)]
    fn number(&mut self) -> Result<u64, BadClaims> {
        match self.bytes.get(self.position) {
            // Most lengths and generations have one byte.
            Some(&byte @ ..0x80) => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.multi_byte_number(),
        }
    }

    #[cold]
    fn multi_byte_number(&mut self) -> Result<u64, BadClaims> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let low = u64::from(byte & 0x7f);
            number |= low << shift;
            if byte < 0x80 {
                // Refuses a last byte of zero, which would be an unnecessary byte, and a number of more than 64 bits.
                return if byte > 0 && number >> shift == low { Ok(number) } else { Err(BadClaims) };
            }
        }
        Err(BadClaims)
    }

    /// Reads four numbers. If each of them has five bytes, they are decoded together.
    #[inline(always)]
    fn instants(&mut self) -> Result<[UnixTime; 4], BadClaims> {
        if let Some(bytes) = self.remaining().first_chunk::<20>()
            && let [a, b, c, d] = *bytes.as_chunks().0
            && let (Some(a), Some(b), Some(c), Some(d)) =
                (five_byte_number(a), five_byte_number(b), five_byte_number(c), five_byte_number(d))
        {
            self.position += bytes.len();
            return Ok([a, b, c, d].map(UnixTime));
        }
        Ok([self.number()?, self.number()?, self.number()?, self.number()?].map(UnixTime))
    }

    /// Reads a length prefix and skips that number of bytes. Returns the range of these bytes, which may be past the end.
    #[inline(always)]
    fn prefixed_range(&mut self) -> Result<Range<usize>, BadClaims> {
        let length = usize::try_from(self.number()?).map_err(|_| BadClaims)?;
        let start = self.position;
        self.position = start.checked_add(length).ok_or(BadClaims)?;
        Ok(start..self.position)
    }
}

/// Decodes a varint of exactly five bytes, or returns `None` if it has another length. Times from 1978 to 3058 have five bytes.
#[inline(always)]
fn five_byte_number([low @ .., high]: [u8; 5]) -> Option<u64> {
    const CONTINUATION_BITS: u32 = 0x8080_8080;
    let low = u32::from_le_bytes(low);
    let has_five_bytes = low & CONTINUATION_BITS == CONTINUATION_BITS && (1..0x80).contains(&high);
    // Joins the four groups of 7 bits to two groups of 14 bits, and then to one group of 28 bits.
    let low = low & 0x007f_007f | (low & 0x7f00_7f00) >> 1;
    let low = low & 0x3fff | (low & 0x3fff_0000) >> 2;
    has_five_bytes.then_some(u64::from(low) | u64::from(high) << 28)
}

/// Returns the texts in these ranges of `bytes`. The ranges are in ascending order, and none of them starts before `begin`.
///
/// All texts are validated as UTF-8 together with the bytes between them, which takes a quarter of the time. If that fails
/// because a length or a number between them is above 127, each text is validated alone.
#[inline(always)]
fn texts_in<const N: usize>(bytes: &[u8], begin: usize, ranges: [Range<usize>; N]) -> Result<[&str; N], BadClaims> {
    let end = ranges.last().map_or(begin, |last| last.end);
    let bytes = bytes.get(begin..end).ok_or(BadClaims)?;
    let whole = str::from_utf8(bytes).unwrap_or_default();
    let mut texts = [""; N];
    for (text, range) in texts.iter_mut().zip(ranges) {
        let range = range.start - begin..range.end - begin;
        *text = match whole.get(range.clone()) {
            Some(text) => text,
            None => str::from_utf8(&bytes[range]).map_err(|_| BadClaims)?,
        };
    }
    Ok(texts)
}

/// Prints only the session id and the account id. The session id is not a credential. The other claims are private to the user
/// and do not belong in the log.
impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("sid", &self.sid).field("sub", &self.identity.sub).finish_non_exhaustive()
    }
}

/// Error for bytes that are not the encoding of claims, and for claims that cannot be sealed: a field is too long, the subject
/// is empty or contains characters other than visible ASCII, or the idle deadline is after the absolute deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid claims: a field is too long, the subject is empty or invalid, or the idle deadline is after the absolute deadline"
)]
pub struct BadClaims;
