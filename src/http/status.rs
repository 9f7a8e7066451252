//! `GET /auth/status` and `GET /protected`: verify, renew in passing, answer. No I/O, no waiting.

use salvo::http::Request;
use utoipa::ToSchema;

use super::cookie::CookieChange;
use super::direct::{self, Ring, Unanswered};
use super::hosts::Served;
use super::json::{Object, name};
use super::pages::SessionPage;
use super::problem::Problem;
use super::reply::Reply;
use super::return_url::ReturnUrl;
use super::{App, browser};
use crate::clock::{Now, UnixTime};
use crate::id::{Sid, Site};
use crate::log_sampler::sampled;
use crate::metrics::RENEWALS;
use crate::seal::{SealedToken, SteadyToken};
use crate::session::claims::Claims;
use crate::session::form::Bound;
use crate::session::lifetime::Deadlines;
use crate::session::{Identity, SealedSession, Verified};

/// `GET /auth/status`: the session, or why there is none; as JSON or as a page.
pub(super) fn status(app: &App, request: &Request, now: Now, ring: Ring) -> Result<Reply, Unanswered> {
    let Served { origin, site } = app.admit(request)?;
    live_session(app, request, *site, now, ring, |claims, deadlines| {
        if browser::is_navigation(request.headers()) {
            let csrf_token = app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
            let notice = request.uri().query().and_then(notice);
            return Ok(Reply::page(&session_page(app, claims, deadlines, &csrf_token, notice)));
        }
        let csrf_token = app.sessions.steady_form_token(claims.sid, now).map_err(Problem::Seal)?;
        let headers = app.prepared.json(origin.is_secure());
        Ok(Reply::json_with(headers, SessionView::of(claims, deadlines, &csrf_token).object()))
    })
}

/// What a form that led here has done.
fn notice(query: &str) -> Option<&'static str> {
    match query {
        "password-changed" => Some("Your password is changed. Your other sessions have ended."),
        _ => None,
    }
}

/// `GET /protected`: the sample of a resource that only a live session sees. A browser without one is sent to sign in.
pub(super) fn protected(app: &App, request: &Request, now: Now, ring: Ring) -> Result<Reply, Unanswered> {
    let Served { origin, site } = app.admit(request)?;
    let outcome = live_session(app, request, *site, now, ring, |session, _| {
        let sample = Object::new().text(name!("message"), "only a live session sees this");
        let sample = sample.text(name!("login_name"), session.login_name);
        Ok(Reply::json_with(app.prepared.json(origin.is_secure()), sample))
    });
    match outcome {
        Err(Unanswered::Problem(problem)) if problem.is_cured_by_sign_in() => {
            let here = request.uri().path_and_query();
            let here = here.and_then(|here| ReturnUrl::parse(here.as_str(), &app.hosts));
            Ok(or_sign_in(request, &here.unwrap_or_default(), Err(problem))?)
        }
        outcome => outcome,
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
            let page = ReturnUrl::at_page("/auth/login", here.as_str());
            Ok(Reply::found(&page).counted(direct::verification(problem)))
        }
        outcome => outcome,
    }
}

/// A session as its owner sees it. Instants are Unix seconds.
#[derive(ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView<'a> {
    /// The session's id, which changes with each sign-in.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    sid: Sid,
    /// The account's id, which never changes.
    sub: &'a str,
    /// The name to sign in with.
    login_name: &'a str,
    /// What to call the user; may be empty.
    display_name: &'a str,
    /// An address; may be empty.
    email: &'a str,
    // Joined by commas here, and a list in JSON.
    /// What the account may do.
    #[schema(value_type = Vec<String>)]
    roles: &'a str,
    /// When the password was given last.
    #[schema(value_type = u64)]
    authenticated_at: UnixTime,
    /// When the session ends if it is not used.
    #[schema(value_type = u64)]
    idle_deadline: UnixTime,
    /// When the session ends whatever happens.
    #[schema(value_type = u64)]
    absolute_deadline: UnixTime,
    /// Whether it outlives the browser's session.
    remembered: bool,
    /// What forms of this session must carry.
    #[schema(value_type = String)]
    csrf_token: &'a [u8],
}

impl<'a> SessionView<'a> {
    fn of(claims: &Claims<'a>, deadlines: Deadlines, csrf_token: &'a SteadyToken) -> Self {
        Self {
            sid: claims.sid,
            sub: claims.sub,
            login_name: claims.login_name,
            display_name: claims.display_name,
            email: claims.email,
            roles: claims.roles,
            authenticated_at: claims.authenticated_at,
            idle_deadline: deadlines.idle,
            absolute_deadline: deadlines.absolute,
            remembered: claims.flags.remembered(),
            csrf_token: csrf_token.expose(),
        }
    }

    pub(super) fn object(&self) -> Object {
        Object::new()
            .plain(name!("sid"), &self.sid.digits())
            .text(name!("sub"), self.sub)
            .text(name!("login_name"), self.login_name)
            .text(name!("display_name"), self.display_name)
            .text(name!("email"), self.email)
            .list(name!("roles"), self.roles.split(',').filter(|role| !role.is_empty()))
            .number(name!("authenticated_at"), self.authenticated_at.0)
            .number(name!("idle_deadline"), self.idle_deadline.0)
            .number(name!("absolute_deadline"), self.absolute_deadline.0)
            .boolean(name!("remembered"), self.remembered)
            .plain(name!("csrf_token"), self.csrf_token)
    }

    /// The session that was just begun.
    pub(crate) fn of_sign_in(identity: &Identity<'a>, session: &SealedSession, csrf_token: &'a SealedToken) -> Self {
        Self {
            sid: session.sid,
            sub: identity.sub,
            login_name: identity.login_name,
            display_name: identity.display_name,
            email: identity.email,
            roles: identity.roles,
            authenticated_at: session.sealed_at,
            idle_deadline: session.deadlines.idle,
            absolute_deadline: session.deadlines.absolute,
            remembered: session.flags.remembered(),
            csrf_token: csrf_token.expose().as_bytes(),
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
    live_session(app, request, app.site(request)?, now, Ring::JustRead, answer).map_err(|unanswered| match unanswered {
        Unanswered::Problem(problem) => problem,
        Unanswered::LacksKey => unreachable!("the ring was read before"),
    })
}

/// The same, where the ring may still have to be read.
fn live_session(
    app: &App,
    request: &Request,
    site: Site,
    now: Now,
    ring: Ring,
    answer: impl FnOnce(&Claims<'_>, Deadlines) -> Result<Reply, Problem>,
) -> Result<Reply, Unanswered> {
    let answer = |session: &Verified<'_>| {
        let renewed = renewed(app, session);
        let deadlines = renewed.as_ref().map_or_else(|| session.deadlines(), |renewed| renewed.deadlines);
        let reply = answer(session.claims(), deadlines)?;
        Ok(reply.cookie(renewed.map_or(CookieChange::Keep, CookieChange::Set)))
    };
    app.verify(request, site, now, ring, answer)?
}

/// The session renewed, if it is time. One that cannot be goes on as it is.
pub(super) fn renewed(app: &App, session: &Verified<'_>) -> Option<SealedSession> {
    let renewed = app.sessions.renew(session).unwrap_or_else(|error| {
        sampled!(ERROR, %error, "a session could not be renewed and goes on as it is");
        None
    });
    if renewed.is_some() {
        RENEWALS.add(0);
    }
    renewed
}
