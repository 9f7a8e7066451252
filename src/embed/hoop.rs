//! Around the handlers: the session before them, the cookie and what caches may keep after them.

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, HeaderValue, VARY};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, Writer, async_trait, handler};

use super::jar::{Inner, Jar};
use super::problem::{Challenge, LacksSession, Problem};
use super::session::{RawSession, Visit};
use crate::clock::Now;
use crate::log_sampler::sampled;
use crate::session::{SealError, SealedSession};
use crate::web::cookie::{self, CookieChange, renewal_window};
use crate::web::csrf;

/// Looks for a session before a request's handler, and writes the cookie after it; see [`Jar::hoop`].
#[derive(Debug, Clone)]
pub struct Hoop(Jar);

impl Jar {
    /// Returns the hoop that goes before every route that uses sessions. GET and HEAD of public files do not need it.
    pub fn hoop(&self) -> Hoop {
        Hoop(self.clone())
    }

    /// Looks for the session of a request, and renews it if it is time. Refuses a request for a foreign host, and an unsafe one
    /// that another site may have sent.
    async fn visit(&self, request: &Request) -> Result<Visit, Problem> {
        let Inner { core, hosts, .. } = &*self.0;
        let headers = request.headers();
        let served = hosts.of_request(request.uri(), headers)?;
        csrf::check_for_app(request.method(), headers, &served.origin)?;
        let window = renewal_window(Some(request.method()));
        let end = |copied| self.0.end_copied(&copied);
        let look = || {
            core.sessions.verify_and_detect(
                cookie::fields(headers),
                served.site,
                Now::read(),
                window,
                end,
                |verified| (RawSession::verified(verified), core.sessions.renew(verified, window)),
            )
        };
        let mut found = look();
        // A key that another node seals with already: the directory is read before its token is refused.
        if let Err(refusal) = &found
            && let Some(reads) = &core.key_directory
            && core.sessions.lacked_key(cookie::fields(headers), *refusal)
        {
            reads.reread().await;
            found = look();
        }
        let (session, renewal) = match found {
            Ok((held, renewed)) => (Ok(held), renewal(renewed)),
            Err(refusal) => {
                if let Some(cause) = refusal.cause() {
                    sampled!(DEBUG, cause, "refused a token");
                }
                (Err(refusal), None)
            }
        };
        Ok(Visit { session, renewal, change: CookieChange::Keep })
    }
}

/// The token after an attempt to renew a session. A session that cannot be renewed is live all the same.
fn renewal(renewed: Result<Option<SealedSession>, SealError>) -> Option<SealedSession> {
    renewed.unwrap_or_else(|error| {
        sampled!(ERROR, %error, "a session could not be renewed");
        None
    })
}

/// Whether the answer reports a failure. A handler that panics makes no answer, and nothing after it runs.
fn has_failed(response: &Response) -> bool {
    response.status_code.is_some_and(|status| status.is_client_error() || status.is_server_error())
}

#[async_trait]
impl Handler for Hoop {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let Self(jar) = self;
        match jar.visit(request).await {
            Ok(visit) => {
                let challenge = Challenge(jar.0.cookies.session().clone());
                depot.insert_typed(jar.clone()).insert_typed(visit).insert_typed(challenge);
            }
            Err(problem) => {
                problem.write(request, depot, response).await;
                ctrl.skip_rest();
                return;
            }
        }
        let was_live = Visit::of(depot).is_ok_and(|visit| visit.session.is_ok());
        ctrl.call_next(request, depot, response).await;
        let has_failed = has_failed(response);
        let change = Visit::of_mut(depot).map_or(CookieChange::Keep, |visit| visit.take_change(has_failed));
        let changes = !matches!(change, CookieChange::Keep);
        jar.0.cookies.write(change, jar.0.core.sessions.revocations().time(Now::read()), response.headers_mut());
        if let Some(page) = &jar.0.sign_in_page
            && response.status_code == Some(StatusCode::UNAUTHORIZED)
            && depot.get_typed::<LacksSession>().is_ok()
        {
            page.redirect(request, response);
        }
        let headers = response.headers_mut();
        // A cache must never hand one browser's cookie to another, whatever the handler said of the page.
        if changes || (was_live && !headers.contains_key(CACHE_CONTROL)) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if changes || was_live {
            headers.append(VARY, HeaderValue::from_static("Cookie"));
        }
    }
}

/// A hoop for below [`Jar::hoop`]: lets requests with a live session pass, and refuses all others with 401. A browser is
/// redirected to the page of [`Settings::sign_in_at`](super::Settings::sign_in_at), if there is one.
#[handler]
pub async fn signed_in(request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
    let refused = match Visit::of(depot) {
        Ok(visit) => visit.session.as_ref().err().map(|refusal| Problem::Session(*refusal)),
        Err(problem) => Some(problem),
    };
    if let Some(problem) = refused {
        problem.write(request, depot, response).await;
        ctrl.skip_rest();
    }
}
