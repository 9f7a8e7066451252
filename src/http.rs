//! HTTP: every route and the order of the hoops, on one page.
//!
//! Handlers extract, act, choose the change of the cookie and respond; `respond` writes the answer. The public listener and the
//! admin listener are two services, so that nothing of one can be reached at the other.

pub(crate) mod body;
pub(crate) mod cookie;
pub(crate) mod csrf;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod origin;
pub(crate) mod problem;
pub(crate) mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use salvo::catch_panic::CatchPanic;
use salvo::catcher::Catcher;
use salvo::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use salvo::http::{Request, StatusCode};
use salvo::prelude::{Depot, FlowCtrl, Handler, Response, Router, Service, async_trait, handler};
use serde::Serialize;

use crate::account::password::checker::Checker;
use crate::clock::Now;
use crate::id::Site;
use crate::revocation::commit::Committer;
use crate::session::{Cause, Refusal, Sessions};
use crate::store::Store;
use cookie::CookieChange;
use origin::{BadAuthority, Origins};
use problem::Problem;

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) sessions: Sessions,
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) passwords: Checker,
    pub(crate) origins: Origins,
    pub(crate) max_body_bytes: u32,
    /// Asks for the key ring to be read again.
    pub(crate) reread_ring: tokio::sync::Notify,
    /// The signal to stop has come.
    pub(crate) stopping: AtomicBool,
}

/// The public routes.
pub(crate) fn public(app: Arc<App>) -> Service {
    let router = Router::new()
        .push(
            Router::with_path("auth")
                .push(Router::with_path("login").post(login::Login(app.clone())))
                .push(Router::with_path("status").get(status::Status(app.clone())).head(status::Status(app.clone())))
                .push(
                    Router::with_path("logout")
                        .post(logout::Logout(app.clone()))
                        .push(Router::with_path("all").post(logout::LogoutAll(app.clone()))),
                ),
        )
        .push(Router::with_path("protected").get(status::Protected(app.clone())).head(status::Protected(app.clone())));
    // The gate is outermost, so that its fields are on every answer, those to a panic included.
    Service::new(router).hoop(Gate(app.clone())).hoop(CatchPanic::new()).catcher(catcher(app))
}

/// The operator's routes.
pub(crate) fn admin(app: Arc<App>) -> Service {
    let router = Router::new()
        .push(Router::with_path("healthz").get(health::healthz).head(health::healthz))
        .push(Router::with_path("readyz").get(health::Ready(app.clone())).head(health::Ready(app.clone())));
    Service::new(router).hoop(CatchPanic::new()).catcher(catcher(app))
}

/// Lets a request in or not, in this order: the host it names (nothing else means anything before that), the length it announces,
/// and where it comes from.
struct Gate(Arc<App>);

#[async_trait]
impl Handler for Gate {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        match self.0.admit(request) {
            Ok(()) => {
                ctrl.call_next(request, depot, response).await;
            }
            Err(problem) => {
                problem.render(self.0.sessions.cookie(), response);
                ctrl.skip_rest();
            }
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Cookie"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
}

impl App {
    fn admit(&self, request: &Request) -> Result<(), Problem> {
        self.site(request)?;
        body::check_length(request.headers(), u64::from(self.max_body_bytes))?;
        csrf::check(request.method(), request.headers(), &self.origins)
    }

    /// The site of the host that the request names.
    pub(crate) fn site(&self, request: &Request) -> Result<Site, Problem> {
        match self.origins.of_request(request.uri(), request.headers()) {
            Ok(origin) => Ok(origin.site()),
            Err(BadAuthority::NotOne) => Err(Problem::Authority),
            Err(BadAuthority::Foreign) => Err(Problem::Misdirected),
        }
    }

    /// What the client is told of a refusal; the cause goes to the log.
    pub(crate) fn refused(&self, refusal: Refusal) -> Problem {
        if let Refusal::Invalid(cause) = refusal {
            tracing::debug!(?cause, "refused a token");
            if cause == Cause::UnknownKey {
                self.reread_ring.notify_one();
            }
        }
        Problem::Session(refusal)
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    location: Option<&'static str>,
    cookie: CookieChange,
}

impl Reply {
    /// 200 with JSON.
    pub(crate) fn json(body: &impl Serialize) -> Self {
        let mut body = serde_json::to_vec(body).expect("our own views have text keys and plain values");
        body.push(b'\n');
        Self { status: StatusCode::OK, body, location: None, cookie: CookieChange::Keep }
    }

    /// 303 for a form, which is shown another page.
    pub(crate) const fn see_other(location: &'static str) -> Self {
        let cookie = CookieChange::Keep;
        Self { status: StatusCode::SEE_OTHER, body: Vec::new(), location: Some(location), cookie }
    }

    pub(crate) fn cookie(self, cookie: CookieChange) -> Self {
        Self { cookie, ..self }
    }
}

/// Writes what a handler decided.
pub(crate) fn respond(app: &App, now: Now, outcome: Result<Reply, Problem>, response: &mut Response) {
    match outcome {
        Ok(Reply { status, body, location, cookie }) => {
            response.status_code(status);
            if let Some(location) = location {
                response.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
            } else {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response.body(body);
            }
            cookie.write(app.sessions.cookie(), app.sessions.revocations().time(now), response);
        }
        Err(problem) => problem.render(app.sessions.cookie(), response),
    }
}

/// Salvo's own errors in our words.
fn catcher(app: Arc<App>) -> Catcher {
    Catcher::new(Catch(app))
}

struct Catch(Arc<App>);

#[handler]
impl Catch {
    async fn handle(&self, response: &mut Response) {
        let status = response.status_code.unwrap_or(StatusCode::NOT_FOUND);
        Problem::Status(status).render(self.0.sessions.cookie(), response);
    }
}
