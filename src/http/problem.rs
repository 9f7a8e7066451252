//! Every error that a client can see, on one page: RFC 9457 `application/problem+json` for programs, a page for people, with a
//! stable `reason` and a `detail` that says what to do. The precise cause of a refusal is for the log only.

mod people;
mod words;

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
use crate::account::password::checker::NotDone;
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

/// The kind of error, for programs. The meaning of a value never changes.
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

/// What went wrong, as far as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no live session.
    Session(Refusal),
    /// Unknown account, wrong password or disabled account: all alike.
    Credentials,
    /// Not the password of the account that is signed in.
    Password,
    /// A password was right when it was given, and the account changed while it was checked.
    Overtaken,
    /// The password must be given again: it was given too long ago for what is asked for.
    StepUp,
    /// A live session without the role that the route asks for.
    Role,
    /// The password is right, and was set by somebody else: it leads nowhere but to the change of it.
    MustChange,
    /// A limit on passwords was reached; how long to wait.
    Throttled(Duration),
    /// Password checks queue up.
    Busy,
    /// Too many requests wait because of their keys.
    KeyWaits,
    /// The store cannot be read or written.
    Store,
    /// A revocation is in force here, but not on disk.
    NotDurable,
    /// Another server may know the session, and this one does not have its key.
    KeyElsewhere,
    /// No key can seal, or what the account holds cannot be sealed.
    Seal(SealError),
    /// The body is not JSON.
    NotJson,
    /// The body's fields are wrong.
    Fields(&'static str),
    /// The login name cannot be one.
    LoginName(&'static str),
    /// The new password cannot be one.
    NewPassword(BadPassword),
    /// The new password is the old one.
    UnchangedPassword,
    /// The new password was entered twice, and not in the same way.
    PasswordsDiffer,
    /// The body is of a type that is not taken.
    MediaType,
    /// The body is compressed.
    ContentEncoding,
    /// The body is too large.
    TooLarge,
    /// The body did not arrive.
    Incomplete,
    /// The body did not arrive in time.
    Slow,
    /// No single authority, or a target that is a whole URL.
    Authority,
    /// An authority that is not served.
    Misdirected,
    /// The same, on the admin listener.
    AdminMisdirected,
    /// A request that another site made the browser send.
    CrossSite,
    /// A form without its token, or with that of another session or sign-in.
    FormToken,
    /// A route's rule cannot be read.
    Rule,
    /// What a proxy should have said is missing or contradicts itself.
    Forwarded(&'static str),
    /// 404, 405 and 500.
    Status(StatusCode),
}

impl Problem {
    pub(crate) const NOT_FOUND: Self = Self::Status(StatusCode::NOT_FOUND);
    pub(crate) const OTHER_METHOD: Self = Self::Status(StatusCode::METHOD_NOT_ALLOWED);

    pub(crate) fn status(self) -> StatusCode {
        self.parts().0
    }

    pub(crate) fn reason(self) -> Reason {
        self.parts().1
    }

    /// What to do about it, for programs.
    pub(crate) fn detail(self) -> &'static str {
        self.parts().2
    }

    /// Whether there is no session, and a sign-in would change that.
    pub(crate) fn is_cured_by_sign_in(self) -> bool {
        matches!(self, Self::Session(refusal) if refusal != Refusal::Stale)
    }

    /// Whether the password that was given is not the account's.
    pub(crate) const fn is_about_the_password(self) -> bool {
        matches!(self, Self::Credentials | Self::Password | Self::Overtaken)
    }

    /// Whether the form that failed can be shown again: its session is live.
    pub(crate) const fn is_shown_in_form(self) -> bool {
        !matches!(
            self,
            Self::Session(_) | Self::CrossSite | Self::Authority | Self::Misdirected | Self::AdminMisdirected
        )
    }

    /// Returns how an answer with this problem to the question for a live session is counted.
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

    /// Writes the header fields of the answer for a program, and returns its body. The cookie is named in the challenge, which a 401 must have (RFC 9110 section 15.5.2).
    pub(crate) fn render(self, cookie: &CookieName, headers: &mut HeaderMap) -> String {
        let (status, reason, detail) = self.parts();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = ProblemBody { detail, reason, status: status.as_u16(), title };
        let body = serde_json::to_string(&body).expect("texts and a number can be written");
        self.write_fields(status, cookie, headers);
        headers.insert(CONTENT_TYPE, refusal::PROBLEM_JSON);
        format!(
            "{body}
"
        )
    }

    fn write_fields(self, status: StatusCode, cookie: &CookieName, headers: &mut HeaderMap) {
        if status == StatusCode::UNAUTHORIZED {
            let form = if self == Self::StepUp { "/auth/reauthenticate" } else { "/auth/login" };
            headers.insert(WWW_AUTHENTICATE, refusal::challenge(Some(form), cookie));
        }
        // RFC 9110 section 15.5.9. HTTP/2 has no such field, and hyper leaves it out there.
        if status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        match self {
            // RFC 9110 section 15.5.16.
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

    /// Writes the header fields of the answer as a page, and returns the page. The request named this host, and has this path.
    pub(crate) fn render_page(
        self,
        pages: &Pages,
        (host, path): (Cow<'_, str>, &str),
        cookie: &CookieName,
        headers: &mut HeaderMap,
    ) -> String {
        let status = self.status();
        let (heading, detail) = self.for_people(pages.texts);
        let page = ErrorPage {
            shell: pages.shell(host, heading),
            status: status.as_u16(),
            detail: &detail,
            operator: self.for_the_operator(),
            link: self.link(pages, path),
        };
        self.write_fields(status, cookie, headers);
        headers.insert(CONTENT_TYPE, pages::MEDIA_TYPE);
        pages::render(&page)
    }
}

/// Returns the span in seconds, rounded up, so that nobody comes back too early.
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
            BadAuthority::NotOne => Self::Authority,
            BadAuthority::Foreign => Self::Misdirected,
        }
    }
}

impl From<NotDone> for Problem {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Overloaded => Self::Busy,
            NotDone::Failed => Self::Status(StatusCode::INTERNAL_SERVER_ERROR),
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
