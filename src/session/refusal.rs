//! Verdicts: why there is no session, and why none was sealed.

use std::fmt;

use super::claims::BadClaims;
use crate::seal::TooLarge;

/// Reason why there is no session. Tell a client the text ([`Display`](fmt::Display)) or the [`reason`](Refusal::reason) only: `{:?}` also
/// prints the cause, which would help a forger.
///
/// ```
/// use sealjar::session::{Cause, Refusal};
///
/// let refusal = Refusal::Invalid(Cause::NotAuthentic);
/// assert_eq!((refusal.reason(), refusal.cause()), ("invalid", Some("not-authentic")));
/// assert_eq!(refusal.to_string(), "the session cookie is not one that is accepted here");
/// ```
///
/// The order is how far the token came: of several tokens the furthest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No cookie of our name.
    Missing,
    /// No token of ours. The cause is for the log, never for the client: it would help a forger.
    Invalid(Cause),
    /// Past a deadline.
    Expired,
    /// Signed out, or ended by a change of the account.
    Revoked,
    /// A good token, but the list is too old to know whether it was revoked meanwhile.
    Stale,
}

impl Refusal {
    /// Returns the reason for clients, in a word: `missing`, `invalid`, `expired`, `revoked` or `stale`. The server's answers have the
    /// same words. They never change.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid(_) => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
        }
    }

    /// What exactly was wrong with a token, in a word for the log; `None` if there was none, or nothing was wrong with it.
    pub const fn cause(self) -> Option<&'static str> {
        Some(match self {
            Self::Missing | Self::Stale => return None,
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Invalid(Cause::Malformed) => "malformed",
            Self::Invalid(Cause::UnknownKey) => "unknown-key",
            Self::Invalid(Cause::RevokedKey) => "revoked-key",
            Self::Invalid(Cause::NotAuthentic) => "not-authentic",
            Self::Invalid(Cause::BadClaims) => "bad-claims",
            Self::Invalid(Cause::WrongSite) => "wrong-site",
            Self::Invalid(Cause::FromTheFuture) => "from-the-future",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no session cookie",
            Self::Invalid(_) => "the session cookie is not one that is accepted here",
            Self::Expired => "the session is past its deadline",
            Self::Revoked => "the session was ended",
            Self::Stale => "nobody can tell now whether the session was ended",
        })
    }
}

impl std::error::Error for Refusal {}

/// What exactly made a token invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Not a token's bytes.
    Malformed,
    /// Sealed with a key that is not held.
    UnknownKey,
    /// Sealed with a key that was revoked.
    RevokedKey,
    /// Changed, or sealed for another purpose or cookie.
    NotAuthentic,
    /// Authentic, but not claims as this version writes them.
    BadClaims,
    /// Issued on another host.
    WrongSite,
    /// Sealed further in the future than clocks may be apart.
    FromTheFuture,
}

impl Cause {
    /// The cause in words, for an operator who holds the keys.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Malformed => "not a token's bytes: cut short, changed, or encoded in another way",
            Self::UnknownKey => "sealed with a key that is not in the ring",
            Self::RevokedKey => "sealed with a key that was revoked",
            Self::NotAuthentic => "changed, or sealed for another purpose or cookie",
            Self::BadClaims => "authentic, but not claims as this version writes them",
            Self::WrongSite => "issued on another host",
            Self::FromTheFuture => "sealed more than a minute in the future: look at the clocks",
        }
    }
}

/// Why no token was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key is active.
    #[error("no key of the ring is active")]
    NoActiveKey,
    /// A claim breaks its format.
    #[error(transparent)]
    BadClaims(#[from] BadClaims),
    /// The cookie would be too long.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}
