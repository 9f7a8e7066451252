//! Recognizes whether a browser will show the response as a page, or whether a script or a program sent the request. Reads
//! `Referer`.

use salvo::http::header::{ACCEPT, HeaderMap, HeaderName, REFERER};

use crate::web::origin::Origin;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Returns whether the browser will show the response as a page, according to [Fetch
/// Metadata](https://www.w3.org/TR/fetch-metadata/). A request without these fields is for a page if its `Accept` contains
/// `text/html`.
///
/// Two types of requests need both Fetch Metadata and `Accept`. `<a download>` saves the response as a file, so it must not get
/// the login page. And a service worker that responds to a navigation with `fetch(event.request)` changes the fields of the
/// navigation. The table was measured in November 2026 with Chromium 156, Firefox 153 and WebKitGTK 2.50. In it, `html` stands
/// for an `Accept` that contains `text/html`:
///
/// | request | Chromium | Firefox | WebKitGTK |
/// |---|---|---|---|
/// | navigation | `navigate`, `document`, html | `navigate`, `document`, html | `navigate`, `document`, html |
/// | navigation through a worker | `navigate`, `empty`, html | `same-origin`, `empty`, html | `navigate`, `empty`, html |
/// | `<a download>` | `navigate`, `empty`, no `Accept` | `navigate`, `document`, html | no fields, html |
///
/// So downloads in Firefox and WebKitGTK cannot be distinguished from navigations. `Upgrade-Insecure-Requests` does not help:
/// WebKitGTK sends it over plain HTTP only. The `fetch` of a script has another mode unless the script sets `same-origin`, and
/// then its `Accept` is `*/*`.
pub(crate) fn is_navigation(headers: &HeaderMap) -> bool {
    let mut accepts_html = false;
    // A request has few fields, so one pass over all of them costs less than two lookups.
    for (name, value) in headers {
        if *name == SEC_FETCH_MODE {
            return match value.as_bytes() {
                // Browsers send `Accept` before this field, so most navigations return here without another lookup.
                b"navigate" => accepts_html || is_page(headers),
                b"same-origin" => accepts_html || has_html_accept(headers),
                _ => false,
            };
        }
        accepts_html |= *name == ACCEPT && names_html(value.as_bytes());
    }
    accepts_html
}

/// Returns whether a request in the mode `navigate` is for a page, and not for a file to be saved.
#[cold]
fn is_page(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_DEST).is_none_or(|destination| destination != "empty") || has_html_accept(headers)
}

/// Returns whether an `Accept` field contains `text/html`.
#[cold]
fn has_html_accept(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| names_html(accept.as_bytes()))
}

fn names_html(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let range = range.split(|byte| *byte == b';').next().unwrap_or_default();
        range.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// Returns path and query of the page that sent a request, according to `Referer` ([RFC 9110 section
/// 10.1.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.3)). Returns `None` unless there is exactly one such field, and
/// its origin is `own_origin`. Use the result only to choose redirects and texts of pages, because a client can send any value.
pub(crate) fn referer<'h>(headers: &'h HeaderMap, own_origin: &Origin) -> Option<&'h str> {
    let mut fields = headers.get_all(REFERER).iter();
    let (Some(referer), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let path = referer.to_str().ok()?.strip_prefix(&own_origin.to_string())?;
    path.split('#').next().filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: Option<&str> = Some("text/html,application/xhtml+xml,*/*;q=0.8");

    /// Returns the result of [`is_navigation`], which must not depend on the order of the fields.
    fn navigates(mode: Option<&str>, destination: Option<&str>, accept: Option<&str>) -> bool {
        let fields = [(ACCEPT, accept), (SEC_FETCH_DEST, destination), (SEC_FETCH_MODE, mode)];
        let present =
            fields.into_iter().filter_map(|(name, value)| Some((name, value?.parse().expect("a header value"))));
        let in_order: Vec<_> = present.collect();
        let first = is_navigation(&in_order.iter().cloned().collect());
        let second = is_navigation(&in_order.into_iter().rev().collect());
        assert_eq!(first, second, "{mode:?} {destination:?} {accept:?}");
        first
    }

    #[test]
    fn fetch_metadata_decides_before_the_accept_field() {
        for (mode, accept, expected) in [
            (Some("navigate"), HTML, true),
            (Some("navigate"), None, true),
            (Some("cors"), HTML, false),
            (Some("no-cors"), HTML, false),
            (Some("websocket"), None, false),
            (Some("NAVIGATE"), HTML, false),
            (None, HTML, true),
            (None, Some("application/json, TEXT/HTML;q=0.5"), true),
            (None, Some("*/*"), false),
            (None, Some("text/htmlx"), false),
            (None, Some("application/json"), false),
            (None, None, false),
        ] {
            assert_eq!(navigates(mode, None, accept), expected, "{mode:?} {accept:?}");
        }
    }

    #[test]
    fn a_worker_navigates_and_a_download_does_not() {
        for (request, mode, destination, accept, expected) in [
            ("a link", Some("navigate"), Some("document"), HTML, true),
            ("a frame", Some("navigate"), Some("iframe"), HTML, true),
            ("a link without Accept", Some("navigate"), Some("document"), None, true),
            ("through a worker", Some("navigate"), Some("empty"), HTML, true),
            ("through a worker in Firefox", Some("same-origin"), Some("empty"), HTML, true),
            ("a download in Chromium", Some("navigate"), Some("empty"), None, false),
            ("a download of any type", Some("navigate"), Some("empty"), Some("*/*"), false),
            ("fetch() for the same origin", Some("same-origin"), Some("empty"), Some("*/*"), false),
            ("a script of a worker", Some("same-origin"), Some("worker"), Some("*/*"), false),
            ("fetch() for HTML", Some("cors"), Some("empty"), HTML, false),
        ] {
            assert_eq!(navigates(mode, destination, accept), expected, "{request}");
        }
    }

    #[test]
    fn accepts_only_a_referer_of_the_same_origin() {
        let own = Origin::parse("https://app.example.com").expect("an origin");
        for (fields, expected) in [
            (&["https://app.example.com/a?b=c"][..], Some("/a?b=c")),
            (&["https://app.example.com/a#b"], Some("/a")),
            (&["https://app.example.com/"], Some("/")),
            (&["https://app.example.com"], None),
            (&["https://app.example.com.evil.example/"], None),
            (&["https://app.example.com:8443/"], None),
            (&["https://app.example.com@evil.example/"], None),
            (&["http://app.example.com/"], None),
            (&["/a"], None),
            (&[""], None),
            (&[], None),
            (&["https://app.example.com/a", "https://app.example.com/a"], None),
        ] {
            let headers = fields.iter().map(|field| (REFERER, field.parse().expect("a header value"))).collect();
            assert_eq!(referer(&headers, &own), expected, "{fields:?}");
        }
    }
}
