//! The routes `GET /auth/status`, which shows the session of the request, and `GET /protected`, a sample of a protected resource.

use crate::clock::Now;
use crate::http::context::Context;
use crate::http::json::{Object, name};
use crate::http::pages::{Instant, SessionPage};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::return_url::ReturnUrl;
use crate::http::session_view::SessionView;
use crate::seal::SealedToken;
use crate::session::claims::Claims;
use crate::session::form::FormBinding;
use crate::session::lifetime::Deadlines;

/// Handles `GET /auth/status`. Returns the live session, or the reason why the request has no live session: as JSON, or as a page
/// for a navigation.
pub(super) fn status(context: &Context) -> Result<Reply, Problem> {
    let served = context.admit()?;
    let app = &context.app;
    let now = context.now();
    context.with_session(served.site, now, |claims, deadlines| {
        if context.is_navigation() {
            let csrf_token = app.sessions.form_token(FormBinding::Session(claims.sid), now).map_err(Problem::Seal)?;
            return Ok(Reply::page(&session_page(context, claims, deadlines, now, &csrf_token)));
        }
        let csrf_token = app.sessions.deterministic_form_token(claims.sid, now).map_err(Problem::Seal)?;
        let headers = app.prepared.json(served.origin.is_secure());
        let Claims { sid, identity, authenticated_at, flags, .. } = claims;
        let view = SessionView::new(*sid, identity, *authenticated_at, deadlines, *flags, csrf_token.expose());
        Ok(Reply::json_with(headers, view.object()))
    })
}

/// Handles `GET /protected`, a sample of a resource that requires a live session. A navigation without one is redirected to the
/// login page.
pub(super) fn protected(context: &Context) -> Result<Reply, Problem> {
    let served = context.admit()?;
    let app = &context.app;
    let outcome = context.with_session(served.site, context.now(), |session, _| {
        let sample = Object::new().text(name!("message"), "you have a live session");
        let sample = sample.text(name!("login_name"), session.identity.login_name);
        Ok(Reply::json_with(app.prepared.json(served.origin.is_secure()), sample))
    });
    let this_page =
        || context.uri().path_and_query().and_then(|path| ReturnUrl::on_host(path.as_str(), &served.origin));
    if outcome.is_ok() {
        outcome
    } else {
        context.redirect_to_login(&this_page().unwrap_or_else(|| app.pages.home.clone()), outcome)
    }
}

fn session_page<'a>(
    context: &'a Context,
    claims: &Claims<'a>,
    deadlines: Deadlines,
    now: Now,
    csrf_token: &'a SealedToken,
) -> SessionPage<'a> {
    let texts = &context.texts().session;
    let now = context.app.sessions.revocations().time(now);
    let instant = |instant| Instant::new(instant, now, &context.texts().times);
    SessionPage {
        shell: context.shell(texts.heading),
        csrf_token: csrf_token.expose(),
        home: context.app.pages.home_link(),
        login_name: claims.identity.login_name,
        display_name: claims.identity.display_name,
        email: claims.identity.email,
        roles: claims.identity.roles().collect(),
        instants: [
            (texts.authenticated_at, instant(claims.authenticated_at)),
            (texts.idle_deadline, instant(deadlines.idle)),
            (texts.absolute_deadline, instant(deadlines.absolute)),
        ],
        remembered: claims.flags.is_remembered(),
        notice: (context.uri().query() == Some("password-changed")).then_some(texts.password_changed),
    }
}
