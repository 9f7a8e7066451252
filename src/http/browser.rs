//! Who is asking: a person before a browser window, or a program.

use salvo::http::header::{ACCEPT, HeaderMap, HeaderName};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether the answer will be shown as a page: the browser says that it navigates (W3C Fetch Metadata), or, where it says
/// nothing of the kind, it asks for HTML.
pub(crate) fn is_navigation(headers: &HeaderMap) -> bool {
    let mut accepts_html = false;
    // To look at all of the few fields costs less than to look two up.
    for (name, value) in headers {
        if *name == SEC_FETCH_MODE {
            return value == "navigate";
        }
        accepts_html |= *name == ACCEPT && names_html(value.as_bytes());
    }
    accepts_html
}

fn names_html(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let range = range.split(|byte| *byte == b';').next().unwrap_or_default();
        range.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetch_metadata_decides_and_else_the_accept_field() {
        const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (mode, accept, navigates) in [
            (Some("navigate"), Some(HTML), true),
            (Some("navigate"), None, true),
            (Some("cors"), Some(HTML), false),
            (Some("no-cors"), Some(HTML), false),
            (Some("websocket"), None, false),
            (None, Some(HTML), true),
            (None, Some("application/json, TEXT/HTML;q=0.5"), true),
            (None, Some("*/*"), false),
            (None, Some("text/htmlx"), false),
            (None, Some("application/json"), false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(SEC_FETCH_MODE, mode), (ACCEPT, accept)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("a header value"));
                }
            }
            assert_eq!(is_navigation(&headers), navigates, "{mode:?} {accept:?}");
        }
    }
}
