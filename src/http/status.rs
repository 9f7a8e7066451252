//! `GET /auth/status` and `GET /protected`.

use crate::http::context::Context;
use crate::http::json::{Object, name};
use crate::http::pages::SessionPage;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::http::session_view::SessionView;
use crate::seal::SealedToken;
use crate::session::claims::Claims;
use crate::session::form::Bound;
use crate::session::lifetime::Deadlines;

/// `GET /auth/status`: the session, or why there is none; as JSON or as a page.
pub(super) fn status(context: &Context) -> Result<Reply, Problem> {
    let served = context.admit()?;
    let app = &context.app;
    let now = context.now();
    context.with_session(served.site, now, |claims, deadlines| {
        if context.is_navigation() {
            let csrf_token = app.sessions.form_token(Bound::Session(claims.sid), now).map_err(Problem::Seal)?;
            return Ok(Reply::page(&session_page(context, claims, deadlines, &csrf_token)));
        }
        let csrf_token = app.sessions.steady_form_token(claims.sid, now).map_err(Problem::Seal)?;
        let headers = app.prepared.json(served.origin.is_secure());
        let Claims { sid, identity, authenticated_at, flags, .. } = claims;
        let view = SessionView::new(*sid, identity, *authenticated_at, deadlines, *flags, csrf_token.expose());
        Ok(Reply::json_with(headers, view.object()))
    })
}

/// `GET /protected`: the sample of a resource that only a live session sees. A browser without one is sent to sign in.
pub(super) fn protected(context: &Context) -> Result<Reply, Problem> {
    let served = context.admit()?;
    let app = &context.app;
    let outcome = context.with_session(served.site, context.now(), |session, _| {
        let sample = Object::new().text(name!("message"), "only a live session sees this");
        let sample = sample.text(name!("login_name"), session.identity.login_name);
        Ok(Reply::json_with(app.prepared.json(served.origin.is_secure()), sample))
    });
    let here = || context.uri().path_and_query().and_then(|here| ReturnUrl::parse(here.as_str(), &app.hosts));
    if outcome.is_ok() {
        outcome
    } else {
        context.or_sign_in(&here().unwrap_or_else(|| app.pages.home.clone()), outcome)
    }
}

fn session_page<'a>(
    context: &Context,
    claims: &Claims<'a>,
    deadlines: Deadlines,
    csrf_token: &'a SealedToken,
) -> SessionPage<'a> {
    SessionPage {
        shell: context.app.shell,
        csrf_token: csrf_token.expose(),
        login_name: claims.identity.login_name,
        display_name: claims.identity.display_name,
        email: claims.identity.email,
        roles: claims.identity.roles().collect(),
        authenticated_at: claims.authenticated_at.into(),
        idle_deadline: deadlines.idle.into(),
        absolute_deadline: deadlines.absolute.into(),
        remembered: claims.flags.remembered(),
        notice: context.uri().query().and_then(notice),
    }
}

/// Returns what the page says after a form that led here.
fn notice(query: &str) -> Option<&'static str> {
    match query {
        "password-changed" => Some("Your password is changed. Your other sessions have ended."),
        _ => None,
    }
}
