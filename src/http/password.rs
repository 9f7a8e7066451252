//! `/auth/password`: change of the own password. The old one is required; all other sessions of the account end, and the one that
//! made the change goes on under a fresh sid.

use std::sync::Arc;

use salvo::http::Request;
use salvo::prelude::{Response, handler};

use super::authenticate::{Current, Manner, authenticate_again, begin, store_failed};
use super::body::Submission;
use super::cookie::CookieChange;
use super::pages::PasswordPage;
use super::problem::Problem;
use super::reply::{Reply, respond};
use super::return_url::ReturnUrl;
use super::status::{or_sign_in, with_session};
use super::{App, browser};
use crate::account::credentials::PasswordChange;
use crate::clock::Now;
use crate::session::form::Bound;
use crate::store::StoreError;

/// Where a form goes on to.
const AFTER_CHANGE: &str = "/auth/status?password-changed";

/// `GET /auth/password`: the form.
pub(crate) struct Page(pub(crate) Arc<App>);

#[handler]
impl Page {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (app, now) = (&*self.0, Now::read());
        let outcome = or_sign_in(request, &ReturnUrl::own("/auth/password"), page(app, request, now, None));
        respond(app, request.headers(), now, outcome, response);
    }
}

/// `POST /auth/password`: JSON or form with `old_password` and `new_password`.
pub(crate) struct Change(pub(crate) Arc<App>);

#[handler]
impl Change {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let app = &*self.0;
        let outcome = match change(app, request).await {
            Err(problem) if problem.is_shown_in_form() && browser::is_navigation(request.headers()) => {
                page(app, request, Now::read(), Some(problem)).map(|reply| reply.status(problem.status()))
            }
            outcome => outcome,
        };
        respond(app, request.headers(), Now::read(), outcome, response);
    }
}

async fn change(app: &App, request: &mut Request) -> Result<Reply, Problem> {
    let submission = Submission::read(app, request).await?;
    let current = Current::of(app, request, Now::read())?;
    submission.check_token(app, |bound| bound == Bound::Session(current.sid))?;
    let PasswordChange { old_password, new_password } =
        PasswordChange::parse(submission.required_type()?, &submission.body)?;
    new_password.check_new().map_err(|bad| Problem::NewPassword(bad.rule()))?;
    let (mut account, state) = authenticate_again(app, &current, old_password).await?;
    let hash = app.passwords.hash(new_password).await.map_err(|_| Problem::Busy)?;
    let revocations = app.sessions.revocations();
    let changed = app.store.change_own_password(&account, &hash, revocations.time(Now::read())).await.map_err(
        |error| match error {
            StoreError::NoSuchAccount(_) => Problem::Overtaken,
            error => store_failed(error),
        },
    )?;
    // Durable already; the log would bring it a moment later.
    revocations.add_durable(&changed.ended);
    account.generation = changed.generation;
    tracing::info!(sub = %account.sub, "changed the password");
    let manner = Manner { remember: current.remembered, app_data: &current.app_data };
    let (session, view) = begin(app, request, &account, state, manner).await?;
    let reply = if submission.is_form() { Reply::see_other(AFTER_CHANGE) } else { Reply::json(&view) };
    Ok(reply.cookie(CookieChange::Set(session)))
}

fn page(app: &App, request: &Request, now: Now, problem: Option<Problem>) -> Result<Reply, Problem> {
    with_session(app, request, now, |claims, _| {
        let csrf_token = app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
        let text = problem.map(Problem::words);
        let (old_error, new_error, form_error) = match problem {
            Some(problem) if problem.is_about_the_password() => (text, None, None),
            Some(Problem::NewPassword(_)) => (None, text, None),
            _ => (None, None, text),
        };
        Ok(Reply::page(&PasswordPage {
            shell: app.shell,
            csrf_token: csrf_token.expose(),
            login_name: claims.login_name,
            old_error: old_error.as_deref(),
            new_error: new_error.as_deref(),
            form_error: form_error.as_deref(),
        }))
    })
}
