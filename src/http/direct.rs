//! The routes that are asked all the time, on the shortest way: one handler and no hoop, answered at once from memory.
//!
//! Whatever hoops do for other routes happens here in plain calls: a panic becomes a 500, an answer gets the edge's fields, and if a
//! token names a key that is not held, the ring is read again and the answer made once more (`reread.rs`). Only a token that is
//! refused is looked at for that.
//!
//! A connection asks [`Front`] first. It knows these routes by their usual spelling and answers a GET without a body before Salvo's
//! routing, which costs more than to open a token; all else is Salvo's, these routes in any other form included ([`Direct`]). Calls
//! that may change something run to their end (`web/changes.rs`), and answers over HTTP/2 are followed until they are taken.

use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use salvo::conn::SocketAddr;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, RETRY_AFTER};
use salvo::http::uri::Scheme;
use salvo::http::{Method, Request, ResBody, StatusCode, Version};
use salvo::hyper::body::{Body, Incoming};
use salvo::hyper::service::Service;
use salvo::hyper::{self, Request as HyperRequest, Response as HyperResponse};
use salvo::prelude::{Response, handler};
use tokio_util::either::Either;

use super::access::Access;
use super::connections::exchange::Tracker;
use super::live::Live;
use super::problem::Problem;
use super::reply::{self, Reply, respond};
use super::verify::Shape;
use super::{App, body, cookie, edge, status, verify};
use crate::clock::Now;
use crate::id::Site;
use crate::log_sampler::sampled;
use crate::metrics::{HTTP2_REFUSED, VERIFICATIONS, Verification};
use crate::session::{Refusal, Verified};

/// What is asked all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Status,
    Protected,
    Verify(Shape),
}

impl Question {
    /// The one at this path, if it is spelled as usual.
    fn at(path: &str) -> Option<Self> {
        match path {
            "/auth/status" => Some(Self::Status),
            "/protected" => Some(Self::Protected),
            _ => Shape::at(path).map(Self::Verify),
        }
    }

    fn answer(
        self,
        app: &App,
        request: &Request,
        response: &mut Response,
        now: Now,
        ring: Ring,
    ) -> Result<Reply, Unanswered> {
        match self {
            Self::Status => status::status(app, request, now, ring),
            Self::Protected => status::protected(app, request, now, ring),
            Self::Verify(shape) => verify::verify(app, shape, request, response, now, ring),
        }
    }
}

/// Whether the key ring was read for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// Not yet.
    AsItIs,
    /// It was, or there was no need.
    JustRead,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    Problem(Problem),
    /// No token is live, and one names a key that may be in the ring's directory by now.
    LacksKey,
}

impl<P: Into<Problem>> From<P> for Unanswered {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

/// The handler, wherever a route leads to it.
pub(super) struct Direct {
    pub(super) app: Live,
    pub(super) question: Question,
}

#[handler]
impl Direct {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let app = &*self.app.hold();
        let Question::Verify(_) = self.question else {
            return respond_in_time(app, self.question, request, response).await;
        };
        // The other routes have the edge, which logs them.
        let access = Access::begin();
        respond_in_time(app, self.question, request, response).await;
        body::discard(request);
        access.end(app, request, response, None);
    }
}

/// What a connection hands its requests to.
#[derive(Debug)]
pub(crate) struct Front<S> {
    /// None at the admin listener.
    app: Option<Live>,
    remote_addr: SocketAddr,
    tracker: Arc<Tracker>,
    /// Salvo's.
    rest: S,
}

impl<S> Front<S> {
    pub(crate) const fn new(app: Option<Live>, remote_addr: SocketAddr, tracker: Arc<Tracker>, rest: S) -> Self {
        Self { app, remote_addr, tracker, rest }
    }

    fn question(&self, request: &HyperRequest<Incoming>) -> Option<(&Live, Question)> {
        let is_usual = *request.method() == Method::GET && request.body().is_end_stream();
        if is_usual { Some((self.app.as_ref()?, Question::at(request.uri().path())?)) } else { None }
    }
}

type Answered = Result<HyperResponse<ResBody>, hyper::Error>;
type Waiting = Pin<Box<dyn Future<Output = Answered> + Send>>;

impl<S> Service<HyperRequest<Incoming>> for Front<S>
where
    S: Service<HyperRequest<Incoming>, Response = HyperResponse<ResBody>, Error = hyper::Error, Future = Waiting>,
{
    type Response = HyperResponse<ResBody>;
    type Error = hyper::Error;
    type Future = Either<Ready<Answered>, Waiting>;

    fn call(&self, request: HyperRequest<Incoming>) -> Self::Future {
        if request.version() == Version::HTTP_2 { self.answer_http2(request) } else { self.answer(request) }
    }
}

impl<S> Front<S>
where
    S: Service<HyperRequest<Incoming>, Response = HyperResponse<ResBody>, Error = hyper::Error, Future = Waiting>,
{
    /// Answers, and follows the answer until it is taken.
    fn answer_http2(&self, request: HyperRequest<Incoming>) -> Either<Ready<Answered>, Waiting> {
        if self.tracker.refuses_request() {
            HTTP2_REFUSED.add(0);
            sampled!(WARN, "requests over HTTP/2 hold too much memory; a new one is answered with 503");
            return Either::Left(ready(Ok(overloaded())));
        }
        let exchange = self.tracker.begin(&request);
        if has_too_many_fields(request.headers()) {
            return Either::Left(ready(Ok(exchange.answer(too_many_fields()))));
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

    /// Refuses a target that is a whole URL, although servers should take it. Clients send it to forward proxies only. But a proxy
    /// that rewrites a client's odd target, as Caddy's `forward_auth` does with `http:http://host/auth/login`, can ask for a page of
    /// ours where it means to ask a question, and would take the page for a yes.
    fn refuse_target(&self, app: &App, request: HyperRequest<Incoming>) -> HyperResponse<ResBody> {
        let access = Access::begin();
        let mut request = Request::from_hyper(request, Scheme::HTTP);
        *request.remote_addr_mut() = self.remote_addr.clone();
        let mut response = Response::new();
        reply::refuse(app, request.headers(), Problem::Authority, &mut response);
        edge::complete(app, &request, &mut response);
        access.end(app, &request, &response, None);
        response.into_hyper()
    }

    fn answer(&self, request: HyperRequest<Incoming>) -> Either<Ready<Answered>, Waiting> {
        if let Some(live) = &self.app
            && has_absolute_target(&request)
        {
            return Either::Left(ready(Ok(self.refuse_target(&live.load(), request))));
        }
        let Some((live, question)) = self.question(&request) else {
            let is_safe = request.method().is_safe();
            let call = self.rest.call(request);
            return Either::Right(match &self.app {
                Some(live) if !is_safe => {
                    let changes = live.load().changes.clone();
                    Box::pin(async move { changes.run(call).await })
                }
                _ => call,
            });
        };
        let (app, access) = (live.load(), Access::begin());
        // No handler asks for the scheme, which a proxy in front would hide.
        let mut request = Request::from_hyper(request, Scheme::HTTP);
        *request.remote_addr_mut() = self.remote_addr.clone();
        let mut response = Response::new();
        if respond_at_once(&app, question, &request, &mut response, Ring::AsItIs).is_ok() {
            access.end(&app, &request, &response, None);
            return Either::Left(ready(Ok(response.into_hyper())));
        }
        let app = live.hold();
        Either::Right(Box::pin(async move {
            respond_in_time(&app, question, &request, &mut response).await;
            access.end(&app, &request, &response, None);
            Ok(response.into_hyper())
        }))
    }
}

/// Whether the target is a whole URL ([RFC 9112 section 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)). Over HTTP/2 every
/// request has one.
fn has_absolute_target(request: &HyperRequest<Incoming>) -> bool {
    request.version() != Version::HTTP_2 && request.uri().authority().is_some()
}

/// Whether there are more header fields than in HTTP/1, of which hyper takes 100. Clients of HTTP/2 may send each cookie in a field
/// of its own ([RFC 9113 section 8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)), so all of these count as one.
fn has_too_many_fields(headers: &HeaderMap) -> bool {
    const MAX_FIELDS: usize = 100;
    headers.len() > MAX_FIELDS && {
        let cookies = headers.get_all(COOKIE).iter().count();
        headers.len() - cookies.saturating_sub(1) > MAX_FIELDS
    }
}

fn too_many_fields() -> HyperResponse<ResBody> {
    let mut response = HyperResponse::new(ResBody::from("too many header fields: send at most 100\n"));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Has no body, so that it waits for no flow-control window, and no memory of it needs to be counted.
fn overloaded() -> HyperResponse<ResBody> {
    let mut response = HyperResponse::new(ResBody::None);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Answers, if need be with the ring read once more.
async fn respond_in_time(app: &App, question: Question, request: &Request, response: &mut Response) {
    if let Err(LacksKey) = respond_at_once(app, question, request, response, Ring::AsItIs) {
        match app.ring_waits.run(app.client(request), app.key_directory.reread()).await {
            Ok(_) => {
                let answered = respond_at_once(app, question, request, response, Ring::JustRead);
                debug_assert!(answered.is_ok(), "nobody asks for a second reading");
            }
            Err(problem) => write(app, request, Now::read(), Err(problem), response),
        }
    }
}

/// There is no answer before the ring is read again.
struct LacksKey;

/// Writes the answer.
fn respond_at_once(
    app: &App,
    question: Question,
    request: &Request,
    response: &mut Response,
    ring: Ring,
) -> Result<(), LacksKey> {
    let now = Now::read();
    let outcome = match caught(|| question.answer(app, request, response, now, ring)) {
        Ok(reply) => Ok(reply),
        Err(Unanswered::Problem(problem)) => Err(problem),
        Err(Unanswered::LacksKey) => return Err(LacksKey),
    };
    write(app, request, now, outcome, response);
    Ok(())
}

/// Writes the answer, and counts it.
fn write(app: &App, request: &Request, now: Now, outcome: Result<Reply, Problem>, response: &mut Response) {
    let verification = match &outcome {
        Ok(reply) => reply.verification(),
        Err(problem) => verification(*problem),
    };
    VERIFICATIONS.add(verification as usize);
    let is_complete = outcome.as_ref().is_ok_and(Reply::is_complete);
    respond(app, request.headers(), now, outcome, response);
    if !is_complete {
        edge::complete(app, request, response);
    }
}

/// How a problem is counted.
pub(super) fn verification(problem: Problem) -> Verification {
    match problem {
        Problem::Session(refusal) => match refusal {
            Refusal::Missing => Verification::Missing,
            Refusal::Invalid(_) => Verification::Invalid,
            Refusal::Expired => Verification::Expired,
            Refusal::Revoked => Verification::Revoked,
            Refusal::Stale => Verification::Stale,
        },
        Problem::StepUp => Verification::StepUp,
        Problem::Role => Verification::Forbidden,
        problem if problem.status().is_server_error() => Verification::Error,
        _ => Verification::BadRequest,
    }
}

/// Turns a panic into a 500. Its message goes to the log.
fn caught(answer: impl FnOnce() -> Result<Reply, Unanswered>) -> Result<Reply, Unanswered> {
    // Nothing that is changed on the way outlives the request but counters and locks that a panic leaves whole.
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        sampled!(ERROR, "making an answer panicked; it is 500");
        Err(Unanswered::Problem(Problem::Status(StatusCode::INTERNAL_SERVER_ERROR)))
    })
}

impl App {
    /// Hands the live session to `accept`.
    pub(super) fn verify<R>(
        &self,
        request: &Request,
        site: Site,
        now: Now,
        ring: Ring,
        accept: impl FnOnce(&Verified<'_>) -> R,
    ) -> Result<R, Unanswered> {
        let fields = || cookie::fields(request.headers());
        self.sessions.verify(fields(), site, now, accept).map_err(|refusal| {
            if ring == Ring::AsItIs && self.sessions.lacks_key_of_cookies(fields(), self.cookies.session()) {
                Unanswered::LacksKey
            } else {
                self.refused(request, refusal).into()
            }
        })
    }
}
