//! Words and fields of refusals in which the server's routes and an embedding application agree.

use salvo::http::header::HeaderValue;

use crate::seal::CookieName;

/// The media type of problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

// Details for programs.
pub(crate) const EXPIRED: &str = "the session is past its deadline; sign in again";
pub(crate) const REVOKED: &str = "the session was ended; sign in again";
pub(crate) const ROLE: &str = "the session has not the role that this asks for";
pub(crate) const CROSS_SITE: &str =
    "the browser says that another site sent this request; open the page of this site and send it from there";

/// Returns the challenge that a 401 must have
/// ([RFC 9110 section 15.5.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2)): the session cookie's name and, where there is
/// one, the form that sets it.
pub(crate) fn challenge(form: Option<&str>, cookie: &CookieName) -> HeaderValue {
    let form = form.map_or_else(String::new, |path| format!(" form-action=\"{path}\","));
    let challenge = format!("Cookie realm=\"sealjar\",{form} cookie-name=\"{}\"", cookie.as_str());
    challenge.parse().expect("a cookie's name is visible ASCII without quotes")
}
