//! The steps from a password to a new session. Login, step-up and change of the password share them.
//!
//! Invariants:
//!
//! - The generations of the account and of the store are read *before* the password is hashed, and sealed into the claims. If the
//!   password is changed meanwhile, the account's generation is higher, and a session that starts with the old password is
//!   refused.
//! - All sessions that came with the request are revoked, and the new session has a new random sid. So an attacker who plants a
//!   cookie in a browser does not get the user's session ([session
//!   fixation](https://owasp.org/www-community/attacks/Session_fixation)).
//! - The throttle admits an attempt before the account is read.
//!
//! Called by `login.rs`, `reauthenticate.rs` and `password.rs`. Uses `throttle.rs` and `account/password/checker.rs`.

use crate::account::password::Verdict;
use crate::account::password::checker::queue::Priority;
use crate::account::{LoginName, Password};
use crate::audit::{self, Failure, Purpose};
use crate::clock::Now;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::session_view::SessionView;
use crate::http::throttle::{AdmittedAttempt, LoginAttempt, OwnSession};
use crate::id::Sid;
use crate::log_sampler::sampled;
use crate::session::claims::Methods;
use crate::session::form::FormBinding;
use crate::session::{Identity, PresentedSession, Refusal, SealError, SealedSession};
use crate::store::{Account, Revocation, State, StoreError};

/// Facts about the live session of a request that step-up and change of the password need.
#[derive(Debug)]
pub(super) struct CurrentSession {
    pub(super) sid: Sid,
    pub(super) sub: Box<str>,
    pub(super) account_generation: u64,
    global_generation: u64,
    pub(super) login_name: LoginName,
    pub(super) remembered: bool,
    pub(super) app_data: Box<[u8]>,
}

impl CurrentSession {
    /// Returns the facts about the live session of this request.
    pub(super) fn of(context: &Context) -> Result<Self, Problem> {
        let current = context.verify(context.site()?, context.now(), context.renewal_window(), |session| {
            let claims = session.claims();
            let identity = &claims.identity;
            Some(Self {
                sid: claims.sid,
                sub: identity.sub.into(),
                account_generation: identity.account_generation,
                global_generation: identity.global_generation,
                login_name: identity.login_name.parse().ok()?,
                remembered: claims.flags.is_remembered(),
                app_data: claims.app_data.into(),
            })
        });
        // If the login name of the session is invalid, no account can have it. An application with the same keys may have sealed
        // the session.
        current.map_err(Problem::Session)?.ok_or(Problem::AccountChanged)
    }

    /// Returns whether the session was revoked after it was verified, for example by a logout in another tab.
    fn is_revoked(&self, context: &Context) -> bool {
        context.app.sessions.revocations().refuses(self.sid, &self.sub, self.account_generation, self.global_generation)
    }
}

/// Options of a new session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionOptions<'a> {
    pub(super) purpose: Purpose,
    pub(super) remember: bool,
    pub(super) app_data: &'a [u8],
}

/// An account whose password was checked. A session can start for it.
#[derive(Debug)]
pub(super) struct AuthenticatedAccount {
    pub(super) account: Account,
    /// State of the store before the password was hashed.
    pub(super) state: State,
    /// Time of the last read that confirmed that the account has not changed.
    pub(super) read_at: Now,
}

/// Revokes the sessions that came with the request, and starts a new one. The reply is the JSON form of the new session.
pub(super) async fn start_session(
    context: &Context,
    authenticated: &AuthenticatedAccount,
    options: SessionOptions<'_>,
) -> Result<(SealedSession, Reply), Problem> {
    let app = &context.app;
    let client = context.client();
    let AuthenticatedAccount { account, state, read_at } = authenticated;
    if account.must_change {
        audit::password_refused(options.purpose, Failure::MustChange, Some(&account.sub), client);
        return Err(Problem::MustChange);
    }
    let site = context.site()?;
    // Revokes the sessions that came with the request.
    let presented = app.sessions.presented(context.cookies(), context.now());
    // A change of the password has already revoked the sessions of its account. A second commit is not needed, and could fail.
    let is_revoked = |token: &&PresentedSession| {
        app.sessions.revocations().is_durable_below(&token.sub, token.account_generation.saturating_add(1))
    };
    let replaced: Vec<&PresentedSession> = presented.iter().filter(|token| !is_revoked(token)).collect();
    let revokes = replaced.iter().map(|token| Revocation::from(*token)).collect();
    let write_audit_event = |new: &Revocation| {
        if let Revocation::Session { sid, .. } = new
            && let Some(token) = replaced.iter().find(|token| token.sid == *sid && !token.is_generation_revoked)
        {
            audit::session_replaced(options.purpose, *sid, &token.sub);
        }
    };
    let failed = |problem| {
        audit::password_failed(options.purpose);
        problem
    };
    app.committer.revoke_with(revokes, write_audit_event).await.map_err(|_| failed(Problem::NotDurable))?;

    // Checks that nothing has revoked the new session in advance, and seals it.
    let profile = &account.profile;
    let identity = Identity {
        sub: &account.sub,
        account_generation: account.generation,
        global_generation: state.global_generation,
        login_name: profile.login_name.as_str(),
        display_name: profile.display_name.as_str(),
        email: profile.email.as_str(),
        roles: profile.roles.as_str(),
    };
    let now = context.now();
    app.sessions.may_begin(&identity, *read_at, now).map_err(|refusal| {
        if refusal == Refusal::Stale {
            return failed(Problem::Session(refusal));
        }
        audit::password_refused(options.purpose, Failure::ChangedMeanwhile, Some(&account.sub), client);
        Problem::AccountChanged
    })?;
    let seal_failed = |error| failed(not_sealed(error));
    let SessionOptions { remember, app_data, .. } = options;
    let session =
        app.sessions.sign_in(&identity, Methods::PASSWORD, remember, app_data, site, now).map_err(seal_failed)?;
    let csrf_token = app.sessions.form_token(FormBinding::Session(session.sid), now).map_err(seal_failed)?;
    audit::session_begun(options.purpose, &account.sub, session.sid, options.remember, client);
    let SealedSession { sid, sealed_at, deadlines, flags, .. } = session;
    let view = SessionView::new(sid, &identity, sealed_at, deadlines, flags, csrf_token.expose().as_bytes());
    Ok((session, Reply::json(view.object())))
}

/// Checks a login name and a password. Returns the account if the password is correct and the account did not change during the
/// check.
pub(super) async fn authenticate(
    context: &Context,
    purpose: Purpose,
    login_name: LoginName,
    password: Password,
) -> Result<AuthenticatedAccount, Problem> {
    let app = &context.app;
    let client = context.client();
    let now = context.now();
    let presented = app.sessions.presented(context.cookies(), now);
    // In the throttle, a client with a session of this account has its own limit. A session that is not idle is preferred.
    let has_login_name = |token: &&PresentedSession| *token.login_name == *login_name.as_str() && !token.is_ended;
    let token = presented.iter().filter(has_login_name).min_by_key(|token| token.is_idle);
    let session = token.map(|token| if token.is_idle { OwnSession::Idle } else { OwnSession::Live(token.sid) });
    let attempt = LoginAttempt { account: &login_name, network: client.network(), session };
    let admitted = app.throttle.admit_or_wait(attempt, || context.now().boot).await;
    let mut attempt = admitted.map_err(|throttled| {
        audit::throttled(purpose, throttled.by.name(), client);
        Problem::Throttled(throttled.wait)
    })?;
    match check(context, &mut attempt, token, &presented, &login_name, password).await {
        Ok(Ok(authenticated)) => {
            attempt.record_success(context.now().boot);
            Ok(authenticated)
        }
        Ok(Err((failure, sub))) => {
            attempt.record_failure();
            audit::password_refused(purpose, failure, sub.as_deref(), client);
            Err(if failure == Failure::ChangedMeanwhile { Problem::AccountChanged } else { Problem::Credentials })
        }
        Err(problem) => {
            attempt.record_unchecked();
            if problem == Problem::Busy {
                audit::overloaded(purpose, client);
            } else {
                audit::password_failed(purpose);
            }
            Err(problem)
        }
    }
}

/// Reason why a password is refused, and the id of the account if there is one.
type FailedCheck = (Failure, Option<String>);

/// Checks a password against the account with this login name. An outer error means that the password was not checked.
///
/// `presented` contains the tokens of the request. `token` is the token among them with which the throttle admitted the
/// attempt. If a token has a higher generation than its account, the store was rolled back to an old backup. The rollback is
/// recorded.
async fn check(
    context: &Context,
    attempt: &mut AdmittedAttempt<'_>,
    token: Option<&PresentedSession>,
    presented: &[PresentedSession],
    login_name: &LoginName,
    password: Password,
) -> Result<Result<AuthenticatedAccount, FailedCheck>, Problem> {
    let app = &context.app;
    // If no session can start now, nothing is checked, changed or revoked.
    let now = context.now();
    if !app.sessions.revocations().is_current(now) {
        return Err(Problem::Session(Refusal::Stale));
    }
    if app.sessions.active_key(now).is_none() {
        return Err(not_sealed(SealError::NoActiveKey));
    }
    // The generations must be read before the password is hashed.
    let state = app.store.state().await.map_err(store_failed)?;
    let account = app.store.account(login_name).await.map_err(store_failed)?;
    let shows_rollback = |token: &PresentedSession| {
        let is_ahead = |account: &Account| *token.sub == *account.sub && token.account_generation > account.generation;
        account.as_ref().is_some_and(is_ahead)
    };
    if presented.iter().any(shows_rollback) {
        app.sessions.revocations().rollback().record_loss(state.global_generation);
    }
    let stored_hash = account.as_ref().map(|account| account.password_hash.clone());
    let may_sign_in = account.as_ref().is_some_and(|account| !account.disabled);
    let is_of_account = |token: &PresentedSession| {
        account
            .as_ref()
            .is_some_and(|account| *account.sub == *token.sub && account.generation == token.account_generation)
    };
    // The throttle admitted the attempt by login name. Only now is it known whether the token belongs to this account.
    if !token.is_some_and(is_of_account) {
        attempt.charge_without_session(context.now().boot);
    }
    let priority = if attempt.is_unknown_client() { Priority::Unknown } else { Priority::Known };
    let verdict = app.passwords.verify(priority, password, stored_hash, may_sign_in).await?;
    let Some(account) = account else {
        return Ok(Err((Failure::UnknownAccount, None)));
    };
    let rehashed = match verdict {
        Verdict::Accepted { rehashed } => rehashed,
        Verdict::Refused | Verdict::Unusable if account.disabled => {
            return Ok(Err((Failure::Disabled, Some(account.sub))));
        }
        Verdict::Refused => return Ok(Err((Failure::WrongPassword, Some(account.sub)))),
        Verdict::Unusable => return Ok(Err((Failure::HashUnusable, Some(account.sub)))),
    };
    // Reads the account again: it may have changed while the password was hashed.
    let read_at = context.now();
    let current = app.store.account(login_name).await.map_err(store_failed)?;
    // Every change of the password increases the generation. A new hash of the same password with another cost does not.
    let is_unchanged =
        |current: &Account| current.sub == account.sub && current.generation == account.generation && !current.disabled;
    if !current.as_ref().is_some_and(is_unchanged) {
        return Ok(Err((Failure::ChangedMeanwhile, Some(account.sub))));
    }
    if let Some(new_hash) = rehashed
        && let Err(error) = app.store.rehash(&account.sub, &account.password_hash, &new_hash).await
    {
        sampled!(WARN, %error, "password rehash failed: the old hash stays until the next login");
    }
    Ok(Ok(AuthenticatedAccount { account, state, read_at }))
}

/// Checks the password of the user of a live session. Returns the account if the password is correct and the session is still
/// live.
///
/// The store may contain a change of the account that this server has not read into its revocation list yet. So the account's
/// generation is compared with the generation in the session.
pub(super) async fn authenticate_again(
    context: &Context,
    purpose: Purpose,
    current: &CurrentSession,
    password: Password,
) -> Result<AuthenticatedAccount, Problem> {
    match authenticate(context, purpose, current.login_name.clone(), password).await {
        Ok(AuthenticatedAccount { account, .. })
            if *account.sub != *current.sub || account.generation != current.account_generation =>
        {
            Err(Problem::AccountChanged)
        }
        Ok(_) if current.is_revoked(context) => Err(Problem::Session(Refusal::Revoked)),
        Err(Problem::Credentials) => Err(Problem::WrongPassword),
        outcome => outcome,
    }
}

/// Logs that a session could not be sealed, and returns the problem for the client.
fn not_sealed(error: SealError) -> Problem {
    sampled!(ERROR, %error, "login failed: the session cannot be sealed");
    Problem::Seal(error)
}

/// Logs that the store failed, and returns the problem for the client.
pub(super) fn store_failed(error: StoreError) -> Problem {
    sampled!(ERROR, %error, "account lookup or change failed: the store is unavailable");
    Problem::Store
}
