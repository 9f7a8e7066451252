//! `/auth/reauthenticate`: step-up. The password again makes a fresh session with a fresh `authenticated_at`; the old one is dead.

use salvo::http::Request;
use salvo::prelude::{Response, handler};

use super::authenticate::{Current, Manner, authenticate_again, begin};
use super::body::Submission;
use super::cookie::CookieChange;
use super::live::Live;
use super::pages::ReauthenticatePage;
use super::problem::Problem;
use super::reply::{Reply, respond};
use super::return_url::ReturnUrl;
use super::status::{or_sign_in, with_session};
use super::{App, browser};
use crate::account::credentials::Reauthentication;
use crate::audit::Purpose;
use crate::clock::Now;
use crate::session::form::Bound;

/// `GET /auth/reauthenticate`: the form. `rd` in the query is the return URL.
pub(crate) struct Page(pub(crate) Live);

#[handler]
impl Page {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (app, now) = (&*self.0.load(), Now::read());
        let rd = ReturnUrl::of_query(request.uri().query(), &app.hosts).unwrap_or_default();
        // Whoever has to sign in first has given the password by then.
        let outcome = or_sign_in(request, &rd, page(app, request, now, &rd, None));
        respond(app, request.headers(), now, outcome, response);
    }
}

/// `POST /auth/reauthenticate`: JSON or form with `password`.
pub(crate) struct Reauthenticate(pub(crate) Live);

#[handler]
impl Reauthenticate {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let app = &*self.0.hold();
        let mut rd = ReturnUrl::default();
        let outcome = match reauthenticate(app, request, &mut rd).await {
            Err(problem) if problem.is_shown_in_form() && browser::is_navigation(request.headers()) => {
                page(app, request, Now::read(), &rd, Some(problem)).map(|reply| reply.status(problem.status()))
            }
            outcome => outcome,
        };
        respond(app, request.headers(), Now::read(), outcome, response);
    }
}

async fn reauthenticate(app: &App, request: &mut Request, rd: &mut ReturnUrl) -> Result<Reply, Problem> {
    let submission = Submission::read(app, request).await?;
    if let Some(url) = submission.field("rd").and_then(|url| ReturnUrl::parse(&url, &app.hosts)) {
        *rd = url;
    }
    let current = Current::of(app, request, Now::read())?;
    submission.check_token(app, |bound| bound == Bound::Session(current.sid))?;
    let given = Reauthentication::parse(submission.required_type()?, &submission.body)?;
    let checked = authenticate_again(app, request, Purpose::StepUp, &current, given.password).await?;
    let manner = Manner { purpose: Purpose::StepUp, remember: current.remembered, app_data: &current.app_data };
    let (session, view) = begin(app, request, &checked, manner).await?;
    let reply = if submission.is_form() { Reply::see_other(rd.as_str()) } else { view };
    Ok(reply.cookie(CookieChange::Set(session)))
}

fn page(app: &App, request: &Request, now: Now, rd: &ReturnUrl, problem: Option<Problem>) -> Result<Reply, Problem> {
    with_session(app, request, now, |claims, _| {
        let csrf_token = app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
        let text = problem.map(Problem::words);
        let at_password = problem.is_some_and(Problem::is_about_the_password);
        let (password_error, form_error) = if at_password { (text, None) } else { (None, text) };
        Ok(Reply::page(&ReauthenticatePage {
            shell: app.shell,
            csrf_token: csrf_token.expose(),
            login_name: claims.login_name,
            rd: rd.as_str(),
            password_error: password_error.as_deref(),
            form_error: form_error.as_deref(),
        }))
    })
}
