//! `GET /auth/status` and `GET /protected`: verify, renew in passing, answer. No I/O, no waiting.

use std::sync::Arc;

use salvo::http::Request;
use salvo::prelude::{Response, handler};
use serde::Serialize;

use super::cookie::{self, CookieChange};
use super::pages::SessionPage;
use super::problem::Problem;
use super::reply::{Reply, respond};
use super::return_url::ReturnUrl;
use super::{App, browser};
use crate::clock::{Now, UnixTime};
use crate::seal::SealedToken;
use crate::session::claims::Claims;
use crate::session::form::Bound;
use crate::session::lifetime::Deadlines;
use crate::session::{Identity, SealedSession, Verified};

/// `GET /auth/status`: the session, or why there is none; as JSON or as a page.
pub(crate) struct Status(pub(crate) Arc<App>);

#[handler]
impl Status {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (app, now) = (&*self.0, Now::read());
        let as_page = browser::is_navigation(request.headers());
        let notice = request.uri().query().and_then(notice);
        let outcome = with_session(app, request, now, |claims, deadlines| {
            let csrf_token = app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
            if as_page {
                Ok(Reply::page(&session_page(app, claims, deadlines, &csrf_token, notice)))
            } else {
                Ok(Reply::json(&SessionView::of(claims, deadlines, &csrf_token)))
            }
        });
        respond(app, request.headers(), now, outcome, response);
    }
}

/// What a form that led here has done.
fn notice(query: &str) -> Option<&'static str> {
    match query {
        "password-changed" => Some("Your password is changed. Your other sessions have ended."),
        _ => None,
    }
}

/// `GET /protected`: the sample of a resource that only a live session sees. A browser without one is sent to sign in.
pub(crate) struct Protected(pub(crate) Arc<App>);

#[handler]
impl Protected {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (app, now) = (&*self.0, Now::read());
        let outcome = with_session(app, request, now, |session, _| {
            let login_name = session.login_name.to_owned();
            Ok(Reply::json(&Sample { message: "only a live session sees this", login_name }))
        });
        let here = request.uri().path_and_query().and_then(|here| ReturnUrl::parse(here.as_str(), &app.hosts));
        let outcome = or_sign_in(request, &here.unwrap_or_default(), outcome);
        respond(app, request.headers(), now, outcome, response);
    }
}

/// Sends a browser that has no live session to the sign-in page, and from there back `here`.
pub(super) fn or_sign_in(
    request: &Request,
    here: &ReturnUrl,
    outcome: Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    match outcome {
        Err(problem) if problem.is_cured_by_sign_in() && browser::is_navigation(request.headers()) => {
            Ok(Reply::found(&ReturnUrl::at_page("/auth/login", here.as_str())))
        }
        outcome => outcome,
    }
}

#[derive(Serialize)]
struct Sample {
    message: &'static str,
    login_name: String,
}

/// A session as its owner sees it. Instants are Unix seconds.
#[derive(Debug, Serialize)]
pub(crate) struct SessionView {
    sid: String,
    sub: String,
    login_name: String,
    display_name: String,
    email: String,
    roles: Vec<String>,
    authenticated_at: UnixTime,
    idle_deadline: UnixTime,
    absolute_deadline: UnixTime,
    remembered: bool,
    /// What forms of this session must carry.
    csrf_token: String,
}

impl SessionView {
    fn of(claims: &Claims<'_>, deadlines: Deadlines, csrf_token: &SealedToken) -> Self {
        Self {
            sid: claims.sid.to_string(),
            sub: claims.sub.to_owned(),
            login_name: claims.login_name.to_owned(),
            display_name: claims.display_name.to_owned(),
            email: claims.email.to_owned(),
            roles: claims.roles().map(str::to_owned).collect(),
            authenticated_at: claims.authenticated_at,
            idle_deadline: deadlines.idle,
            absolute_deadline: deadlines.absolute,
            remembered: claims.flags.remembered(),
            csrf_token: csrf_token.expose().to_owned(),
        }
    }

    /// The session that was just begun.
    pub(crate) fn of_sign_in(identity: &Identity<'_>, session: &SealedSession, csrf_token: &SealedToken) -> Self {
        Self {
            sid: session.sid.to_string(),
            sub: identity.sub.to_owned(),
            login_name: identity.login_name.to_owned(),
            display_name: identity.display_name.to_owned(),
            email: identity.email.to_owned(),
            roles: identity.roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            authenticated_at: session.sealed_at,
            idle_deadline: session.deadlines.idle,
            absolute_deadline: session.deadlines.absolute,
            remembered: session.flags.remembered(),
            csrf_token: csrf_token.expose().to_owned(),
        }
    }
}

fn session_page<'a>(
    app: &App,
    claims: &Claims<'a>,
    deadlines: Deadlines,
    csrf_token: &'a SealedToken,
    notice: Option<&'static str>,
) -> SessionPage<'a> {
    SessionPage {
        shell: app.shell,
        csrf_token: csrf_token.expose(),
        login_name: claims.login_name,
        display_name: claims.display_name,
        email: claims.email,
        roles: claims.roles().collect(),
        authenticated_at: claims.authenticated_at.into(),
        idle_deadline: deadlines.idle.into(),
        absolute_deadline: deadlines.absolute.into(),
        remembered: claims.flags.remembered(),
        notice,
    }
}

/// Answers with what `answer` makes of the live session and its deadlines, renewing it if it is time.
pub(super) fn with_session(
    app: &App,
    request: &Request,
    now: Now,
    answer: impl FnOnce(&Claims<'_>, Deadlines) -> Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    let site = app.site(request)?;
    let answer = |session: &Verified<'_>| {
        let renewed = renewed(app, session);
        let deadlines = renewed.as_ref().map_or_else(|| session.deadlines(), |renewed| renewed.deadlines);
        let reply = answer(session.claims(), deadlines)?;
        Ok(reply.cookie(renewed.map_or(CookieChange::Keep, CookieChange::Set)))
    };
    app.sessions
        .verify(cookie::fields(request.headers()), site, now, answer)
        .unwrap_or_else(|refusal| Err(app.refused(request, refusal)))
}

/// The session renewed, if it is time. One that cannot be goes on as it is.
pub(super) fn renewed(app: &App, session: &Verified<'_>) -> Option<SealedSession> {
    app.sessions.renew(session).unwrap_or_else(|error| {
        tracing::error!(%error, "a session could not be renewed and goes on as it is");
        None
    })
}
