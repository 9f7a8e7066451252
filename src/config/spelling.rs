//! Origins and hosts in the spelling of browsers, for messages about those that are written otherwise.
//!
//! Browsers send a host in ASCII ([Punycode](https://www.rfc-editor.org/rfc/rfc3492)), and an origin without a path. The settings have
//! exactly that, so that one can compare them with what a browser, a proxy or a log shows.

use url::{Host, Url};

use crate::web::origin::Origin;

/// Returns the origin that an address probably means: of a page, or without a scheme.
pub(super) fn origin(text: &str) -> Option<Origin> {
    let text = text.trim();
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("https://{text}")) };
    Origin::parse(&url.ok()?.origin().ascii_serialization())
}

/// Returns the name of a host that a text probably means.
pub(super) fn host(text: &str) -> Option<String> {
    match Host::parse(text.trim().trim_matches('.')) {
        Ok(Host::Domain(name)) => Some(name),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_origin_that_was_meant() {
        for (text, meant) in [
            ("https://bücher.example", Some("https://xn--bcher-kva.example")),
            ("https://BÜCHER.example:443/", Some("https://xn--bcher-kva.example")),
            ("https://app.example.com/", Some("https://app.example.com")),
            ("https://app.example.com/path?query#part", Some("https://app.example.com")),
            ("https://user:password@app.example.com:8443", Some("https://app.example.com:8443")),
            ("http://localhost:8080/", Some("http://localhost:8080")),
            (" https://app.example.com ", Some("https://app.example.com")),
            ("app.example.com", Some("https://app.example.com")),
            ("app.example.com:8443/", Some("https://app.example.com:8443")),
            ("https://*.example.com", None),
            ("ftp://app.example.com", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(origin(text).map(|origin| origin.to_string()).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn finds_the_host_that_was_meant() {
        for (text, meant) in [
            ("bücher.example", Some("xn--bcher-kva.example")),
            (".example.com", Some("example.com")),
            ("Example.com.", Some("example.com")),
            ("10.0.0.1", None),
            ("a b", None),
        ] {
            assert_eq!(host(text).as_deref(), meant, "{text}");
        }
    }
}
