//! Protection against cross-site request forgery (CSRF): decides whether another site may have sent a request that changes
//! data. In this file, *our* origins and pages are the origins and pages of this server or embedding application.
//!
//! The rules apply to all methods except GET and HEAD, in this order. They follow Go's
//! [`http.CrossOriginProtection`](https://pkg.go.dev/net/http#CrossOriginProtection).
//!
//! 1. `Sec-Fetch-Site` is present, but is not `same-origin` or `none`: the request is refused.
//! 2. `Sec-Fetch-Site` is absent, and `Origin` is present but is not exactly one of our origins: the request is refused.
//!    The value `null` is never one of our origins.
//! 3. One of these fields is present, and the body is not JSON. The body is a form, which needs the token of its page
//!    (`http/body.rs`). After login, the token must be bound to the session. Before login, any token of a login form is accepted
//!    from a page of the same origin ([`Sender::SameOrigin`]). From other senders, the token must be bound to the cookie of the
//!    form.
//! 4. Both fields are absent. The sender is not a browser, so clients such as curl need no token.
//!
//! `Context::admit` applies rules 1 and 2. Handlers apply rule 3, because only a handler can check what its form is bound to.

use salvo::http::Method;
use salvo::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, ORIGIN, REFERER, SEC_WEBSOCKET_KEY, UPGRADE,
};

use super::hosts::Hosts;
use super::origin::Origin;

/// Header field in which a script sends the form token if its body is not a form.
pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
/// Hidden form field with the form token.
pub(crate) const TOKEN_FIELD: &str = "csrf_token";

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Sender of a request, according to its header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A program that is not a browser: the request does not have `Sec-Fetch-Site` or `Origin`.
    Program,
    /// A browser. No field shows that another site sent the request. But the sender may be a page of another one of our origins,
    /// or the user may have caused the request without a page.
    Browser,
    /// A page of the same origin as the target of the request. `Sec-Fetch-Site` is `same-origin`, and neither `Sec-Fetch-Mode`
    /// nor `Origin` contradicts it. Another one of our origins in `Origin` is a contradiction, too. Pages cannot set these
    /// fields, and `Sec-Fetch-Site` considers scheme, host, port and all redirects ([Fetch Metadata, section
    /// 2.4](https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header)).
    ///
    /// `Sec-Fetch-Site` alone is not sufficient, because a service worker of the application may forward a form of another site
    /// with `fetch`. In WebKit, only `Origin` then still names the other site. In Firefox, only `Sec-Fetch-Mode` shows the
    /// worker: it is not `navigate`. The absence of one of these two fields is no contradiction, because browsers send
    /// both with every form.
    ///
    /// If there is a `Referer`, it must name one of our pages. There are two reasons. First, if the other site suppresses its
    /// `Referer` in WebKit, all other fields are the same as for a form of the application. Only `Referer` differs: it is the
    /// URL of the worker's script. Second, a form in a page of the application is not one of our forms. Its `Referer` is the
    /// URL of that page, or its `Origin` is `null`.
    SameOrigin,
}

/// Error for a request that another site may have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrossSite;

/// Refuses requests that another site may have sent (rules 1 and 2).
pub(crate) fn check(method: &Method, headers: &HeaderMap, hosts: &Hosts) -> Result<(), CrossSite> {
    if may_come_from_link(method) {
        return Ok(());
    }
    let is_ours = |value: &[u8]| hosts.is_origin(value);
    classify_sender(headers, is_ours, is_ours).map(drop)
}

/// Returns whether requests with this method are accepted from other sites. Links and images of other sites cause GET requests.
/// OPTIONS, TRACE and QUERY are not accepted, although they are safe methods: applications may give them any meaning, and no link
/// sends them.
fn may_come_from_link(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Returns whether the request is a CORS preflight ([Fetch](https://fetch.spec.whatwg.org/#cors-preflight-request)): OPTIONS with
/// one `Origin` and one `Access-Control-Request-Method`. No script can set these fields, and browsers send a preflight without
/// cookies.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has_one = |name| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
    };
    *method == Method::OPTIONS && has_one(&ORIGIN) && has_one(&ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the sender of a request to the origin `own_origin`. The method of the request must not be GET or HEAD.
pub(crate) fn sender(headers: &HeaderMap, own_origin: &Origin, hosts: &Hosts) -> Result<Sender, CrossSite> {
    let own = own_origin.to_string();
    let sender = classify_sender(headers, |value| value == own.as_bytes(), |value| hosts.is_origin(value))?;
    let is_confirmed = sender != Sender::SameOrigin || has_our_referer(headers, &own);
    Ok(if is_confirmed { sender } else { Sender::Browser })
}

/// Returns whether every `Referer` is the URL of one of our pages on the origin `own`.
fn has_our_referer(headers: &HeaderMap, own: &str) -> bool {
    let is_our_page =
        |referer: &[u8]| referer.strip_prefix(own.as_bytes()).is_some_and(|path| path.starts_with(b"/auth/"));
    headers.get_all(REFERER).iter().all(|referer| is_our_page(referer.as_bytes()))
}

/// Refuses requests that another site may have sent to an application behind a proxy. Only the application's own origin is
/// accepted, and there is no rule for form tokens, because Sealjar does not read the bodies.
///
/// A WebSocket handshake is a GET, but it must pass the same check as other methods: another site could send it with the cookies
/// of the user. Proxies forward different fields of a handshake, so each of them is sufficient to recognize a handshake. A
/// preflight is accepted: it changes nothing, and always comes from another site.
pub(crate) fn check_for_app(method: &Method, headers: &HeaderMap, origin: &Origin) -> Result<(), CrossSite> {
    let is_handshake = headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "websocket")
        || headers.contains_key(UPGRADE)
        || headers.contains_key(SEC_WEBSOCKET_KEY);
    if may_come_from_link(method) && !is_handshake || is_preflight(method, headers) {
        return Ok(());
    }
    let own = origin.to_string();
    let is_own = |value: &[u8]| value == own.as_bytes();
    classify_sender(headers, is_own, is_own).map(drop)
}

/// Returns the sender of a request. `is_own` returns whether a value of `Origin` is the origin of the request's target. `is_ours`
/// returns whether pages of the origin in `Origin` may send the request.
fn classify_sender(
    headers: &HeaderMap,
    is_own: impl Fn(&[u8]) -> bool,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Sender, CrossSite> {
    let has = |name: &HeaderName| headers.contains_key(name);
    let all = |name: &HeaderName, is_accepted: &dyn Fn(&[u8]) -> bool| {
        headers.get_all(name).iter().all(|value| is_accepted(value.as_bytes()))
    };
    if has(&SEC_FETCH_SITE) {
        let is_same_origin = all(&SEC_FETCH_SITE, &|site| site == b"same-origin");
        let is_navigation = all(&SEC_FETCH_MODE, &|mode| mode == b"navigate");
        if is_same_origin && is_navigation && all(&ORIGIN, &is_own) {
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

    const OUR_ORIGIN: &str = "https://app.example";
    const OUR_OTHER_ORIGIN: &str = "https://other.example";
    const PAGE: &str = "https://app.example/auth/login?rd=%2F";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a header value"));
        }
        headers
    }

    fn own() -> Origin {
        Origin::parse(OUR_ORIGIN).expect("valid")
    }

    fn hosts() -> Hosts {
        Hosts::new(vec![own(), Origin::parse(OUR_OTHER_ORIGIN).expect("valid")], None, Vec::new())
    }

    /// Tests combinations of `Sec-Fetch-Site` and `Origin`. `tests/routes/csrf.rs` has the other cases, with hosts, tokens and
    /// whole responses.
    #[test]
    fn classifies_senders_by_sec_fetch_site_and_origin() {
        let cases = [
            // Sec-Fetch-Site, Origin, outcome
            (None, None, Ok(Sender::Program)),
            (Some("same-origin"), None, Ok(Sender::SameOrigin)),
            (Some("same-origin"), Some(OUR_ORIGIN), Ok(Sender::SameOrigin)),
            (Some("same-origin"), Some("https://evil.example"), Ok(Sender::Browser)),
            (Some("same-origin"), Some(OUR_OTHER_ORIGIN), Ok(Sender::Browser)),
            (None, Some(OUR_OTHER_ORIGIN), Ok(Sender::Browser)),
            (Some("none"), None, Ok(Sender::Browser)),
            (Some("none"), Some(OUR_ORIGIN), Ok(Sender::Browser)),
            (None, Some(OUR_ORIGIN), Ok(Sender::Browser)),
            (Some("same-site"), Some(OUR_ORIGIN), Err(CrossSite)),
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
    fn refuses_several_fields_if_one_is_refused() {
        for (name, bad) in [("sec-fetch-site", "cross-site"), ("origin", "null")] {
            let good = if name == "origin" { OUR_ORIGIN } else { "same-origin" };
            let fields = [(name, good), (name, bad)];
            assert_eq!(sender(&headers(&fields), &own(), &hosts()), Err(CrossSite), "{name}");
        }
    }

    #[test]
    fn same_origin_requires_agreement_of_all_fields() {
        const SITE: &str = "sec-fetch-site";
        const MODE: &str = "sec-fetch-mode";
        let same = (SITE, "same-origin");
        let navigate = (MODE, "navigate");
        let ours = ("origin", OUR_ORIGIN);
        for (fields, expected) in [
            (&[same, navigate, ours][..], Ok(Sender::SameOrigin)),
            (&[same, same, navigate, navigate, ours, ours], Ok(Sender::SameOrigin)),
            (&[same, navigate], Ok(Sender::SameOrigin)),
            (&[same, ours], Ok(Sender::SameOrigin)),
            (&[navigate, ours], Ok(Sender::Browser)),
            (&[same, (SITE, "none"), navigate, ours], Ok(Sender::Browser)),
            (&[(SITE, "none"), same, navigate, ours], Ok(Sender::Browser)),
            (&[same, navigate, ("origin", "null")], Ok(Sender::Browser)),
            // A form of another site that a service worker forwards: in WebKit, and below in Firefox.
            (&[same, navigate, ("origin", "https://evil.example")], Ok(Sender::Browser)),
            (&[same, navigate, ("origin", OUR_OTHER_ORIGIN)], Ok(Sender::Browser)),
            (&[same, navigate, ours, ("origin", OUR_OTHER_ORIGIN)], Ok(Sender::Browser)),
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
    fn same_origin_requires_a_referer_of_our_pages() {
        for (referers, expected) in [
            (&[PAGE][..], Sender::SameOrigin),
            (&["https://app.example/auth/password"], Sender::SameOrigin),
            (&[], Sender::SameOrigin),
            // A form of another site without `Referer`, which a service worker forwards in WebKit.
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
            let same = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("origin", OUR_ORIGIN)];
            let fields: Vec<_> = same.into_iter().chain(referers.iter().map(|referer| ("referer", *referer))).collect();
            assert_eq!(sender(&headers(&fields), &own(), &hosts()), Ok(expected), "{referers:?}");
        }
    }

    #[test]
    fn checks_the_origin_of_requests_and_websockets_to_an_app() {
        let app = Origin::parse("https://b.example").expect("valid");
        let passes =
            |method: Method, fields: &[(&'static str, &str)]| check_for_app(&method, &headers(fields), &app).is_ok();
        let other = ("origin", OUR_ORIGIN);
        assert!(passes(Method::POST, &[("origin", "https://b.example")]) && passes(Method::POST, &[]));
        assert!(!passes(Method::POST, &[other]), "for an application, another one of our hosts is another site");
        assert!(passes(Method::GET, &[other]));
        for field in [("upgrade", "websocket"), ("sec-websocket-key", "x"), ("sec-fetch-mode", "websocket")] {
            assert!(!passes(Method::GET, &[other, field]), "{field:?}");
            assert!(passes(Method::GET, &[("origin", "https://b.example"), field]), "{field:?}");
        }
        assert!(!passes(Method::DELETE, &[("sec-fetch-site", "same-site"), ("origin", "https://b.example")]));
    }

    #[test]
    fn only_get_and_head_and_preflights_may_come_from_another_site() {
        let app = Origin::parse("https://b.example").expect("valid");
        let other = ("origin", OUR_ORIGIN);
        let requested_method = ("access-control-request-method", "POST");
        for (method, fields, passes) in [
            ("GET", &[other][..], true),
            ("HEAD", &[other], true),
            ("OPTIONS", &[other], false),
            ("OPTIONS", &[("sec-fetch-site", "cross-site")], false),
            ("OPTIONS", &[("sec-fetch-site", "cross-site"), requested_method], false),
            ("OPTIONS", &[other, requested_method], true),
            ("OPTIONS", &[other, requested_method, requested_method], false),
            ("OPTIONS", &[other, other, requested_method], false),
            ("OPTIONS", &[other, ("access-control-request-method", "")], false),
            ("TRACE", &[other], false),
            ("TRACE", &[other, requested_method], false),
            ("QUERY", &[other], false),
            ("QUERY", &[other, requested_method], false),
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
