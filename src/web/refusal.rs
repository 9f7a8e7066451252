//! Texts and header fields that refusals of the server and of an embedding application share.

use salvo::http::header::HeaderValue;

use crate::seal::CookieName;

/// The media type of problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

// Values of `detail` in problem details, for programs.
pub(crate) const EXPIRED: &str = "the session has expired; log in again";
pub(crate) const REVOKED: &str = "the session was ended; log in again";
pub(crate) const ROLE: &str = "the session does not have the role that this route requires";
pub(crate) const CROSS_SITE: &str = "the browser reports that another site sent this request; open the page on this site and send the request from there";

/// Returns the value of `WWW-Authenticate`, which a response 401 must have ([RFC 9110 section
/// 15.5.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2)). It contains the name of the session cookie and, if there is
/// one, the path of the login form.
pub(crate) fn challenge(form: Option<&str>, cookie: &CookieName) -> HeaderValue {
    let form = form.map_or_else(String::new, |path| format!(" form-action=\"{path}\","));
    let challenge = format!("Cookie realm=\"sealjar\",{form} cookie-name=\"{}\"", cookie.as_str());
    challenge.parse().expect("a cookie name is visible ASCII without quotes")
}
