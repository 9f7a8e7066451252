//! Forms that need no session: what they are filled with, and what binds them to the browser.

use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::return_url::ReturnUrl;
use crate::id::FormId;
use crate::seal::SealedToken;
use crate::session::form::Bound;

/// Values that a form is filled with.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) login: String,
    pub(crate) remember: bool,
    rd: Option<ReturnUrl>,
}

impl Entry {
    /// A login name longer than any account's is not repeated.
    const MAX_LOGIN_BYTES: usize = 256;

    pub(crate) fn of_submission(submission: &Submission, context: &Context) -> Self {
        let login = submission.field("login").filter(|login| login.len() <= Self::MAX_LOGIN_BYTES);
        Self {
            login: login.unwrap_or_default().into_owned(),
            remember: submission.field("remember").is_some_and(|value| value == "true"),
            rd: submission.return_url(context),
        }
    }

    /// Returns what the query of a link to the form says.
    pub(crate) fn of_query(context: &Context) -> Self {
        Self { rd: context.return_url(), ..Self::default() }
    }

    /// Returns the return URL, or `home`.
    pub(crate) fn rd(&self, home: &ReturnUrl) -> ReturnUrl {
        self.rd.as_ref().unwrap_or(home).clone()
    }
}

/// Tokens that bind a form to the browser before there is a session.
pub(crate) struct SignInForm {
    pub(crate) cookie: SealedToken,
    pub(crate) csrf_token: SealedToken,
}

impl SignInForm {
    /// Returns the same form while its cookie is good, so that two tabs work. Its time begins anew.
    pub(crate) fn of(context: &Context) -> Result<Self, Problem> {
        let app = &context.app;
        let now = context.now();
        let form = context.sign_in_form().unwrap_or_else(FormId::random);
        let cookie = app.sessions.seal_sign_in_form(form, &app.cookies.form, now).map_err(Problem::Seal)?;
        let csrf_token = app.sessions.form_token(Bound::SignIn(form), now).map_err(Problem::Seal)?;
        Ok(Self { cookie, csrf_token })
    }
}

impl Context {
    /// Returns the sign-in form that the cookie of the request is bound to.
    pub(crate) fn sign_in_form(&self) -> Option<FormId> {
        self.app.sessions.sign_in_form(self.cookies(), &self.app.cookies.form, self.now())
    }
}
