//! Texts of errors for programs: the status, reason and detail of each [`Problem`]. They are English in every language.

use salvo::http::StatusCode;

use crate::http::problem::{Problem, Reason};
use crate::session::{Refusal, SealError};
use crate::web::refusal;

impl Problem {
    /// Returns status, reason and detail.
    pub(super) fn parts(self) -> (StatusCode, Reason, &'static str) {
        use {Reason as R, StatusCode as S};
        match self {
            Self::Session(Refusal::Missing) => (
                S::UNAUTHORIZED,
                R::Missing,
                "the request has no session cookie; log in with POST /auth/login, and send the cookie of the response",
            ),
            Self::Session(Refusal::Invalid(_)) => {
                (S::UNAUTHORIZED, R::Invalid, "the session cookie is not valid on this host; log in again")
            }
            Self::Session(Refusal::Expired) => (S::UNAUTHORIZED, R::Expired, refusal::EXPIRED),
            Self::Session(Refusal::Revoked) => (S::UNAUTHORIZED, R::Revoked, refusal::REVOKED),
            Self::Session(Refusal::Stale) => (
                S::SERVICE_UNAVAILABLE,
                R::Stale,
                "no session can be checked, because the server could not read the revocation log for too long; try again, or ask the operator to check the store",
            ),
            Self::Credentials => {
                (S::UNAUTHORIZED, R::Credentials, "the login name or the password is wrong; try again")
            }
            Self::WrongPassword => (S::UNAUTHORIZED, R::Credentials, "the password is wrong; try again"),
            Self::AccountChanged => {
                (S::UNAUTHORIZED, R::Credentials, "the account was changed during this login; try again")
            }
            Self::StepUp => (
                S::UNAUTHORIZED,
                R::StepUp,
                "the last password check is too long ago; send the password to POST /auth/reauthenticate",
            ),
            Self::Role => (S::FORBIDDEN, R::Forbidden, refusal::ROLE),
            Self::MustChange => (
                S::FORBIDDEN,
                R::MustChange,
                "this password must be changed before a session can start; send login, old_password and new_password to POST /auth/password",
            ),
            Self::Throttled(_) => (
                S::TOO_MANY_REQUESTS,
                R::Throttled,
                "too many attempts; wait for the number of seconds in Retry-After, and try again",
            ),
            Self::Busy => (S::SERVICE_UNAVAILABLE, R::Busy, "too many logins at the same time; try again in a moment"),
            Self::KeyWaits => (
                S::SERVICE_UNAVAILABLE,
                R::Busy,
                "too many requests have cookies whose keys this server does not have; try again in a moment",
            ),
            Self::Store => (
                S::SERVICE_UNAVAILABLE,
                R::Store,
                "the account database is unavailable; try again, or ask the operator to check the server's log",
            ),
            Self::NotDurable => (
                S::SERVICE_UNAVAILABLE,
                R::NotDurable,
                "this server refuses the session, but could not store the logout: after a restart, the session may be valid again; try again",
            ),
            Self::KeyElsewhere => (
                S::SERVICE_UNAVAILABLE,
                R::KeyElsewhere,
                "no session was ended: this server cannot decrypt the cookie, but another server can; try again in a moment",
            ),
            Self::Seal(SealError::NoActiveKey) => (
                S::SERVICE_UNAVAILABLE,
                R::NoActiveKey,
                "no key is active, so no session can start; the operator must copy the key files of another server, or, if there is no other server, run: sealjar keys rotate --activate-in 0s",
            ),
            Self::Seal(SealError::TooLarge(_) | SealError::BadClaims(_)) => (
                S::INTERNAL_SERVER_ERROR,
                R::DoesNotFit,
                "the data of the account does not fit into a cookie; the operator must give the account fewer roles or a shorter name",
            ),
            Self::NotJson => (S::BAD_REQUEST, R::Malformed, "the body is not well-formed JSON"),
            Self::Fields(expected) | Self::LoginName(expected) => (S::UNPROCESSABLE_ENTITY, R::Fields, expected),
            Self::NewPassword(bad) => (S::UNPROCESSABLE_ENTITY, R::Fields, bad.rule()),
            Self::UnchangedPassword => {
                (S::UNPROCESSABLE_ENTITY, R::Fields, "the new password is the same as the old one; choose another")
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
                "this server does not accept compressed bodies; send the body without Content-Encoding",
            ),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, R::TooLarge, "the body is larger than this server accepts"),
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
                "this server does not serve the host that the request names; if it should, the operator must add the host to http.public_origins",
            ),
            Self::AdminMisdirected => (
                S::MISDIRECTED_REQUEST,
                R::Misdirected,
                "the admin listener does not serve the host that the request names; use an IP address, localhost or a name without a dot, or ask the operator to list the host in http.admin_authorities",
            ),
            Self::CrossSite => (S::FORBIDDEN, R::CrossSite, refusal::CROSS_SITE),
            Self::FormToken => (
                S::FORBIDDEN,
                R::FormToken,
                "a form from a browser needs the csrf_token of its page, which is valid for one session; load the page again, or send JSON",
            ),
            Self::Rule => (
                S::FORBIDDEN,
                R::Rule,
                "a rule of this route is invalid; if you did not add role, max_age or csrf to the address yourself, tell the operator",
            ),
            Self::Forwarded(detail) => (S::FORBIDDEN, R::Forwarded, detail),
            Self::Status(S::NOT_FOUND) => (S::NOT_FOUND, R::NotFound, "there is no resource at this path"),
            Self::Status(S::METHOD_NOT_ALLOWED) => {
                (S::METHOD_NOT_ALLOWED, R::Method, "the Allow field lists the methods of this resource")
            }
            Self::Status(status) => {
                (status, R::Error, "the request failed; ask the operator to find the cause in the server's log")
            }
        }
    }
}
