//! HTTP: every route and the order of the hoops, on one page.
//!
//! Handlers extract, act, choose the change of the cookie and respond; `respond` writes the answer. The public listener and the
//! admin listener are two services, so that nothing of one can be reached at the other.

mod access;
pub(crate) mod authenticate;
pub(crate) mod body;
pub(crate) mod body_waits;
pub(crate) mod browser;
pub(crate) mod connections;
pub(crate) mod direct;
pub(crate) mod edge;
mod exposition;
pub(crate) mod forwarded;
pub(crate) mod health;
pub(crate) mod identity;
mod json;
pub(crate) mod key_waits;
pub(crate) mod live;
pub(crate) mod login;
pub(crate) mod logout;
mod metrics;
mod misspelt;
pub(crate) mod node_reports;
pub(crate) mod openapi;
pub(crate) mod pages;
pub(crate) mod password;
pub(crate) mod problem;
pub(crate) mod reauthenticate;
pub(crate) mod renew;
pub(crate) mod reply;
mod request_id;
pub(crate) mod reread;
mod resource;
pub(crate) mod return_url;
pub(crate) mod rules;
pub(crate) mod status;
pub(crate) mod throttle;
pub(crate) mod tls;
pub(crate) mod verify;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use salvo::catch_panic::CatchPanic;
use salvo::catcher::Catcher;
use salvo::http::{Request, StatusCode};
use salvo::prelude::{Depot, FlowCtrl, Handler, Response, Router, Service, async_trait, handler};

use crate::account::password::checker::Checker;
use crate::audit;
use crate::id::Site;
use crate::network::Network;
use crate::session::{Refusal, Sessions};
use crate::store::Store;
use crate::sync::committer::Committer;
use crate::sync::key_directory::KeyDirectory;
use crate::sync::lag::Lag;
use crate::web::changes::Changes;
use crate::web::{cookie, csrf, hosts};
use body_waits::BodyWaits;
use connections::Connections;
use cookie::Cookies;
use direct::{Direct, Question};
use edge::{Edge, Prepared};
use forwarded::TrustedProxies;
use hosts::{BadAuthority, Hosts, Served};
use key_waits::KeyWaits;
use live::{Live, Reloads};
use node_reports::NodeReports;
use openapi::Description;
use pages::Shell;
use problem::Problem;
use reread::Reread;
use resource::{Errors, Nothing, Resource, any};
use throttle::Throttle;
use tls::Tls;
use verify::Shape;

/// What the handlers work with: what lives as long as the process, shared, and the settings that may change meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Store,
    /// How late other nodes' sign-outs are heard of.
    pub(crate) lag: Arc<Lag>,
    pub(crate) committer: Committer,
    pub(crate) passwords: Arc<Checker>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) hosts: Hosts,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) cookies: Cookies,
    pub(crate) prepared: Prepared,
    pub(crate) description: Description,
    pub(crate) shell: Shell,
    pub(crate) max_body_bytes: u32,
    pub(crate) body_timeout: Duration,
    /// Those of the public listener.
    pub(crate) connections: Arc<Connections>,
    pub(crate) key_directory: Arc<KeyDirectory>,
    /// Requests of trusted proxies over HTTP/2 whose bodies are waited for.
    pub(crate) body_waits: Arc<BodyWaits>,
    /// Requests that wait for the key ring to be read.
    pub(crate) ring_waits: Arc<KeyWaits>,
    /// Those that wait for other nodes' reports.
    pub(crate) node_waits: Arc<KeyWaits>,
    /// If the public listener speaks TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The calls that change something, which run to their end.
    pub(crate) changes: Changes,
    /// Reports of other nodes about their keys.
    pub(crate) node_reports: Arc<NodeReports>,
    /// The signal to stop has come.
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) reloads: Arc<Reloads>,
}

/// The public routes. The verify routes are looked for first, and have no hoop (`direct.rs`); they pass no gate, either: they answer
/// for requests of any method and length, which are not their own. The edge is outermost of the others', so that its fields are on
/// every answer, those to a panic included. Keys are read again last, so that nobody waits for them who is not let in.
pub(crate) fn public(app: Live) -> Service {
    let resource = |path| Resource::at(path, Errors::Public(app.clone()));
    let open = |path| resource(path).hoop(CatchPanic::new()).hoop(Gate(app.clone()));
    let reread = |shows_page| Reread { app: app.clone(), shows_page };
    let gated = |path| open(path).hoop(reread(false));
    let login =
        open("auth/login").hoop(reread(true)).get(|| login::page::SignIn(app.clone())).post(login::Login(app.clone()));
    let password = gated("auth/password").get(|| password::Page(app.clone())).post(password::Change(app.clone()));
    let reauthenticate = gated("auth/reauthenticate").get(|| reauthenticate::Page(app.clone()));
    let direct = |question| Direct { app: app.clone(), question };
    let verify = |shape| direct(Question::Verify(shape));
    let others = Router::with_hoop(Edge(app.clone()))
        .push(resource("auth/status").get(|| direct(Question::Status)).routes())
        .push(resource("protected").get(|| direct(Question::Protected)).routes())
        .push(login.routes())
        .push(gated("auth/logout").post(logout::Logout(app.clone())).routes())
        .push(gated("auth/logout/all").post(logout::LogoutAll(app.clone())).routes())
        .push(password.routes())
        .push(reauthenticate.post(reauthenticate::Reauthenticate(app.clone())).routes())
        .push(gated("auth/renew").get(|| renew::Renew(app.clone())).routes())
        .push(open("auth/style.css").get(|| pages::style).routes())
        .push(open("openapi.json").get(|| openapi::OfPublic(app.clone())).routes())
        .push(Router::with_path("{**path}").goal(Nothing(app.clone())));
    let routes = Router::new()
        .push(any("auth/verify", verify(Shape::Plain)))
        .push(any("auth/verify/redirect", verify(Shape::Redirect)))
        .push(any("auth/verify/redirect/{**rules}", verify(Shape::Redirect)))
        .push(any("auth/verify/envoy/{**path}", verify(Shape::Envoy)))
        .push(any("auth/verify/{**rules}", verify(Shape::Plain)))
        .push(others);
    Service::new(routes).catcher(catcher(Errors::Public(app)))
}

/// The operator's routes.
pub(crate) fn admin(app: Live) -> Service {
    let resource = |path| Resource::at(path, Errors::Admin(app.clone()));
    let description = Description::new(openapi::of_admin());
    let router = Router::new()
        .push(resource("healthz").get(|| health::healthz).routes())
        .push(resource("readyz").get(|| health::Ready(app.clone())).routes())
        .push(resource("metrics").get(|| metrics::Metrics(app.clone())).routes())
        .push(resource("openapi.json").get(|| description.clone()).routes());
    Service::new(router).hoop(CatchPanic::new()).catcher(catcher(Errors::Admin(app)))
}

/// Lets a request in or not, in this order: the host it names (nothing else means anything before that), the length it announces,
/// and where it comes from.
struct Gate(Live);

#[async_trait]
impl Handler for Gate {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        let app = &*self.0.hold();
        match app.admit(request) {
            Ok(_) => {
                ctrl.call_next(request, depot, response).await;
            }
            Err(problem) => {
                reply::refuse(app, request.headers(), problem, response);
                ctrl.skip_rest();
            }
        }
    }
}

impl App {
    /// The origin that the request names, if it is let in.
    fn admit(&self, request: &Request) -> Result<&Served, Problem> {
        let served = self.served(request)?;
        body::check_length(request.body(), u64::from(self.max_body_bytes))?;
        csrf::check(request.method(), request.headers(), &self.hosts)?;
        Ok(served)
    }

    /// The origin that the request names, and its site.
    fn served(&self, request: &Request) -> Result<&Served, Problem> {
        self.hosts.of_request(request.uri(), request.headers()).map_err(Problem::from)
    }

    /// The site of the host that the request names.
    pub(crate) fn site(&self, request: &Request) -> Result<Site, Problem> {
        self.served(request).map(|served| served.site)
    }

    /// Where the request came from.
    pub(crate) fn client(&self, request: &Request) -> Network {
        self.trusted_proxies.client(request.remote_addr().ip(), request.headers())
    }

    /// What the client is told of a refusal; the cause goes to the log.
    pub(crate) fn refused(&self, request: &Request, refusal: Refusal) -> Problem {
        if let Some(cause) = refusal.cause() {
            let log = || audit::token_refused(cause, self.client(request));
            request_id::in_span(self, request, log);
        }
        Problem::Session(refusal)
    }
}

impl From<csrf::CrossSite> for Problem {
    fn from(_: csrf::CrossSite) -> Self {
        Self::CrossSite
    }
}

impl From<BadAuthority> for Problem {
    fn from(bad: BadAuthority) -> Self {
        match bad {
            BadAuthority::NotOne => Self::Authority,
            BadAuthority::Foreign => Self::Misdirected,
        }
    }
}

/// Salvo's own errors in our words.
fn catcher(errors: Errors) -> Catcher {
    Catcher::new(Catch(errors))
}

struct Catch(Errors);

#[handler]
impl Catch {
    async fn handle(&self, request: &Request, response: &mut Response) {
        let problem = Problem::Status(response.status_code.unwrap_or(StatusCode::NOT_FOUND));
        self.0.refuse(request, problem, response);
    }
}
