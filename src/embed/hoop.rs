//! Middleware around the handlers, which Salvo calls a *hoop*. Before a handler it checks the host, the origin and the session.
//! After the handler, it writes the cookie and the header fields for caches.
//!
//! Invariant: a response has at most one `Set-Cookie` of the session, and caches do not store such a response.

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, HeaderValue, VARY};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, Writer, async_trait, handler};

use super::jar::{Inner, Jar};
use super::problem::{Challenge, NoSessionMarker, Problem};
use super::session::{RawSession, RequestState};
use crate::clock::Now;
use crate::log_sampler::sampled;
use crate::session::{SealError, SealedSession};
use crate::web::cookie::{self, CookieChange, renewal_window};
use crate::web::csrf;

/// Middleware that verifies the session before the handler of a request, and writes the cookie after the handler. See
/// [`Jar::hoop`].
#[derive(Debug, Clone)]
pub struct Hoop(Jar);

impl Jar {
    /// Returns the middleware for every route that uses sessions. GET and HEAD of public files do not need it.
    pub fn hoop(&self) -> Hoop {
        Hoop(self.clone())
    }

    /// Verifies the session of a request, and renews it if it is due. Refuses a request for another host. Refuses a request that
    /// another site may have sent, except GET, HEAD and CORS preflights. A WebSocket handshake is a GET, but it is checked too.
    async fn check(&self, request: &Request) -> Result<RequestState, Problem> {
        let Inner { shared, hosts, .. } = &*self.0;
        let headers = request.headers();
        let host = hosts.find_public(request.uri(), headers)?;
        csrf::check_for_app(request.method(), headers, &host.origin)?;
        let window = renewal_window(Some(request.method()));
        let on_copy = |copied| self.0.end_copied(&copied);
        let verify = || {
            shared.sessions.verify_and_detect(
                cookie::fields(headers),
                host.site,
                Now::read(),
                window,
                on_copy,
                |verified| (RawSession::verified(verified), shared.sessions.renew(verified, window)),
            )
        };
        let mut outcome = verify();
        // Another node may already seal with a new key. So the directory is read again before a token with an unknown key is
        // refused.
        if let Err(refusal) = &outcome
            && let Some(key_directory) = &shared.key_directory
            && shared.sessions.may_have_lacked_key(cookie::fields(headers), *refusal)
        {
            key_directory.reread().await;
            outcome = verify();
        }
        let (session, renewal) = match outcome {
            Ok((session, renewed)) => (Ok(session), renewal(renewed)),
            Err(refusal) => {
                if let Some(cause) = refusal.cause() {
                    sampled!(DEBUG, cause, "refused a token");
                }
                (Err(refusal), None)
            }
        };
        Ok(RequestState { session, renewal, change: CookieChange::Keep })
    }
}

/// Returns the renewed session, or `None` if it was not renewed. A failed renewal is logged, and the session stays live.
fn renewal(renewed: Result<Option<SealedSession>, SealError>) -> Option<SealedSession> {
    renewed.unwrap_or_else(|error| {
        sampled!(ERROR, %error, "session renewal failed: the session continues with its old deadline");
        None
    })
}

/// Returns whether the response has an error status. A handler that panics creates no response, and this code does not run after
/// it.
fn is_failure(response: &Response) -> bool {
    response.status_code.is_some_and(|status| status.is_client_error() || status.is_server_error())
}

#[async_trait]
impl Handler for Hoop {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let Self(jar) = self;
        match jar.check(request).await {
            Ok(state) => {
                let challenge = Challenge(jar.0.cookies.session().clone());
                depot.insert_typed(jar.clone()).insert_typed(state).insert_typed(challenge);
            }
            Err(problem) => {
                problem.write(request, depot, response).await;
                ctrl.skip_rest();
                return;
            }
        }
        let was_live = RequestState::of(depot).is_ok_and(|state| state.session.is_ok());
        ctrl.call_next(request, depot, response).await;
        let has_failed = is_failure(response);
        let change = RequestState::of_mut(depot).map_or(CookieChange::Keep, |state| state.take_change(has_failed));
        let sets_cookie = !matches!(change, CookieChange::Keep);
        jar.0.cookies.write(change, jar.0.shared.sessions.revocations().time(Now::read()), response.headers_mut());
        if let Some(page) = &jar.0.sign_in_page
            && response.status_code == Some(StatusCode::UNAUTHORIZED)
            && depot.get_typed::<NoSessionMarker>().is_ok()
        {
            page.redirect(request, response);
        }
        let headers = response.headers_mut();
        // A cache must never send the cookie of one browser to another, even if the handler allows caches to store the page.
        if sets_cookie || (was_live && !headers.contains_key(CACHE_CONTROL)) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if sets_cookie || was_live {
            headers.append(VARY, HeaderValue::from_static("Cookie"));
        }
    }
}

/// Middleware for routes below [`Jar::hoop`]. It accepts requests with a live session, and refuses all others with 401. A browser
/// is redirected to the page of [`Settings::sign_in_at`](super::Settings::sign_in_at), if it is set.
#[handler]
pub async fn signed_in(request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
    let refused = match RequestState::of(depot) {
        Ok(state) => state.session.as_ref().err().map(|refusal| Problem::Session(*refusal)),
        Err(problem) => Some(problem),
    };
    if let Some(problem) = refused {
        problem.write(request, depot, response).await;
        ctrl.skip_rest();
    }
}
