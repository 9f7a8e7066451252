//! Errors that a client of an application can see: problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with a
//! reason for programs.
//!
//! Invariant: a response does not reveal the exact cause of a refusal.

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

/// Error for a request that is refused. A handler can return it with `?`, and it becomes the response.
///
/// The body is `application/problem+json` with `title`, `status`, [`reason`](Problem::reason) (a word from the list below) and
/// `detail`, which is the text of [`Display`](fmt::Display): what the client can do. So `{}` may be shown to a user. `{:?}` must
/// not be shown: it contains the exact cause of a refused token, which would help an attacker who forges tokens.
/// [`advice`](Problem::advice) is for the developer. It is logged with every response of status 500 (`sealjar::embed`, level
/// `error`).
///
/// With [`Settings::sign_in_at`](super::Settings::sign_in_at), a browser that opens a page without a session gets a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// 401 `missing`, `invalid`, `expired` or `revoked`: the request has no live session. 503 `stale`: the store could not be
    /// read for too long, so no session can be checked.
    Session(Refusal),
    /// 403 `forbidden`: the live session does not have the required role.
    Role,
    /// 403 `cross-site`: another site may have made the browser send this request.
    CrossSite,
    /// 400 `authority`: the request does not name exactly one host.
    Authority,
    /// 421 `misdirected`: the request names a host that belongs to none of the application's origins.
    Misdirected,
    /// 401 `overtaken`: the subject was logged out everywhere during this login.
    Overtaken,
    /// 503 `not-durable`: this process refuses the session, but the store has not committed the logout. A restart could make the
    /// session valid again. The commit is repeated until it succeeds.
    NotDurable,
    /// 503 `key-elsewhere`: the session could not be ended, because this process cannot open its token. Either it does not have
    /// the key, which another node may have (or a client invented the key id; this process cannot distinguish the cases). Or the
    /// key is revoked in the directory of this process but not in the store, so another node may still open the token.
    KeyElsewhere,
    /// 400 `too-many-cookies`: the request has more than 200 cookies with the name of the session cookie. Nothing was started or
    /// ended.
    TooManyCookies,
    /// 503 `store`: the store cannot be read, so nothing was started or ended.
    Store,
    /// 503 `no-active-key`: no key can seal. 500 `does-not-fit`: the session does not fit into a cookie, or breaks the rule of a
    /// claim.
    Seal(SealError),
    /// 500 `subject`: the subject is not 1 to 64 bytes of visible ASCII. Nothing was started or ended.
    Subject,
    /// 500 `does-not-fit`: a name, an email address or a role breaks its rule.
    Field(BadField),
    /// 500 `data`: the application's own data cannot be serialized as JSON.
    Data,
    /// 500 `no-hoop`: the route does not have the middleware of the [`Jar`](super::Jar).
    NoHoop,
}

impl Problem {
    /// Returns the status of the response.
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// Returns the reason for programs: a short text that never changes.
    pub fn reason(self) -> &'static str {
        self.parts().1
    }

    /// Returns the advice to the developer or the operator, or `None` if they cannot correct the error.
    pub const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Misdirected => "list the origin in Settings::new, and let the proxy pass Host on",
            Self::Store | Self::NotDurable => "check the database, and the log of this process",
            Self::KeyElsewhere => {
                "give all nodes the same key files; revoke a key with `sealjar keys revoke`, with the store"
            }
            Self::Seal(SealError::NoActiveKey) => "run: sealjar keys rotate --activate-in 0s",
            Self::Seal(_) => "store less in the session: the whole cookie has at most 4096 bytes",
            Self::Subject => "use a subject of 1 to 64 bytes of visible ASCII, such as a number",
            Self::Field(_) => "pass claims that follow the rules of embed::Claims",
            Self::Data => "use data that serde_json can serialize: for example, the keys of a map must be texts",
            Self::NoHoop => "put Jar::hoop on the router above this route",
            _ => return None,
        })
    }

    /// Returns status, reason and detail.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        const DOES_NOT_FIT: &str =
            "the data of the session does not fit into a cookie; the application's log has the reason";
        match self {
            Self::Session(refusal) => match refusal {
                Refusal::Stale => (
                    S::SERVICE_UNAVAILABLE,
                    refusal.reason(),
                    "the session cannot be checked at the moment; try again in a moment",
                ),
                Refusal::Missing => (S::UNAUTHORIZED, refusal.reason(), "the request has no session cookie; log in"),
                Refusal::Invalid(_) => {
                    (S::UNAUTHORIZED, refusal.reason(), "the session cookie is not valid here; log in again")
                }
                Refusal::Expired => (S::UNAUTHORIZED, refusal.reason(), refusal::EXPIRED),
                Refusal::Revoked => (S::UNAUTHORIZED, refusal.reason(), refusal::REVOKED),
            },
            Self::Role => (S::FORBIDDEN, "forbidden", refusal::ROLE),
            Self::CrossSite => (S::FORBIDDEN, "cross-site", refusal::CROSS_SITE),
            Self::Authority => (S::BAD_REQUEST, "authority", "the request must name exactly one host"),
            Self::Misdirected => (
                S::MISDIRECTED_REQUEST,
                "misdirected",
                "this application does not serve the host that the request names",
            ),
            Self::Overtaken => {
                (S::UNAUTHORIZED, "overtaken", "all sessions were ended during this login; log in again")
            }
            Self::NotDurable => (
                S::SERVICE_UNAVAILABLE,
                "not-durable",
                "the session is refused from now on, but the logout could not be stored: after a restart, the session may be valid again; try again",
            ),
            Self::KeyElsewhere => (
                S::SERVICE_UNAVAILABLE,
                "key-elsewhere",
                "not every session could be ended, because this node cannot use the key of one of them; try again in a moment",
            ),
            Self::TooManyCookies => (
                S::BAD_REQUEST,
                "too-many-cookies",
                "nothing was ended: the request has too many session cookies; delete this site's cookies and try again",
            ),
            Self::Store => (
                S::SERVICE_UNAVAILABLE,
                "store",
                "the store is unavailable, and nothing was changed; try again in a moment",
            ),
            Self::Seal(SealError::NoActiveKey) => {
                (S::SERVICE_UNAVAILABLE, "no-active-key", "no key is active; the operator runs: sealjar keys rotate")
            }
            Self::Seal(_) | Self::Field(_) => (S::INTERNAL_SERVER_ERROR, "does-not-fit", DOES_NOT_FIT),
            Self::Subject => {
                (S::INTERNAL_SERVER_ERROR, "subject", "nothing was changed: the id of the user is not valid")
            }
            Self::Data => (S::INTERNAL_SERVER_ERROR, "data", DOES_NOT_FIT),
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
        // For the developer: the exact error, and advice.
        let error = self.source().map_or_else(|| self.to_string(), ToString::to_string);
        let hint = self.advice();
        match self {
            // At level DEBUG, because any client can cause these lines, and every request does while the store is unavailable.
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
            depot.insert_typed(NoSessionMarker);
        }
        let title = status.canonical_reason();
        let body = json!({ "title": title, "status": status.as_u16(), "reason": reason, "detail": detail });
        response.body(format!("{body}\n"));
    }
}

/// Name of the session cookie, for the challenge of a 401. The middleware stores it in the depot.
#[derive(Debug)]
pub(super) struct Challenge(pub(super) CookieName);

/// Marker in the depot: the handler returned [`Problem::Session`]. The middleware may replace its 401 with a redirect.
#[derive(Debug)]
pub(super) struct NoSessionMarker;

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
            BadAuthority::NotExactlyOne => Self::Authority,
            BadAuthority::NotServed => Self::Misdirected,
        }
    }
}
