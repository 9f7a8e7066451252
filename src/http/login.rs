//! `POST /auth/login`: from a name and a password to a fresh session.
//!
//! The account's and the store's generation are read *before* the password is hashed, and sealed into the claims: a sign-in that
//! was waiting with an old password is dead whenever it arrives. Whatever session came with the request is revoked, so a planted
//! cookie gains nothing, and the new sid is always fresh.

use std::sync::Arc;

use salvo::http::Request;
use salvo::prelude::{Response, handler};

use super::body::{self, MediaType};
use super::cookie::{self, CookieChange};
use super::problem::Problem;
use super::status::SessionView;
use super::{App, Reply, respond};
use crate::account::credentials::{BadBody, Credentials};
use crate::account::password::Verdict;
use crate::clock::Now;
use crate::session::Identity;
use crate::store::{Account, Revoke, State, StoreError};

/// Where a form goes on to.
const AFTER_SIGN_IN: &str = "/auth/status";

/// `POST /auth/login`.
pub(crate) struct Login(pub(crate) Arc<App>);

#[handler]
impl Login {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let outcome = sign_in(&self.0, request).await;
        respond(&self.0, Now::read(), outcome, response);
    }
}

async fn sign_in(app: &App, request: &mut Request) -> Result<Reply, Problem> {
    let site = app.site(request)?;
    let media_type = body::media_type(request.headers()).ok_or(Problem::MediaType)?;
    let limit = usize::try_from(app.max_body_bytes).unwrap_or(usize::MAX);
    let credentials = Credentials::parse(media_type, body::read(request, limit).await?).map_err(|bad| match bad {
        BadBody::NotJson => Problem::NotJson,
        other => Problem::Fields(other.hint()),
    })?;
    let remember = credentials.remember;
    let (account, state) = authenticate(app, credentials).await?;
    let presented = app.sessions.presented(cookie::fields(request.headers()), Now::read());
    let revokes = presented.iter().map(Revoke::from).collect();
    app.committer.revoke(revokes).await.map_err(|_| Problem::NotDurable)?;

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
    if app.sessions.revocations().refuses_generation(&account.sub, account.generation, state.global_generation) {
        return Err(Problem::Overtaken);
    }
    let session = app.sessions.sign_in(&identity, remember, &[], site, Now::read()).map_err(|error| {
        tracing::error!(%error, "a sign-in could not be sealed");
        Problem::Seal(error)
    })?;
    tracing::info!(sub = %account.sub, sid = %session.sid, "signed in");
    let reply = match media_type {
        MediaType::Json => Reply::json(&SessionView::of_sign_in(&identity, &session)),
        MediaType::Form => Reply::see_other(AFTER_SIGN_IN),
    };
    Ok(reply.cookie(CookieChange::Set(session)))
}

/// The account, if the password is its own and nothing about it changed meanwhile; and the store's state as it was before.
async fn authenticate(app: &App, credentials: Credentials) -> Result<(Account, State), Problem> {
    let Credentials { login_name, password, .. } = credentials;
    let state = app.store.state().await.map_err(store_failed)?;
    let account = app.store.account(&login_name).await.map_err(store_failed)?;
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let welcome = account.as_ref().is_some_and(|account| !account.disabled);
    let verdict = app.passwords.verify(password, stored, welcome).await.map_err(|_| Problem::Busy)?;
    let (Verdict::Accepted { rehashed }, Some(account)) = (verdict, account) else {
        tracing::info!("a sign-in was refused");
        return Err(Problem::Credentials);
    };
    let current = app.store.account(&login_name).await.map_err(store_failed)?;
    // Every change of the password raises the generation; a hash of the same password at another cost does not.
    let unchanged =
        |current: &Account| current.sub == account.sub && current.generation == account.generation && !current.disabled;
    if !current.as_ref().is_some_and(unchanged) {
        return Err(Problem::Overtaken);
    }
    if let Some(new) = rehashed
        && let Err(error) = app.store.rehash(&account.sub, &account.password_hash, &new).await
    {
        tracing::warn!(%error, "a password keeps its weaker hash until the next sign-in");
    }
    Ok((account, state))
}

fn store_failed(error: StoreError) -> Problem {
    tracing::error!(%error, "a sign-in needs the store");
    Problem::Store
}
