//! The route `POST /auth/login`: checks a login name and a password, and starts a session. The login page is in `login/page.rs`.

pub(crate) mod page;

use salvo::http::Request;

use crate::account::credentials::Credentials;
use crate::audit::Purpose;
use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::forms::FormValues;
use crate::http::password;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::sign_in::{SessionOptions, authenticate, start_session};
use crate::web::cookie::CookieChange;

/// Handles `POST /auth/login`. If the login with a form fails, the response is the form with the error.
pub(crate) async fn login(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let mut values = FormValues::default();
    match sign_in(context, request, &mut values).await {
        Err(Problem::MustChange) if context.is_navigation() => {
            let page = password::forced_change_page(context, &values, None);
            page.map(|reply| reply.status(Problem::MustChange.status()))
        }
        Err(problem) if context.is_navigation() => page::with_problem(context, &values, problem),
        outcome => outcome,
    }
}

/// Checks the password and starts a session. Writes the values that the form shows again after a failure into `values`.
async fn sign_in(context: &Context, request: &mut Request, values: &mut FormValues) -> Result<Reply, Problem> {
    let submission = Submission::read(context, request).await?;
    *values = FormValues::of_submission(&submission, context);
    submission.check_sign_in_token(context)?;
    let Credentials { login_name, password, remember } =
        Credentials::parse(submission.required_type()?, &submission.body)?;
    let authenticated = authenticate(context, Purpose::SignIn, login_name, password).await?;
    let options = SessionOptions { purpose: Purpose::SignIn, remember, app_data: &[] };
    let (session, view) = start_session(context, &authenticated, options).await?;
    let reply = if submission.is_form() { Reply::see_other(values.rd(&context.app.pages.home).as_str()) } else { view };
    Ok(reply.cookie(CookieChange::Set(session)))
}
