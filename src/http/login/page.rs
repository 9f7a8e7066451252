//! `GET /auth/login`: the sign-in form, and the same again after an attempt that failed.

use salvo::http::Request;
use salvo::prelude::{Response, handler};

use super::super::body::Submission;
use super::super::cookie;
use super::super::hosts::Hosts;
use super::super::live::Live;
use super::super::pages::SignInPage;
use super::super::problem::Problem;
use super::super::reply::{Reply, respond};
use super::super::return_url::ReturnUrl;
use super::App;
use crate::clock::Now;
use crate::id::FormId;
use crate::seal::SealedToken;
use crate::session::form::Bound;

/// `GET /auth/login`: the form. `rd` in the query is the return URL; one that leads away from here is passed over.
pub(crate) struct SignIn(pub(crate) Live);

#[handler]
impl SignIn {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (app, now) = (&*self.0.load(), Now::read());
        let entry = Entry { rd: ReturnUrl::of_query(request.uri().query(), &app.hosts), ..Entry::default() };
        let outcome = form(app, request, now, &entry, &Remarks::of_query(request.uri().query()));
        respond(app, request.headers(), now, outcome, response);
    }
}

/// What the form is filled with.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    login: String,
    remember: bool,
    rd: Option<ReturnUrl>,
}

impl Entry {
    /// A login name longer than any account's is not repeated.
    const MAX_LOGIN_BYTES: usize = 256;

    pub(crate) fn of_submission(submission: &Submission, hosts: &Hosts) -> Self {
        let login = submission.field("login").filter(|login| login.len() <= Self::MAX_LOGIN_BYTES);
        Self {
            login: login.unwrap_or_default().into_owned(),
            remember: submission.field("remember").is_some_and(|value| value == "true"),
            rd: submission.field("rd").and_then(|rd| ReturnUrl::parse(&rd, hosts)),
        }
    }

    pub(crate) fn rd(&self) -> ReturnUrl {
        self.rd.clone().unwrap_or_default()
    }

    pub(crate) fn login(&self) -> &str {
        &self.login
    }

    pub(crate) fn has_login(&self) -> bool {
        !self.login.is_empty()
    }

    pub(crate) const fn remember(&self) -> bool {
        self.remember
    }
}

/// What the form says besides.
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

/// What binds a form to the browser before there is a session.
pub(crate) struct SignInForm {
    pub(crate) cookie: SealedToken,
    pub(crate) csrf_token: SealedToken,
}

impl SignInForm {
    /// The same form while its cookie is good, so that two tabs work; its time begins anew.
    pub(crate) fn of(app: &App, request: &Request, now: Now) -> Result<Self, Problem> {
        let form = app.sessions.sign_in_form(cookie::fields(request.headers()), &app.cookies.form, now);
        let form = form.unwrap_or_else(FormId::random);
        let cookie = app.sessions.seal_sign_in_form(form, &app.cookies.form, now).map_err(Problem::Seal)?;
        let csrf_token = app.sessions.form_token(Bound::SignIn(form), now).map_err(Problem::Seal)?;
        Ok(Self { cookie, csrf_token })
    }
}

/// The form after an attempt that failed, with the problem's status.
pub(super) fn again(app: &App, request: &Request, now: Now, entry: &Entry, problem: Problem) -> Result<Reply, Problem> {
    let has_form_cookie =
        app.sessions.sign_in_form(cookie::fields(request.headers()), &app.cookies.form, now).is_some();
    let remarks = Remarks::of_problem(problem, has_form_cookie);
    Ok(form(app, request, now, entry, &remarks)?.status(problem.status()))
}

fn form(app: &App, request: &Request, now: Now, entry: &Entry, remarks: &Remarks) -> Result<Reply, Problem> {
    let site = app.site(request)?;
    let SignInForm { cookie: form_cookie, csrf_token } = SignInForm::of(app, request, now)?;
    let fields = cookie::fields(request.headers());
    let signed_in_as = app.sessions.verify(fields, site, now, |session| session.claims().login_name.to_owned()).ok();
    let rd = entry.rd();
    let page = SignInPage {
        shell: app.shell,
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
