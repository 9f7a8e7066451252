//! Redirect of a browser without a session to the sign-in page of the application, and the return path to the requested page.
//!
//! Invariant: the return path stays on this host. Called by `hoop.rs`.

use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use salvo::http::{Method, Request, ResBody, Response, StatusCode};

use crate::web::browser::is_navigation;
use crate::web::return_path::{before_query, is_path, is_short};

/// Query parameter of the sign-in page that contains the return path.
const RETURN_PATH: &str = "rd";

/// Path of the sign-in page.
#[derive(Debug, Clone)]
pub(super) struct SignInPage(String);

impl SignInPage {
    /// Parses the setting [`Settings::sign_in_at`](super::Settings::sign_in_at): a path without a query.
    pub(super) fn parse(path: &str) -> Option<Self> {
        (is_path(path) && before_query(path) == path).then(|| Self(path.to_owned()))
    }

    /// Replaces a 401 with a redirect, if the request is a navigation to another page. Caches must not store the redirect,
    /// because the page is available after the login. The middleware calls this after the handlers: if an extractor returned a
    /// redirect, Salvo would change it to 400.
    pub(super) fn redirect(&self, request: &Request, response: &mut Response) {
        let Some(url) = self.url_for(request) else {
            return;
        };
        response.status_code(StatusCode::SEE_OTHER).body(ResBody::None);
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.remove(WWW_AUTHENTICATE);
        headers.insert(LOCATION, url.parse().expect("a checked path is visible ASCII"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }

    /// Returns the URL to which a request without a session is redirected. Returns `None` for the request of a program, and for
    /// the sign-in page itself, because that redirect would be an endless loop.
    fn url_for(&self, request: &Request) -> Option<String> {
        let Self(page) = self;
        if !is_navigation(request.headers()) || request.uri().path() == page {
            return None;
        }
        // The browser returns with a GET, which cannot repeat a submitted form.
        let is_repeatable = [Method::GET, Method::HEAD].contains(request.method());
        let target = request.uri().path_and_query().filter(|_| is_repeatable).map(|path| path.as_str());
        Some(match target.filter(|path| is_path(path) && is_short(path)) {
            Some(path) => {
                let query =
                    serde_urlencoded::to_string([(RETURN_PATH, path)]).expect("a pair of texts can be serialized");
                format!("{page}?{query}")
            }
            None => page.clone(),
        })
    }
}

/// Returns the path to which the browser returns after a login: `rd` in the query of the sign-in page. The redirect of
/// [`Settings::sign_in_at`](super::Settings::sign_in_at) sets it, and a form without `action` sends it again.
///
/// Returns `None` if there is no `rd`, or if it could lead to another host: anyone can create a link with any `rd`.
pub fn return_path(request: &Request) -> Option<String> {
    request.query::<String>(RETURN_PATH).filter(|path| is_path(path) && is_short(path))
}
