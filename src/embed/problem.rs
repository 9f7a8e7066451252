//! What may go wrong, as the client is told: problem details (RFC 9457) with a reason that programs can branch on.

use std::error::Error;
use std::fmt;

use salvo::http::StatusCode;
use salvo::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use salvo::prelude::{Depot, Request, Response, Writer, async_trait};
use serde_json::json;

use crate::account::BadField;
use crate::log_sampler::sampled;
use crate::seal::CookieName;
use crate::session::{Refusal, SealError};
use crate::web::csrf::CrossSite;
use crate::web::hosts::BadAuthority;
use crate::web::refusal;

/// Why a request is refused. A handler that returns it as its error, by `?`, answers with it.
///
/// The body is `application/problem+json` with `title`, `status`, [`reason`](Problem::reason) (a word from the list below) and
/// `detail`, which is the text of [`Display`](fmt::Display): what to do, for the client. So `{}` may be shown to a user. `{:?}` must
/// not: it has the exact cause of a refused token, which would help a forger. [`advice`](Problem::advice) is for the developer; it
/// goes to the log with every answer of status 500 (`sealjar::embed`, level `error`).
///
/// With [`Settings::sign_in_at`](super::Settings::sign_in_at), a browser that opens a page without a session gets a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// 401 `missing`, `invalid`, `expired` or `revoked`: there is no live session. 503 `stale`: the store could not be read for too
    /// long to vouch for any.
    Session(Refusal),
    /// 403 `forbidden`: a live session without the role that this asks for.
    Role,
    /// 403 `cross-site`: another site may have made the browser send this.
    CrossSite,
    /// 400 `authority`: the request does not name exactly one host.
    Authority,
    /// 421 `misdirected`: a host that is none of the application's origins.
    Misdirected,
    /// 401 `overtaken`: the subject was signed out everywhere during this sign-in.
    Overtaken,
    /// 503 `not-durable`: the sign-out is in force in this process, but a restart could undo it; it is tried again until it is kept.
    NotDurable,
    /// 503 `key-elsewhere`: a token came that is sealed with a key that this process does not hold, perhaps one that another node has
    /// already (or that somebody made up: nobody here can tell); or that its directory revokes and the store does not, so that another
    /// node may still open it. That session could not be ended.
    KeyElsewhere,
    /// 400 `too-many-cookies`: more than 200 cookies of the session's name came with the request, so some were not looked at. Nothing
    /// was begun or ended.
    TooManyCookies,
    /// 503 `store`: the store cannot be asked, so nothing was begun or ended.
    Store,
    /// 503 `no-active-key`, or 500 `does-not-fit`: what the session is to say does not fit a cookie, or breaks a claim's rule.
    Seal(SealError),
    /// 500 `subject`: the application names a subject that is not 1 to 64 bytes of visible ASCII. Nothing was begun or ended.
    Subject,
    /// 500 `does-not-fit`: a name, an address or a role breaks its rule.
    Field(BadField),
    /// 500 `data`: the application's own data cannot be written as JSON.
    Data,
    /// 500 `no-hoop`: the route lacks the hoop of the [`Jar`](super::Jar).
    NoHoop,
}

impl Problem {
    /// Returns the status of the answer.
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// Returns the reason for programs, in a word that never changes.
    pub fn reason(self) -> &'static str {
        self.parts().1
    }

    /// Returns what the developer or the operator does about it, or `None` if it is not their fault.
    pub const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Misdirected => "list the origin in Settings::new, and let the proxy pass Host on",
            Self::Store | Self::NotDurable => "look at the database, and at the log of this process",
            Self::KeyElsewhere => {
                "give all nodes the same key files; revoke a key with `sealjar keys revoke`, with the store"
            }
            Self::Seal(SealError::NoActiveKey) => "run: sealjar keys rotate --activate-in 0s",
            Self::Seal(_) => "keep less in the session: the whole cookie has at most 4096 bytes",
            Self::Subject => "name a subject of 1 to 64 bytes of visible ASCII, such as a number",
            Self::Field(_) => "pass claims that follow the rules of embed::Claims",
            Self::Data => "use data that serde_json can write: for example, no maps whose keys are not texts",
            Self::NoHoop => "put Jar::hoop on the router above this route",
            _ => return None,
        })
    }

    /// Status, reason, detail.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        const FIT: &str = "what the session is to hold does not fit; the application's log says why";
        match self {
            Self::Session(refusal) => match refusal {
                Refusal::Stale => (
                    S::SERVICE_UNAVAILABLE,
                    refusal.reason(),
                    "nobody can tell now whether the session was ended; try again in a moment",
                ),
                Refusal::Missing => {
                    (S::UNAUTHORIZED, refusal.reason(), "no session cookie came with the request; sign in")
                }
                Refusal::Invalid(_) => (
                    S::UNAUTHORIZED,
                    refusal.reason(),
                    "the session cookie is not one that is accepted here; sign in again",
                ),
                Refusal::Expired => (S::UNAUTHORIZED, refusal.reason(), refusal::EXPIRED),
                Refusal::Revoked => (S::UNAUTHORIZED, refusal.reason(), refusal::REVOKED),
            },
            Self::Role => (S::FORBIDDEN, "forbidden", refusal::ROLE),
            Self::CrossSite => (S::FORBIDDEN, "cross-site", refusal::CROSS_SITE),
            Self::Authority => (S::BAD_REQUEST, "authority", "the request must name exactly one host"),
            Self::Misdirected => {
                (S::MISDIRECTED_REQUEST, "misdirected", "the host that the request names is not served here")
            }
            Self::Overtaken => {
                (S::UNAUTHORIZED, "overtaken", "all sessions were ended during this sign-in; sign in again")
            }
            Self::NotDurable => (
                S::SERVICE_UNAVAILABLE,
                "not-durable",
                "the session is ended in this process, but storage failed: a restart could bring it back; try again",
            ),
            Self::KeyElsewhere => (
                S::SERVICE_UNAVAILABLE,
                "key-elsewhere",
                "not every session could be ended: one's key does not open here, or not yet; try again in a moment",
            ),
            Self::TooManyCookies => (
                S::BAD_REQUEST,
                "too-many-cookies",
                "nothing was ended: more cookies of the session's name came than are looked at; remove this site's cookies and try again",
            ),
            Self::Store => {
                (S::SERVICE_UNAVAILABLE, "store", "storage failed, and nothing was done; try again in a moment")
            }
            Self::Seal(SealError::NoActiveKey) => {
                (S::SERVICE_UNAVAILABLE, "no-active-key", "no key is active; the operator runs: sealjar keys rotate")
            }
            Self::Seal(_) | Self::Field(_) => (S::INTERNAL_SERVER_ERROR, "does-not-fit", FIT),
            Self::Subject => (
                S::INTERNAL_SERVER_ERROR,
                "subject",
                "nothing was done: whom this is about has no name that can be kept",
            ),
            Self::Data => (S::INTERNAL_SERVER_ERROR, "data", FIT),
            Self::NoHoop => (S::INTERNAL_SERVER_ERROR, "no-hoop", "this route is not set up for sessions"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.parts().2)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Session(refusal) => Some(refusal),
            Self::Seal(error) => Some(error),
            Self::Field(error) => Some(error),
            _ => None,
        }
    }
}

#[async_trait]
impl Writer for Problem {
    async fn write(self, _: &mut Request, depot: &mut Depot, response: &mut Response) {
        let (status, reason, detail) = self.parts();
        // The developer's part, and the rule that was broken.
        let error = self.source().map_or_else(|| self.to_string(), ToString::to_string);
        let hint = self.advice();
        match self {
            // With each request while the store is away, or as often as a stranger likes.
            Self::Session(Refusal::Stale) | Self::NotDurable | Self::Store | Self::KeyElsewhere => {
                sampled!(DEBUG, error, hint, reason, "a request that needs a session failed");
            }
            _ if status.is_server_error() => {
                sampled!(ERROR, error, hint, reason, "a request that needs a session failed");
            }
            _ => {}
        }
        response.status_code(status);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, refusal::PROBLEM_JSON);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let (StatusCode::UNAUTHORIZED, Ok(Challenge(cookie))) = (status, depot.get_typed()) {
            headers.insert(WWW_AUTHENTICATE, refusal::challenge(None, cookie));
        }
        if matches!(self, Self::Session(_)) {
            depot.insert_typed(LacksSession);
        }
        let title = status.canonical_reason();
        let body = json!({ "title": title, "status": status.as_u16(), "reason": reason, "detail": detail });
        response.body(format!("{body}\n"));
    }
}

/// The challenge of each 401: the name of the session's cookie. The hoop keeps it in the depot.
#[derive(Debug)]
pub(super) struct Challenge(pub(super) CookieName);

/// Mark in the depot: an answer said that there is no session. The hoop may turn that 401 into a redirect.
#[derive(Debug)]
pub(super) struct LacksSession;

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl From<BadField> for Problem {
    fn from(error: BadField) -> Self {
        Self::Field(error)
    }
}

impl From<CrossSite> for Problem {
    fn from(_: CrossSite) -> Self {
        Self::CrossSite
    }
}

impl From<BadAuthority> for Problem {
    fn from(bad: BadAuthority) -> Self {
        match bad {
            BadAuthority::NotOne => Self::Authority,
            BadAuthority::Foreign => Self::Misdirected,
        }
    }
}
