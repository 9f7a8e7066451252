//! The response that a handler has decided on, and the only code that writes it ([`Context::respond`]).
//!
//! A [`Reply`] has at most one change of the session cookie, so a response has at most one `Set-Cookie` for it.

use askama::Template;
use salvo::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use salvo::http::{Method, ResBody, StatusCode};
use salvo::hyper::Response as HyperResponse;
use salvo::hyper::body::Bytes;

use crate::audit;
use crate::http::context::Context;
use crate::http::json::Object;
use crate::http::pages;
use crate::http::problem::Problem;
use crate::metrics::Verification;
use crate::seal::SealedToken;
use crate::session::Refusal;
use crate::web::cookie::CookieChange;

/// A response before it is written.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    /// Whether `headers` has all fields of the response except `Set-Cookie`. If so, no common fields are added.
    is_complete: bool,
    content: Content,
    cookie: CookieChange,
    form_cookie: Option<SealedToken>,
    /// Problem that is the reason for this response. `None` if the request succeeded.
    problem: Option<Problem>,
    /// Whether the response lets a CORS preflight pass without a session.
    is_preflight: bool,
}

#[derive(Debug)]
enum Content {
    /// The bytes of the body.
    Written(Bytes),
    /// A problem. It is written as a page if a browser will show it, and otherwise as JSON.
    Problem(Problem),
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let reply = Self::new(problem.status(), HeaderMap::new(), Content::Problem(problem));
        Self { problem: Some(problem), ..reply }
    }
}

impl Reply {
    /// Creates a response 200 with JSON.
    pub(crate) fn json(body: Object) -> Self {
        Self::ok(HeaderValue::from_static("application/json"), body.finish().into())
    }

    /// Creates a response 200 with JSON and exactly these fields. Only `Set-Cookie` can be added.
    pub(crate) fn json_with(headers: HeaderMap, body: Object) -> Self {
        Self { is_complete: true, ..Self::new(StatusCode::OK, headers, Content::Written(body.finish().into())) }
    }

    /// Creates a response 200 with a page.
    pub(crate) fn page(page: &impl Template) -> Self {
        Self::ok(pages::MEDIA_TYPE, pages::render(page).into())
    }

    /// Creates the response 200 that lets a request pass a proxy, with exactly these fields. It has a body, because some proxies
    /// require one.
    pub(crate) fn verify_allowed(headers: HeaderMap) -> Self {
        let body = Bytes::from_static(b"ok\n");
        Self { is_complete: true, ..Self::new(StatusCode::OK, headers, Content::Written(body)) }
    }

    /// Creates a response from a status, header fields and a body.
    pub(crate) fn prepared((status, headers, body): (StatusCode, HeaderMap, Bytes)) -> Self {
        Self::new(status, headers, Content::Written(body))
    }

    /// Creates a redirect 303, with which the browser shows another page after a form was processed.
    pub(crate) fn see_other(location: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER).location(location)
    }

    /// Creates a temporary redirect 302.
    pub(crate) fn found(location: &str) -> Self {
        Self::empty(StatusCode::FOUND).location(location)
    }

    fn ok(media_type: HeaderValue, body: Bytes) -> Self {
        Self::new(StatusCode::OK, HeaderMap::from_iter([(CONTENT_TYPE, media_type)]), Content::Written(body))
    }

    fn empty(status: StatusCode) -> Self {
        Self::new(status, HeaderMap::new(), Content::Written(Bytes::new()))
    }

    const fn new(status: StatusCode, headers: HeaderMap, content: Content) -> Self {
        let cookie = CookieChange::Keep;
        Self {
            status,
            headers,
            is_complete: false,
            content,
            cookie,
            form_cookie: None,
            problem: None,
            is_preflight: false,
        }
    }

    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a `Location` field.
    pub(crate) fn location(mut self, url: &str) -> Self {
        let url = HeaderValue::try_from(url).expect("locations are checked or constant, and so visible ASCII");
        self.headers.insert(LOCATION, url);
        self
    }

    /// Adds an `Allow` field.
    pub(crate) fn allow(mut self, methods: HeaderValue) -> Self {
        self.headers.insert(ALLOW, methods);
        self
    }

    pub(crate) fn cookie(self, cookie: CookieChange) -> Self {
        Self { cookie, ..self }
    }

    pub(crate) fn form_cookie(self, token: SealedToken) -> Self {
        Self { form_cookie: Some(token), ..self }
    }

    /// Sets the problem that is the reason for this response.
    pub(crate) fn with_problem(self, problem: Problem) -> Self {
        Self { problem: Some(problem), ..self }
    }

    /// Records that the response lets a CORS preflight pass without a session.
    pub(crate) fn for_preflight(self) -> Self {
        Self { is_preflight: true, ..self }
    }

    /// Returns the reason why the request has no live session, or `None` if this response has another reason.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.problem {
            Some(Problem::Session(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// Returns the outcome under which the metric for session checks counts this response.
    pub(crate) fn verification(&self) -> Verification {
        match self.problem {
            None if self.is_preflight => Verification::Preflight,
            None => Verification::Live,
            Some(problem) => problem.verification(),
        }
    }
}

impl Context {
    /// Writes a response with all its fields except `X-Request-Id`.
    pub(crate) fn respond(&self, reply: Reply) -> HyperResponse<ResBody> {
        if let Some(cause) = reply.refusal().and_then(Refusal::cause) {
            self.in_span(|| audit::token_refused(cause, self.client()));
        }
        let app = &**self.app;
        let mut headers = reply.headers;
        let body = match reply.content {
            Content::Written(body) => body,
            Content::Problem(problem) if self.is_navigation() => {
                let location = (self.host(), self.uri().path());
                problem.render_page(&app.pages, location, app.cookies.session(), &mut headers).into()
            }
            Content::Problem(problem) => problem.render(app.cookies.session(), &mut headers).into(),
        };
        if !matches!(reply.cookie, CookieChange::Keep) {
            app.cookies.write(reply.cookie, app.sessions.revocations().time(self.now()), &mut headers);
        }
        if let Some(token) = reply.form_cookie {
            app.cookies.write_form(&token, &mut headers);
        }
        if !reply.is_complete {
            let is_secure = self.served().is_ok_and(|served| served.origin.is_secure());
            app.prepared.complete(is_secure, &mut headers);
        }
        let has_body = !body.is_empty() && self.method() != Method::HEAD;
        let mut response = HyperResponse::new(if has_body { ResBody::Once(body) } else { ResBody::None });
        *response.status_mut() = reply.status;
        *response.headers_mut() = headers;
        response
    }

    /// Runs `log` inside the span of the request. If a span is already active, no second span is entered.
    pub(super) fn in_span(&self, log: impl FnOnce()) {
        if tracing::Span::current().is_none() { self.span().in_scope(log) } else { log() }
    }
}
