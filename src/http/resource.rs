//! A resource: what its methods lead to. That there is no such method, or no such resource, is said by handlers like any other,
//! behind the edge; Salvo's own way for it passes by the hoops of a router.

use salvo::http::header::{ALLOW, HeaderValue};
use salvo::http::{Method, Request, StatusCode};
use salvo::prelude::{Handler, Response, Router, handler};

use super::live::Live;
use super::openapi;
use super::problem::Problem;
use super::reply;

/// Who sees the errors of a listener.
#[derive(Clone)]
pub(super) enum Errors {
    /// Browsers too, which get a page.
    Public(Live),
    /// Programs only.
    Admin(Live),
}

impl Errors {
    pub(super) fn refuse(&self, request: &Request, problem: Problem, response: &mut Response) {
        match self {
            Self::Public(app) => reply::refuse(&app.load(), request.headers(), problem, response),
            Self::Admin(app) => problem.render(app.load().cookies.session(), response),
        }
    }
}

/// A resource that is being made, which must be described (`openapi.rs`).
pub(super) struct Resource {
    errors: Errors,
    path: &'static str,
    handlers: Router,
    methods: Vec<Method>,
}

impl Resource {
    pub(super) fn at(path: &'static str, errors: Errors) -> Self {
        Self { errors, path, handlers: Router::new(), methods: Vec::new() }
    }

    /// A hoop of its handlers. What says that there is no such method is not behind it.
    pub(super) fn hoop(self, hoop: impl Handler) -> Self {
        Self { handlers: self.handlers.hoop(hoop), ..self }
    }

    /// GET and, as everywhere, HEAD.
    pub(super) fn get<H: Handler>(mut self, handler: impl Fn() -> H) -> Self {
        self.methods.extend([Method::GET, Method::HEAD]);
        Self { handlers: self.handlers.get(handler()).head(handler()), ..self }
    }

    pub(super) fn post(mut self, handler: impl Handler) -> Self {
        self.methods.push(Method::POST);
        Self { handlers: self.handlers.post(handler), ..self }
    }

    /// The routes: one a method, and 405 for any other.
    pub(super) fn routes(self) -> Router {
        debug_assert!(openapi::describes(self.path, &self.methods), "{} is not described in openapi.rs", self.path);
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        let allow = methods.join(", ").parse().expect("methods are visible ASCII");
        Router::with_path(self.path).push(self.handlers).goal(OtherMethods { errors: self.errors, allow })
    }
}

/// A resource that answers whatever the method; it must be described with all those that OpenAPI knows.
pub(super) fn any(path: &'static str, handler: impl Handler) -> Router {
    const METHODS: [Method; 8] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    debug_assert!(openapi::describes(path, &METHODS), "{path} is not described in openapi.rs");
    Router::with_path(path).goal(handler)
}

struct OtherMethods {
    errors: Errors,
    allow: HeaderValue,
}

#[handler]
impl OtherMethods {
    async fn handle(&self, request: &Request, response: &mut Response) {
        response.headers_mut().insert(ALLOW, self.allow.clone());
        self.errors.refuse(request, Problem::Status(StatusCode::METHOD_NOT_ALLOWED), response);
    }
}

/// 404 for whatever no other route is for.
pub(super) struct Nothing(pub(super) Live);

#[handler]
impl Nothing {
    async fn handle(&self, request: &Request, response: &mut Response) {
        reply::refuse(&self.0.load(), request.headers(), Problem::Status(StatusCode::NOT_FOUND), response);
    }
}
