//! Every error that a client can see, on one page: RFC 9457 `application/problem+json` for programs, a page for people, with a
//! stable `reason` and a `detail` that says what to do. The precise cause of a refusal is for the log only.

use std::time::Duration;

use salvo::http::StatusCode;
use salvo::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use salvo::prelude::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::pages::{self, Action, ErrorPage, Shell};
use crate::seal::CookieName;
use crate::session::{Refusal, SealError};

/// What went wrong, as programs are told (RFC 9457). There is no `type`, which makes it `about:blank`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// What to do about it, in words. They may change.
    detail: &'static str,
    reason: Reason,
    /// That of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The status in words.
    title: &'static str,
}

/// What went wrong, in a word for programs. A word is never given another meaning.
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
    /// Too many passwords were wrong; how long to wait.
    Throttled(Duration),
    /// Password checks queue up.
    Busy,
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
    NewPassword(&'static str),
    /// The body is of a type that is not taken.
    MediaType,
    /// The body is too large.
    TooLarge,
    /// The body did not arrive.
    Incomplete,
    /// The body did not arrive in time.
    Slow,
    /// No single authority.
    Authority,
    /// An authority that is not served.
    Misdirected,
    /// A request that another site made the browser send.
    CrossSite,
    /// A form without its token, or with that of another session or sign-in.
    FormToken,
    /// A route's rule cannot be read.
    Rule,
    /// What a proxy should have said is missing or contradicts itself.
    Forwarded(&'static str),
    /// 404, 405, and what only Salvo says: 500 and the like.
    Status(StatusCode),
}

impl Problem {
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
        !matches!(self, Self::Session(_) | Self::CrossSite | Self::Authority | Self::Misdirected)
    }

    /// What went wrong and what to do, in words for people.
    pub(crate) fn words(self) -> String {
        self.for_people().map_or_else(|| sentence(self.parts().2), |(_, words, _)| words)
    }

    /// Status, reason, detail.
    fn parts(self) -> (StatusCode, Reason, &'static str) {
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
            Self::Session(Refusal::Expired) => {
                (S::UNAUTHORIZED, R::Expired, "the session is past its deadline; sign in again")
            }
            Self::Session(Refusal::Revoked) => (S::UNAUTHORIZED, R::Revoked, "the session was ended; sign in again"),
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
            Self::Role => (S::FORBIDDEN, R::Forbidden, "the session has not the role that this asks for"),
            Self::MustChange => (
                S::FORBIDDEN,
                R::MustChange,
                "this password must be changed before a session can begin; send login, old_password and new_password to POST /auth/password",
            ),
            Self::Throttled(_) => (
                S::TOO_MANY_REQUESTS,
                R::Throttled,
                "too many attempts failed; wait as many seconds as Retry-After says, and try again",
            ),
            Self::Busy => (S::SERVICE_UNAVAILABLE, R::Busy, "too many sign-ins at once; try again in a moment"),
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
                "nothing was ended: this server does not have the session's key yet, but another one does; try again in a moment",
            ),
            Self::Seal(SealError::NoActiveKey) => (
                S::SERVICE_UNAVAILABLE,
                R::NoActiveKey,
                "no key is active, so no session can begin; the operator runs: sealjar keys rotate --activate-in 0s",
            ),
            Self::Seal(SealError::TooLarge(_) | SealError::BadClaims(_)) => (
                S::INTERNAL_SERVER_ERROR,
                R::DoesNotFit,
                "what the account holds does not fit a cookie; the operator gives it fewer roles or a shorter name",
            ),
            Self::NotJson => (S::BAD_REQUEST, R::Malformed, "the body is not well-formed JSON"),
            Self::Fields(expected) | Self::LoginName(expected) | Self::NewPassword(expected) => {
                (S::UNPROCESSABLE_ENTITY, R::Fields, expected)
            }
            Self::MediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, R::MediaType, "send application/json or application/x-www-form-urlencoded")
            }
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, R::TooLarge, "the body is larger than this server takes"),
            Self::Incomplete => (S::BAD_REQUEST, R::Incomplete, "the body ended before it was complete"),
            Self::Slow => {
                (S::REQUEST_TIMEOUT, R::Slow, "the body did not arrive in time; try again over a new connection")
            }
            Self::Authority => {
                (S::BAD_REQUEST, R::Authority, "the request must name exactly one host, in Host or :authority")
            }
            Self::Misdirected => (
                S::MISDIRECTED_REQUEST,
                R::Misdirected,
                "this server does not serve the host that the request names; the operator lists it in http.public_origins",
            ),
            Self::CrossSite => (
                S::FORBIDDEN,
                R::CrossSite,
                "the browser says that another site sent this request; open the page of this site and send it from there",
            ),
            Self::FormToken => (
                S::FORBIDDEN,
                R::FormToken,
                "a form sent by a browser needs the csrf_token of its page, which is good for one session; load the page again, or send JSON",
            ),
            Self::Rule => (
                S::FORBIDDEN,
                R::Rule,
                "a rule of this route cannot be read; if you did not add role, max_age or csrf to the address yourself, tell the operator",
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

    /// Writes the response for a program. The cookie is named in the challenge, which a 401 must have (RFC 9110 section 15.5.2).
    pub(crate) fn render(self, cookie: &CookieName, response: &mut Response) {
        let (status, reason, detail) = self.parts();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = ProblemBody { detail, reason, status: status.as_u16(), title };
        let body = serde_json::to_string(&body).expect("texts and a number can be written");
        self.write_fields(status, cookie, response);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.body(format!("{body}\n"));
    }

    fn write_fields(self, status: StatusCode, cookie: &CookieName, response: &mut Response) {
        response.status_code(status);
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            let form = if self == Self::StepUp { "/auth/reauthenticate" } else { "/auth/login" };
            let name = cookie.as_str();
            let challenge = format!("Cookie realm=\"sealjar\", form-action=\"{form}\", cookie-name=\"{name}\"");
            headers
                .insert(WWW_AUTHENTICATE, challenge.parse().expect("a cookie's name is visible ASCII without quotes"));
        }
        // RFC 9110 section 15.5.9. HTTP/2 has no such field, and hyper leaves it out there.
        if status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        match self {
            Self::Throttled(wait) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
    }

    /// Writes the response as a page.
    pub(crate) fn render_page(self, shell: Shell, cookie: &CookieName, response: &mut Response) {
        let (status, _, detail) = self.parts();
        let (title, detail, action) = self
            .for_people()
            .unwrap_or_else(|| (status.canonical_reason().unwrap_or("Error").to_owned(), sentence(detail), None));
        let page = ErrorPage { shell, status: status.as_u16(), title, detail, action };
        self.write_fields(status, cookie, response);
        pages::write(pages::render(&page), response);
    }

    /// Title, detail and way out, where a person needs other words than a program.
    fn for_people(self) -> Option<(String, String, Option<Action>)> {
        const SIGN_IN: Option<Action> = Some(Action { href: "/auth/login", label: "Sign in" });
        const SESSION: Option<Action> = Some(Action { href: "/auth/status", label: "Your session" });
        let (title, detail, action) = match self {
            Self::Throttled(wait) => {
                let wait = match whole_seconds(wait) {
                    1 => "a second".to_owned(),
                    seconds @ 2..=90 => format!("{seconds} seconds"),
                    seconds => format!("{} minutes", seconds.div_ceil(60)),
                };
                let detail = format!("Too many attempts failed. Wait {wait}, and try again.");
                return Some(("Too many attempts".to_owned(), detail, None));
            }
            Self::Session(Refusal::Missing) => ("You are not signed in", "Sign in to go on.", SIGN_IN),
            Self::Session(Refusal::Invalid(_)) => {
                ("You are not signed in", "Your session is not good here. Sign in to go on.", SIGN_IN)
            }
            Self::Session(Refusal::Expired) => {
                ("Your session has ended", "It was not used for too long. Sign in to go on.", SIGN_IN)
            }
            Self::Session(Refusal::Revoked) => {
                ("Your session has ended", "It was signed out. Sign in to go on.", SIGN_IN)
            }
            Self::Password => ("Wrong password", "That is not your password. Try again.", None),
            Self::StepUp => ("Confirm that it is you", "This asks for your password again.", SESSION),
            Self::Role => ("You may not see this", "Your account has not the role that this asks for.", SESSION),
            Self::FormToken => {
                ("This form is out of date", "You signed in or out since it was opened. Nothing was done.", SESSION)
            }
            Self::Slow => {
                ("That took too long", "What you sent did not arrive in time. Nothing was done. Try again.", None)
            }
            Self::CrossSite => ("Refused", "Another site sent this request. Nothing was done.", None),
            Self::Status(StatusCode::NOT_FOUND) => {
                ("There is nothing here", "Look at the address for a mistake.", None)
            }
            _ => return None,
        };
        Some((title.to_owned(), detail.to_owned(), action))
    }
}

/// Rounded up: nobody is to come back too early.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// A detail as a sentence: capital first, full stop last.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).chain(['.']).collect()).unwrap_or_default()
}
