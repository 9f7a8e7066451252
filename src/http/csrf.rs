//! Cross-site request forgery: whether a request that changes something may have been sent by another site.
//!
//! On unsafe methods, in this order (after Go's `http.CrossOriginProtection`):
//!
//! 1. `Sec-Fetch-Site` is there and neither `same-origin` nor `none`: refused;
//! 2. it is absent, and `Origin` is there and not exactly one of ours (`null` is not): refused;
//! 3. either is there and the body is not JSON: a form, which needs the token of its page. There are no pages yet, so no token
//!    is good, and it is refused;
//! 4. neither is there: not a browser, so that curl needs no token.

use salvo::http::Method;
use salvo::http::header::{HeaderMap, HeaderName, ORIGIN};

use super::body::{self, MediaType};
use super::origin::Origins;
use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what another site may have sent.
pub(crate) fn check(method: &Method, headers: &HeaderMap, origins: &Origins) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let mut site = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    let mut origin = headers.get_all(ORIGIN).iter().peekable();
    let from_browser = site.peek().is_some() || origin.peek().is_some();
    let same = if site.peek().is_some() {
        site.all(|value| ["same-origin", "none"].iter().any(|good| value == good))
    } else {
        origin.all(|value| origins.contains(value.as_bytes()))
    };
    match (from_browser, same) {
        (true, false) => Err(Problem::CrossSite),
        (true, true) if body::media_type(headers) != Some(MediaType::Json) => Err(Problem::FormToken),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::origin::Origin;

    const OURS: &str = "https://app.example";

    #[test]
    fn decides_by_the_table() {
        const FORM: &str = "application/x-www-form-urlencoded";
        const JSON: &str = "application/json";
        let cases = [
            // Sec-Fetch-Site, Origin, Content-Type, outcome
            (None, None, FORM, Ok(())),
            (None, None, JSON, Ok(())),
            (None, None, "", Ok(())),
            (Some("same-origin"), None, JSON, Ok(())),
            (Some("same-origin"), Some("https://evil.example"), JSON, Ok(())),
            (Some("none"), None, JSON, Ok(())),
            (None, Some(OURS), JSON, Ok(())),
            (Some("same-origin"), Some(OURS), FORM, Err(Problem::FormToken)),
            (Some("same-origin"), Some(OURS), "", Err(Problem::FormToken)),
            (Some("same-origin"), Some(OURS), "text/plain; x=application/json", Err(Problem::FormToken)),
            (None, Some(OURS), FORM, Err(Problem::FormToken)),
            (Some("same-site"), Some(OURS), JSON, Err(Problem::CrossSite)),
            (Some("cross-site"), None, JSON, Err(Problem::CrossSite)),
            (Some(""), None, JSON, Err(Problem::CrossSite)),
            (Some("SAME-ORIGIN"), None, JSON, Err(Problem::CrossSite)),
            (None, Some("null"), JSON, Err(Problem::CrossSite)),
            (None, Some("https://app.example:443"), JSON, Err(Problem::CrossSite)),
            (None, Some("https://app.example.evil"), JSON, Err(Problem::CrossSite)),
            (None, Some(""), JSON, Err(Problem::CrossSite)),
        ];
        let origins = Origins::new(vec![Origin::parse(OURS).expect("valid")]);
        for (site, origin, content_type, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin), ("content-type", Some(content_type))] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("a header value"));
                }
            }
            let found = check(&Method::POST, &headers, &origins);
            assert_eq!(found, expected, "{site:?} {origin:?} {content_type}");
            assert_eq!(check(&Method::GET, &headers, &origins), Ok(()));
        }
    }

    #[test]
    fn of_several_fields_one_bad_one_is_enough() {
        let origins = Origins::new(vec![Origin::parse(OURS).expect("valid")]);
        for (name, values) in [("sec-fetch-site", ["same-origin", "cross-site"]), ("origin", [OURS, "null"])] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/json".parse().expect("a header value"));
            for value in values {
                headers.append(name, value.parse().expect("a header value"));
            }
            assert_eq!(check(&Method::POST, &headers, &origins), Err(Problem::CrossSite));
        }
    }
}
