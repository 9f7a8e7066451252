//! Return URLs: where a browser goes after sign-in, chosen by whoever made the link, so believed only when it stays here.
//!
//! A return URL is a path on the same host. With a cookie domain it may also be an absolute URL of a host below it. Refused is
//! whatever browsers, proxies or apps might read as another host or as a second header field.
//!
//! | refused | because |
//! |---|---|
//! | another host | the link would lead from this site's sign-in page to a copy of the site |
//! | `//`, `/\`, `/%2F` or `/%5C` at the start | browsers, or proxies that decode, read what follows as a host |
//! | a raw backslash in the path | browsers read it as a slash; they never send one there |
//! | dot segments | after `/..` or `/.` is removed, `//` may be the start |
//! | encoded control characters in the path | proxies decode a path and may write it into a field: `%0D%0A` would begin another one |
//! | whatever is not visible ASCII | it cannot stand in a field, and browsers remove tabs and line breaks from a URL |
//!
//! The query and the fragment may have every character that browsers leave as it is there ([URL standard, percent-encode
//! sets](https://url.spec.whatwg.org/#percent-encoded-bytes)): no parser looks for a host in them.

use std::borrow::Cow;
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
        let path = if text.starts_with('/') {
            text
        } else {
            let authority = text.find("://")? + 3;
            let (origin, path) = text.split_at(authority + text[authority..].find('/')?);
            Origin::parse(origin).filter(|origin| origin.is_secure() || origin.is_loopback())?;
            path
        };
        let leads_on = !is_ours(path) || before_query(path) == Self::SESSION;
        (is_path(path) && leads_on).then(|| Self(text.to_owned()))
    }

    /// A page of ours.
    pub(crate) fn own(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// The one in a query, as `rd`. `own` is the origin of the request.
    pub(crate) fn of_query(query: Option<&str>, own: &Origin, hosts: &Hosts) -> Option<Self> {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find_map(|(name, value)| (name == "rd").then(|| Self::parse(&value, own, hosts))).flatten()
    }

    /// Parses the return URL of a request to the origin `own`.
    pub(crate) fn parse(text: &str, own: &Origin, hosts: &Hosts) -> Option<Self> {
        Self::on_host(text, own).or_else(|| {
            let path = path_below_the_domain(text, hosts)?;
            (is_path(path) && is_short(text)).then(|| Self(text.to_owned()))
        })
    }

    /// Parses a return URL on the host of the origin `own`: a path, or an absolute URL, of which the path, query and fragment are kept.
    pub(crate) fn on_host(text: &str, own: &Origin) -> Option<Self> {
        let path = if text.starts_with('/') { Cow::Borrowed(text) } else { path_on_host(text, own)? };
        (is_path(&path) && is_short(&path)).then(|| Self(path.into_owned()))
    }

    /// Returns the path that this is on whatever host, and `None` if it names a host or is a page of ours.
    pub(crate) fn on_any_host(&self) -> Option<Self> {
        (self.0.starts_with('/') && !is_ours(&self.0)).then(|| self.clone())
    }

    /// The address of a page that leads back to `url` in the end, or home.
    pub(crate) fn at_page(page: &str, url: Option<&str>) -> String {
        let Some(url) = url else {
            return page.to_owned();
        };
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

/// The path of an absolute URL, if its host and port are those of `own`. The scheme may be either: a proxy behind another one that
/// ends TLS takes its requests for plain HTTP. The result names no host, so it cannot lead away.
fn path_on_host<'t>(text: &'t str, own: &Origin) -> Option<Cow<'t, str>> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    own.is_named_by(authority.as_bytes()).then_some(path)
}

fn is_short(text: &str) -> bool {
    text.len() <= MAX_BYTES && escaped_length(text) <= MAX_ESCAPED_BYTES
}

/// Returns whether this is a path of ours, whether or not there is a page.
pub(super) fn is_ours(path: &str) -> bool {
    let page = before_query(path);
    page == "/auth" || page.starts_with("/auth/")
}

fn before_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Returns whether this is a path, perhaps with a query and a fragment, and cannot be read as anything else.
fn is_path(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let path = before_query(&lower);
    let dots = |segment: &str| [".", ".."].contains(&segment.replace("%2e", ".").as_str());
    lower.bytes().all(|byte| byte.is_ascii_graphic())
        && path.starts_with('/')
        && !["//", "/%2f", "/%5c"].iter().any(|start| path.starts_with(start))
        && !path.contains('\\')
        && !path.split('/').any(dots)
        && !has_encoded_control(path)
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

    /// Parses what came with a request to the second host.
    fn parse(text: &str, domain: Option<&str>) -> Option<String> {
        let own = Origin::parse("https://auth.example.com:8443").expect("valid");
        ReturnUrl::parse(text, &own, &hosts(domain)).map(|url| url.to_string())
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
            assert_eq!(parse(good, None).as_deref(), Some(good));
        }
    }

    /// The query and fragment percent-encode sets of the URL standard are all that a browser encodes there.
    #[test]
    fn a_query_or_fragment_may_have_what_browsers_send() {
        let left = |encoded: &str| -> Vec<String> {
            let left = (0x21..0x7f).map(char::from).filter(|character| !encoded.contains(*character));
            left.map(String::from).collect()
        };
        let controls = (0..0x20).chain([0x7f]).flat_map(|byte| [format!("%{byte:02x}"), format!("%{byte:02X}")]);
        let controls: Vec<_> = controls.collect();
        for (start, characters) in [("/a?", left("\"#<>")), ("/?", left("\"#<>'")), ("/a#", left("\"<>`"))] {
            assert!(characters.contains(&"\\".to_owned()));
            for text in characters.iter().chain(&controls).map(String::as_str).chain(["%", "%zz", "%5c", "%2F%2f"]) {
                for url in [
                    format!("{start}{text}"),
                    format!("{start}{text}{text}evil.example/../x"),
                    format!("{start}b={text}"),
                ] {
                    assert_eq!(parse(&url, None).as_deref(), Some(&*url));
                    let below = format!("https://app.example.com{url}");
                    assert_eq!(parse(&below, Some("example.com")).as_deref(), Some(&*below));
                }
            }
        }
    }

    #[test]
    fn of_the_own_host_only_the_path_is_kept() {
        for domain in [None, Some("example.com")] {
            for (absolute, path) in [
                ("https://auth.example.com:8443/", "/"),
                ("http://auth.example.com:8443/a/b?c=d&e=%20#f", "/a/b?c=d&e=%20#f"),
                ("https://AUTH.example.com:8443/A", "/A"),
                ("https://auth.example.com:8443", "/"),
                ("https://auth.example.com:8443?a=/b", "/?a=/b"),
                ("https://auth.example.com:8443#a", "/#a"),
            ] {
                assert_eq!(parse(absolute, domain).as_deref(), Some(path), "{absolute}");
            }
            for bad in [
                "http://auth.example.com/",
                "https://evil.example/@auth.example.com:8443/",
                "https://user@auth.example.com:8443/",
                "https://user:password@auth.example.com:8443/",
                "https://auth.example.com:8443@evil.example/",
                "https://auth.example.com:8443.evil.example/",
                "https://auth.example.com:8443\\@evil.example/",
                "https://auth.example.com:8443\\a",
                "https://auth.example.com:08443/",
                "https://auth.example.com.:8443/",
                "https:///auth.example.com:8443/",
                "https:/auth.example.com:8443/",
                "https:auth.example.com:8443/",
                "//auth.example.com:8443/",
                "HTTPS://auth.example.com:8443/",
                "ftp://auth.example.com:8443/",
                "wss://auth.example.com:8443/",
                "https://auth.example.com:8443//evil.example",
                "https://auth.example.com:8443/\\evil.example",
                "https://auth.example.com:8443/%2fevil.example",
                "https://auth.example.com:8443/%5cevil.example",
                "https://auth.example.com:8443/..//evil.example",
                "https://auth.example.com:8443/a%0d%0ab",
                "https://auth.example.com:8443/a b",
                " https://auth.example.com:8443/",
            ] {
                assert_eq!(parse(bad, domain), None, "{bad}");
            }
        }
        let default_port = Origin::parse("https://app.example.com").expect("valid");
        for (absolute, path) in [
            ("http://app.example.com/x", Some("/x")),
            ("http://app.example.com:443/x", Some("/x")),
            ("http://app.example.com:80/x", None),
        ] {
            let parsed = ReturnUrl::parse(absolute, &default_port, &hosts(None));
            assert_eq!(parsed.as_ref().map(ReturnUrl::as_str), path, "{absolute}");
        }
    }

    #[test]
    fn the_length_counts_without_the_own_host() {
        let longest = format!("/{}", "x".repeat(MAX_BYTES - 1));
        assert_eq!(parse(&format!("https://auth.example.com:8443{longest}"), None), Some(longest.clone()));
        assert_eq!(parse(&format!("https://auth.example.com:8443{longest}x"), None), None);
        assert_eq!(parse(&format!("https://app.example.com{longest}"), Some("example.com")), None);
    }

    #[test]
    fn home_is_a_path_or_a_page_that_is_reached_safely() {
        for good in [
            "/",
            "/app?x=\\%0a#y",
            "/auth/status",
            "/auth/status?x",
            "/authors",
            "https://app.example.com/",
            "https://app.example.com:8443/a?b#c",
            "http://localhost:3000/",
            "http://127.0.0.1/",
        ] {
            assert_eq!(ReturnUrl::home(good).as_ref().map(ReturnUrl::as_str), Some(good));
        }
        for bad in [
            "",
            "app",
            "app.example.com",
            "app.example.com/",
            "//app.example.com/",
            "/\\app.example.com",
            "/a/../b",
            "/a b",
            "/a%0d%0ab",
            "/\u{e9}",
            "/auth",
            "/auth/",
            "/auth/login",
            "/auth/login?rd=/",
            "/auth/status/",
            "https://app.example.com",
            "https://app.example.com?a",
            "https://app.example.com/auth/login",
            "https://app.example.com//a",
            "https://app.example.com/a b",
            "https://user@app.example.com/",
            "https://app.example.com\\/",
            "https:///a",
            "http://app.example.com/",
            "ftp://app.example.com/",
            "javascript:alert(1)",
            "javascript://app.example.com/%0aalert(1)",
        ] {
            assert_eq!(ReturnUrl::home(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn one_that_html_makes_much_longer_is_refused() {
        for special in ["\"", "&", "'", "<", ">"] {
            let most = format!("/{}{}", "x".repeat(MAX_BYTES - 1 - 128), special.repeat(128));
            let [fits, too_long] = [most.clone(), most.replacen('x', special, 1)];
            assert!(parse(&fits, None).is_some(), "{special}");
            assert_eq!(parse(&too_long, None), None, "{special}");
            assert_eq!(parse(&format!("/{}", special.repeat(MAX_BYTES - 1)), None), None);
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
            "/a%0d?b",
            "/a\\b?c",
            "/a\\b#c",
            "/\u{e9}",
            "/a\u{0}",
            "/\u{2028}",
            "\u{ff0f}\u{ff0f}evil.example",
            &long,
        ] {
            assert_eq!(parse(bad, None), None, "{bad:?}");
        }
    }

    #[test]
    fn with_a_cookie_domain_hosts_below_it_are_here_too() {
        let domain = Some("example.com");
        for good in [
            "/a",
            "https://app.example.com/",
            "https://other.example.com/x?y",
            "https://auth.example.com/x",
            "https://example.com/",
        ] {
            assert_eq!(parse(good, domain).as_deref(), Some(good));
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
            assert_eq!(parse(bad, domain), None, "{bad}");
        }
    }
}
