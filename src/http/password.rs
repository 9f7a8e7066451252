//! `/auth/password`: change of the own password. The old one is required; all other sessions of the account end, and the one that
//! made the change goes on under a fresh sid.
//!
//! With a login name in the body no session is needed: the old password is proof enough. That is the way in for whoever must change
//! the password first, so that no session exists before it is done.

use salvo::http::Request;
use salvo::prelude::{Response, handler};

use super::authenticate::{Checked, Current, Manner, authenticate, authenticate_again, begin, store_failed};
use super::body::{MediaType, Submission};
use super::cookie::{self, CookieChange};
use super::live::Live;
use super::login::page::{Entry, SignInForm};
use super::pages::{FirstChange, PasswordPage};
use super::problem::Problem;
use super::reply::{Reply, respond};
use super::return_url::ReturnUrl;
use super::status::{or_sign_in, with_session};
use super::{App, browser};
use crate::account::credentials::PasswordChange;
use crate::account::{LoginName, Password};
use crate::audit::Purpose;
use crate::clock::Now;
use crate::session::form::Bound;
use crate::store::{Revoke, StoreError};

/// Where a form goes on to.
const AFTER_CHANGE: &str = "/auth/status?password-changed";

/// `GET /auth/password`: the form.
pub(crate) struct Page(pub(crate) Live);

#[handler]
impl Page {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (app, now) = (&*self.0.load(), Now::read());
        let outcome = or_sign_in(request, &ReturnUrl::own("/auth/password"), page(app, request, now, None));
        respond(app, request.headers(), now, outcome, response);
    }
}

/// `POST /auth/password`: JSON or form with `old_password` and `new_password`, and without a session `login`.
pub(crate) struct Change(pub(crate) Live);

#[handler]
impl Change {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let app = &*self.0.hold();
        let mut entry = Entry::default();
        let outcome = match change(app, request, &mut entry).await {
            Err(problem) if problem.is_shown_in_form() && browser::is_navigation(request.headers()) => {
                let now = Now::read();
                let again = if entry.has_login() {
                    first_page(app, request, now, &entry, Some(problem))
                } else {
                    page(app, request, now, Some(problem))
                };
                again.map(|reply| reply.status(problem.status()))
            }
            outcome => outcome,
        };
        respond(app, request.headers(), Now::read(), outcome, response);
    }
}

/// Changes the password; `entry` is filled with what the form of a change without a session is to show again if it fails.
async fn change(app: &App, request: &mut Request, entry: &mut Entry) -> Result<Reply, Problem> {
    let submission = Submission::read(app, request).await?;
    *entry = Entry::of_submission(&submission, &app.hosts);
    check_form(app, request, &submission)?;
    let given = PasswordChange::parse(submission.required_type()?, &submission.body)?;
    let PasswordChange { login_name, remember, old_password, new_password } = given;
    check_new(&old_password, &new_password)?;
    let purpose = Purpose::PasswordChange;
    let who = match login_name {
        Some(login_name) => Who::Named(login_name),
        None => Who::Session(Current::of(app, request, Now::read())?),
    };
    let mut checked = match &who {
        Who::Session(current) => authenticate_again(app, request, purpose, current, old_password).await?,
        Who::Named(login_name) => authenticate(app, request, purpose, login_name.clone(), old_password).await?,
    };
    set(app, &mut checked, new_password).await?;
    let manner = match &who {
        Who::Session(current) => Manner { purpose, remember: current.remembered, app_data: &current.app_data },
        Who::Named(_) => Manner { purpose, remember, app_data: &[] },
    };
    let (session, view) = begin(app, request, &checked, manner).await?;
    let reply = match (submission.is_form(), &who) {
        (false, _) => view,
        (true, Who::Session(_)) => Reply::see_other(AFTER_CHANGE),
        (true, Who::Named(_)) => Reply::see_other(entry.rd().as_str()),
    };
    Ok(reply.cookie(CookieChange::Set(session)))
}

/// Whose password is changed.
enum Who {
    Session(Current),
    Named(LoginName),
}

/// Refuses a form that is not bound to its session, or without one to the sign-in form.
fn check_form(app: &App, request: &Request, submission: &Submission) -> Result<(), Problem> {
    if submission.field("login").is_some() {
        let form = app.sessions.sign_in_form(cookie::fields(request.headers()), &app.cookies.form, Now::read());
        return submission.check_token(app, |bound| Some(bound) == form.map(Bound::SignIn));
    }
    if submission.media_type == Some(MediaType::Json) {
        return Ok(());
    }
    let current = Current::of(app, request, Now::read())?;
    submission.check_token(app, |bound| bound == Bound::Session(current.sid))
}

/// What can be said of a new password before the old one is checked.
fn check_new(old: &Password, new: &Password) -> Result<(), Problem> {
    new.check_new().map_err(|bad| Problem::NewPassword(bad.rule()))?;
    if new.expose() == old.expose() {
        return Err(Problem::NewPassword("the new password is the old one; choose another"));
    }
    Ok(())
}

/// Replaces the password and ends all sessions of the account, in one transaction.
async fn set(app: &App, checked: &mut Checked, new: Password) -> Result<(), Problem> {
    let hashed = app.passwords.hash_new(new, checked.account.profile.clone()).await.map_err(|_| Problem::Busy)?;
    let hash = hashed.map_err(|bad| Problem::NewPassword(bad.rule()))?;
    let revocations = app.sessions.revocations();
    checked.read = Now::read();
    let changed = match app.store.change_own_password(&checked.account, &hash).await {
        Err(StoreError::NoSuchAccount(_)) => return Err(Problem::Overtaken),
        Err(error) => {
            if matches!(error, StoreError::TooLate) {
                // If it is made after all, its refusal counts from too early a time. So there will be another, until one counts.
                let below = checked.account.generation + 1;
                let again = Revoke::Subject { sub: checked.account.sub.as_str().into(), below };
                let _ = app.committer.revoke(vec![again]).await;
            }
            return Err(store_failed(error));
        }
        Ok(changed) => changed,
    };
    // Durable already; the log would bring it a moment later.
    revocations.add_durable(&changed.ended);
    (checked.account.generation, checked.account.must_change) = (changed.generation, false);
    Ok(())
}

fn page(app: &App, request: &Request, now: Now, problem: Option<Problem>) -> Result<Reply, Problem> {
    with_session(app, request, now, |claims, _| {
        let csrf_token = app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
        let errors = Errors::of(problem);
        Ok(Reply::page(&errors.page(app, csrf_token.expose(), claims.login_name, None)))
    })
}

/// The form of a change without a session, for whoever has to make one before signing in.
pub(super) fn first_page(
    app: &App,
    request: &Request,
    now: Now,
    entry: &Entry,
    problem: Option<Problem>,
) -> Result<Reply, Problem> {
    let SignInForm { cookie, csrf_token } = SignInForm::of(app, request, now)?;
    let rd = entry.rd();
    let first = FirstChange { rd: rd.as_str(), remember: entry.remember() };
    let errors = Errors::of(problem);
    Ok(Reply::page(&errors.page(app, csrf_token.expose(), entry.login(), Some(first))).form_cookie(cookie))
}

/// What the form says of an attempt that failed, and where.
#[derive(Debug, Default)]
struct Errors {
    old: Option<String>,
    new: Option<String>,
    form: Option<String>,
}

impl Errors {
    fn of(problem: Option<Problem>) -> Self {
        let text = problem.map(Problem::words);
        match problem {
            Some(problem) if problem.is_about_the_password() => Self { old: text, ..Self::default() },
            Some(Problem::NewPassword(_)) => Self { new: text, ..Self::default() },
            _ => Self { form: text, ..Self::default() },
        }
    }

    fn page<'a>(
        &'a self,
        app: &App,
        csrf_token: &'a str,
        login_name: &'a str,
        first: Option<FirstChange<'a>>,
    ) -> PasswordPage<'a> {
        PasswordPage {
            shell: app.shell,
            csrf_token,
            login_name,
            first,
            old_error: self.old.as_deref(),
            new_error: self.new.as_deref(),
            form_error: self.form.as_deref(),
        }
    }
}
