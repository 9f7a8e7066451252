//! Origins (RFC 6454): where browsers reach us, and the apps beside us.

use std::fmt;

/// Hosts of this machine by name and address.
pub(crate) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    /// Host and port as browsers write them: without the default port.
    authority: String,
    /// Host and port, the default one too.
    authority_with_port: String,
}

impl Origin {
    /// Returns the origin of a host, which is in lower case; an IPv6 address is in brackets. Without a port, it has the default one.
    pub(crate) fn new(secure: bool, host: String, port: Option<u16>) -> Self {
        let default_port = if secure { 443 } else { 80 };
        let port = port.unwrap_or(default_port);
        let authority_with_port = format!("{host}:{port}");
        let authority = if port == default_port { host.clone() } else { authority_with_port.clone() };
        Self { secure, host, authority, authority_with_port }
    }

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
        Some(Self::new(secure, host, port))
    }

    /// Whether it is reached over TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is on this machine by its name, which browsers trust as if it had TLS (W3C Secure Contexts, section 3.1).
    pub(crate) fn is_loopback(&self) -> bool {
        LOOPBACK.contains(&self.host.as_str()) || self.host.ends_with(".localhost")
    }

    /// In lower case, without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Host and port as browsers write them: without the default port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns whether a request's authority is this origin's, in any case of letters; the default port may be written out.
    pub(crate) fn is_named_by(&self, authority: &[u8]) -> bool {
        // The first comparison is the fastest, and true for nearly every request.
        authority == self.authority.as_bytes()
            || authority.eq_ignore_ascii_case(self.authority.as_bytes())
            || authority.eq_ignore_ascii_case(self.authority_with_port.as_bytes())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.secure { "s" } else { "" }, self.authority)
    }
}

/// Splits a host and an optional port.
pub(crate) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => {
            // No sign and no leading zeros.
            let port = digits.parse::<u16>().ok().filter(|port| port.to_string() == digits)?;
            Some((host, Some(port)))
        }
        _ => Some((authority, None)),
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
}
