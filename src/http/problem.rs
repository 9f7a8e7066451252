//! Every error that a client can see, on one page: RFC 9457 `application/problem+json`, with a stable `reason` and a `detail` that
//! says what to do. The precise cause of a refusal is for the log only.

use std::fmt::Write;

use salvo::http::StatusCode;
use salvo::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use salvo::prelude::Response;
use serde_json::json;

use crate::seal::CookieName;
use crate::session::{Refusal, SealError};

/// What went wrong, as far as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no live session.
    Session(Refusal),
    /// Unknown account, wrong password or disabled account: all alike.
    Credentials,
    /// A password was right when it was given, and the account changed while it was checked.
    Overtaken,
    /// Password checks queue up.
    Busy,
    /// The store cannot be read or written.
    Store,
    /// A revocation is in force here, but not on disk.
    NotDurable,
    /// No key can seal, or what the account holds cannot be sealed.
    Seal(SealError),
    /// The body is not JSON.
    NotJson,
    /// The body's fields are wrong.
    Fields(&'static str),
    /// The body is of a type that is not taken.
    MediaType,
    /// The body is too large.
    TooLarge,
    /// The body did not arrive.
    Incomplete,
    /// No single authority.
    Authority,
    /// An authority that is not served.
    Misdirected,
    /// A request that another site made the browser send.
    CrossSite,
    /// A form without its token.
    FormToken,
    /// Salvo's own: 404, 405, 500 and the like.
    Status(StatusCode),
}

impl Problem {
    /// Status, reason, detail.
    fn parts(self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        let (status, reason, detail) = match self {
            Self::Session(Refusal::Missing) => (
                S::UNAUTHORIZED,
                "missing",
                "no session cookie came with the request; sign in with POST /auth/login and send back the cookie that it sets",
            ),
            Self::Session(Refusal::Invalid(_)) => (
                S::UNAUTHORIZED,
                "invalid",
                "the session cookie is not one that this server accepts here; sign in again",
            ),
            Self::Session(Refusal::Expired) => {
                (S::UNAUTHORIZED, "expired", "the session is past its deadline; sign in again")
            }
            Self::Session(Refusal::Revoked) => (S::UNAUTHORIZED, "revoked", "the session was ended; sign in again"),
            Self::Session(Refusal::Stale) => (
                S::SERVICE_UNAVAILABLE,
                "stale",
                "this server has not been able to learn of revocations for too long to vouch for any session; try again, or ask the operator to look at the store",
            ),
            Self::Credentials => {
                (S::UNAUTHORIZED, "credentials", "the login name and the password do not belong together; try again")
            }
            Self::Overtaken => {
                (S::UNAUTHORIZED, "credentials", "the account was changed during this sign-in; try again")
            }
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", "too many sign-ins at once; try again in a moment"),
            Self::Store => (
                S::SERVICE_UNAVAILABLE,
                "store",
                "the account store cannot be used; try again, or ask the operator to look at the server's log",
            ),
            Self::NotDurable => (
                S::SERVICE_UNAVAILABLE,
                "not-durable",
                "the session is ended in this process, but storage failed: a restart could bring it back until storage is repaired; try again",
            ),
            Self::Seal(SealError::NoActiveKey) => (
                S::SERVICE_UNAVAILABLE,
                "no-active-key",
                "no key is active, so no session can begin; the operator runs: sealjar keys rotate --activate-in 0s",
            ),
            Self::Seal(SealError::TooLarge(_) | SealError::BadClaims(_)) => (
                S::INTERNAL_SERVER_ERROR,
                "does-not-fit",
                "what the account holds does not fit a cookie; the operator gives it fewer roles or a shorter name",
            ),
            Self::NotJson => (S::BAD_REQUEST, "malformed", "the body is not well-formed JSON"),
            Self::Fields(expected) => (S::UNPROCESSABLE_ENTITY, "fields", expected),
            Self::MediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "media-type", "send application/json or application/x-www-form-urlencoded")
            }
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than this server takes"),
            Self::Incomplete => (S::BAD_REQUEST, "incomplete", "the body ended before it was complete"),
            Self::Authority => {
                (S::BAD_REQUEST, "authority", "the request must name exactly one host, in Host or :authority")
            }
            Self::Misdirected => (
                S::MISDIRECTED_REQUEST,
                "misdirected",
                "this server does not serve the host that the request names; the operator lists it in http.public_origins",
            ),
            Self::CrossSite => (
                S::FORBIDDEN,
                "cross-site",
                "the browser says that another site sent this request; open the page of this site and send it from there",
            ),
            Self::FormToken => {
                (S::FORBIDDEN, "form-token", "a form sent by a browser needs the token of its page; send JSON instead")
            }
            Self::Status(S::NOT_FOUND) => (S::NOT_FOUND, "not-found", "there is nothing here"),
            Self::Status(S::METHOD_NOT_ALLOWED) => {
                (S::METHOD_NOT_ALLOWED, "method", "the Allow field lists the methods of this resource")
            }
            Self::Status(status) => {
                (status, "error", "the server could not answer; the operator finds the cause in its log")
            }
        };
        (status, reason, detail.to_owned())
    }

    /// Writes the response. The cookie is named in the challenge, which a 401 must have (RFC 9110 section 15.5.2).
    pub(crate) fn render(self, cookie: &CookieName, response: &mut Response) {
        let (status, reason, detail) = self.parts();
        let body = json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "reason": reason,
            "detail": detail,
        });
        response.status_code(status);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            let mut challenge = String::from("Cookie realm=\"sealjar\", form-action=\"/auth/login\", cookie-name=\"");
            let _ = write!(challenge, "{}\"", cookie.as_str());
            headers
                .insert(WWW_AUTHENTICATE, challenge.parse().expect("a cookie's name is visible ASCII without quotes"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.body(format!("{body}\n"));
    }
}
