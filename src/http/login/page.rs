//! `GET /auth/login`: the sign-in form, and the same again after an attempt that failed.

use crate::http::context::Context;
use crate::http::forms::{Entry, SignInForm};
use crate::http::pages::SignInPage;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::session::Verified;

/// `GET /auth/login`: the form. `rd` in the query is the return URL; one that leads away from here is ignored.
pub(crate) fn page(context: &Context) -> Result<Reply, Problem> {
    let query = context.uri().query();
    form(context, &Entry::of_query(query, &context.app.hosts), &Remarks::of_query(query))
}

/// Messages of the form.
#[derive(Debug, Default)]
struct Remarks {
    notice: Option<&'static str>,
    login_error: Option<String>,
    password_error: Option<String>,
    form_error: Option<String>,
}

impl Remarks {
    fn of_query(query: Option<&str>) -> Self {
        let notice = (query == Some("signed-out")).then_some("You are signed out.");
        Self { notice, ..Self::default() }
    }

    fn of_problem(problem: Problem, has_form_cookie: bool) -> Self {
        let text = Some(problem.words());
        match problem {
            Problem::Credentials | Problem::Overtaken => Self { password_error: text, ..Self::default() },
            Problem::LoginName(_) => Self { login_error: text, ..Self::default() },
            Problem::FormToken if has_form_cookie => {
                let stale = "This form was out of date. Please sign in again.".to_owned();
                Self { form_error: Some(stale), ..Self::default() }
            }
            Problem::FormToken => {
                let lost = "This form was open for too long, or your browser does not keep this site's cookies. Please try again.";
                Self { form_error: Some(lost.to_owned()), ..Self::default() }
            }
            _ => Self { form_error: text, ..Self::default() },
        }
    }
}

/// Shows the form after an attempt that failed, with the problem's status.
pub(super) fn again(context: &Context, entry: &Entry, problem: Problem) -> Result<Reply, Problem> {
    let remarks = Remarks::of_problem(problem, context.sign_in_form().is_some());
    Ok(form(context, entry, &remarks)?.status(problem.status()))
}

fn form(context: &Context, entry: &Entry, remarks: &Remarks) -> Result<Reply, Problem> {
    let site = context.site()?;
    let SignInForm { cookie: form_cookie, csrf_token } = SignInForm::of(context)?;
    let login_name = |session: &Verified<'_>| session.claims().identity.login_name.to_owned();
    let signed_in_as = context.verify(site, context.now(), context.renewal_window(), login_name).ok();
    let rd = entry.rd(&context.app.pages.home);
    let page = SignInPage {
        shell: context.app.shell,
        csrf_token: csrf_token.expose(),
        rd: rd.as_str(),
        login: &entry.login,
        remember: entry.remember,
        signed_in_as,
        notice: remarks.notice,
        login_error: remarks.login_error.as_deref(),
        password_error: remarks.password_error.as_deref(),
        form_error: remarks.form_error.as_deref(),
    };
    Ok(Reply::page(&page).form_cookie(form_cookie))
}
