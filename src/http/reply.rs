//! What a handler decided, and the one place that writes it.

use askama::Template;
use salvo::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use salvo::http::{HeaderMap, StatusCode};
use salvo::hyper::body::Bytes;
use salvo::prelude::Response;

use super::App;
use super::browser;
use super::cookie::CookieChange;
use super::json::Object;
use super::pages;
use super::problem::Problem;
use crate::clock::Now;
use crate::metrics::Verification;
use crate::seal::SealedToken;

/// An answer other than a problem.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    content: Content,
    cookie: CookieChange,
    form_cookie: Option<SealedToken>,
    /// How a request that asks whether there is a live session is counted.
    verification: Verification,
}

#[derive(Debug)]
enum Content {
    Json(Vec<u8>),
    Page(String),
    Prepared(HeaderMap, Bytes),
    Elsewhere(HeaderValue),
}

impl Reply {
    /// 200 with JSON.
    pub(crate) fn json(body: Object) -> Self {
        Self::new(StatusCode::OK, Content::Json(body.finish()))
    }

    /// 200 with JSON and, beside the cookie, exactly these fields.
    pub(crate) fn json_with(headers: HeaderMap, body: Object) -> Self {
        Self::new(StatusCode::OK, Content::Prepared(headers, body.finish().into()))
    }

    /// 200 with a page.
    pub(crate) fn page(page: &impl Template) -> Self {
        Self::new(StatusCode::OK, Content::Page(pages::render(page)))
    }

    /// 200 for a proxy, which wants no more than these fields. With a body, because some want one.
    pub(crate) const fn passed(headers: HeaderMap) -> Self {
        Self::new(StatusCode::OK, Content::Prepared(headers, Bytes::from_static(b"ok\n")))
    }

    /// 303: a form was dealt with, and its user is shown another page.
    pub(crate) fn see_other(location: &str) -> Self {
        Self::new(StatusCode::SEE_OTHER, Content::elsewhere(location))
    }

    /// 302: what was asked for is to be found there for the moment.
    pub(crate) fn found(location: &str) -> Self {
        Self::new(StatusCode::FOUND, Content::elsewhere(location))
    }

    const fn new(status: StatusCode, content: Content) -> Self {
        Self { status, content, cookie: CookieChange::Keep, form_cookie: None, verification: Verification::Live }
    }

    /// Whether it brings all fields along that an answer must have.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.content, Content::Prepared(..))
    }

    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn cookie(self, cookie: CookieChange) -> Self {
        Self { cookie, ..self }
    }

    /// An answer that was not given because the session is live.
    pub(super) fn counted(self, verification: Verification) -> Self {
        Self { verification, ..self }
    }

    pub(super) const fn verification(&self) -> Verification {
        self.verification
    }

    pub(crate) fn form_cookie(self, token: SealedToken) -> Self {
        Self { form_cookie: Some(token), ..self }
    }
}

impl Content {
    fn elsewhere(location: &str) -> Self {
        Self::Elsewhere(self::location(location))
    }
}

/// The value of a `Location` field.
pub(super) fn location(url: &str) -> HeaderValue {
    HeaderValue::try_from(url).expect("locations are checked, or made by us, of visible ASCII")
}

/// Writes what a handler decided; `headers` are the request's.
pub(crate) fn respond(
    app: &App,
    headers: &HeaderMap,
    now: Now,
    outcome: Result<Reply, Problem>,
    response: &mut Response,
) {
    let Reply { status, content, cookie, form_cookie, .. } = match outcome {
        Ok(reply) => reply,
        Err(problem) => return refuse(app, headers, problem, response),
    };
    response.status_code(status);
    match content {
        Content::Json(body) => {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.body(body);
        }
        Content::Page(body) => pages::write(body, response),
        Content::Prepared(headers, body) => {
            *response.headers_mut() = headers;
            response.body(body);
        }
        Content::Elsewhere(location) => {
            response.headers_mut().insert(LOCATION, location);
        }
    }
    app.cookies.write(cookie, app.sessions.revocations().time(now), response);
    if let Some(token) = form_cookie {
        app.cookies.write_form(&token, response);
    }
}

/// Writes a problem, as a page where the answer will be shown as one.
pub(crate) fn refuse(app: &App, headers: &HeaderMap, problem: Problem, response: &mut Response) {
    if browser::is_navigation(headers) {
        problem.render_page(app.shell, app.cookies.session(), response);
    } else {
        problem.render(app.cookies.session(), response);
    }
}
