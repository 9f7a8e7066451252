//! The errors that a client can receive. A navigation gets a page, and other requests get `application/problem+json` ([RFC
//! 9457](https://www.rfc-editor.org/rfc/rfc9457)) with a `reason` that never changes and a `detail` that describes the error and
//! what to do.
//!
//! Invariant: a response does not reveal the exact cause of a refusal. Only the log has it.
//!
//! `details.rs` has the texts for programs, and `page_texts.rs` selects the texts for pages. Called by `reply.rs`.

mod details;
mod page_texts;

use std::borrow::Cow;
use std::time::Duration;

use salvo::http::StatusCode;
use salvo::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::account::BadPassword;
use crate::account::credentials::BadBody;
use crate::account::password::checker::CheckerError;
use crate::http::pages::{self, ErrorPage, Pages};
use crate::metrics::Verification;
use crate::seal::CookieName;
use crate::session::{Refusal, SealError};
use crate::web::csrf::CrossSite;
use crate::web::hosts::BadAuthority;
use crate::web::refusal;

/// An error for programs (RFC 9457). There is no `type`, which means `about:blank`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A description of the error and what to do. The text may change.
    detail: &'static str,
    reason: Reason,
    /// The status code of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The name of the status code.
    title: &'static str,
}

/// The type of error, for programs. The meaning of a value never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Missing,
    Invalid,
    Expired,
    Revoked,
    Stale,
    Credentials,
    StepUp,
    Forbidden,
    MustChange,
    Throttled,
    Busy,
    Store,
    NotDurable,
    KeyElsewhere,
    NoActiveKey,
    DoesNotFit,
    Malformed,
    Fields,
    MediaType,
    ContentEncoding,
    TooLarge,
    Incomplete,
    Slow,
    Authority,
    Misdirected,
    CrossSite,
    FormToken,
    Rule,
    Forwarded,
    NotFound,
    Method,
    Error,
}

/// An error that a client can receive. `details.rs` has the status, reason and text of each variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The request has no live session.
    Session(Refusal),
    /// The account is unknown or disabled, or the password is wrong. The client cannot distinguish these cases.
    Credentials,
    /// The password is wrong for the user of the live session.
    WrongPassword,
    /// The account changed while its password was checked.
    AccountChanged,
    /// The resource requires that the password was given more recently.
    StepUp,
    /// The live session does not have a role that the route requires.
    Role,
    /// The password is correct, but the user must change it before a session can start.
    MustChange,
    /// A rate limit for passwords is reached. The client must wait for this time.
    Throttled(Duration),
    /// The queue of password checks is full.
    Busy,
    /// Too many requests wait until the key files are read again, because their keys are unknown.
    KeyWaits,
    /// The store cannot be read or written.
    Store,
    /// This server refuses the session, but the store has not committed the revocation.
    NotDurable,
    /// This server cannot open the token of the session, but another node may be able to.
    KeyElsewhere,
    /// There is no active key, or the session does not fit into a token.
    Seal(SealError),
    /// The body is not JSON.
    NotJson,
    /// A field of the body is missing or invalid.
    Fields(&'static str),
    /// The login name breaks the rules for login names.
    LoginName(&'static str),
    /// The new password breaks the rules for passwords.
    NewPassword(BadPassword),
    /// The new password is the same as the old one.
    UnchangedPassword,
    /// The two entries of the new password are different.
    PasswordsDiffer,
    /// The media type of the body is not supported.
    MediaType,
    /// The body is compressed.
    ContentEncoding,
    /// The body is too large.
    TooLarge,
    /// The body ended before it was complete.
    Incomplete,
    /// The body did not arrive in time.
    Slow,
    /// The request does not name exactly one host, or its target is a whole URL.
    Authority,
    /// The request names a host that the public listener does not serve.
    Misdirected,
    /// The request names a host that the admin listener does not serve.
    AdminMisdirected,
    /// Another site may have made the browser send the request.
    CrossSite,
    /// The form has no CSRF token, or the token of another session or login form.
    FormToken,
    /// A rule of a verify request is invalid.
    Rule,
    /// The forwarded headers of a proxy are missing or contradict each other.
    Forwarded(&'static str),
    /// The request failed with a status that has no other variant: 404, 405 or 500.
    Status(StatusCode),
}

impl Problem {
    pub(crate) const NOT_FOUND: Self = Self::Status(StatusCode::NOT_FOUND);
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::Status(StatusCode::METHOD_NOT_ALLOWED);

    pub(crate) fn status(self) -> StatusCode {
        self.parts().0
    }

    pub(crate) fn reason(self) -> Reason {
        self.parts().1
    }

    /// Returns the description of the error and what to do, for programs.
    pub(crate) fn detail(self) -> &'static str {
        self.parts().2
    }

    /// Returns whether the request has no live session, and a login would solve this.
    pub(crate) fn needs_login(self) -> bool {
        matches!(self, Self::Session(refusal) if refusal != Refusal::Stale)
    }

    /// Returns whether the password was not accepted. A form shows such an error at the field of the password.
    pub(crate) const fn is_wrong_password(self) -> bool {
        matches!(self, Self::Credentials | Self::WrongPassword | Self::AccountChanged)
    }

    /// Returns whether a form can be shown again with this error. This is not possible if the session is not live, or if the host
    /// or the sender of the request is not accepted.
    pub(crate) const fn is_shown_in_form(self) -> bool {
        !matches!(
            self,
            Self::Session(_) | Self::CrossSite | Self::Authority | Self::Misdirected | Self::AdminMisdirected
        )
    }

    /// Returns the metrics label under which a response with this problem is counted.
    pub(crate) fn verification(self) -> Verification {
        match self {
            Self::Session(Refusal::Missing) => Verification::Missing,
            Self::Session(Refusal::Invalid(_)) => Verification::Invalid,
            Self::Session(Refusal::Expired) => Verification::Expired,
            Self::Session(Refusal::Revoked) => Verification::Revoked,
            Self::Session(Refusal::Stale) => Verification::Stale,
            Self::StepUp => Verification::StepUp,
            Self::Role => Verification::Forbidden,
            problem if problem.status().is_server_error() => Verification::Error,
            _ => Verification::BadRequest,
        }
    }

    /// Writes the header fields of the response for a program, and returns its body. A 401 must have a challenge ([RFC 9110
    /// section 15.5.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2)), which names the cookie.
    pub(crate) fn render(self, cookie: &CookieName, headers: &mut HeaderMap) -> String {
        let (status, reason, detail) = self.parts();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = ProblemBody { detail, reason, status: status.as_u16(), title };
        let body = serde_json::to_string(&body).expect("texts and a number can be written");
        self.write_fields(status, cookie, headers);
        headers.insert(CONTENT_TYPE, refusal::PROBLEM_JSON);
        format!("{body}\n")
    }

    /// Writes the header fields that pages and responses for programs share.
    fn write_fields(self, status: StatusCode, cookie: &CookieName, headers: &mut HeaderMap) {
        if status == StatusCode::UNAUTHORIZED {
            let form = if self == Self::StepUp { "/auth/reauthenticate" } else { "/auth/login" };
            headers.insert(WWW_AUTHENTICATE, refusal::challenge(Some(form), cookie));
        }
        // RFC 9110 section 15.5.9 requires this field. HTTP/2 does not have it, and there hyper removes it.
        if status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        match self {
            // RFC 9110 section 15.5.16 recommends this field.
            Self::ContentEncoding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::Throttled(wait) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
    }

    /// Writes the header fields of the response for a navigation, and returns its page. `host` and `path` belong to the
    /// request.
    pub(crate) fn render_page(
        self,
        pages: &Pages,
        (host, path): (Cow<'_, str>, &str),
        cookie: &CookieName,
        headers: &mut HeaderMap,
    ) -> String {
        let status = self.status();
        let (heading, detail) = self.heading_and_text(pages.texts);
        let page = ErrorPage {
            shell: pages.shell(host, heading),
            status: status.as_u16(),
            detail: &detail,
            operator: self.operator_message(),
            link: self.link(pages, path),
        };
        self.write_fields(status, cookie, headers);
        headers.insert(CONTENT_TYPE, pages::MEDIA_TYPE);
        pages::render(&page)
    }
}

/// Returns the span in seconds, rounded up, so that no client repeats its request too early.
const fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + (span.subsec_nanos() > 0) as u64
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

impl From<CheckerError> for Problem {
    fn from(error: CheckerError) -> Self {
        match error {
            CheckerError::Overloaded => Self::Busy,
            CheckerError::Failed => Self::Status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl From<BadBody> for Problem {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::NotJson => Self::NotJson,
            BadBody::LoginName => Self::LoginName(bad.hint()),
            BadBody::Fields(_) | BadBody::PasswordLength => Self::Fields(bad.hint()),
        }
    }
}
