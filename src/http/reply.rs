//! The answer that a handler decided on, and the one place that writes it.

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

/// An answer before it is written.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    /// Whether `headers` are all that the answer is to have, but for the cookie's.
    is_complete: bool,
    content: Content,
    cookie: CookieChange,
    form_cookie: Option<SealedToken>,
    /// Reason for this answer, if it is not what was asked for.
    problem: Option<Problem>,
    is_preflight: bool,
}

#[derive(Debug)]
enum Content {
    Written(Bytes),
    /// The problem: a page if the answer will be shown as one, else JSON.
    Problem(Problem),
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let reply = Self::new(problem.status(), HeaderMap::new(), Content::Problem(problem));
        Self { problem: Some(problem), ..reply }
    }
}

impl Reply {
    /// 200 with JSON.
    pub(crate) fn json(body: Object) -> Self {
        Self::ok(HeaderValue::from_static("application/json"), body.finish().into())
    }

    /// 200 with JSON and, beside the cookie, exactly these fields.
    pub(crate) fn json_with(headers: HeaderMap, body: Object) -> Self {
        Self { is_complete: true, ..Self::new(StatusCode::OK, headers, Content::Written(body.finish().into())) }
    }

    /// 200 with a page.
    pub(crate) fn page(page: &impl Template) -> Self {
        Self::ok(pages::MEDIA_TYPE, pages::render(page).into())
    }

    /// 200 for a proxy, with exactly these fields. It has a body, because some proxies want one.
    pub(crate) fn passed(headers: HeaderMap) -> Self {
        let body = Bytes::from_static(b"ok\n");
        Self { is_complete: true, ..Self::new(StatusCode::OK, headers, Content::Written(body)) }
    }

    /// A status, header fields and a body.
    pub(crate) fn prepared((status, headers, body): (StatusCode, HeaderMap, Bytes)) -> Self {
        Self::new(status, headers, Content::Written(body))
    }

    /// 303: a form was dealt with, and its user is shown another page.
    pub(crate) fn see_other(location: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER).location(location)
    }

    /// 302: what was asked for is to be found there for the moment.
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
        let url = HeaderValue::try_from(url).expect("locations are checked, or made by us, of visible ASCII");
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

    /// Notes why this is answered in place of what was asked for.
    pub(crate) fn because(self, problem: Problem) -> Self {
        Self { problem: Some(problem), ..self }
    }

    /// Notes that the answer lets a CORS preflight pass, without a session.
    pub(crate) fn of_preflight(self) -> Self {
        Self { is_preflight: true, ..self }
    }

    /// Returns why there was no live session, if that is the reason for the answer.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.problem {
            Some(Problem::Session(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// Returns how an answer to the question for a live session is counted.
    pub(crate) fn verification(&self) -> Verification {
        match self.problem {
            None if self.is_preflight => Verification::Preflight,
            None => Verification::Live,
            Some(problem) => problem.verification(),
        }
    }
}

impl Context {
    /// Writes an answer, with all its fields but `X-Request-Id`.
    pub(crate) fn respond(&self, reply: Reply) -> HyperResponse<ResBody> {
        if let Some(cause) = reply.refusal().and_then(Refusal::cause) {
            self.in_span(|| audit::token_refused(cause, self.client()));
        }
        let app = &**self.app;
        let mut headers = reply.headers;
        let body = match reply.content {
            Content::Written(body) => body,
            Content::Problem(problem) if self.is_navigation() => {
                let place = (self.host(), self.uri().path());
                problem.render_page(&app.pages, place, app.cookies.session(), &mut headers).into()
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

    /// Runs code whose log lines are about the request, if they are not marked so already.
    pub(super) fn in_span(&self, log: impl FnOnce()) {
        if tracing::Span::current().is_none() { self.span().in_scope(log) } else { log() }
    }
}
