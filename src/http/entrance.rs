//! The entrance of a listener: the steps of every request, in this order.
//!
//! 1. The memory of an HTTP/2 request is counted until the client has received the response (`connections/exchange.rs`). The
//!    request is refused if HTTP/2 requests and responses already use too much memory, or if it has too many header fields.
//! 2. A request target that is a whole URL is refused with 400. [`Routes`] looks up the path exactly as it was sent: another
//!    spelling of a path gets 404, and another method gets 405.
//! 3. A request to a *hot* route is handled here: synchronously, from memory, and without Salvo's routing, which would cost
//!    more than opening a token. If the session is refused because this server does not have the key of the token, the key ring
//!    is read again, and the handler is called a second time.
//! 4. Any other request must pass the checks of host, length and origin. (The assets of the pages are served for every host.) If
//!    one of its cookies names a key that this server does not have, the key ring is read again. Then Salvo calls the handler. If
//!    the handler may change something, it runs to completion even if the client disconnects (`web/changes.rs`).
//!
//! The admin listener checks the authority (host and port) of each request (`admin_authorities.rs`), accepts a whole URL as the
//! target, and has no hot routes. Salvo calls its handlers without further steps.
//!
//! Reading the key ring again: another node may already seal tokens with a key that was added after this node last read the key
//! directory. So a request with such a cookie waits for a read that begins after the request arrived. Waiting requests share a
//! read, and at most ten reads begin in a second (`sync/key_directory.rs`). Any client can invent a key id, so the number of
//! waiting requests is limited (`key_waits.rs`). The token of a form is in the body. So `Submission::read` checks its key in the
//! same way, unless the request has waited already.

use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use salvo::conn::SocketAddr;
use salvo::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, RETRY_AFTER};
use salvo::http::request::Parts;
use salvo::http::{Method, ReqBody, ResBody, StatusCode, Version};
use salvo::hyper::body::Body;
use salvo::hyper::service::Service;
use salvo::hyper::{self, Request as HyperRequest, Response as HyperResponse};
use tokio_util::either::Either;
use tracing::Instrument;

use crate::http::access::Access;
use crate::http::body;
use crate::http::connections::exchange::ConnectionTracker;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::proxy_hints;
use crate::http::reply::Reply;
use crate::http::request_id::X_REQUEST_ID;
use crate::http::routes::{Reread, RouteMatch, Routes, ServedFor, SyncHandler};
use crate::log_sampler::sampled;
use crate::metrics::{HTTP2_REFUSED, VERIFICATIONS};

/// Handles all requests of one connection.
pub(crate) struct Entrance<S> {
    routes: Arc<Routes>,
    peer: SocketAddr,
    tracker: Arc<ConnectionTracker>,
    /// Salvo's service, made from [`Routes::service`]. It calls the handlers that are not hot.
    salvo: S,
}

impl<S> Entrance<S> {
    pub(crate) const fn new(routes: Arc<Routes>, peer: SocketAddr, tracker: Arc<ConnectionTracker>, salvo: S) -> Self {
        Self { routes, peer, tracker, salvo }
    }
}

type HttpResponse = HyperResponse<ResBody>;
type ResponseResult = Result<HttpResponse, hyper::Error>;
type BoxedFuture = Pin<Box<dyn Future<Output = ResponseResult> + Send>>;
type ResponseFuture = Either<Ready<ResponseResult>, BoxedFuture>;

/// Wraps a response that is complete already.
fn ready_response(response: HttpResponse) -> ResponseFuture {
    Either::Left(ready(Ok(response)))
}

impl<S, B> Service<HyperRequest<B>> for Entrance<S>
where
    S: Service<HyperRequest<ReqBody>, Response = HttpResponse, Error = hyper::Error, Future = BoxedFuture>,
    B: Body + Into<ReqBody>,
{
    type Response = HttpResponse;
    type Error = hyper::Error;
    type Future = ResponseFuture;

    fn call(&self, request: HyperRequest<B>) -> Self::Future {
        if request.version() != Version::HTTP_2 {
            return self.route(request);
        }
        if self.tracker.must_refuse_request() {
            HTTP2_REFUSED.add(0);
            sampled!(WARN, "refused an HTTP/2 request with 503: HTTP/2 requests and responses use too much memory");
            return ready_response(overloaded_response());
        }
        let exchange = self.tracker.begin(&request);
        if has_too_many_fields(request.headers()) {
            return ready_response(exchange.attach_to(too_many_fields_response()));
        }
        match self.route(request) {
            Either::Left(complete) => {
                Either::Left(ready(complete.into_inner().map(|response| exchange.attach_to(response))))
            }
            Either::Right(future) => {
                Either::Right(Box::pin(async move { future.await.map(|response| exchange.attach_to(response)) }))
            }
        }
    }
}

impl<S> Entrance<S> {
    /// Finds the route of a request and handles it (steps 2 to 4).
    fn route<B>(&self, request: HyperRequest<B>) -> ResponseFuture
    where
        S: Service<HyperRequest<ReqBody>, Response = HttpResponse, Error = hyper::Error, Future = BoxedFuture>,
        B: Body + Into<ReqBody>,
    {
        let route_match = self.routes.find(request.method(), request.uri().path());
        if !self.routes.is_public() {
            let outcome = self.routes.app.load().admin_authorities.check(&request);
            if let Err(problem) = outcome {
                return ready_response(self.refuse_admin_request(request, problem, None));
            }
            return match route_match {
                RouteMatch::Hot(_) | RouteMatch::Handler(..) => Either::Right(self.salvo.call(request.map(Into::into))),
                RouteMatch::OtherMethods(allow) => {
                    ready_response(self.refuse_admin_request(request, Problem::METHOD_NOT_ALLOWED, Some(allow)))
                }
                RouteMatch::Nothing => ready_response(self.refuse_admin_request(request, Problem::NOT_FOUND, None)),
            };
        }
        let access = Access::begin();
        let (head, body) = request.into_parts();
        let is_absolute = has_absolute_target(&head);
        let context = Context::new(self.routes.app.load(), head, self.peer.clone(), body.size_hint().lower());
        let reply = match route_match {
            _ if is_absolute => Problem::Authority.into(),
            RouteMatch::Handler(reread, served_for) => match admit(&context, served_for) {
                Ok(()) => return self.call_handler(context.identified(), reread, body, access),
                Err(problem) => problem.into(),
            },
            RouteMatch::Hot(handler) => {
                body::discard(context.version(), context.headers(), body);
                return handle_hot(context, handler, access);
            }
            RouteMatch::OtherMethods(allow) => Reply::from(Problem::METHOD_NOT_ALLOWED).allow(allow),
            RouteMatch::Nothing => Problem::NOT_FOUND.into(),
        };
        body::discard(context.version(), context.headers(), body);
        ready_response(refuse_public_request(context, reply, access))
    }

    /// Reads the key ring again if necessary, and then lets Salvo call the handler (step 4).
    fn call_handler<B>(&self, context: Context, reread: Reread, body: B, access: Access) -> ResponseFuture
    where
        S: Service<HyperRequest<ReqBody>, Response = HttpResponse, Error = hyper::Error, Future = BoxedFuture>,
        B: Body + Into<ReqBody>,
    {
        // Handlers of safe methods read no body.
        let body = if context.method().is_safe() {
            body::discard(context.version(), context.headers(), body);
            ReqBody::None
        } else {
            body.into()
        };
        // Salvo's request has only the parts that handlers read from it. The context has all other parts.
        let context = Arc::new(context);
        let mut request = HyperRequest::new(body);
        request.method_mut().clone_from(context.method());
        request.uri_mut().clone_from(context.uri());
        request.extensions_mut().insert(context.clone());
        let call = self.salvo.call(request);
        let span = context.span();
        // Only methods that are not safe may change something.
        let changes = (!context.method().is_safe()).then(|| context.app.changes.clone());
        let response = async move {
            let reread_and_call = async {
                match reread_keys(&context, reread).await {
                    Ok(()) => call.await,
                    Err(problem) => Ok(context.respond(problem.into())),
                }
            };
            let mut response = reread_and_call.instrument(span).await?;
            finish(&context, &mut response, access);
            Ok(response)
        };
        Either::Right(match changes {
            Some(changes) => Box::pin(async move { changes.run(response).await }),
            None => Box::pin(response),
        })
    }

    /// Returns the response that refuses a request to the admin listener.
    fn refuse_admin_request<B>(
        &self,
        request: HyperRequest<B>,
        problem: Problem,
        allow: Option<HeaderValue>,
    ) -> HttpResponse
    where
        B: Body + Into<ReqBody>,
    {
        let (head, body) = request.into_parts();
        body::discard(head.version, &head.headers, body);
        let mut headers = HeaderMap::new();
        headers.extend(allow.map(|allow| (ALLOW, allow)));
        let text = problem.render(self.routes.app.load().cookies.session(), &mut headers);
        let mut response = HttpResponse::new(if head.method == Method::HEAD { ResBody::None } else { text.into() });
        *response.status_mut() = problem.status();
        *response.headers_mut() = headers;
        response
    }
}

/// Checks host, length and origin of a request, and logs hints for the operator of a proxy or an application.
fn admit(context: &Context, served_for: ServedFor) -> Result<(), Problem> {
    proxy_hints::log_untrusted_proxy(context);
    let admitted = match served_for {
        ServedFor::OwnHosts => context.admit().map(drop),
        ServedFor::AnyHost => context.admit_for_any_host(),
    };
    if admitted == Err(Problem::CrossSite) {
        proxy_hints::log_own_cross_site(context);
    }
    admitted
}

/// Handles a request to a hot route (step 3).
fn handle_hot(context: Context, handler: SyncHandler, access: Access) -> ResponseFuture {
    let reply = call_caught(&context, handler);
    if !reply.refusal().is_some_and(|refusal| context.was_refused_for_unknown_key(refusal)) {
        return ready_response(finish_hot(&context, reply, access));
    }
    // This server may lack the key: wait for a new read of the key ring, and call the handler again.
    let context = context.into_long_lived();
    Either::Right(Box::pin(async move {
        let reply = match context.reread_keys().await {
            Ok(()) => call_caught(&context, handler),
            Err(problem) => problem.into(),
        };
        Ok(finish_hot(&context, reply, access))
    }))
}

/// Calls a handler, and turns a panic into a response with status 500. The message of the panic is in the log.
fn call_caught(context: &Context, handler: SyncHandler) -> Reply {
    // Unwind safety: only counters and locks outlive the request, and a panic leaves them in a consistent state.
    catch_unwind(AssertUnwindSafe(|| handler(context).unwrap_or_else(Reply::from))).unwrap_or_else(|_| {
        sampled!(ERROR, "a request handler panicked: the response is 500");
        Problem::Status(StatusCode::INTERNAL_SERVER_ERROR).into()
    })
}

/// Counts the outcome of a request to a hot route, writes the response and logs it.
fn finish_hot(context: &Context, reply: Reply, access: Access) -> HttpResponse {
    VERIFICATIONS.add(reply.verification() as usize);
    let mut response = context.respond(reply);
    finish(context, &mut response, access);
    response
}

/// Waits until the key ring is read again, if the handler requires it and a cookie names a key that this server does not have.
async fn reread_keys(context: &Context, reread: Reread) -> Result<(), Problem> {
    if reread == Reread::Never || !context.has_unknown_key() {
        return Ok(());
    }
    match context.reread_keys().await {
        Err(problem) if reread == Reread::Always => Err(problem),
        _ => Ok(()),
    }
}

/// Returns the response that refuses a request to the public listener.
fn refuse_public_request(context: Context, reply: Reply, access: Access) -> HttpResponse {
    let context = context.identified();
    let mut response = context.respond(reply);
    finish(&context, &mut response, access);
    response
}

/// Writes the access log line of a response, and adds the request id to the response.
fn finish(context: &Context, response: &mut HttpResponse, access: Access) {
    access.end(context, response.status());
    if let Some(id) = context.id() {
        response.headers_mut().insert(X_REQUEST_ID, id.value());
    }
}

/// Returns whether the request target of HTTP/1 is a whole URL (absolute-form, [RFC 9112 section
/// 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)). Requests of HTTP/2 always have a whole URL, so the
/// result is `false` for them.
///
/// Such a request is refused, although RFC 9112 requires servers to accept the form. Clients use it only with forward proxies.
/// But a reverse proxy may copy an unusual target of a client into its verify request, as Caddy's `forward_auth` does with
/// `http:http://host/auth/login`. The proxy would then get a page of this server with status 200, and take this status as
/// permission to let the client's request pass.
fn has_absolute_target(head: &Parts) -> bool {
    head.version != Version::HTTP_2 && head.uri.authority().is_some()
}

/// Returns whether an HTTP/2 request has more than 100 header fields, which is hyper's limit for HTTP/1. HTTP/2 clients may send
/// each cookie in a separate field ([RFC 9113 section 8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)), so all
/// `Cookie` fields count as one.
fn has_too_many_fields(headers: &HeaderMap) -> bool {
    const MAX_FIELDS: usize = 100;
    headers.len() > MAX_FIELDS && {
        let cookies = headers.get_all(COOKIE).iter().count();
        headers.len() - cookies.saturating_sub(1) > MAX_FIELDS
    }
}

/// Returns the response 431 to a request with too many header fields.
fn too_many_fields_response() -> HttpResponse {
    let mut response = HttpResponse::new(ResBody::from("too many header fields: send at most 100\n"));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns the response 503 to a request that is refused because too much memory is in use. It has no body, so it does not wait
/// for an HTTP/2 flow-control window, and its memory need not be counted.
fn overloaded_response() -> HttpResponse {
    let mut response = HttpResponse::new(ResBody::None);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
