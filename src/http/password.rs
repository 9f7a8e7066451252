//! The route `/auth/password`: users change their own password. The old password is required. The change ends all sessions of the
//! account, and starts a new one for this browser.
//!
//! If the body contains a login name, no session is needed, because the old password authenticates the user. This is for a user
//! who must change the password before the first session: see [`Problem::MustChange`].

use std::borrow::Cow;

use salvo::http::Request;

use crate::account::credentials::{MediaType, PasswordChange};
use crate::account::{LoginName, Password};
use crate::audit::{self, Purpose};
use crate::http::body::Submission;
use crate::http::context::Context;
use crate::http::forms::{FormValues, LoginFormTokens};
use crate::http::pages::texts::Texts;
use crate::http::pages::{ForcedChange, PasswordPage};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::http::sign_in::{
    AuthenticatedAccount, CurrentSession, SessionOptions, authenticate, authenticate_again, start_session, store_failed,
};
use crate::session::form::FormBinding;
use crate::store::{Revocation, StoreError};
use crate::web::cookie::CookieChange;

/// URL to which the browser is redirected after a user with a live session has changed the password in the form.
const AFTER_CHANGE: &str = "/auth/status?password-changed";

/// Handles `GET /auth/password`. Returns the page with the form.
pub(crate) fn page(context: &Context) -> Result<Reply, Problem> {
    context.redirect_to_login(&ReturnUrl::own_page("/auth/password"), form(context, None))
}

/// Handles `POST /auth/password`: JSON or a form with `old_password` and `new_password`. Without a session, `login`
/// is also required.
pub(crate) async fn password(context: &Context, request: &mut Request) -> Result<Reply, Problem> {
    let mut values = FormValues::default();
    match change(context, request, &mut values).await {
        Err(problem) if problem.is_shown_in_form() && context.is_navigation() => {
            let page = if values.login.is_empty() {
                form(context, Some(problem))
            } else {
                forced_change_page(context, &values, Some(problem))
            };
            page.map(|reply| reply.status(problem.status()))
        }
        outcome => outcome,
    }
}

/// Changes the password. Stores the submitted values in `values`: after a failure, the form of a user without a session shows
/// them again.
async fn change(context: &Context, request: &mut Request, values: &mut FormValues) -> Result<Reply, Problem> {
    let submission = Submission::read(context, request).await?;
    *values = FormValues::of_submission(&submission, context);
    check_form(context, &submission)?;
    let body = PasswordChange::parse(submission.required_type()?, &submission.body)?;
    let PasswordChange { login_name, remember, old_password, new_password, is_confirmed } = body;
    check_new(&old_password, &new_password, is_confirmed)?;
    let purpose = Purpose::PasswordChange;
    let user = match login_name {
        Some(login_name) => User::Named(login_name),
        None => User::Session(CurrentSession::of(context)?),
    };
    let mut authenticated = match &user {
        User::Session(current) => authenticate_again(context, purpose, current, old_password).await?,
        User::Named(login_name) => authenticate(context, purpose, login_name.clone(), old_password).await?,
    };
    replace_password(context, &mut authenticated, new_password).await?;
    let options = match &user {
        User::Session(current) => SessionOptions { purpose, remember: current.remembered, app_data: &current.app_data },
        User::Named(_) => SessionOptions { purpose, remember, app_data: &[] },
    };
    let (sealed_session, session_json) = start_session(context, &authenticated, options).await.inspect_err(|_| {
        audit::password_changed_without_session(&authenticated.account.sub, context.client());
    })?;
    let reply = match (submission.is_form(), &user) {
        (false, _) => session_json,
        (true, User::Session(_)) => Reply::see_other(AFTER_CHANGE),
        (true, User::Named(_)) => Reply::see_other(values.rd(&context.app.pages.home).as_str()),
    };
    Ok(reply.cookie(CookieChange::Set(sealed_session)))
}

/// User whose password is changed.
enum User {
    /// The user of the live session.
    Session(CurrentSession),
    /// The user with the login name in the body.
    Named(LoginName),
}

/// Checks the CSRF token of a form. With a session, the token must be bound to this session. With a login name in the form, it
/// must be bound to the login form cookie. A JSON request needs no token.
fn check_form(context: &Context, submission: &Submission) -> Result<(), Problem> {
    if submission.field("login").is_some() {
        return submission.check_sign_in_token(context);
    }
    if submission.media_type == Some(MediaType::Json) {
        return Ok(());
    }
    let current = CurrentSession::of(context)?;
    submission.check_token(context, |bound| bound == FormBinding::Session(current.sid))
}

/// Makes the checks of the new password that are possible before the old password is checked.
fn check_new(old: &Password, new: &Password, is_confirmed: bool) -> Result<(), Problem> {
    if !is_confirmed {
        return Err(Problem::PasswordsDiffer);
    }
    new.check_new().map_err(Problem::NewPassword)?;
    if new.expose() == old.expose() { Err(Problem::UnchangedPassword) } else { Ok(()) }
}

/// Replaces the password and revokes all sessions of the account, in one transaction. Updates `authenticated` to the new state.
async fn replace_password(
    context: &Context,
    authenticated: &mut AuthenticatedAccount,
    new: Password,
) -> Result<(), Problem> {
    let app = &context.app;
    let hashed = app.passwords.hash_new(new, authenticated.account.profile.clone()).await?;
    let hash = hashed.map_err(Problem::NewPassword)?;
    let revocations = app.sessions.revocations();
    authenticated.read_at = context.now();
    let changed = match app.store.change_own_password(&authenticated.account, &hash).await {
        Err(StoreError::NoSuchAccount(_)) => return Err(Problem::AccountChanged),
        Err(error) => {
            if matches!(error, StoreError::CommitTooLate) {
                // The transaction took too long, and may have been committed. In that case its revocation entry could expire
                // before the last token that the entry must refuse. The committer therefore adds a later entry.
                let below = authenticated.account.generation + 1;
                let entry = Revocation::Subject { sub: authenticated.account.sub.as_str().into(), below };
                let _ = app.committer.revoke(vec![entry]).await;
            }
            return Err(store_failed(error));
        }
        Ok(changed) => changed,
    };
    // The revocation entry is committed. Apply it in this process now, and do not wait until the follower reads it from the log.
    revocations.add_durable(&changed.ended);
    authenticated.account.generation = changed.generation;
    authenticated.account.must_change = false;
    Ok(())
}

/// Returns the page with the form for a user who has a live session.
fn form(context: &Context, problem: Option<Problem>) -> Result<Reply, Problem> {
    let now = context.now();
    context.with_session(context.site()?, now, |claims, _| {
        let csrf_token =
            context.app.sessions.form_token(FormBinding::Session(claims.sid), now).map_err(Problem::Seal)?;
        let errors = Errors::of(problem, context.texts());
        Ok(Reply::page(&errors.page(context, csrf_token.expose(), claims.identity.login_name, None)))
    })
}

/// Returns the form for a user who must change the password before the first session.
pub(super) fn forced_change_page(
    context: &Context,
    values: &FormValues,
    problem: Option<Problem>,
) -> Result<Reply, Problem> {
    let LoginFormTokens { cookie, csrf_token } = LoginFormTokens::of(context)?;
    let return_url = values.rd(&context.app.pages.home);
    let forced = ForcedChange { rd: return_url.as_str(), remember: values.remember };
    let errors = Errors::of(problem, context.texts());
    Ok(Reply::page(&errors.page(context, csrf_token.expose(), &values.login, Some(forced))).form_cookie(cookie))
}

/// Error messages of the form, after a change that failed.
#[derive(Debug, Default)]
struct Errors {
    /// Error at the field of the old password.
    old: Option<Cow<'static, str>>,
    /// Error at the field of the new password.
    new: Option<Cow<'static, str>>,
    /// Error above the form.
    form: Option<Cow<'static, str>>,
}

impl Errors {
    fn of(problem: Option<Problem>, texts: &Texts) -> Self {
        let text = problem.map(|problem| problem.page_text(texts));
        match problem {
            Some(problem) if problem.is_wrong_password() => Self { old: text, ..Self::default() },
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
        forced: Option<ForcedChange<'a>>,
    ) -> PasswordPage<'a> {
        let texts = &context.texts().password;
        let heading = if forced.is_some() { texts.forced_heading } else { texts.heading };
        let is_error = self.old.is_some() || self.new.is_some() || self.form.is_some();
        PasswordPage {
            shell: context.shell(heading).of_error(is_error),
            csrf_token,
            login_name,
            forced,
            old_error: self.old.as_deref(),
            new_error: self.new.as_deref(),
            form_error: self.form.as_deref(),
        }
    }
}
