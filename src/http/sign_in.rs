//! From a password to a fresh session: what sign-in, step-up and change of the password have in common.
//!
//! The account's and the store's generation are read *before* the password is hashed, and sealed into the claims: a sign-in that
//! was waiting with an old password is dead whenever it arrives. Whatever session came with the request is revoked, so a planted
//! cookie gains nothing, and the new sid is always fresh. An attempt is let in by the throttle before anything is looked up.

use crate::account::password::Verdict;
use crate::account::password::checker::queue::Lane;
use crate::account::{LoginName, Password};
use crate::audit::{self, Failure, Purpose};
use crate::clock::Now;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::session_view::SessionView;
use crate::http::throttle::{Attempt, LoginAttempt, OwnSession};
use crate::id::Sid;
use crate::log_sampler::sampled;
use crate::session::claims::Methods;
use crate::session::form::Bound;
use crate::session::{Identity, Presented, Refusal, SealError, SealedSession};
use crate::store::{Account, Revoke, State, StoreError};

/// The live session behind a request, as far as it concerns a change of its privilege.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) sid: Sid,
    pub(super) sub: Box<str>,
    pub(super) account_generation: u64,
    global_generation: u64,
    pub(super) login_name: LoginName,
    pub(super) remembered: bool,
    pub(super) app_data: Box<[u8]>,
}

impl Current {
    pub(super) fn of(context: &Context) -> Result<Self, Problem> {
        let found = context.verify(context.site()?, context.now(), context.renewal_window(), |session| {
            let claims = session.claims();
            let identity = &claims.identity;
            Some(Self {
                sid: claims.sid,
                sub: identity.sub.into(),
                account_generation: identity.account_generation,
                global_generation: identity.global_generation,
                login_name: identity.login_name.parse().ok()?,
                remembered: claims.flags.remembered(),
                app_data: claims.app_data.into(),
            })
        });
        // A login name that no account can have: sealed by an application of its own.
        found.map_err(Problem::Session)?.ok_or(Problem::Overtaken)
    }

    /// Whether it was ended since, in another tab or by somebody else.
    fn is_ended(&self, context: &Context) -> bool {
        context.app.sessions.revocations().refuses(self.sid, &self.sub, self.account_generation, self.global_generation)
    }
}

/// What a session is begun for, and what of it its owner or the application chose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) purpose: Purpose,
    pub(super) remember: bool,
    pub(super) app_data: &'a [u8],
}

/// An account to begin a session for, as the store has it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) account: Account,
    /// As it was before the password was hashed.
    pub(super) state: State,
    /// When the store was last asked whether the account is still so.
    pub(super) read: Now,
}

/// Ends the sessions that came with the request, for good, and begins a fresh one. The reply tells of it as JSON.
pub(super) async fn begin(
    context: &Context,
    checked: &Checked,
    manner: Manner<'_>,
) -> Result<(SealedSession, Reply), Problem> {
    let app = &context.app;
    let client = context.client();
    let Checked { account, state, read } = checked;
    if account.must_change {
        audit::password_refused(manner.purpose, Failure::MustChange, Some(&account.sub), client);
        return Err(Problem::MustChange);
    }
    let site = context.site()?;
    let presented = app.sessions.presented(context.cookies(), context.now());
    // A change of the password has just ended its own sessions for good: no second commit that could fail after it.
    let ended = |token: &&Presented| {
        app.sessions.revocations().is_durable_below(&token.sub, token.account_generation.saturating_add(1))
    };
    let replaced: Vec<&Presented> = presented.iter().filter(|token| !ended(token)).collect();
    let revokes = replaced.iter().map(|token| Revoke::from(*token)).collect();
    let tell = |new: &Revoke| {
        if let Revoke::Session { sid, .. } = new
            && let Some(token) = replaced.iter().find(|token| token.sid == *sid && !token.generation_ended)
        {
            audit::session_replaced(manner.purpose, *sid, &token.sub);
        }
    };
    let failed = |problem| {
        audit::password_failed(manner.purpose);
        problem
    };
    app.committer.revoke_telling(revokes, tell).await.map_err(|_| failed(Problem::NotDurable))?;

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
    app.sessions.may_begin(&identity, *read, now).map_err(|refusal| {
        if refusal == Refusal::Stale {
            return failed(Problem::Session(refusal));
        }
        audit::password_refused(manner.purpose, Failure::ChangedMeanwhile, Some(&account.sub), client);
        Problem::Overtaken
    })?;
    let unsealed = |error| failed(not_sealed(error));
    let Manner { remember, app_data, .. } = manner;
    let session =
        app.sessions.sign_in(&identity, Methods::PASSWORD, remember, app_data, site, now).map_err(unsealed)?;
    let csrf_token = app.sessions.form_token(Bound::Session(session.sid), now).map_err(unsealed)?;
    audit::session_begun(manner.purpose, &account.sub, session.sid, manner.remember, client);
    let SealedSession { sid, sealed_at, deadlines, flags, .. } = session;
    let view = SessionView::new(sid, &identity, sealed_at, deadlines, flags, csrf_token.expose().as_bytes());
    Ok((session, Reply::json(view.object())))
}

/// The account, if the password is its own and nothing about it changed meanwhile; and the store's state as it was before.
pub(super) async fn authenticate(
    context: &Context,
    purpose: Purpose,
    login_name: LoginName,
    password: Password,
) -> Result<Checked, Problem> {
    let app = &context.app;
    let client = context.client();
    let now = context.now();
    let presented = app.sessions.presented(context.cookies(), now);
    let own = |token: &&Presented| *token.login_name == *login_name.as_str() && !token.is_ended;
    // One that is in use, if there is one.
    let token = presented.iter().filter(own).min_by_key(|token| token.is_idle);
    let session = token.map(|token| if token.is_idle { OwnSession::Idle } else { OwnSession::Live(token.sid) });
    let attempt = LoginAttempt { account: &login_name, network: client.network(), session };
    let admitted = app.throttle.admit_in_turn(attempt, || context.now().boot).await;
    let mut attempt = admitted.map_err(|throttled| {
        audit::throttled(purpose, throttled.by.name(), client);
        Problem::Throttled(throttled.wait)
    })?;
    match check(context, &mut attempt, token, &presented, &login_name, password).await {
        Ok(Ok(found)) => {
            attempt.succeeded(context.now().boot);
            Ok(found)
        }
        Ok(Err((failure, sub))) => {
            attempt.failed();
            audit::password_refused(purpose, failure, sub.as_deref(), client);
            Err(if failure == Failure::ChangedMeanwhile { Problem::Overtaken } else { Problem::Credentials })
        }
        Err(problem) => {
            attempt.withdrawn();
            if problem == Problem::Busy {
                audit::overloaded(purpose, client);
            } else {
                audit::password_failed(purpose);
            }
            Err(problem)
        }
    }
}

/// Why there is no session, and whose it would have been.
type Refused = (Failure, Option<String>);

/// Checks a password against the account of this name. An error means that it was not checked. `token` is the one that the attempt
/// was admitted with, of all that are `presented`. A session of the account that has a higher generation than the account shows that
/// the store was rolled back.
async fn check(
    context: &Context,
    attempt: &mut Attempt<'_>,
    token: Option<&Presented>,
    presented: &[Presented],
    login_name: &LoginName,
    password: Password,
) -> Result<Result<Checked, Refused>, Problem> {
    let app = &context.app;
    // If no session can begin, nothing is checked, changed or ended for one.
    let now = context.now();
    if !app.sessions.revocations().is_current(now) {
        return Err(Problem::Session(Refusal::Stale));
    }
    if app.sessions.active_key(now).is_none() {
        return Err(not_sealed(SealError::NoActiveKey));
    }
    let state = app.store.state().await.map_err(store_failed)?;
    let account = app.store.account(login_name).await.map_err(store_failed)?;
    let lost = |token: &Presented| {
        let is_ahead = |account: &Account| *token.sub == *account.sub && token.account_generation > account.generation;
        account.as_ref().is_some_and(is_ahead)
    };
    if presented.iter().any(lost) {
        app.sessions.revocations().rollback().note_loss(state.global_generation);
    }
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let may_sign_in = account.as_ref().is_some_and(|account| !account.disabled);
    let is_of_account = |token: &Presented| {
        account
            .as_ref()
            .is_some_and(|account| *account.sub == *token.sub && account.generation == token.account_generation)
    };
    if !token.is_some_and(is_of_account) {
        attempt.disown_session(context.now().boot);
    }
    let lane = if attempt.is_stranger() { Lane::Strange } else { Lane::Known };
    let verdict = app.passwords.verify(lane, password, stored, may_sign_in).await?;
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
    let read = context.now();
    let current = app.store.account(login_name).await.map_err(store_failed)?;
    // Every change of the password raises the generation; a hash of the same password at another cost does not.
    let unchanged =
        |current: &Account| current.sub == account.sub && current.generation == account.generation && !current.disabled;
    if !current.as_ref().is_some_and(unchanged) {
        return Ok(Err((Failure::ChangedMeanwhile, Some(account.sub))));
    }
    if let Some(new) = rehashed
        && let Err(error) = app.store.rehash(&account.sub, &account.password_hash, &new).await
    {
        sampled!(WARN, %error, "a password keeps its old hash until the next sign-in");
    }
    Ok(Ok(Checked { account, state, read }))
}

/// The account of a live session, if the password is its own, and nothing ended the session meanwhile, nor the account's sessions
/// in a way that this server has not heard of yet.
pub(super) async fn authenticate_again(
    context: &Context,
    purpose: Purpose,
    current: &Current,
    password: Password,
) -> Result<Checked, Problem> {
    match authenticate(context, purpose, current.login_name.clone(), password).await {
        Ok(Checked { account, .. })
            if *account.sub != *current.sub || account.generation != current.account_generation =>
        {
            Err(Problem::Overtaken)
        }
        Ok(_) if current.is_ended(context) => Err(Problem::Session(Refusal::Revoked)),
        Err(Problem::Credentials) => Err(Problem::Password),
        outcome => outcome,
    }
}

fn not_sealed(error: SealError) -> Problem {
    sampled!(ERROR, %error, "a sign-in could not be sealed");
    Problem::Seal(error)
}

pub(super) fn store_failed(error: StoreError) -> Problem {
    sampled!(ERROR, %error, "a request about an account needs the store");
    Problem::Store
}
