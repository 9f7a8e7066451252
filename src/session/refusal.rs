//! Errors of sessions: the reasons why a request has no session, and the reasons why no token was sealed.
//!
//! Invariant: clients see only the reason of a [`Refusal`]. The [`Cause`] is for the log, because it would help an attacker who
//! forges tokens.

use std::fmt;

use super::claims::BadClaims;
use crate::seal::TooLarge;

/// Reason why there is no session. Send a client only the text ([`Display`](fmt::Display)) or the [`reason`](Refusal::reason).
/// `{:?}` also prints the cause, which would help an attacker who forges tokens.
///
/// ```
/// use sealjar::session::{Cause, Refusal};
///
/// let refusal = Refusal::Invalid(Cause::NotAuthentic);
/// assert_eq!((refusal.reason(), refusal.cause()), ("invalid", Some("not-authentic")));
/// assert_eq!(refusal.to_string(), "the session cookie is not valid here");
/// ```
///
/// The variants are ordered by the number of checks that the token passed. For a request with several tokens, the greatest
/// refusal is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The request has no cookie of our name.
    Missing,
    /// The cookie is not a token that this server has issued for this site. The cause is for the log, never for the client.
    Invalid(Cause),
    /// The session is past a deadline.
    Expired,
    /// The session was ended: by a logout, an operator, a change of the account, or copy detection.
    Revoked,
    /// The token is valid, but the list is too old to determine whether the session was revoked meanwhile.
    Stale,
}

impl Refusal {
    /// Returns the reason for clients, as one word: `missing`, `invalid`, `expired`, `revoked` or `stale`. The responses of the
    /// server contain the same words. These words never change.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid(_) => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
        }
    }

    /// Returns the defect of the token, as one word for the log. Returns `None` if there was no token, or if the token has no
    /// defect.
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
            Self::Invalid(_) => "the session cookie is not valid here",
            Self::Expired => "the session is past its deadline",
            Self::Revoked => "the session was ended",
            Self::Stale => "the server cannot determine at the moment whether the session was ended",
        })
    }
}

impl std::error::Error for Refusal {}

/// Cause of an invalid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The bytes do not have the format of a token.
    Malformed,
    /// The token is sealed with a key that is not in the ring.
    UnknownKey,
    /// The token is sealed with a revoked key.
    RevokedKey,
    /// The token was changed, or is sealed for another purpose or cookie.
    NotAuthentic,
    /// The token is authentic, but its content does not have the format of the claims of this version.
    BadClaims,
    /// The token was issued for another site.
    WrongSite,
    /// The token was sealed further in the future than the maximum clock skew.
    FromTheFuture,
}

impl Cause {
    /// Describes the cause, for an operator who has the keys.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Malformed => "not a token: truncated, changed, or encoded in another way",
            Self::UnknownKey => "sealed with a key that is not in the key ring",
            Self::RevokedKey => "sealed with a revoked key",
            Self::NotAuthentic => "changed, or sealed for another purpose or cookie",
            Self::BadClaims => "authentic, but the claims do not have the format of this version",
            Self::WrongSite => "issued for another site",
            Self::FromTheFuture => "sealed more than a minute in the future: check the clocks",
        }
    }
}

/// Error for a token that cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key ring has no active key.
    #[error("the key ring has no active key")]
    NoActiveKey,
    /// A claim breaks a rule of its format.
    #[error(transparent)]
    BadClaims(#[from] BadClaims),
    /// The cookie would be too large for browsers.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}
