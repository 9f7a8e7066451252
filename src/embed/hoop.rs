//! Around the handlers: the session before them, the cookie and what caches may keep after them.

use salvo::http::header::{CACHE_CONTROL, HeaderValue, VARY};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, Writer, async_trait, handler};

use super::visit::Visit;
use super::{Jar, Problem};
use crate::clock::Now;
use crate::web::cookie::CookieChange;

/// Looks for a session before a request's handler, and writes the cookie after it; see [`Jar::hoop`].
#[derive(Debug, Clone)]
pub struct Hoop(Jar);

impl Hoop {
    pub(super) const fn new(jar: Jar) -> Self {
        Self(jar)
    }
}

#[async_trait]
impl Handler for Hoop {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let Self(jar) = self;
        match jar.visit(request).await {
            Ok(visit) => {
                depot.insert_typed(jar.clone()).insert_typed(visit);
            }
            Err(problem) => {
                problem.write(request, depot, response).await;
                ctrl.skip_rest();
                return;
            }
        }
        let was_live = Visit::of(depot).is_ok_and(|visit| visit.session.is_ok());
        ctrl.call_next(request, depot, response).await;
        let change = Visit::of_mut(depot).map_or(CookieChange::Keep, |visit| std::mem::take(&mut visit.change));
        let changes = !matches!(change, CookieChange::Keep);
        jar.0.cookies.write(change, jar.0.core.sessions.revocations().time(Now::read()), response);
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

/// A hoop for below [`Jar::hoop`]: lets requests with a live session pass, and refuses all others with 401.
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
