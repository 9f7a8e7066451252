//! Return URLs: where a browser goes after sign-in, chosen by whoever made the link, so believed only when it stays here.
//!
//! A return URL is a path on the same host. With a cookie domain it may also be an absolute URL of a host below it. Refused is
//! whatever browsers, proxies or apps might read as another host or as a second header field.

use std::fmt;

use crate::web::hosts::Hosts;
use crate::web::origin::Origin;

/// Maximum length in bytes.
const MAX_BYTES: usize = 2048;
/// Maximum length in bytes as it stands in a page, where each character that HTML escapes takes five. So a short link cannot ask for
/// a long page.
const MAX_ESCAPED_BYTES: usize = MAX_BYTES + 512;

/// A checked return URL: visible ASCII, fit for a `Location` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnUrl(String);

impl ReturnUrl {
    /// The page of the session.
    pub(crate) const SESSION: &str = "/auth/status";

    /// Parses the operator's choice of the page to go to if no return URL was given: a path, or the URL of any page over HTTPS, or
    /// over plain HTTP on this machine. A page of ours other than that of the session leads nowhere.
    pub(crate) fn home(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let path = if text.starts_with('/') {
            text
        } else {
            let authority = text.find("://")? + 3;
            let (origin, path) = text.split_at(authority + text[authority..].find('/')?);
            Origin::parse(origin).filter(|origin| origin.is_secure() || origin.is_loopback())?;
            path
        };
        let page = path.split(['?', '#']).next()?;
        let is_ours = page == "/auth" || page.starts_with("/auth/");
        (is_path(path) && (!is_ours || page == Self::SESSION)).then(|| Self(text.to_owned()))
    }

    /// A page of ours.
    pub(crate) fn own(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// The one in a query, as `rd`.
    pub(crate) fn of_query(query: Option<&str>, hosts: &Hosts) -> Option<Self> {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find_map(|(name, value)| (name == "rd").then(|| Self::parse(&value, hosts))).flatten()
    }

    pub(crate) fn parse(text: &str, hosts: &Hosts) -> Option<Self> {
        let is_short = text.len() <= MAX_BYTES && escaped_length(text) <= MAX_ESCAPED_BYTES;
        if !is_short || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let path = if text.starts_with('/') { text } else { path_below_the_domain(text, hosts)? };
        is_path(path).then(|| Self(text.to_owned()))
    }

    /// The address of a page that leads back to `url` in the end.
    pub(crate) fn at_page(page: &str, url: &str) -> String {
        let rd: String = form_urlencoded::byte_serialize(url.as_bytes()).collect();
        format!("{page}?rd={rd}")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReturnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The length in a page.
fn escaped_length(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'"' | b'&' | b'\'' | b'<' | b'>') { 5 } else { 1 }).sum()
}

/// The path of an absolute URL, if the cookie's domain covers its host.
fn path_below_the_domain<'t>(text: &'t str, hosts: &Hosts) -> Option<&'t str> {
    hosts.domain()?;
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let origin = &hosts.protected(authority.as_bytes())?.origin;
    origin.to_string().starts_with(&format!("{scheme}://")).then_some(path)
}

/// One slash and no second; no dot segment; no encoded control character anywhere, no encoded slash where a host would be.
fn is_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let (before_query, _) = lower.split_once(['?', '#']).unwrap_or((&lower, ""));
    let dots = |segment: &str| [".", ".."].contains(&segment.replace("%2e", ".").as_str());
    lower.starts_with('/')
        && !["//", "/%2f", "/%5c"].iter().any(|start| lower.starts_with(start))
        && !before_query.split('/').any(dots)
        && !has_encoded_control(&lower)
}

fn has_encoded_control(lower: &str) -> bool {
    lower.as_bytes().windows(3).any(|triplet| match triplet {
        [b'%', b'0' | b'1', digit] => digit.is_ascii_hexdigit(),
        [b'%', b'7', b'f'] => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::hosts::Domain;

    fn hosts(domain: Option<&str>) -> Hosts {
        let origins = ["https://app.example.com", "https://auth.example.com:8443"];
        let origins = origins.map(|text| Origin::parse(text).expect("valid")).to_vec();
        Hosts::new(origins, domain.and_then(Domain::parse), Vec::new())
    }

    #[test]
    fn a_path_of_this_host_is_kept_as_it_is() {
        let long = format!("/{}", "x".repeat(MAX_BYTES - 1));
        for good in [
            "/",
            "/a",
            "/a/b?c=d&e=%2Ff",
            "/a?next=//evil.example",
            "/a?next=https://evil.example/",
            "/a//b",
            "/a:b@c",
            "/.well-known/x",
            "/a/%2e%2ex",
            "/%E2%82%AC#top",
            "/a%20b",
            "/a\"<>'`{|}",
            &long,
        ] {
            assert_eq!(ReturnUrl::parse(good, &hosts(None)).as_ref().map(ReturnUrl::as_str), Some(good));
        }
    }

    #[test]
    fn one_that_html_makes_much_longer_is_refused() {
        for special in ["\"", "&", "'", "<", ">"] {
            let most = format!("/{}{}", "x".repeat(MAX_BYTES - 1 - 128), special.repeat(128));
            let [fits, too_long] = [most.clone(), most.replacen('x', special, 1)];
            assert!(ReturnUrl::parse(&fits, &hosts(None)).is_some(), "{special}");
            assert_eq!(ReturnUrl::parse(&too_long, &hosts(None)), None, "{special}");
            assert_eq!(ReturnUrl::parse(&format!("/{}", special.repeat(MAX_BYTES - 1)), &hosts(None)), None);
        }
    }

    #[test]
    fn its_length_in_a_page_is_what_the_template_engine_writes() {
        use askama::filters::{Html, escape};
        let every: String = (0x21..0x7f).map(char::from).collect();
        let written = escape(&every, Html).expect("a filter that cannot fail").to_string();
        assert_eq!(escaped_length(&every), written.len());
    }

    #[test]
    fn refuses_what_may_be_read_as_another_host_or_a_second_field() {
        let long = format!("/{}", "x".repeat(MAX_BYTES));
        for bad in [
            "",
            "a",
            "?a",
            "#a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "/a\\b",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/%2e//evil.example",
            "/a/../..//evil.example",
            "/a/%2E%2e/b",
            "https:evil.example",
            "https:/evil.example",
            "https://evil.example",
            "https://app.example.com",
            "https://app.example.com/",
            "https://good@evil.example/",
            "http://evil.example/",
            "HTTPS://evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://evil.example/",
            " /a",
            "/a b",
            "/a\r\nSet-Cookie: x=y",
            "/a\nb",
            "/a\tb",
            "\t/a",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a%0d%0aSet-Cookie:%20x=y",
            "/a%0Ab",
            "/a%09b",
            "/a%00",
            "/a%1f",
            "/a%7F",
            "/a?b=%0d%0a",
            "/\u{e9}",
            "/a\u{0}",
            "/\u{2028}",
            "\u{ff0f}\u{ff0f}evil.example",
            &long,
        ] {
            assert_eq!(ReturnUrl::parse(bad, &hosts(None)), None, "{bad:?}");
        }
    }

    #[test]
    fn with_a_cookie_domain_hosts_below_it_are_here_too() {
        let hosts = hosts(Some("example.com"));
        for good in [
            "/a",
            "https://app.example.com/",
            "https://other.example.com/x?y",
            "https://auth.example.com:8443/x",
            "https://example.com/",
        ] {
            assert!(ReturnUrl::parse(good, &hosts).is_some(), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "https://badexample.com/",
            "https://example.com.evil.example/",
            "https://good@evil.example/",
            "https://evil.example/@app.example.com/",
            "https://user@app.example.com/",
            "https://app.example.com\\@evil.example/",
            "https://app.example.com",
            "https://app.example.com?x",
            "https://app.example.com#/",
            "http://app.example.com/",
            "https:app.example.com/",
            "https://app.example.com//%0d%0a",
            "//app.example.com/",
        ] {
            assert_eq!(ReturnUrl::parse(bad, &hosts), None, "{bad}");
        }
    }
}
