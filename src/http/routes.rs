//! The routes of a listener: its paths, and the handler of each method.
//!
//! A path has one spelling, and it is compared as it was sent: nothing is decoded, and no slash is added or left out. So a rule that a
//! proxy in front has for a path cannot be bypassed by another spelling of the path. The exception is a fragment (`#x`), which a
//! request's target must not have: [`Uri`](salvo::http::uri::Uri) drops it, so it cannot be seen here.

use std::collections::HashMap;
use std::pin::Pin;

use salvo::catch_panic::CatchPanic;
use salvo::http::header::HeaderValue;
use salvo::http::{Method, Request, ResBody, StatusCode};
use salvo::hyper::Response as HyperResponse;
use salvo::prelude::{Depot, FlowCtrl, Handler, Response, Router, Service, async_trait};

use crate::http::app::AppHandle;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// A handler that waits for nothing.
pub(super) type Handle = fn(&Context) -> Result<Reply, Problem>;
/// A handler that reads a body and changes something.
pub(super) type Change = for<'r> fn(&'r Context, &'r mut Request) -> Changing<'r>;
pub(super) type Changing<'r> = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'r>>;

/// Makes a [`Change`] of an `async fn`.
macro_rules! change {
    ($handler:path) => {
        |context, request| Box::pin($handler(context, request))
    };
}
pub(super) use change;

/// The routes of a listener.
pub(crate) struct Routes {
    pub(super) app: AppHandle,
    hot: Option<fn(&str) -> Option<HotRoute>>,
    resources: HashMap<&'static str, Methods>,
    service: Service,
}

/// The outcome of looking up a request's path and method.
pub(super) enum Found {
    /// The entrance itself.
    Hot(Handle),
    /// A handler of Salvo's service.
    Handler(Reread, ServedFor),
    /// The path has other methods, which the `Allow` field lists.
    OtherMethods(HeaderValue),
    Nothing,
}

/// Whether the key ring is read again before a handler acts, if a cookie names a key that is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reread {
    /// The handler looks at no cookie.
    Never,
    /// The handler acts even if too many requests wait for it.
    IfPossible,
    Always,
}

/// Hosts that a resource is served for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServedFor {
    /// Those that this server serves.
    #[default]
    OwnHosts,
    /// Every host: for what the page needs that says that a host is not served.
    AnyHost,
}

impl Routes {
    /// The public routes: `hot` finds the hot ones.
    pub(super) fn public(
        app: AppHandle,
        hot: fn(&str) -> Option<HotRoute>,
        resources: impl IntoIterator<Item = Resource>,
    ) -> Self {
        Self { hot: Some(hot), ..Self::new(app, resources) }
    }

    pub(super) fn new(app: AppHandle, resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut methods = HashMap::new();
        let mut router = Router::with_hoop(AfterPanic(app.clone())).hoop(CatchPanic::new());
        for resource in resources {
            methods.insert(resource.path, resource.methods);
            router = router.push(resource.router);
        }
        Self { app, hot: None, resources: methods, service: Service::new(router) }
    }

    pub(crate) const fn service(&self) -> &Service {
        &self.service
    }

    /// Whether this is the public listener.
    pub(super) const fn is_public(&self) -> bool {
        self.hot.is_some()
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Found {
        if let Some(route) = self.hot.and_then(|hot| hot(path)) {
            return match route.allow {
                Some(allow) if !is_get(method) => Found::OtherMethods(HeaderValue::from_static(allow)),
                _ => Found::Hot(route.handle),
            };
        }
        let Some(methods) = self.resources.get(path) else {
            return Found::Nothing;
        };
        match methods.list.iter().find(|(known, _)| known == method) {
            Some((_, reread)) => Found::Handler(*reread, methods.served_for),
            None => Found::OtherMethods(methods.allow()),
        }
    }

    /// Returns every path with its methods, but for the hot ones.
    #[cfg(test)]
    pub(super) fn resources(&self) -> impl Iterator<Item = (&'static str, &[(Method, Reread)])> {
        self.resources.iter().map(|(path, methods)| (*path, &*methods.list))
    }
}

/// A route that the entrance answers itself, at once and from memory, for every method and body.
#[derive(Debug, Clone, Copy)]
pub(super) struct HotRoute {
    handle: Handle,
    /// The only methods; `None` for any.
    allow: Option<&'static str>,
}

impl HotRoute {
    /// A route for GET and, as everywhere, HEAD.
    pub(super) const fn get(handle: Handle) -> Self {
        Self { handle, allow: Some("GET, HEAD") }
    }

    /// A route for any method.
    pub(super) const fn any(handle: Handle) -> Self {
        Self { handle, allow: None }
    }
}

fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Methods of a path.
#[derive(Debug, Default)]
struct Methods {
    list: Vec<(Method, Reread)>,
    served_for: ServedFor,
}

impl Methods {
    fn allow(&self) -> HeaderValue {
        let names: Vec<_> = self.list.iter().map(|(method, _)| method.as_str()).collect();
        names.join(", ").parse().expect("methods are visible ASCII")
    }
}

/// A path whose handlers Salvo calls.
pub(super) struct Resource {
    path: &'static str,
    methods: Methods,
    router: Router,
}

impl Resource {
    pub(super) fn at(path: &'static str) -> Self {
        // Salvo warns in the log of an empty filter. Without one, the router is that of `/`: no segment is left there.
        let router = if path == "/" { Router::new() } else { Router::with_path(&path[1..]) };
        Self { path, methods: Methods::default(), router }
    }

    /// Adds a handler for GET and, as everywhere, HEAD.
    pub(super) fn get(self, reread: Reread, handle: Handle) -> Self {
        self.with_get(reread, || Call::Handle(handle))
    }

    /// Adds a handler of Salvo for GET and HEAD. It gets no [`Context`].
    pub(super) fn get_by<H: Handler>(self, handler: impl Fn() -> H) -> Self {
        self.with_get(Reread::Never, handler)
    }

    fn with_get<H: Handler>(mut self, reread: Reread, handler: impl Fn() -> H) -> Self {
        self.methods.list.extend([(Method::GET, reread), (Method::HEAD, reread)]);
        Self { router: self.router.get(handler()).head(handler()), ..self }
    }

    /// Serves it for every host.
    pub(super) fn for_any_host(mut self) -> Self {
        self.methods.served_for = ServedFor::AnyHost;
        self
    }

    /// Adds a handler for POST.
    pub(super) fn post(mut self, change: Change) -> Self {
        self.methods.list.push((Method::POST, Reread::Always));
        Self { router: self.router.post(Call::Change(change)), ..self }
    }
}

/// A handler of Salvo that calls ours with the request's context, and writes the answer.
#[derive(Clone, Copy)]
enum Call {
    Handle(Handle),
    Change(Change),
}

#[async_trait]
impl Handler for Call {
    async fn handle(&self, request: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        let context = Context::of(request).expect("the entrance of the public listener put it there");
        let outcome = match self {
            Self::Handle(handle) => handle(&context),
            Self::Change(change) => change(&context, request).await,
        };
        write(context.respond(outcome.unwrap_or_else(Reply::from)), response);
    }
}

/// Writes the answer after a panic, which [`CatchPanic`] below it notes as an error. A catcher of Salvo would not, for HEAD.
struct AfterPanic(AppHandle);

#[async_trait]
impl Handler for AfterPanic {
    async fn handle(&self, request: &mut Request, depot: &mut Depot, response: &mut Response, ctrl: &mut FlowCtrl) {
        ctrl.call_next(request, depot, response).await;
        if !response.body.is_error() {
            return;
        }
        let problem = Problem::Status(StatusCode::INTERNAL_SERVER_ERROR);
        match Context::of(request) {
            Some(context) => write(context.respond(problem.into()), response),
            None => {
                let body = problem.render(self.0.load().cookies.session(), response.headers_mut());
                response.status_code(problem.status()).body(body);
            }
        }
    }
}

/// Hands an answer to Salvo.
fn write(answer: HyperResponse<ResBody>, response: &mut Response) {
    let (head, body) = answer.into_parts();
    response.status_code(head.status).body(body);
    *response.headers_mut() = head.headers;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::fixture::Site;

    async fn panicking_change(_: &Context, _: &mut Request) -> Result<Reply, Problem> {
        panic!("a panic of a change")
    }

    fn hot(path: &str) -> Option<HotRoute> {
        (path == "/hot").then(|| HotRoute::get(|_| panic!("a panic of a hot handler")))
    }

    #[tokio::test]
    async fn the_500_after_a_panic_has_the_fields_of_every_answer() {
        let mut site = Site::new().await;
        let resource = Resource::at("/x").get(Reread::Never, |_| panic!("a panic of a handler"));
        let resources = [resource.post(change!(panicking_change))];
        site.replace_routes(Routes::public(site.handle.clone(), hot, resources));
        for (method, path) in [("GET", "/hot"), ("HEAD", "/hot"), ("GET", "/x"), ("HEAD", "/x"), ("POST", "/x")] {
            let answer = site.request(method, path).send().await;
            assert_eq!((answer.status, answer.body.is_empty()), (500, method == "HEAD"), "{method} {path}");
            for name in ["cache-control", "content-security-policy", "content-type", "x-frame-options"] {
                assert!(answer.header(name).is_some(), "{method} {path} {name}");
            }
            assert_eq!(answer.header("x-request-id").is_some(), path == "/x", "{method} {path}");
        }
    }
}
