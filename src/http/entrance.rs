//! The entrance of a listener: what happens to every request, in this order.
//!
//! 1. A request over HTTP/2 is counted until its answer is taken, and refused if too much memory is held.
//! 2. A target that is a whole URL is 400. The path is looked up as it was sent ([`Routes`]): another spelling of a route is 404,
//!    another method 405.
//! 3. A *hot* route is answered here, in plain calls: at once, from memory, and without Salvo's routing, which would cost more than to
//!    open a token. If the answer refuses a token whose key is not held, the key ring is read again, and the answer is made once more.
//! 4. Any other request is admitted or refused (host, length, origin; the files of the pages are served for every host), the key ring
//!    is read again if one of its cookies names a key that is not held, and then Salvo calls the handler. If it may change something,
//!    it runs to its end (`web/changes.rs`).
//!
//! The admin listener refuses no target and has no hot routes. Salvo calls its handlers at once.
//!
//! Another node may seal already with a key that came to the directory since this one read it. So a request with such a cookie waits
//! for a read that begins after it came. Many wait for one read, and there are ten reads a second at most (`sync/key_directory.rs`).
//! Anybody can make up a key, so only a few requests may wait at once (`key_waits.rs`). The token of a form comes in the body;
//! `Submission::read` looks at it in the same way, if the request has not waited yet.

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
use crate::http::connections::exchange::Tracker;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::proxy_hints;
use crate::http::reply::Reply;
use crate::http::request_id::X_REQUEST_ID;
use crate::http::routes::{Found, Handle, Reread, Routes, ServedFor};
use crate::log_sampler::sampled;
use crate::metrics::{HTTP2_REFUSED, VERIFICATIONS};

/// The entrance for the requests of one connection.
pub(crate) struct Entrance<S> {
    routes: Arc<Routes>,
    peer: SocketAddr,
    tracker: Arc<Tracker>,
    /// Salvo's service for [`Routes::service`].
    salvo: S,
}

impl<S> Entrance<S> {
    pub(crate) const fn new(routes: Arc<Routes>, peer: SocketAddr, tracker: Arc<Tracker>, salvo: S) -> Self {
        Self { routes, peer, tracker, salvo }
    }
}

type Answer = HyperResponse<ResBody>;
type Answered = Result<Answer, hyper::Error>;
type Waiting = Pin<Box<dyn Future<Output = Answered> + Send>>;
type Answering = Either<Ready<Answered>, Waiting>;

fn at_once(response: Answer) -> Answering {
    Either::Left(ready(Ok(response)))
}

impl<S, B> Service<HyperRequest<B>> for Entrance<S>
where
    S: Service<HyperRequest<ReqBody>, Response = Answer, Error = hyper::Error, Future = Waiting>,
    B: Body + Into<ReqBody>,
{
    type Response = Answer;
    type Error = hyper::Error;
    type Future = Answering;

    fn call(&self, request: HyperRequest<B>) -> Self::Future {
        if request.version() != Version::HTTP_2 {
            return self.answer(request);
        }
        if self.tracker.refuses_request() {
            HTTP2_REFUSED.add(0);
            sampled!(WARN, "requests over HTTP/2 hold too much memory; a new one is answered with 503");
            return at_once(overloaded());
        }
        let exchange = self.tracker.begin(&request);
        if has_too_many_fields(request.headers()) {
            return at_once(exchange.answer(too_many_fields()));
        }
        match self.answer(request) {
            Either::Left(answered) => {
                Either::Left(ready(answered.into_inner().map(|response| exchange.answer(response))))
            }
            Either::Right(waiting) => {
                Either::Right(Box::pin(async move { waiting.await.map(|response| exchange.answer(response)) }))
            }
        }
    }
}

impl<S> Entrance<S> {
    fn answer<B>(&self, request: HyperRequest<B>) -> Answering
    where
        S: Service<HyperRequest<ReqBody>, Response = Answer, Error = hyper::Error, Future = Waiting>,
        B: Body + Into<ReqBody>,
    {
        let found = self.routes.find(request.method(), request.uri().path());
        if !self.routes.is_public() {
            let checked = self.routes.app.load().admin_authorities.check(&request);
            if let Err(problem) = checked {
                return at_once(self.refuse(request, problem, None));
            }
            return match found {
                Found::Hot(_) | Found::Handler(..) => Either::Right(self.salvo.call(request.map(Into::into))),
                Found::OtherMethods(allow) => at_once(self.refuse(request, Problem::OTHER_METHOD, Some(allow))),
                Found::Nothing => at_once(self.refuse(request, Problem::NOT_FOUND, None)),
            };
        }
        let access = Access::begin();
        let (head, body) = request.into_parts();
        let is_refused = has_absolute_target(&head);
        let context = Context::new(self.routes.app.load(), head, self.peer.clone(), body.size_hint().lower());
        let reply = match found {
            _ if is_refused => Problem::Authority.into(),
            Found::Handler(reread, served_for) => match admit(&context, served_for) {
                Ok(()) => return self.call_handler(context.identified(), reread, body, access),
                Err(problem) => problem.into(),
            },
            Found::Hot(handler) => {
                body::discard(context.version(), context.headers(), body);
                return answer_hot(context, handler, access);
            }
            Found::OtherMethods(allow) => Reply::from(Problem::OTHER_METHOD).allow(allow),
            Found::Nothing => Problem::NOT_FOUND.into(),
        };
        body::discard(context.version(), context.headers(), body);
        at_once(refuse(context, reply, access))
    }

    /// Lets Salvo call the handler, after what comes before it.
    fn call_handler<B>(&self, context: Context, reread: Reread, body: B, access: Access) -> Answering
    where
        S: Service<HyperRequest<ReqBody>, Response = Answer, Error = hyper::Error, Future = Waiting>,
        B: Body + Into<ReqBody>,
    {
        let body = if context.method().is_safe() {
            body::discard(context.version(), context.headers(), body);
            ReqBody::None
        } else {
            body.into()
        };
        let context = Arc::new(context);
        let mut request = HyperRequest::new(body);
        request.method_mut().clone_from(context.method());
        request.uri_mut().clone_from(context.uri());
        request.extensions_mut().insert(context.clone());
        let call = self.salvo.call(request);
        let span = context.span();
        let changes = (!context.method().is_safe()).then(|| context.app.changes.clone());
        let answer = async move {
            let called = async {
                match reread_keys(&context, reread).await {
                    Ok(()) => call.await,
                    Err(problem) => Ok(context.respond(problem.into())),
                }
            };
            let mut response = called.instrument(span).await?;
            finish(&context, &mut response, access);
            Ok(response)
        };
        Either::Right(match changes {
            Some(changes) => Box::pin(async move { changes.run(answer).await }),
            None => Box::pin(answer),
        })
    }

    /// Refuses a request of the admin listener.
    fn refuse<B>(&self, request: HyperRequest<B>, problem: Problem, allow: Option<HeaderValue>) -> Answer
    where
        B: Body + Into<ReqBody>,
    {
        let (head, body) = request.into_parts();
        body::discard(head.version, &head.headers, body);
        let mut headers = HeaderMap::new();
        headers.extend(allow.map(|allow| (ALLOW, allow)));
        let text = problem.render(self.routes.app.load().cookies.session(), &mut headers);
        let mut response = Answer::new(if head.method == Method::HEAD { ResBody::None } else { text.into() });
        *response.status_mut() = problem.status();
        *response.headers_mut() = headers;
        response
    }
}

fn admit(context: &Context, served_for: ServedFor) -> Result<(), Problem> {
    proxy_hints::note_untrusted(context);
    let admitted = match served_for {
        ServedFor::OwnHosts => context.admit().map(drop),
        ServedFor::AnyHost => context.admit_for_any_host(),
    };
    if admitted == Err(Problem::CrossSite) {
        proxy_hints::note_own_cross_site(context);
    }
    admitted
}

/// Answers a request of a hot route.
fn answer_hot(context: Context, handler: Handle, access: Access) -> Answering {
    let reply = call_caught(&context, handler);
    if !reply.refusal().is_some_and(|refusal| context.lacked_session_key(refusal)) {
        return at_once(finish_hot(&context, reply, access));
    }
    let context = context.held();
    Either::Right(Box::pin(async move {
        let reply = match context.reread_keys().await {
            Ok(()) => call_caught(&context, handler),
            Err(problem) => problem.into(),
        };
        Ok(finish_hot(&context, reply, access))
    }))
}

/// Calls a handler and turns a panic into a 500. Its message goes to the log.
fn call_caught(context: &Context, handler: Handle) -> Reply {
    // Nothing that is changed on the way outlives the request but counters and locks that a panic leaves whole.
    catch_unwind(AssertUnwindSafe(|| handler(context).unwrap_or_else(Reply::from))).unwrap_or_else(|_| {
        sampled!(ERROR, "making an answer panicked; it is 500");
        Problem::Status(StatusCode::INTERNAL_SERVER_ERROR).into()
    })
}

fn finish_hot(context: &Context, reply: Reply, access: Access) -> Answer {
    VERIFICATIONS.add(reply.verification() as usize);
    let mut response = context.respond(reply);
    finish(context, &mut response, access);
    response
}

/// Has the key ring read again if a handler needs that.
async fn reread_keys(context: &Context, reread: Reread) -> Result<(), Problem> {
    if reread == Reread::Never || !context.lacks_key() {
        return Ok(());
    }
    match context.reread_keys().await {
        Err(problem) if reread == Reread::Always => Err(problem),
        _ => Ok(()),
    }
}

/// Answers in place of a route.
fn refuse(context: Context, reply: Reply, access: Access) -> Answer {
    let context = context.identified();
    let mut response = context.respond(reply);
    finish(&context, &mut response, access);
    response
}

/// Logs the answer, and marks it with the request's id.
fn finish(context: &Context, response: &mut Answer, access: Access) {
    access.end(context, response.status());
    if let Some(id) = context.id() {
        response.headers_mut().insert(X_REQUEST_ID, id.value());
    }
}

/// Returns whether the target is a whole URL ([RFC 9112 section 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)). Over
/// HTTP/2 every request has one.
///
/// It is refused, although servers should accept it. Clients send it to forward proxies only. But a proxy that rewrites a client's odd
/// target, as Caddy's `forward_auth` does with `http:http://host/auth/login`, can ask for a page of ours where it means to ask a
/// question, and would take the page for a yes.
fn has_absolute_target(head: &Parts) -> bool {
    head.version != Version::HTTP_2 && head.uri.authority().is_some()
}

/// Returns whether there are more header fields than in HTTP/1, of which hyper takes 100. Clients of HTTP/2 may send each cookie in a
/// field of its own ([RFC 9113 section 8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)), so all of these count as one.
fn has_too_many_fields(headers: &HeaderMap) -> bool {
    const MAX_FIELDS: usize = 100;
    headers.len() > MAX_FIELDS && {
        let cookies = headers.get_all(COOKIE).iter().count();
        headers.len() - cookies.saturating_sub(1) > MAX_FIELDS
    }
}

fn too_many_fields() -> Answer {
    let mut response = Answer::new(ResBody::from("too many header fields: send at most 100\n"));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Has no body, so that it waits for no flow-control window, and no memory of it needs to be counted.
fn overloaded() -> Answer {
    let mut response = Answer::new(ResBody::None);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
