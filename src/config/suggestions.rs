//! Suggests the correct spelling of an origin or a host, for error messages.
//!
//! Browsers send a host in ASCII ([Punycode](https://www.rfc-editor.org/rfc/rfc3492)), and an origin without a path.
//! The settings must have exactly this spelling, so that an operator can compare them with the output of a browser, a
//! proxy or a log.

use url::{Host, Url};

use crate::web::origin::Origin;

/// Returns the origin that was probably intended. The text may be the URL of a page, or have no scheme.
pub(super) fn origin(text: &str) -> Option<Origin> {
    let text = text.trim();
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("https://{text}")) };
    Origin::parse(&url.ok()?.origin().ascii_serialization())
}

/// Returns the name of the host that was probably intended.
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
    fn suggests_the_intended_origin() {
        for (text, expected) in [
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
            assert_eq!(origin(text).map(|origin| origin.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn suggests_the_intended_host() {
        for (text, expected) in [
            ("bücher.example", Some("xn--bcher-kva.example")),
            (".example.com", Some("example.com")),
            ("Example.com.", Some("example.com")),
            ("10.0.0.1", None),
            ("a b", None),
        ] {
            assert_eq!(host(text).as_deref(), expected, "{text}");
        }
    }
}
