//! The route `/auth/reauthenticate`: [step-up authentication](https://www.rfc-editor.org/rfc/rfc9470). The user of a live session
//! gives the password again, and gets a new session with a new `authenticated_at`. The old session is revoked.

use salvo::http::Request;

use crate::account::credentials::Reauthentication;
use crate::audit::Purpose;
use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::pages::ReauthenticatePage;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::http::sign_in::{CurrentSession, SessionOptions, authenticate_again, start_session};
use crate::session::form::FormBinding;
use crate::web::cookie::CookieChange;

/// Handles `GET /auth/reauthenticate`: the form. `rd` in the query is the return URL.
pub(crate) fn page(context: &Context) -> Result<Reply, Problem> {
    let rd = context.return_url().unwrap_or_else(|| context.app.pages.home.clone());
    // A user without a session is redirected to the login page, and gives the password there. So no step-up is needed after it,
    // and the login returns to `rd`.
    context.redirect_to_login(&rd, form(context, &rd, None))
}

/// Handles `POST /auth/reauthenticate`: JSON or a form with `password`.
pub(crate) async fn reauthenticate(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let mut rd = context.app.pages.home.clone();
    match step_up(context, request, &mut rd).await {
        Err(problem) if problem.is_shown_in_form() && context.is_navigation() => {
            form(context, &rd, Some(problem)).map(|reply| reply.status(problem.status()))
        }
        outcome => outcome,
    }
}

/// Checks the password and starts the new session. Writes the return URL of the form into `rd`.
async fn step_up(context: &Context, request: &mut Request, rd: &mut ReturnUrl) -> Result<Reply, Problem> {
    let submission = Submission::read(context, request).await?;
    if let Some(url) = submission.return_url(context) {
        *rd = url;
    }
    let current = CurrentSession::of(context)?;
    submission.check_token(context, |bound| bound == FormBinding::Session(current.sid))?;
    let body = Reauthentication::parse(submission.required_type()?, &submission.body)?;
    let authenticated = authenticate_again(context, Purpose::StepUp, &current, body.password).await?;
    let options =
        SessionOptions { purpose: Purpose::StepUp, remember: current.remembered, app_data: &current.app_data };
    let (session, view) = start_session(context, &authenticated, options).await?;
    let reply = if submission.is_form() { Reply::see_other(rd.as_str()) } else { view };
    Ok(reply.cookie(CookieChange::Set(session)))
}

fn form(context: &Context, rd: &ReturnUrl, problem: Option<Problem>) -> Result<Reply, Problem> {
    let now = context.now();
    context.with_session(context.site()?, now, |claims, _| {
        let csrf_token =
            context.app.sessions.form_token(FormBinding::Session(claims.sid), now).map_err(Problem::Seal)?;
        let text = problem.map(|problem| problem.page_text(context.texts()));
        let is_wrong_password = problem.is_some_and(Problem::is_wrong_password);
        let (password_error, form_error) = if is_wrong_password { (text, None) } else { (None, text) };
        Ok(Reply::page(&ReauthenticatePage {
            shell: context.shell(context.texts().reauthenticate.heading).of_error(problem.is_some()),
            csrf_token: csrf_token.expose(),
            login_name: claims.identity.login_name,
            rd: rd.as_str(),
            password_error: password_error.as_deref(),
            form_error: form_error.as_deref(),
        }))
    })
}
