//! Origins ([RFC 6454](https://www.rfc-editor.org/rfc/rfc6454)) under which browsers reach the server and the protected
//! applications.

use std::fmt;

/// Loopback names and addresses of this machine.
pub(crate) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    is_secure: bool,
    /// Host in lower case. An IPv6 address is in brackets.
    host: String,
    /// Host and port in the notation of browsers: without the default port.
    authority: String,
    /// Host and port, including the default port.
    authority_with_port: String,
}

impl Origin {
    /// Creates an origin. The host must be in lower case, and an IPv6 address in brackets. `None` is the default port of the
    /// scheme.
    pub(crate) fn new(is_secure: bool, host: String, port: Option<u16>) -> Self {
        let default_port = if is_secure { 443 } else { 80 };
        let port = port.unwrap_or(default_port);
        let authority_with_port = format!("{host}:{port}");
        let authority = if port == default_port { host.clone() } else { authority_with_port.clone() };
        Self { is_secure, host, authority, authority_with_port }
    }

    /// Parses `https://host[:port]`, the notation of browsers in `Origin` (lower case, no default port). Also accepts capital
    /// letters and the default port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let ipv6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if host.is_empty() || !(is_name || ipv6.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())) {
            return None;
        }
        Some(Self::new(is_secure, host, port))
    }

    /// Returns whether browsers reach the origin over TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns whether the host is a loopback name or address. Browsers trust such an origin as if it had TLS ([Secure Contexts,
    /// section 3.1](https://www.w3.org/TR/secure-contexts/#is-origin-trustworthy)).
    pub(crate) fn is_loopback(&self) -> bool {
        LOOPBACK.contains(&self.host.as_str()) || self.host.ends_with(".localhost")
    }

    /// Returns the host in lower case, without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns host and port in the notation of browsers: without the default port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns whether the authority of a request is the authority of this origin. The comparison ignores case, and the default
    /// port may be present.
    pub(crate) fn is_named_by(&self, authority: &[u8]) -> bool {
        // The first comparison is the fastest, and true for nearly every request.
        authority == self.authority.as_bytes()
            || authority.eq_ignore_ascii_case(self.authority.as_bytes())
            || authority.eq_ignore_ascii_case(self.authority_with_port.as_bytes())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.is_secure { "s" } else { "" }, self.authority)
    }
}

/// Splits an authority into its host and an optional port. Returns `None` if the port is invalid.
pub(crate) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => {
            // `parse` accepts a sign and leading zeros, which are not allowed here.
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
    fn parses_only_origins_as_browsers_write_them() {
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
