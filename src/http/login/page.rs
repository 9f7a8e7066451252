//! `GET /auth/login`: the sign-in form, and the same again after an attempt that failed.

use std::borrow::Cow;

use crate::http::context::Context;
use crate::http::forms::{Entry, SignInForm};
use crate::http::pages::SignInPage;
use crate::http::pages::texts::{SignIn, Texts};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::session::{Refusal, Verified};
use crate::web::browser;

/// `GET /auth/login`: the form. `rd` in the query is the return URL; one that leads away from here is ignored.
pub(crate) fn page(context: &Context) -> Result<Reply, Problem> {
    let signed_out = context.uri().query() == Some("signed-out");
    let notice = signed_out.then_some(context.texts().sign_in.signed_out);
    form(context, &Entry::of_query(context), Remarks { notice, ..Remarks::default() })
}

/// Messages of the form.
#[derive(Debug, Default)]
struct Remarks {
    notice: Option<&'static str>,
    login_error: Option<Text>,
    password_error: Option<Text>,
    form_error: Option<Text>,
}

type Text = Cow<'static, str>;

impl Remarks {
    fn of_problem(problem: Problem, texts: &Texts, has_form_cookie: bool) -> Self {
        let text = Some(problem.words(texts));
        match problem {
            Problem::Credentials | Problem::Overtaken => Self { password_error: text, ..Self::default() },
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

/// Shows the form after an attempt that failed, with the problem's status.
pub(super) fn again(context: &Context, entry: &Entry, problem: Problem) -> Result<Reply, Problem> {
    let remarks = Remarks::of_problem(problem, context.texts(), context.sign_in_form().is_some());
    Ok(form(context, entry, remarks)?.status(problem.status()))
}

fn form(context: &Context, entry: &Entry, remarks: Remarks) -> Result<Reply, Problem> {
    let site = context.site()?;
    let SignInForm { cookie: form_cookie, csrf_token } = SignInForm::of(context)?;
    let login_name = |session: &Verified<'_>| session.claims().identity.login_name.to_owned();
    let session = context.verify(site, context.now(), context.renewal_window(), login_name);
    // Says why the user has to sign in again.
    let why = match session {
        _ if remarks.is_error() => None,
        Err(refusal @ (Refusal::Expired | Refusal::Revoked)) => Some(Problem::Session(refusal).words(context.texts())),
        Err(Refusal::Missing) if has_lost_cookies(context) => Some(context.texts().sign_in.cookies_blocked.into()),
        _ => None,
    };
    let rd = entry.rd(&context.app.pages.home);
    let page = SignInPage {
        shell: context.shell(context.texts().common.sign_in).of_error(remarks.is_error()),
        csrf_token: csrf_token.expose(),
        rd: rd.as_str(),
        login: &entry.login,
        remember: entry.remember,
        signed_in_as: session.ok(),
        notice: remarks.notice.or(why.as_deref()),
        login_error: remarks.login_error.as_deref(),
        password_error: remarks.password_error.as_deref(),
        form_error: remarks.form_error.as_deref(),
    };
    Ok(Reply::page(&page).form_cookie(form_cookie))
}

/// Returns whether the browser comes from this page, and does not have the cookie that this page sets. This happens if a browser blocks
/// cookies: after a sign-in, the next page sends it back here.
fn has_lost_cookies(context: &Context) -> bool {
    let page = context.served().ok().and_then(|served| browser::referer(context.headers(), &served.origin));
    page.is_some_and(|path| path.split('?').next() == Some(context.uri().path())) && context.sign_in_form().is_none()
}
