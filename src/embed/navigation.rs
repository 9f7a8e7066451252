//! A browser that opens a page without a session: the way to the sign-in page of the application, and back.

use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use salvo::http::{Method, Request, ResBody, Response, StatusCode};

use crate::web::browser::is_navigation;
use crate::web::return_path::{before_query, is_path, is_short};

/// Name of the return path in the query of the sign-in page.
const RETURN_PATH: &str = "rd";

/// Path of the sign-in page.
#[derive(Debug, Clone)]
pub(super) struct SignInPage(String);

impl SignInPage {
    pub(super) fn parse(path: &str) -> Option<Self> {
        (is_path(path) && before_query(path) == path).then(|| Self(path.to_owned()))
    }

    /// Turns a 401 into a redirect, if a browser opens another page. No cache keeps it: after the sign-in the page answers in another
    /// way. It is done after the handlers, because Salvo answers 400 if the answer of an extractor is not an error status.
    pub(super) fn redirect(&self, request: &Request, response: &mut Response) {
        let Some(address) = self.for_request(request) else {
            return;
        };
        response.status_code(StatusCode::SEE_OTHER).body(ResBody::None);
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.remove(WWW_AUTHENTICATE);
        headers.insert(LOCATION, address.parse().expect("a checked path is visible ASCII"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }

    /// Returns the address to which a request without a session is redirected. `None` for the request of a program, and for the
    /// sign-in page itself, which would lead to itself for ever.
    fn for_request(&self, request: &Request) -> Option<String> {
        let Self(page) = self;
        if !is_navigation(request.headers()) || request.uri().path() == page {
            return None;
        }
        // A form that is sent again by GET is not the same request.
        let is_repeatable = [Method::GET, Method::HEAD].contains(request.method());
        let wanted = request.uri().path_and_query().filter(|_| is_repeatable).map(|path| path.as_str());
        Some(match wanted.filter(|path| is_path(path) && is_short(path)) {
            Some(path) => {
                let query = serde_urlencoded::to_string([(RETURN_PATH, path)]).expect("a pair of texts can be written");
                format!("{page}?{query}")
            }
            None => page.clone(),
        })
    }
}

/// Returns the path to which the browser goes after a sign-in: `rd` in the query of this request, to which
/// [`Settings::sign_in_at`](super::Settings::sign_in_at) redirects. A form without `action` sends it again. `None` if there is none,
/// or if it could lead to another host: anybody can make a link to the sign-in page with any `rd`.
pub fn return_path(request: &Request) -> Option<String> {
    request.query::<String>(RETURN_PATH).filter(|path| is_path(path) && is_short(path))
}
