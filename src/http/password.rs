//! `/auth/password`: change of the own password. The old one is required; all other sessions of the account end, and the one that
//! made the change goes on under a fresh sid.
//!
//! With a login name in the body no session is needed: the old password is proof enough. That is the way in for whoever must change
//! the password first, so that no session exists before it is done.

use std::borrow::Cow;

use salvo::http::Request;

use crate::account::credentials::{MediaType, PasswordChange};
use crate::account::{LoginName, Password};
use crate::audit::{self, Purpose};
use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::forms::{Entry, SignInForm};
use crate::http::pages::texts::Texts;
use crate::http::pages::{FirstChange, PasswordPage};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::http::sign_in::{Checked, Current, Manner, authenticate, authenticate_again, begin, store_failed};
use crate::session::form::Bound;
use crate::store::{Revoke, StoreError};
use crate::web::cookie::CookieChange;

/// Where a form goes on to.
const AFTER_CHANGE: &str = "/auth/status?password-changed";

/// `GET /auth/password`: the form.
pub(crate) fn page(context: &Context) -> Result<Reply, Problem> {
    context.or_sign_in(&ReturnUrl::own("/auth/password"), form(context, None))
}

/// `POST /auth/password`: JSON or form with `old_password` and `new_password`, and without a session `login`.
pub(crate) async fn password(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let mut entry = Entry::default();
    match change(context, request, &mut entry).await {
        Err(problem) if problem.is_shown_in_form() && context.is_navigation() => {
            let again = if entry.login.is_empty() {
                form(context, Some(problem))
            } else {
                first_page(context, &entry, Some(problem))
            };
            again.map(|reply| reply.status(problem.status()))
        }
        outcome => outcome,
    }
}

/// Changes the password; `entry` is filled with what the form of a change without a session is to show again if it fails.
async fn change(context: &Context, request: &mut Request, entry: &mut Entry) -> Result<Reply, Problem> {
    let submission = Submission::read(context, request).await?;
    *entry = Entry::of_submission(&submission, context);
    check_form(context, &submission)?;
    let given = PasswordChange::parse(submission.required_type()?, &submission.body)?;
    let PasswordChange { login_name, remember, old_password, new_password, is_repeated } = given;
    check_new(&old_password, &new_password, is_repeated)?;
    let purpose = Purpose::PasswordChange;
    let who = match login_name {
        Some(login_name) => Who::Named(login_name),
        None => Who::Session(Current::of(context)?),
    };
    let mut checked = match &who {
        Who::Session(current) => authenticate_again(context, purpose, current, old_password).await?,
        Who::Named(login_name) => authenticate(context, purpose, login_name.clone(), old_password).await?,
    };
    set(context, &mut checked, new_password).await?;
    let manner = match &who {
        Who::Session(current) => Manner { purpose, remember: current.remembered, app_data: &current.app_data },
        Who::Named(_) => Manner { purpose, remember, app_data: &[] },
    };
    let (session, view) = begin(context, &checked, manner).await.inspect_err(|_| {
        audit::password_changed_only(&checked.account.sub, context.client());
    })?;
    let reply = match (submission.is_form(), &who) {
        (false, _) => view,
        (true, Who::Session(_)) => Reply::see_other(AFTER_CHANGE),
        (true, Who::Named(_)) => Reply::see_other(entry.rd(&context.app.pages.home).as_str()),
    };
    Ok(reply.cookie(CookieChange::Set(session)))
}

/// Whose password is changed.
enum Who {
    Session(Current),
    Named(LoginName),
}

/// Refuses a form that is not bound to its session, or without one to the sign-in form.
fn check_form(context: &Context, submission: &Submission) -> Result<(), Problem> {
    if submission.field("login").is_some() {
        return submission.check_sign_in_token(context);
    }
    if submission.media_type == Some(MediaType::Json) {
        return Ok(());
    }
    let current = Current::of(context)?;
    submission.check_token(context, |bound| bound == Bound::Session(current.sid))
}

/// What can be said of a new password before the old one is checked.
fn check_new(old: &Password, new: &Password, is_repeated: bool) -> Result<(), Problem> {
    if !is_repeated {
        return Err(Problem::PasswordsDiffer);
    }
    new.check_new().map_err(Problem::NewPassword)?;
    if new.expose() == old.expose() { Err(Problem::UnchangedPassword) } else { Ok(()) }
}

/// Replaces the password and ends all sessions of the account, in one transaction.
async fn set(context: &Context, checked: &mut Checked, new: Password) -> Result<(), Problem> {
    let app = &context.app;
    let hashed = app.passwords.hash_new(new, checked.account.profile.clone()).await?;
    let hash = hashed.map_err(Problem::NewPassword)?;
    let revocations = app.sessions.revocations();
    checked.read = context.now();
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

fn form(context: &Context, problem: Option<Problem>) -> Result<Reply, Problem> {
    let now = context.now();
    context.with_session(context.site()?, now, |claims, _| {
        let csrf_token = context.app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
        let errors = Errors::of(problem, context.texts());
        Ok(Reply::page(&errors.page(context, csrf_token.expose(), claims.identity.login_name, None)))
    })
}

/// The form of a change without a session, for whoever has to make one before signing in.
pub(super) fn first_page(context: &Context, entry: &Entry, problem: Option<Problem>) -> Result<Reply, Problem> {
    let SignInForm { cookie, csrf_token } = SignInForm::of(context)?;
    let rd = entry.rd(&context.app.pages.home);
    let first = FirstChange { rd: rd.as_str(), remember: entry.remember };
    let errors = Errors::of(problem, context.texts());
    Ok(Reply::page(&errors.page(context, csrf_token.expose(), &entry.login, Some(first))).form_cookie(cookie))
}

/// What the form says of an attempt that failed, and where.
#[derive(Debug, Default)]
struct Errors {
    old: Option<Cow<'static, str>>,
    new: Option<Cow<'static, str>>,
    form: Option<Cow<'static, str>>,
}

impl Errors {
    fn of(problem: Option<Problem>, texts: &Texts) -> Self {
        let text = problem.map(|problem| problem.words(texts));
        match problem {
            Some(problem) if problem.is_about_the_password() => Self { old: text, ..Self::default() },
            Some(Problem::NewPassword(_) | Problem::UnchangedPassword | Problem::PasswordsDiffer) => {
                Self { new: text, ..Self::default() }
            }
            _ => Self { form: text, ..Self::default() },
        }
    }

    fn page<'a>(
        &'a self,
        context: &'a Context,
        csrf_token: &'a str,
        login_name: &'a str,
        first: Option<FirstChange<'a>>,
    ) -> PasswordPage<'a> {
        let texts = &context.texts().password;
        let heading = if first.is_some() { texts.first_heading } else { texts.heading };
        let is_error = self.old.is_some() || self.new.is_some() || self.form.is_some();
        PasswordPage {
            shell: context.shell(heading).of_error(is_error),
            csrf_token,
            login_name,
            first,
            old_error: self.old.as_deref(),
            new_error: self.new.as_deref(),
            form_error: self.form.as_deref(),
        }
    }
}
