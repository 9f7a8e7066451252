//! The texts of the pages: one catalogue for each language. Templates and handlers contain no texts.
//!
//! To add a language, add a value of [`Texts`] and a variant of `Language` (`language.rs`). Texts for programs
//! (`problem/details.rs`) and for the operator are English in every language.

use time::OffsetDateTime;

/// The catalogue of one language.
#[derive(Debug)]
pub(crate) struct Texts {
    /// Language tag ([BCP 47](https://www.rfc-editor.org/info/bcp47)).
    pub(crate) tag: &'static str,
    pub(crate) common: Common,
    pub(crate) sign_in: SignIn,
    pub(crate) session: Session,
    pub(crate) password: Password,
    pub(crate) reauthenticate: Reauthenticate,
    pub(crate) errors: Errors,
    pub(crate) times: Times,
}

/// Texts of several pages.
#[derive(Debug)]
pub(crate) struct Common {
    /// Beginning of the title of a page with an error.
    pub(crate) error: &'static str,
    pub(crate) development_mode: &'static str,
    pub(crate) plain_http: &'static str,
    pub(crate) login_name: &'static str,
    pub(crate) current_password: &'static str,
    pub(crate) sign_in: &'static str,
    pub(crate) sign_out: &'static str,
    pub(crate) home: &'static str,
    pub(crate) your_session: &'static str,
}

/// Texts of `/auth/login`.
#[derive(Debug)]
pub(crate) struct SignIn {
    pub(crate) signed_out: &'static str,
    /// Text before the login name.
    pub(crate) signed_in_as: &'static str,
    /// Text after the login name.
    pub(crate) continue_or_change: &'static str,
    pub(crate) continue_: &'static str,
    pub(crate) password: &'static str,
    pub(crate) remember: &'static str,
    pub(crate) remember_hint: &'static str,
    /// Error if the form does not belong to the login form cookie of the browser.
    pub(crate) out_of_date: &'static str,
    /// Error if the browser did not send the login form cookie.
    pub(crate) without_cookie: &'static str,
    /// Message if the browser seems to block cookies: it comes from the login page, and did not send the login form cookie.
    pub(crate) cookies_blocked: &'static str,
}

/// Texts of `/auth/status`.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) heading: &'static str,
    pub(crate) password_changed: &'static str,
    pub(crate) display_name: &'static str,
    pub(crate) email: &'static str,
    pub(crate) roles: &'static str,
    pub(crate) authenticated_at: &'static str,
    pub(crate) idle_deadline: &'static str,
    pub(crate) absolute_deadline: &'static str,
    pub(crate) when_the_browser_closes: &'static str,
    pub(crate) stays_signed_in: &'static str,
    pub(crate) signed_out: &'static str,
    pub(crate) sign_out_everywhere: &'static str,
    pub(crate) everywhere_hint: &'static str,
    pub(crate) change_password: &'static str,
}

/// Texts of `/auth/password`.
#[derive(Debug)]
pub(crate) struct Password {
    pub(crate) heading: &'static str,
    pub(crate) intro: &'static str,
    /// Heading for a user who must change the password before the first session.
    pub(crate) forced_heading: &'static str,
    pub(crate) forced_intro: &'static str,
    pub(crate) new: &'static str,
    pub(crate) new_hint: &'static str,
    pub(crate) again: &'static str,
    pub(crate) submit: &'static str,
    pub(crate) back_to_sign_in: &'static str,
    pub(crate) back_to_session: &'static str,
    // Errors for a new password.
    pub(crate) too_short: &'static str,
    pub(crate) too_long: &'static str,
    pub(crate) common: &'static str,
    pub(crate) unchanged: &'static str,
    pub(crate) differs: &'static str,
}

/// Texts of `/auth/reauthenticate`.
#[derive(Debug)]
pub(crate) struct Reauthenticate {
    pub(crate) heading: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) submit: &'static str,
    pub(crate) not_you: &'static str,
}

/// Texts of an error: the heading of its page, and the description of what happened and what to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorText {
    pub(crate) title: &'static str,
    pub(crate) detail: &'static str,
}

/// Texts of the errors. A form shows only the detail of an error, without its title.
#[derive(Debug)]
pub(crate) struct Errors {
    /// Text before the message to the operator.
    pub(crate) for_the_operator: &'static str,
    /// Text before the status code.
    pub(crate) status: &'static str,
    pub(crate) missing: ErrorText,
    pub(crate) invalid: ErrorText,
    pub(crate) expired: ErrorText,
    pub(crate) revoked: ErrorText,
    pub(crate) stale: ErrorText,
    pub(crate) credentials: ErrorText,
    pub(crate) wrong_password: ErrorText,
    pub(crate) account_changed: ErrorText,
    pub(crate) step_up: ErrorText,
    pub(crate) role: ErrorText,
    pub(crate) must_change: ErrorText,
    pub(crate) throttled: &'static str,
    /// Detail of `throttled`, with the time to wait.
    pub(crate) wait: fn(amount: &str) -> String,
    pub(crate) busy: ErrorText,
    pub(crate) store: ErrorText,
    pub(crate) not_durable: ErrorText,
    pub(crate) key_elsewhere: ErrorText,
    pub(crate) no_active_key: ErrorText,
    pub(crate) does_not_fit: ErrorText,
    pub(crate) form: ErrorText,
    pub(crate) login_name: ErrorText,
    /// Title for a new password that is refused.
    pub(crate) new_password: &'static str,
    pub(crate) too_large: ErrorText,
    pub(crate) incomplete: ErrorText,
    pub(crate) slow: ErrorText,
    pub(crate) authority: ErrorText,
    pub(crate) misdirected: ErrorText,
    pub(crate) cross_site: ErrorText,
    pub(crate) form_token: ErrorText,
    pub(crate) rule: ErrorText,
    pub(crate) forwarded: ErrorText,
    pub(crate) not_found: ErrorText,
    pub(crate) method: ErrorText,
    pub(crate) failed: ErrorText,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// Texts for times and durations.
#[derive(Debug)]
pub(crate) struct Times {
    /// Formats a duration, such as "2 minutes".
    pub(crate) amount: fn(count: u64, unit: Unit) -> String,
    /// Formats a time in the future from its distance, such as "in 2 minutes".
    pub(crate) later: fn(amount: &str) -> String,
    /// Formats a time in the past from its distance, such as "2 minutes ago".
    pub(crate) ago: fn(amount: &str) -> String,
    /// Text for a time within the next minute.
    pub(crate) soon: &'static str,
    /// Text for a time within the last minute.
    pub(crate) just_now: &'static str,
    /// Formats the date and time of day in UTC.
    pub(crate) instant: fn(OffsetDateTime) -> String,
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn templates_contain_no_texts() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/pages");
        let files = fs::read_dir(folder).expect("the templates").map(|entry| entry.expect("an entry").path());
        let templates: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "html")).collect();
        assert!(templates.len() > 4);
        for path in templates {
            let mut text = fs::read_to_string(&path).expect("a template");
            for attribute in ["title=", "placeholder=", "aria-label="] {
                assert!(!text.contains(attribute), "{attribute} in {}", path.display());
            }
            for (start, end) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}"), ("<", ">")] {
                while let Some((before, rest)) = text.split_once(start) {
                    let (_, after) = rest.split_once(end).expect("the markup has an end");
                    text = format!("{before}{after}");
                }
            }
            assert!(!text.contains(char::is_alphabetic), "{}: {text:?}", path.display());
        }
    }
}
