//! Texts of errors for pages: the user's text from the catalogue (`pages/texts.rs`), the message to the operator, and the link to
//! the next page.

use std::borrow::Cow;

use salvo::http::StatusCode;

use crate::account::BadPassword;
use crate::http::pages::texts::{ErrorText, Texts, Unit};
use crate::http::pages::{Link, Pages};
use crate::http::problem::{Problem, whole_seconds};
use crate::http::return_url::ReturnUrl;
use crate::session::{Refusal, SealError};

/// Pages to which a browser returns after a login. An error page at one of these paths links to the login page, with its own
/// path as the return URL.
const RETURN_PAGES: [&str; 3] = [ReturnUrl::SESSION, "/auth/password", "/auth/reauthenticate"];

impl Problem {
    /// Returns the text for the user: what went wrong and what to do. A form shows it without a heading.
    pub(crate) fn page_text(self, texts: &Texts) -> Cow<'static, str> {
        self.heading_and_text(texts).1
    }

    /// Returns the heading and the text of the error page.
    pub(super) fn heading_and_text(self, texts: &Texts) -> (&'static str, Cow<'static, str>) {
        let errors = &texts.errors;
        let ErrorText { title, detail } = match self {
            Self::Throttled(wait) => {
                let (count, unit) = match whole_seconds(wait) {
                    seconds @ 0..=90 => (seconds, Unit::Second),
                    seconds => (seconds.div_ceil(60), Unit::Minute),
                };
                return (errors.throttled, (errors.wait)(&(texts.times.amount)(count, unit)).into());
            }
            Self::NewPassword(bad) => {
                let detail = match bad {
                    BadPassword::TooShort => texts.password.too_short,
                    BadPassword::TooLong => texts.password.too_long,
                    BadPassword::Common => texts.password.common,
                };
                ErrorText { title: errors.new_password, detail }
            }
            Self::UnchangedPassword => ErrorText { title: errors.new_password, detail: texts.password.unchanged },
            Self::PasswordsDiffer => ErrorText { title: errors.new_password, detail: texts.password.differs },
            Self::Session(Refusal::Missing) => errors.missing,
            Self::Session(Refusal::Invalid(_)) => errors.invalid,
            Self::Session(Refusal::Expired) => errors.expired,
            Self::Session(Refusal::Revoked) => errors.revoked,
            Self::Session(Refusal::Stale) => errors.stale,
            Self::Credentials => errors.credentials,
            Self::WrongPassword => errors.wrong_password,
            Self::AccountChanged => errors.account_changed,
            Self::StepUp => errors.step_up,
            Self::Role => errors.role,
            Self::MustChange => errors.must_change,
            Self::Busy | Self::KeyWaits => errors.busy,
            Self::Store => errors.store,
            Self::NotDurable => errors.not_durable,
            Self::KeyElsewhere => errors.key_elsewhere,
            Self::Seal(SealError::NoActiveKey) => errors.no_active_key,
            Self::Seal(SealError::TooLarge(_) | SealError::BadClaims(_)) => errors.does_not_fit,
            Self::NotJson | Self::Fields(_) | Self::MediaType | Self::ContentEncoding => errors.form,
            Self::LoginName(_) => errors.login_name,
            Self::TooLarge => errors.too_large,
            Self::Incomplete => errors.incomplete,
            Self::Slow => errors.slow,
            Self::Authority => errors.authority,
            Self::Misdirected | Self::AdminMisdirected => errors.misdirected,
            Self::CrossSite => errors.cross_site,
            Self::FormToken => errors.form_token,
            Self::Rule => errors.rule,
            Self::Forwarded(_) => errors.forwarded,
            Self::Status(StatusCode::NOT_FOUND) => errors.not_found,
            Self::Status(StatusCode::METHOD_NOT_ALLOWED) => errors.method,
            Self::Status(_) => errors.failed,
        };
        (title, detail.into())
    }

    /// Returns the message to the operator, for an error that only the operator can correct.
    pub(super) fn operator_message(self) -> Option<&'static str> {
        match self {
            Self::Session(Refusal::Stale)
            | Self::Store
            | Self::NotDurable
            | Self::Seal(_)
            | Self::Misdirected
            | Self::Forwarded(_) => Some(self.detail()),
            _ => None,
        }
    }

    /// Returns the link to the next page, or `None` if no link helps. `path` is the path of the request.
    pub(super) fn link<'a>(self, pages: &'a Pages, path: &str) -> Option<Link<'a>> {
        let common = &pages.texts.common;
        let session = Link { href: ReturnUrl::SESSION.into(), label: common.your_session };
        Some(match self {
            // A link would lead to the same host, which is not served.
            Self::Authority | Self::Misdirected | Self::AdminMisdirected => return None,
            _ if self.needs_login() => {
                let return_url = RETURN_PAGES.into_iter().find(|page| *page == path);
                let href = ReturnUrl::at_page("/auth/login", return_url).into();
                Link { href, label: common.sign_in }
            }
            Self::StepUp => Link { href: "/auth/reauthenticate".into(), label: pages.texts.reauthenticate.submit },
            Self::Role | Self::FormToken | Self::KeyElsewhere | Self::METHOD_NOT_ALLOWED => session,
            // A link to the page itself would not help.
            _ => pages
                .home_link()
                .filter(|home| *home != path)
                .map_or(session, |home| Link { href: home.into(), label: common.home }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::pages::language::Language;

    #[test]
    fn shows_a_long_wait_in_minutes() {
        for (seconds, amount) in [(1, "1 second"), (90, "90 seconds"), (91, "2 minutes"), (3600, "60 minutes")] {
            let text = Problem::Throttled(Duration::from_secs(seconds)).page_text(Language::English.texts());
            assert!(text.contains(&format!("Wait {amount},")), "{text}");
        }
    }
}
