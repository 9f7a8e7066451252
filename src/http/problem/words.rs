//! Errors for programs: status, reason and detail.

use salvo::http::StatusCode;

use crate::http::problem::{Problem, Reason};
use crate::session::{Refusal, SealError};
use crate::web::refusal;

impl Problem {
    /// Status, reason, detail.
    pub(super) fn parts(self) -> (StatusCode, Reason, &'static str) {
        use {Reason as R, StatusCode as S};
        match self {
            Self::Session(Refusal::Missing) => (
                S::UNAUTHORIZED,
                R::Missing,
                "no session cookie came with the request; sign in with POST /auth/login and send back the cookie that it sets",
            ),
            Self::Session(Refusal::Invalid(_)) => (
                S::UNAUTHORIZED,
                R::Invalid,
                "the session cookie is not one that this server accepts here; sign in again",
            ),
            Self::Session(Refusal::Expired) => (S::UNAUTHORIZED, R::Expired, refusal::EXPIRED),
            Self::Session(Refusal::Revoked) => (S::UNAUTHORIZED, R::Revoked, refusal::REVOKED),
            Self::Session(Refusal::Stale) => (
                S::SERVICE_UNAVAILABLE,
                R::Stale,
                "this server has not been able to learn of revocations for too long to vouch for any session; try again, or ask the operator to look at the store",
            ),
            Self::Credentials => {
                (S::UNAUTHORIZED, R::Credentials, "the login name and the password do not belong together; try again")
            }
            Self::Password => (S::UNAUTHORIZED, R::Credentials, "that is not the password of this account; try again"),
            Self::Overtaken => {
                (S::UNAUTHORIZED, R::Credentials, "the account was changed during this sign-in; try again")
            }
            Self::StepUp => (
                S::UNAUTHORIZED,
                R::StepUp,
                "this asks for a password given more recently; send it to POST /auth/reauthenticate",
            ),
            Self::Role => (S::FORBIDDEN, R::Forbidden, refusal::ROLE),
            Self::MustChange => (
                S::FORBIDDEN,
                R::MustChange,
                "this password must be changed before a session can begin; send login, old_password and new_password to POST /auth/password",
            ),
            Self::Throttled(_) => (
                S::TOO_MANY_REQUESTS,
                R::Throttled,
                "too many attempts; wait as many seconds as Retry-After says, and try again",
            ),
            Self::Busy => (S::SERVICE_UNAVAILABLE, R::Busy, "too many sign-ins at once; try again in a moment"),
            Self::KeyWaits => (
                S::SERVICE_UNAVAILABLE,
                R::Busy,
                "too many requests bring cookies that are sealed with keys that this server does not open with; try again in a moment",
            ),
            Self::Store => (
                S::SERVICE_UNAVAILABLE,
                R::Store,
                "the account store cannot be used; try again, or ask the operator to look at the server's log",
            ),
            Self::NotDurable => (
                S::SERVICE_UNAVAILABLE,
                R::NotDurable,
                "the session is ended in this process, but storage failed: a restart could bring it back until storage is repaired; try again",
            ),
            Self::KeyElsewhere => (
                S::SERVICE_UNAVAILABLE,
                R::KeyElsewhere,
                "nothing was ended: this server does not open sessions with this key, but another one does; try again in a moment",
            ),
            Self::Seal(SealError::NoActiveKey) => (
                S::SERVICE_UNAVAILABLE,
                R::NoActiveKey,
                "no key is active, so no session can begin; the operator copies the key files of another server here, or without one runs: sealjar keys rotate --activate-in 0s",
            ),
            Self::Seal(SealError::TooLarge(_) | SealError::BadClaims(_)) => (
                S::INTERNAL_SERVER_ERROR,
                R::DoesNotFit,
                "what the account holds does not fit a cookie; the operator gives it fewer roles or a shorter name",
            ),
            Self::NotJson => (S::BAD_REQUEST, R::Malformed, "the body is not well-formed JSON"),
            Self::Fields(expected) | Self::LoginName(expected) => (S::UNPROCESSABLE_ENTITY, R::Fields, expected),
            Self::NewPassword(bad) => (S::UNPROCESSABLE_ENTITY, R::Fields, bad.rule()),
            Self::UnchangedPassword => {
                (S::UNPROCESSABLE_ENTITY, R::Fields, "the new password is the old one; choose another")
            }
            Self::PasswordsDiffer => (
                S::UNPROCESSABLE_ENTITY,
                R::Fields,
                "new_password_again, if it is sent, must be the same as new_password",
            ),
            Self::MediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, R::MediaType, "send application/json or application/x-www-form-urlencoded")
            }
            Self::ContentEncoding => (
                S::UNSUPPORTED_MEDIA_TYPE,
                R::ContentEncoding,
                "this server takes no compressed bodies; send the body as it is, without Content-Encoding",
            ),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, R::TooLarge, "the body is larger than this server takes"),
            Self::Incomplete => (S::BAD_REQUEST, R::Incomplete, "the body ended before it was complete"),
            Self::Slow => (S::REQUEST_TIMEOUT, R::Slow, "the body did not arrive in time; send the request again"),
            Self::Authority => (
                S::BAD_REQUEST,
                R::Authority,
                "the request must name exactly one host, in Host or :authority, and its target must be a path",
            ),
            Self::Misdirected => (
                S::MISDIRECTED_REQUEST,
                R::Misdirected,
                "this server does not serve the host that the request names; if it should, the operator adds the host to http.public_origins",
            ),
            Self::AdminMisdirected => (
                S::MISDIRECTED_REQUEST,
                R::Misdirected,
                "the admin listener does not serve the host that the request names; use an IP address, localhost or a name without a dot, or the operator lists the host in http.admin_authorities",
            ),
            Self::CrossSite => (S::FORBIDDEN, R::CrossSite, refusal::CROSS_SITE),
            Self::FormToken => (
                S::FORBIDDEN,
                R::FormToken,
                "a form sent by a browser needs the csrf_token of its page, which is good for one session; load the page again, or send JSON",
            ),
            Self::Rule => (
                S::FORBIDDEN,
                R::Rule,
                "a rule of this route is misspelt or cannot be read; if you did not add role, max_age or csrf to the address yourself, tell the operator",
            ),
            Self::Forwarded(what) => (S::FORBIDDEN, R::Forwarded, what),
            Self::Status(S::NOT_FOUND) => (S::NOT_FOUND, R::NotFound, "there is nothing here"),
            Self::Status(S::METHOD_NOT_ALLOWED) => {
                (S::METHOD_NOT_ALLOWED, R::Method, "the Allow field lists the methods of this resource")
            }
            Self::Status(status) => {
                (status, R::Error, "the server could not answer; the operator finds the cause in its log")
            }
        }
    }
}
