//! The login page: `GET /auth/login`, and the same page with an error after a login that failed.

use std::borrow::Cow;

use crate::http::context::Context;
use crate::http::forms::{FormValues, LoginFormTokens};
use crate::http::pages::SignInPage;
use crate::http::pages::texts::{SignIn, Texts};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::session::{Refusal, Verified};
use crate::web::browser;

/// Handles `GET /auth/login`. `rd` in the query is the return URL. It is ignored if it could lead to another site.
pub(crate) fn page(context: &Context) -> Result<Reply, Problem> {
    let is_after_logout = context.uri().query() == Some("signed-out");
    let notice = is_after_logout.then_some(context.texts().sign_in.signed_out);
    form(context, &FormValues::of_query(context), Messages { notice, ..Messages::default() })
}

/// Messages that the form shows.
#[derive(Debug, Default)]
struct Messages {
    /// Message above the form that is not an error.
    notice: Option<&'static str>,
    /// Error at the field of the login name.
    login_error: Option<Text>,
    /// Error at the field of the password.
    password_error: Option<Text>,
    /// Error above the form.
    form_error: Option<Text>,
}

type Text = Cow<'static, str>;

impl Messages {
    /// Returns the message for a problem, at the field to which it belongs.
    fn of_problem(problem: Problem, texts: &Texts, has_form_cookie: bool) -> Self {
        let text = Some(problem.page_text(texts));
        match problem {
            Problem::Credentials | Problem::AccountChanged => Self { password_error: text, ..Self::default() },
            Problem::LoginName(_) => Self { login_error: text, ..Self::default() },
            Problem::FormToken => {
                let SignIn { out_of_date, without_cookie, .. } = texts.sign_in;
                let text = if has_form_cookie { out_of_date } else { without_cookie };
                Self { form_error: Some(text.into()), ..Self::default() }
            }
            _ => Self { form_error: text, ..Self::default() },
        }
    }

    const fn is_error(&self) -> bool {
        self.login_error.is_some() || self.password_error.is_some() || self.form_error.is_some()
    }
}

/// Returns the login page with the message and the status of a problem, after a login that failed.
pub(super) fn with_problem(context: &Context, values: &FormValues, problem: Problem) -> Result<Reply, Problem> {
    let messages = Messages::of_problem(problem, context.texts(), context.sign_in_form().is_some());
    Ok(form(context, values, messages)?.status(problem.status()))
}

fn form(context: &Context, values: &FormValues, messages: Messages) -> Result<Reply, Problem> {
    let site = context.site()?;
    let LoginFormTokens { cookie: form_cookie, csrf_token } = LoginFormTokens::of(context)?;
    let login_name = |session: &Verified<'_>| session.claims().identity.login_name.to_owned();
    let session = context.verify(site, context.now(), context.renewal_window(), login_name);
    // Explains why the user must log in again.
    let reason = match session {
        _ if messages.is_error() => None,
        Err(refusal @ (Refusal::Expired | Refusal::Revoked)) => {
            Some(Problem::Session(refusal).page_text(context.texts()))
        }
        Err(Refusal::Missing) if seems_to_block_cookies(context) => {
            Some(context.texts().sign_in.cookies_blocked.into())
        }
        _ => None,
    };
    let rd = values.rd(&context.app.pages.home);
    let page = SignInPage {
        shell: context.shell(context.texts().common.sign_in).of_error(messages.is_error()),
        csrf_token: csrf_token.expose(),
        rd: rd.as_str(),
        login: &values.login,
        remember: values.remember,
        signed_in_as: session.ok(),
        notice: messages.notice.or(reason.as_deref()),
        login_error: messages.login_error.as_deref(),
        password_error: messages.password_error.as_deref(),
        form_error: messages.form_error.as_deref(),
    };
    Ok(Reply::page(&page).form_cookie(form_cookie))
}

/// Returns whether the browser comes from the login page, and did not send the cookie that the login page sets. This happens if a
/// browser blocks cookies: after a login, the next page redirects it to the login page again.
fn seems_to_block_cookies(context: &Context) -> bool {
    let page = context.served().ok().and_then(|served| browser::referer(context.headers(), &served.origin));
    page.is_some_and(|path| path.split('?').next() == Some(context.uri().path())) && context.sign_in_form().is_none()
}
