//! What may go wrong, as the client is told: problem details (RFC 9457) with a reason that programs can branch on.

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
/// The body is `application/problem+json` with `title`, `status`, `reason` (a word from the list below) and `detail` (what to do).
/// The exact cause of a refused token goes to the log (`sealjar::embed`, level `debug`) and never to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// 401 `missing`, `invalid`, `expired` or `revoked`: there is no live session. 503 `stale`: the store could not be read for too
    /// long to vouch for any.
    #[error("no session: {}", .0.cause().unwrap_or("missing or stale"))]
    Session(Refusal),
    /// 403 `forbidden`: a live session without the role that this asks for.
    #[error("the session has not the role")]
    Role,
    /// 403 `cross-site`: another site may have made the browser send this.
    #[error("another site may have sent the request")]
    CrossSite,
    /// 400 `authority`: the request does not name exactly one host.
    #[error("the request does not name exactly one host")]
    Authority,
    /// 421 `misdirected`: a host that is none of the application's origins.
    #[error("the request names a host that is none of the origins")]
    Misdirected,
    /// 401 `overtaken`: the subject was signed out everywhere during this sign-in.
    #[error("the subject was signed out everywhere meanwhile")]
    Overtaken,
    /// 503 `not-durable`: the sign-out is in force in this process, but a restart could undo it; it is tried again until it is kept.
    #[error("the sign-out is not durable yet")]
    NotDurable,
    /// 503 `key-elsewhere`: a token came that is sealed with a key that this process does not hold, perhaps one that another node has
    /// already (or that somebody made up: nobody here can tell); or that its directory revokes and the store does not, so that another
    /// node may still open it. That session could not be ended.
    #[error("a session's key does not open here, and may elsewhere")]
    KeyElsewhere,
    /// 400 `too-many-cookies`: more than 200 cookies of the session's name came with the request, so some were not looked at. Nothing
    /// was begun or ended.
    #[error("more cookies of the session's name came than are looked at")]
    TooManyCookies,
    /// 503 `store`: the store cannot be asked, so nothing was begun or ended.
    #[error("the store cannot be asked")]
    Store,
    /// 503 `no-active-key`, or 500 `does-not-fit`: what the session is to say does not fit a cookie, or breaks a claim's rule.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// 500 `subject`: the application names a subject that is not 1 to 64 bytes of visible ASCII. Nothing was begun or ended.
    #[error("a subject is 1 to 64 bytes of visible ASCII")]
    Subject,
    /// 500 `does-not-fit`: a name, an address or a role breaks its rule.
    #[error(transparent)]
    Field(#[from] BadField),
    /// 500 `data`: the application's own data cannot be written as JSON.
    #[error("the session's data cannot be written as JSON")]
    Data,
    /// 500 `no-hoop`: the route lacks the hoop of the [`Jar`](super::Jar).
    #[error("the route lacks the hoop that looks for a session")]
    NoHoop,
}

impl Problem {
    /// Status, reason, detail.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        const FIT: &str = "what the session is to hold does not fit; the application's log says why";
        match self {
            Self::Session(Refusal::Missing) => {
                (S::UNAUTHORIZED, "missing", "no session cookie came with the request; sign in")
            }
            Self::Session(Refusal::Invalid(_)) => {
                (S::UNAUTHORIZED, "invalid", "the session cookie is not one that is accepted here; sign in again")
            }
            Self::Session(Refusal::Expired) => (S::UNAUTHORIZED, "expired", refusal::EXPIRED),
            Self::Session(Refusal::Revoked) => (S::UNAUTHORIZED, "revoked", refusal::REVOKED),
            Self::Session(Refusal::Stale) => (
                S::SERVICE_UNAVAILABLE,
                "stale",
                "nobody can tell now whether the session was ended; try again in a moment",
            ),
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

#[async_trait]
impl Writer for Problem {
    async fn write(self, _: &mut Request, depot: &mut Depot, response: &mut Response) {
        let (status, reason, detail) = self.parts();
        match self {
            // With each request while the store is away, or as often as a stranger likes.
            Self::Session(Refusal::Stale) | Self::NotDurable | Self::Store | Self::KeyElsewhere => {
                sampled!(DEBUG, error = %self, reason, "a request that needs a session failed");
            }
            _ if status.is_server_error() => {
                sampled!(ERROR, error = %self, reason, "a request that needs a session failed");
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
        let title = status.canonical_reason();
        let body = json!({ "title": title, "status": status.as_u16(), "reason": reason, "detail": detail });
        response.body(format!("{body}\n"));
    }
}

/// The challenge of each 401: the name of the session's cookie. The hoop keeps it in the depot.
#[derive(Debug)]
pub(super) struct Challenge(pub(super) CookieName);

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
