//! `POST /auth/login`: a name and a password, and a fresh session for them.

pub(crate) mod page;

use salvo::http::Request;

use crate::account::credentials::Credentials;
use crate::audit::Purpose;
use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::forms::Entry;
use crate::http::password;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::sign_in::{Manner, authenticate, begin};
use crate::web::cookie::CookieChange;

/// `POST /auth/login`.
pub(crate) async fn login(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let mut entry = Entry::default();
    match sign_in(context, request, &mut entry).await {
        Err(Problem::MustChange) if context.is_navigation() => {
            let page = password::first_page(context, &entry, None);
            page.map(|reply| reply.status(Problem::MustChange.status()))
        }
        Err(problem) if context.is_navigation() => page::again(context, &entry, problem),
        outcome => outcome,
    }
}

/// Signs in; `entry` is filled with what the form is to show again if it fails.
async fn sign_in(context: &Context, request: &mut Request, entry: &mut Entry) -> Result<Reply, Problem> {
    let submission = Submission::read(context, request).await?;
    *entry = Entry::of_submission(&submission, context);
    submission.check_sign_in_token(context)?;
    let Credentials { login_name, password, remember } =
        Credentials::parse(submission.required_type()?, &submission.body)?;
    let checked = authenticate(context, Purpose::SignIn, login_name, password).await?;
    let manner = Manner { purpose: Purpose::SignIn, remember, app_data: &[] };
    let (session, view) = begin(context, &checked, manner).await?;
    let reply = if submission.is_form() { Reply::see_other(entry.rd(&context.app.pages.home).as_str()) } else { view };
    Ok(reply.cookie(CookieChange::Set(session)))
}
