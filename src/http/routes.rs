//! The routes of a listener: its paths, and the handlers of their methods. `http.rs` declares them, and `entrance.rs` looks them
//! up.
//!
//! Each path has one spelling. A request's path is compared exactly as it was sent: it is not decoded, and no slash is added or
//! removed. So another spelling of a path cannot bypass the rules that a proxy in front of this server has for the path. The
//! only exception is a fragment (`#x`), which is not allowed in a request target. [`Uri`](salvo::http::uri::Uri) removes it
//! before this code runs.

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

/// A handler that does not wait.
pub(super) type SyncHandler = fn(&Context) -> Result<Reply, Problem>;
/// A handler that reads the body of a request and changes something.
pub(super) type ChangeHandler = for<'r> fn(&'r Context, &'r mut Request) -> ChangeFuture<'r>;
pub(super) type ChangeFuture<'r> = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'r>>;

/// Converts an `async fn` into a [`ChangeHandler`].
macro_rules! change {
    ($handler:path) => {
        |context, request| Box::pin($handler(context, request))
    };
}
pub(super) use change;

/// The routes of a listener.
pub(crate) struct Routes {
    pub(super) app: AppHandle,
    /// Finds the hot route of a path. `None` for the admin listener.
    hot: Option<fn(&str) -> Option<HotRoute>>,
    /// Methods of each path that is not hot.
    resources: HashMap<&'static str, Methods>,
    /// Salvo's service, which calls the handlers of `resources`.
    service: Service,
}

/// Result of the lookup of a request's path and method.
pub(super) enum RouteMatch {
    /// A hot route: the entrance calls this handler itself.
    Hot(SyncHandler),
    /// Another route: Salvo's service calls its handler.
    Handler(Reread, ServedFor),
    /// The path has other methods, which the `Allow` field lists.
    OtherMethods(HeaderValue),
    /// No route has this path.
    Nothing,
}

/// Whether the key ring is read again before a handler is called, if a cookie names a key that this server does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reread {
    /// The key ring is never read again, because the handler reads no cookie.
    Never,
    /// The key ring is read again. If too many requests wait for a read, the handler is called without a new read.
    IfPossible,
    /// The key ring is read again. If too many requests wait for a read, the request is refused.
    Always,
}

/// Hosts for which a resource is served.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServedFor {
    /// The resource is served only for the hosts of the configured origins.
    #[default]
    OwnHosts,
    /// The resource is served for every host. Used for the assets of the error page about a host that is not served.
    AnyHost,
}

impl Routes {
    /// Creates the routes of the public listener. `hot` finds the hot route of a path.
    pub(super) fn public(
        app: AppHandle,
        hot: fn(&str) -> Option<HotRoute>,
        resources: impl IntoIterator<Item = Resource>,
    ) -> Self {
        Self { hot: Some(hot), ..Self::new(app, resources) }
    }

    /// Creates routes for a listener without hot routes.
    pub(super) fn new(app: AppHandle, resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut methods = HashMap::new();
        // A hoop is Salvo's word for middleware. `AfterPanic` is the outer one.
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

    /// Returns whether these are the routes of the public listener.
    pub(super) const fn is_public(&self) -> bool {
        self.hot.is_some()
    }

    /// Looks up the route of a request.
    pub(super) fn find(&self, method: &Method, path: &str) -> RouteMatch {
        if let Some(route) = self.hot.and_then(|hot| hot(path)) {
            return match route.allow {
                Some(allow) if !is_get(method) => RouteMatch::OtherMethods(HeaderValue::from_static(allow)),
                _ => RouteMatch::Hot(route.handler),
            };
        }
        let Some(methods) = self.resources.get(path) else {
            return RouteMatch::Nothing;
        };
        match methods.list.iter().find(|(known, _)| known == method) {
            Some((_, reread)) => RouteMatch::Handler(*reread, methods.served_for),
            None => RouteMatch::OtherMethods(methods.allow()),
        }
    }

    /// Returns every path that is not hot, with its methods.
    #[cfg(test)]
    pub(super) fn resources(&self) -> impl Iterator<Item = (&'static str, &[(Method, Reread)])> {
        self.resources.iter().map(|(path, methods)| (*path, &*methods.list))
    }
}

/// A route that the entrance handles itself, synchronously and from memory. It ignores the body of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct HotRoute {
    handler: SyncHandler,
    /// Value of the `Allow` field of a route that accepts only GET and HEAD. `None` if the route accepts every method.
    allow: Option<&'static str>,
}

impl HotRoute {
    /// Creates a route for GET and HEAD. Every route with GET also has HEAD.
    pub(super) const fn get(handler: SyncHandler) -> Self {
        Self { handler, allow: Some("GET, HEAD") }
    }

    /// Creates a route for every method.
    pub(super) const fn any(handler: SyncHandler) -> Self {
        Self { handler, allow: None }
    }
}

fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Methods of a path that is not hot.
#[derive(Debug, Default)]
struct Methods {
    list: Vec<(Method, Reread)>,
    served_for: ServedFor,
}

impl Methods {
    /// Returns the value of the `Allow` field.
    fn allow(&self) -> HeaderValue {
        let names: Vec<_> = self.list.iter().map(|(method, _)| method.as_str()).collect();
        names.join(", ").parse().expect("methods are visible ASCII")
    }
}

/// A path that is not hot, and its handlers, which Salvo calls.
pub(super) struct Resource {
    path: &'static str,
    methods: Methods,
    router: Router,
}

impl Resource {
    pub(super) fn at(path: &'static str) -> Self {
        // For an empty path filter, Salvo would log a warning. A router without a filter matches `/`.
        let router = if path == "/" { Router::new() } else { Router::with_path(&path[1..]) };
        Self { path, methods: Methods::default(), router }
    }

    /// Adds a handler for GET and HEAD.
    pub(super) fn get(self, reread: Reread, handler: SyncHandler) -> Self {
        self.with_get(reread, || SalvoHandler::Sync(handler))
    }

    /// Adds a Salvo handler for GET and HEAD. It does not get a [`Context`].
    pub(super) fn get_by<H: Handler>(self, handler: impl Fn() -> H) -> Self {
        self.with_get(Reread::Never, handler)
    }

    fn with_get<H: Handler>(mut self, reread: Reread, handler: impl Fn() -> H) -> Self {
        self.methods.list.extend([(Method::GET, reread), (Method::HEAD, reread)]);
        Self { router: self.router.get(handler()).head(handler()), ..self }
    }

    /// Serves the resource for every host.
    pub(super) fn for_any_host(mut self) -> Self {
        self.methods.served_for = ServedFor::AnyHost;
        self
    }

    /// Adds a handler for POST.
    pub(super) fn post(mut self, handler: ChangeHandler) -> Self {
        self.methods.list.push((Method::POST, Reread::Always));
        Self { router: self.router.post(SalvoHandler::Change(handler)), ..self }
    }
}

/// A Salvo handler that calls a [`SyncHandler`] or a [`ChangeHandler`] with the request's [`Context`], and writes the response.
#[derive(Clone, Copy)]
enum SalvoHandler {
    Sync(SyncHandler),
    Change(ChangeHandler),
}

#[async_trait]
impl Handler for SalvoHandler {
    async fn handle(&self, request: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        let context =
            Context::of(request).expect("the entrance of the public listener stores a context in each request");
        let outcome = match self {
            Self::Sync(handler) => handler(&context),
            Self::Change(handler) => handler(&context, request).await,
        };
        write(context.respond(outcome.unwrap_or_else(Reply::from)), response);
    }
}

/// A hoop (middleware) that writes the response after a panic. [`CatchPanic`], the hoop inside it, turns the panic into an error
/// body. Salvo's own catchers are not used, because they write no response to HEAD.
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

/// Copies a complete response into the response of Salvo.
fn write(source: HyperResponse<ResBody>, response: &mut Response) {
    let (head, body) = source.into_parts();
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
    async fn the_500_after_a_panic_has_the_fields_of_every_response() {
        let mut site = Site::new().await;
        let resource = Resource::at("/x").get(Reread::Never, |_| panic!("a panic of a handler"));
        let resources = [resource.post(change!(panicking_change))];
        site.replace_routes(Routes::public(site.handle.clone(), hot, resources));
        for (method, path) in [("GET", "/hot"), ("HEAD", "/hot"), ("GET", "/x"), ("HEAD", "/x"), ("POST", "/x")] {
            let response = site.request(method, path).send().await;
            assert_eq!((response.status, response.body.is_empty()), (500, method == "HEAD"), "{method} {path}");
            for name in ["cache-control", "content-security-policy", "content-type", "x-frame-options"] {
                assert!(response.header(name).is_some(), "{method} {path} {name}");
            }
            assert_eq!(response.header("x-request-id").is_some(), path == "/x", "{method} {path}");
        }
    }
}
