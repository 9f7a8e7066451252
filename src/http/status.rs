//! `GET /auth/status` and `GET /protected`: verify, renew in passing, answer. No I/O, no waiting.

use std::sync::Arc;

use salvo::http::Request;
use salvo::prelude::{Response, handler};
use serde::Serialize;

use super::cookie::{self, CookieChange};
use super::problem::Problem;
use super::{App, Reply, respond};
use crate::clock::{Now, UnixTime};
use crate::session::claims::Claims;
use crate::session::lifetime::Deadlines;
use crate::session::{Identity, SealedSession, Verified};

/// `GET /auth/status`: the session, or why there is none.
pub(crate) struct Status(pub(crate) Arc<App>);

#[handler]
impl Status {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let now = Now::read();
        let outcome = with_session(&self.0, request, now, SessionView::of);
        respond(&self.0, now, outcome, response);
    }
}

/// `GET /protected`: the sample of a resource that only a live session sees.
pub(crate) struct Protected(pub(crate) Arc<App>);

#[handler]
impl Protected {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let now = Now::read();
        let outcome = with_session(&self.0, request, now, |session, _| Sample {
            message: "only a live session sees this",
            login_name: session.login_name.to_owned(),
        });
        respond(&self.0, now, outcome, response);
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
}

impl SessionView {
    fn of(claims: &Claims<'_>, deadlines: Deadlines) -> Self {
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
        }
    }

    /// The session that was just begun.
    pub(crate) fn of_sign_in(identity: &Identity<'_>, session: &SealedSession) -> Self {
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
        }
    }
}

/// Answers with a view of the live session and its deadlines, renewing it if it is time.
fn with_session<V: Serialize>(
    app: &App,
    request: &Request,
    now: Now,
    view: impl FnOnce(&Claims<'_>, Deadlines) -> V,
) -> Result<Reply, Problem> {
    let site = app.site(request)?;
    let answer = |session: &Verified<'_>| {
        let claims = session.claims();
        let renewed = app.sessions.renew(session).unwrap_or_else(|error| {
            tracing::error!(%error, "a session could not be renewed and goes on as it is");
            None
        });
        let deadlines = renewed.as_ref().map_or_else(|| session.deadlines(), |renewed| renewed.deadlines);
        let cookie = renewed.map_or(CookieChange::Keep, CookieChange::Set);
        Reply::json(&view(claims, deadlines)).cookie(cookie)
    };
    app.sessions.verify(cookie::fields(request.headers()), site, now, answer).map_err(|refusal| app.refused(refusal))
}
