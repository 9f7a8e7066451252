//! A resource: what its methods lead to. That there is no such method, or no such resource, is said by handlers like any other,
//! behind the edge; Salvo's own way for it passes by the hoops of a router.

use salvo::http::header::{ALLOW, HeaderValue};
use salvo::http::{Method, Request, StatusCode};
use salvo::prelude::{Handler, Response, Router, handler};

use super::live::Live;
use super::problem::Problem;
use super::reply::refuse;

/// A resource that is being described.
pub(super) struct Resource {
    app: Live,
    path: String,
    handlers: Router,
    methods: Vec<Method>,
}

impl Resource {
    pub(super) fn at(path: &str, app: &Live) -> Self {
        Self { app: app.clone(), path: path.to_owned(), handlers: Router::new(), methods: Vec::new() }
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
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        let allow = methods.join(", ").parse().expect("methods are visible ASCII");
        Router::with_path(self.path).push(self.handlers).goal(OtherMethods { app: self.app, allow })
    }
}

struct OtherMethods {
    app: Live,
    allow: HeaderValue,
}

#[handler]
impl OtherMethods {
    async fn handle(&self, request: &Request, response: &mut Response) {
        response.headers_mut().insert(ALLOW, self.allow.clone());
        refuse(&self.app.load(), request.headers(), Problem::Status(StatusCode::METHOD_NOT_ALLOWED), response);
    }
}

/// 404 for whatever no other route is for.
pub(super) struct Nothing(pub(super) Live);

#[handler]
impl Nothing {
    async fn handle(&self, request: &Request, response: &mut Response) {
        refuse(&self.0.load(), request.headers(), Problem::Status(StatusCode::NOT_FOUND), response);
    }
}
