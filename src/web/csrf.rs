//! Cross-site request forgery: whether a request that changes something may have been sent by another site.
//!
//! On all methods but GET and HEAD, in this order (after Go's `http.CrossOriginProtection`):
//!
//! 1. `Sec-Fetch-Site` is there and neither `same-origin` nor `none`: refused;
//! 2. it is absent, and `Origin` is there and not exactly one of ours (`null` is not): refused;
//! 3. either is there and the body is not JSON: a form, which needs the token of its page (`http/body.rs`). After sign-in, the
//!    token is bound to the session. Before sign-in, any token of a sign-in form will do from a page of the same origin
//!    ([`Sender::SameOrigin`]). For other senders, it is bound to the cookie of the form;
//! 4. neither is there: not a browser, so that curl needs no token.
//!
//! `Context::admit` applies 1 and 2. Handlers apply 3, because only they know what their form is bound to.

use salvo::http::Method;
use salvo::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, ORIGIN, REFERER, SEC_WEBSOCKET_KEY, UPGRADE,
};

use super::hosts::Hosts;
use super::origin::Origin;

/// Where a script puts the form token, if its body is no form.
pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
/// The form's hidden field.
pub(crate) const TOKEN_FIELD: &str = "csrf_token";

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who sent a request, as far as its headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// No browser: it has neither field.
    Program,
    /// A browser, and nothing says that it is another site. But it may be a page of another one of our origins, or no page.
    Browser,
    /// A page of the very origin that the request is for: `Sec-Fetch-Site` is `same-origin`, and neither `Sec-Fetch-Mode` nor `Origin`
    /// contradicts that, not even with another one of our origins. Pages cannot set these fields, and `Sec-Fetch-Site` takes scheme,
    /// host, port and all redirects into account ([Fetch Metadata, section
    /// 2.4](https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header)).
    ///
    /// `Sec-Fetch-Site` alone is not enough. A service worker of the application may pass on a form of another site with `fetch`. In
    /// WebKit, only `Origin` still names that site; in Firefox, only `Sec-Fetch-Mode`, which is not `navigate`, shows the worker.
    /// Browsers send both fields with every form, so one that is absent says nothing.
    ///
    /// If there is a `Referer`, it must name a page of ours, too. If the other site suppresses its own, all other fields in WebKit are
    /// those of a form of the application, and `Referer` is the worker's script. A form in a page of the application is not one of ours,
    /// either: it has that page as `Referer`, or `Origin: null`.
    SameOrigin,
}

/// Another site may have sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrossSite;

/// Refuses what another site may have sent (rules 1 and 2).
pub(crate) fn check(method: &Method, headers: &HeaderMap, hosts: &Hosts) -> Result<(), CrossSite> {
    if is_open_to_links(method) {
        return Ok(());
    }
    let is_ours = |value: &[u8]| hosts.is_origin(value);
    sender_among(headers, is_ours, is_ours).map(drop)
}

/// Whether a request of another site is let through: a link or an image is a GET. Applications may do as they please with OPTIONS,
/// TRACE and QUERY, although these are safe methods, and no link sends them.
fn is_open_to_links(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the request is a CORS preflight ([Fetch](https://fetch.spec.whatwg.org/#cors-preflight-request)): OPTIONS with one `Origin`
/// and one `Access-Control-Request-Method`, which no script can set. Browsers send it without cookies.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has_one = |name| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
    };
    *method == Method::OPTIONS && has_one(&ORIGIN) && has_one(&ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns who sent a request with a method other than GET and HEAD to the origin `own`.
pub(crate) fn sender(headers: &HeaderMap, own: &Origin, hosts: &Hosts) -> Result<Sender, CrossSite> {
    let own = own.to_string();
    let sender = sender_among(headers, |value| value == own.as_bytes(), |value| hosts.is_origin(value))?;
    let is_confirmed = sender != Sender::SameOrigin || names_page_of_ours(headers, &own);
    Ok(if is_confirmed { sender } else { Sender::Browser })
}

/// Returns whether every `Referer` names a page of ours on the origin `own`.
fn names_page_of_ours(headers: &HeaderMap, own: &str) -> bool {
    let path = |referer: &[u8]| referer.strip_prefix(own.as_bytes()).is_some_and(|path| path.starts_with(b"/auth/"));
    headers.get_all(REFERER).iter().all(|referer| path(referer.as_bytes()))
}

/// The same for the app behind a proxy, whose requests come from its own origin and whose bodies are not ours to read. A
/// WebSocket's handshake is a GET that other sites may send, with the user's cookies; proxies differ in which of its fields they
/// pass on. A preflight does nothing by itself, and comes from another site by its nature.
pub(crate) fn check_for_app(method: &Method, headers: &HeaderMap, origin: &Origin) -> Result<(), CrossSite> {
    let is_handshake = headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "websocket")
        || headers.contains_key(UPGRADE)
        || headers.contains_key(SEC_WEBSOCKET_KEY);
    if is_open_to_links(method) && !is_handshake || is_preflight(method, headers) {
        return Ok(());
    }
    let own = origin.to_string();
    let is_own = |value: &[u8]| value == own.as_bytes();
    sender_among(headers, is_own, is_own).map(drop)
}

/// Returns the sender. `is_own` says whether a value of `Origin` is the origin that the request is for, and `is_ours` whether pages
/// of it may send requests.
fn sender_among(
    headers: &HeaderMap,
    is_own: impl Fn(&[u8]) -> bool,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Sender, CrossSite> {
    let has = |name: &HeaderName| headers.contains_key(name);
    let all = |name: &HeaderName, is_good: &dyn Fn(&[u8]) -> bool| {
        headers.get_all(name).iter().all(|value| is_good(value.as_bytes()))
    };
    if has(&SEC_FETCH_SITE) {
        let is_same_origin = all(&SEC_FETCH_SITE, &|site| site == b"same-origin");
        let navigates = all(&SEC_FETCH_MODE, &|mode| mode == b"navigate");
        if is_same_origin && navigates && all(&ORIGIN, &is_own) {
            Ok(Sender::SameOrigin)
        } else if all(&SEC_FETCH_SITE, &|site| site == b"same-origin" || site == b"none") {
            Ok(Sender::Browser)
        } else {
            Err(CrossSite)
        }
    } else if !has(&ORIGIN) {
        Ok(Sender::Program)
    } else if all(&ORIGIN, &is_ours) {
        Ok(Sender::Browser)
    } else {
        Err(CrossSite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://app.example";
    const OTHER_OF_OURS: &str = "https://other.example";
    const PAGE: &str = "https://app.example/auth/login?rd=%2F";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a header value"));
        }
        headers
    }

    fn own() -> Origin {
        Origin::parse(OURS).expect("valid")
    }

    fn hosts() -> Hosts {
        Hosts::new(vec![own(), Origin::parse(OTHER_OF_OURS).expect("valid")], None, Vec::new())
    }

    /// The rest of the table, with hosts, tokens and the answers as clients see them, is in `tests/routes/csrf.rs`.
    #[test]
    fn tells_the_sender_by_the_table() {
        let cases = [
            // Sec-Fetch-Site, Origin, outcome
            (None, None, Ok(Sender::Program)),
            (Some("same-origin"), None, Ok(Sender::SameOrigin)),
            (Some("same-origin"), Some(OURS), Ok(Sender::SameOrigin)),
            (Some("same-origin"), Some("https://evil.example"), Ok(Sender::Browser)),
            (Some("same-origin"), Some(OTHER_OF_OURS), Ok(Sender::Browser)),
            (None, Some(OTHER_OF_OURS), Ok(Sender::Browser)),
            (Some("none"), None, Ok(Sender::Browser)),
            (Some("none"), Some(OURS), Ok(Sender::Browser)),
            (None, Some(OURS), Ok(Sender::Browser)),
            (Some("same-site"), Some(OURS), Err(CrossSite)),
            (Some("cross-site"), None, Err(CrossSite)),
            (Some(""), None, Err(CrossSite)),
            (Some("SAME-ORIGIN"), None, Err(CrossSite)),
            (None, Some("null"), Err(CrossSite)),
            (None, Some("https://app.example:443"), Err(CrossSite)),
            (None, Some("https://app.example.evil"), Err(CrossSite)),
            (None, Some("http://app.example"), Err(CrossSite)),
            (None, Some(""), Err(CrossSite)),
        ];
        for (site, origin, expected) in cases {
            let fields: Vec<_> = [("sec-fetch-site", site), ("origin", origin), ("referer", Some(PAGE))]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
            let headers = headers(&fields);
            assert_eq!(sender(&headers, &own(), &hosts()), expected, "{site:?} {origin:?}");
            assert_eq!(check(&Method::GET, &headers, &hosts()), Ok(()));
            assert_eq!(check(&Method::POST, &headers, &hosts()), expected.map(drop));
        }
    }

    #[test]
    fn of_several_fields_one_bad_one_is_enough() {
        for (name, bad) in [("sec-fetch-site", "cross-site"), ("origin", "null")] {
            let good = if name == "origin" { OURS } else { "same-origin" };
            let fields = [(name, good), (name, bad)];
            assert_eq!(sender(&headers(&fields), &own(), &hosts()), Err(CrossSite), "{name}");
        }
    }

    #[test]
    fn a_navigation_within_the_origin_says_so_in_each_field() {
        const SITE: &str = "sec-fetch-site";
        const MODE: &str = "sec-fetch-mode";
        let same = (SITE, "same-origin");
        let navigate = (MODE, "navigate");
        let ours = ("origin", OURS);
        for (fields, expected) in [
            (&[same, navigate, ours][..], Ok(Sender::SameOrigin)),
            (&[same, same, navigate, navigate, ours, ours], Ok(Sender::SameOrigin)),
            (&[same, navigate], Ok(Sender::SameOrigin)),
            (&[same, ours], Ok(Sender::SameOrigin)),
            (&[navigate, ours], Ok(Sender::Browser)),
            (&[same, (SITE, "none"), navigate, ours], Ok(Sender::Browser)),
            (&[(SITE, "none"), same, navigate, ours], Ok(Sender::Browser)),
            (&[same, navigate, ("origin", "null")], Ok(Sender::Browser)),
            // Another site's form through a service worker in WebKit, and in Firefox.
            (&[same, navigate, ("origin", "https://evil.example")], Ok(Sender::Browser)),
            (&[same, navigate, ("origin", OTHER_OF_OURS)], Ok(Sender::Browser)),
            (&[same, navigate, ours, ("origin", OTHER_OF_OURS)], Ok(Sender::Browser)),
            (&[same, (MODE, "same-origin"), ours], Ok(Sender::Browser)),
            (&[same, navigate, (MODE, "cors"), ours], Ok(Sender::Browser)),
            (&[same, (SITE, "same-site"), navigate, ours], Err(CrossSite)),
            (&[same, (SITE, ""), navigate, ours], Err(CrossSite)),
        ] {
            let mut headers = headers(fields);
            headers.insert(REFERER, PAGE.parse().expect("a header value"));
            assert_eq!(sender(&headers, &own(), &hosts()), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_page_of_ours_is_named_by_the_referer() {
        for (referers, expected) in [
            (&[PAGE][..], Sender::SameOrigin),
            (&["https://app.example/auth/password"], Sender::SameOrigin),
            (&[], Sender::SameOrigin),
            // Another site's form through a service worker in WebKit, without a referrer.
            (&["https://app.example/sw.js"], Sender::Browser),
            (&["https://app.example/forum"], Sender::Browser),
            (&["https://app.example/"], Sender::Browser),
            (&["https://other.example/auth/login"], Sender::Browser),
            (&["https://app.example.evil.example/auth/login"], Sender::Browser),
            (&["https://app.example:8443/auth/login"], Sender::Browser),
            (&["https://app.example/author"], Sender::Browser),
            (&[PAGE, "https://app.example/sw.js"], Sender::Browser),
            (&[""], Sender::Browser),
        ] {
            let same = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("origin", OURS)];
            let fields: Vec<_> = same.into_iter().chain(referers.iter().map(|referer| ("referer", *referer))).collect();
            assert_eq!(sender(&headers(&fields), &own(), &hosts()), Ok(expected), "{referers:?}");
        }
    }

    #[test]
    fn an_app_is_asked_from_its_origin_and_a_websocket_is_not_safe() {
        let app = Origin::parse("https://b.example").expect("valid");
        let ask =
            |method: Method, fields: &[(&'static str, &str)]| check_for_app(&method, &headers(fields), &app).is_ok();
        let other = ("origin", OURS);
        assert!(ask(Method::POST, &[("origin", "https://b.example")]) && ask(Method::POST, &[]));
        assert!(!ask(Method::POST, &[other]), "another host of ours is another site to the app");
        assert!(ask(Method::GET, &[other]));
        for field in [("upgrade", "websocket"), ("sec-websocket-key", "x"), ("sec-fetch-mode", "websocket")] {
            assert!(!ask(Method::GET, &[other, field]), "{field:?}");
            assert!(ask(Method::GET, &[("origin", "https://b.example"), field]), "{field:?}");
        }
        assert!(!ask(Method::DELETE, &[("sec-fetch-site", "same-site"), ("origin", "https://b.example")]));
    }

    #[test]
    fn only_get_and_head_and_preflights_may_come_from_another_site() {
        let app = Origin::parse("https://b.example").expect("valid");
        let other = ("origin", OURS);
        let wants = ("access-control-request-method", "POST");
        for (method, fields, passes) in [
            ("GET", &[other][..], true),
            ("HEAD", &[other], true),
            ("OPTIONS", &[other], false),
            ("OPTIONS", &[("sec-fetch-site", "cross-site")], false),
            ("OPTIONS", &[("sec-fetch-site", "cross-site"), wants], false),
            ("OPTIONS", &[other, wants], true),
            ("OPTIONS", &[other, wants, wants], false),
            ("OPTIONS", &[other, other, wants], false),
            ("OPTIONS", &[other, ("access-control-request-method", "")], false),
            ("TRACE", &[other], false),
            ("TRACE", &[other, wants], false),
            ("QUERY", &[other], false),
            ("QUERY", &[other, wants], false),
            ("PROPFIND", &[other], false),
            ("get", &[other], false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(check_for_app(&method, &headers(fields), &app).is_ok(), passes, "{method} {fields:?}");
        }
        for method in ["OPTIONS", "TRACE", "QUERY"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert!(check(&method, &headers(&[("origin", "https://evil.example")]), &hosts()).is_err(), "{method}");
            assert!(check_for_app(&method, &headers(&[("origin", "https://b.example")]), &app).is_ok(), "{method}");
        }
    }
}
