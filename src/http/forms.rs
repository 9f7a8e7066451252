//! Forms that need no session, such as the login form: the values of their fields, and the tokens that bind a form to a browser.
//!
//! A form without a session is bound to a separate cookie, because there is no session cookie yet. This protects against [login
//! CSRF](https://en.wikipedia.org/wiki/Cross-site_request_forgery#Forging_login_requests).

use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::return_url::ReturnUrl;
use crate::id::FormId;
use crate::seal::SealedToken;
use crate::session::form::FormBinding;

/// Initial values of the fields of a form.
#[derive(Debug, Default)]
pub(crate) struct FormValues {
    pub(crate) login: String,
    pub(crate) remember: bool,
    rd: Option<ReturnUrl>,
}

impl FormValues {
    /// Maximum length of a login name that is shown again. No account has a longer login name.
    const MAX_LOGIN_BYTES: usize = 256;

    /// Returns the values that the user submitted.
    pub(crate) fn of_submission(submission: &Submission, context: &Context) -> Self {
        let login = submission.field("login").filter(|login| login.len() <= Self::MAX_LOGIN_BYTES);
        Self {
            login: login.unwrap_or_default().into_owned(),
            remember: submission.field("remember").is_some_and(|value| value == "true"),
            rd: submission.return_url(context),
        }
    }

    /// Returns the values in the query of a link to the form.
    pub(crate) fn of_query(context: &Context) -> Self {
        Self { rd: context.return_url(), ..Self::default() }
    }

    /// Returns the return URL, or `home`.
    pub(crate) fn rd(&self, home: &ReturnUrl) -> ReturnUrl {
        self.rd.as_ref().unwrap_or(home).clone()
    }
}

/// Pair of tokens that binds a form to the browser before there is a session. Both contain the same random form id.
pub(crate) struct LoginFormTokens {
    /// Value of the login form cookie.
    pub(crate) cookie: SealedToken,
    /// Value of the hidden field of the form.
    pub(crate) csrf_token: SealedToken,
}

impl LoginFormTokens {
    /// Returns new tokens. If the browser has a valid login form cookie, they keep its form id, so that forms in several tabs
    /// stay valid. The lifetime of the new tokens starts now.
    pub(crate) fn of(context: &Context) -> Result<Self, Problem> {
        let app = &context.app;
        let now = context.now();
        let form = context.sign_in_form().unwrap_or_else(FormId::random);
        let cookie = app.sessions.seal_sign_in_form(form, &app.cookies.form, now).map_err(Problem::Seal)?;
        let csrf_token = app.sessions.form_token(FormBinding::SignIn(form), now).map_err(Problem::Seal)?;
        Ok(Self { cookie, csrf_token })
    }
}

impl Context {
    /// Returns the form id in the login form cookie of the request, or `None` if there is no valid one.
    pub(crate) fn sign_in_form(&self) -> Option<FormId> {
        self.app.sessions.sign_in_form(self.cookies(), &self.app.cookies.form, self.now())
    }
}
