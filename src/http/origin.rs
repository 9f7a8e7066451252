//! Origins: where browsers reach us, and which authority a request may name.
//!
//! A request names one authority: the `Host` field, or `:authority` in HTTP/2 (RFC 9110 section 7.2). It must be that of a
//! configured origin, exactly; Salvo checks neither their number nor their value.

use std::fmt;

use salvo::http::header::{HOST, HeaderMap};
use salvo::http::uri::Uri;

use crate::id::Site;

/// A scheme, a host and a port (RFC 6454), and the site that its sessions belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
    site: Site,
}

impl Origin {
    /// Parses `https://host[:port]`, as browsers write an `Origin` (lower case, no default port); a longer spelling of the same
    /// origin is accepted too.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        let named = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if host.is_empty() || !(named || address.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())) {
            return None;
        }
        let default_port = if secure { 443 } else { 80 };
        let site = Site::of_host(&host);
        Some(Self { secure, host, port: port.filter(|port| *port != default_port), site })
    }

    /// Whether browsers and curl send Secure cookies here: https, or a loopback host.
    pub(crate) fn keeps_secure_cookies(&self) -> bool {
        self.secure || ["localhost", "127.0.0.1", "[::1]"].contains(&self.host.as_str())
    }

    /// The site of its sessions.
    pub(crate) const fn site(&self) -> Site {
        self.site
    }

    /// Whether a request's authority is this origin's; the default port may be written out.
    fn is_named_by(&self, authority: &[u8]) -> bool {
        let Some(rest) = authority.get(self.host.len()..) else {
            return false;
        };
        authority[..self.host.len()].eq_ignore_ascii_case(self.host.as_bytes())
            && match (self.port, rest) {
                (None, b"") => true,
                (None, rest) => rest == if self.secure { b":443".as_slice() } else { b":80" },
                (Some(port), rest) => rest.strip_prefix(b":").is_some_and(|digits| is_decimal(digits, port)),
            }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.secure { "s" } else { "" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The origins that are served.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<Origin>);

/// Why a request's authority is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadAuthority {
    /// None, several, or two that differ.
    NotOne,
    /// Not one that is served here.
    Foreign,
}

impl Origins {
    pub(crate) const fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// The first, for showing.
    pub(crate) fn first(&self) -> Option<&Origin> {
        self.0.first()
    }

    /// The origin whose authority the request names.
    pub(crate) fn of_request(&self, uri: &Uri, headers: &HeaderMap) -> Result<&Origin, BadAuthority> {
        let mut hosts = headers.get_all(HOST).iter();
        let authority = match (uri.authority(), hosts.next(), hosts.next()) {
            (None, Some(host), None) => host.as_bytes(),
            (Some(authority), None, None) => authority.as_str().as_bytes(),
            (Some(authority), Some(host), None)
                if authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
            {
                host.as_bytes()
            }
            _ => return Err(BadAuthority::NotOne),
        };
        self.0.iter().find(|origin| origin.is_named_by(authority)).ok_or(BadAuthority::Foreign)
    }

    /// Whether an `Origin` field's value is exactly one of these.
    pub(crate) fn contains(&self, value: &[u8]) -> bool {
        self.0.iter().any(|origin| origin.to_string().as_bytes() == value)
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => {
            let port = digits.parse::<u16>().ok().filter(|port| is_decimal(digits.as_bytes(), *port))?;
            Some((host, Some(port)))
        }
        _ => Some((authority, None)),
    }
}

/// Whether the digits are the number, written without sign or leading zeros.
fn is_decimal(digits: &[u8], number: u16) -> bool {
    let mut rest = number;
    let mut digits = digits.iter().rev();
    loop {
        if digits.next().is_none_or(|digit| u16::from(digit.wrapping_sub(b'0')) != rest % 10) {
            return false;
        }
        rest /= 10;
        if rest == 0 {
            return digits.next().is_none();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_browsers_call_an_origin_and_nothing_else() {
        for (text, printed) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()).as_deref(), Some(printed));
        }
        for text in [
            "",
            "app.example.com",
            "ftp://x",
            "https://",
            "https://a/",
            "https://a b",
            "https://a:",
            "https://a:0x1",
            "https://a:+1",
            "https://a:01",
            "https://a:65536",
            "https://u@a",
            "https://[::1",
            "https://[x]",
            "https://a?b",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_names_exactly_one_authority_that_is_served() {
        let origins =
            ["https://app.example.com", "http://localhost:8080"].map(|text| Origin::parse(text).expect("valid"));
        let origins = Origins::new(origins.to_vec());
        let ask = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, host.parse().expect("a header value"));
            }
            origins.of_request(&uri.parse().expect("a target"), &headers).map(ToString::to_string)
        };
        let app = Ok("https://app.example.com".to_owned());
        assert_eq!(ask("/x", &["app.example.com"]), app);
        assert_eq!(ask("/x", &["APP.example.com:443"]), app);
        assert_eq!(ask("https://app.example.com/x", &[]), app);
        assert_eq!(ask("https://app.example.com/x", &["app.example.com"]), app);
        assert_eq!(ask("/x", &["localhost:8080"]), Ok("http://localhost:8080".to_owned()));
        for (uri, hosts) in [
            ("/x", &[][..]),
            ("/x", &["app.example.com", "app.example.com"]),
            ("https://app.example.com/x", &["localhost:8080"]),
        ] {
            assert_eq!(ask(uri, hosts), Err(BadAuthority::NotOne), "{uri} {hosts:?}");
        }
        for host in [
            "",
            "app.example.com:80",
            "app.example.com:0443",
            "app.example.com.",
            "localhost",
            "localhost:808",
            "localhost:80800",
            "xapp.example.com",
        ] {
            assert_eq!(ask("/x", &[host]), Err(BadAuthority::Foreign), "{host}");
        }
    }

    #[test]
    fn an_origin_field_must_match_to_the_byte() {
        let origins = Origins::new(vec![Origin::parse("https://a.example").expect("valid")]);
        assert!(origins.contains(b"https://a.example"));
        for value in
            ["null", "", "https://a.example:443", "https://a.example/", "http://a.example", "https://A.example"]
        {
            assert!(!origins.contains(value.as_bytes()), "{value}");
        }
    }
}
