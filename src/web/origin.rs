//! Origins (RFC 6454): where browsers reach us, and the apps beside us.

use std::fmt;

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
    /// Host and port as browsers write them.
    authority: String,
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
        let port = port.filter(|port| *port != default_port);
        let authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        Some(Self { secure, host, port, authority })
    }

    /// Whether it is reached over TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is on this machine by its name, which browsers trust as if it had TLS (W3C Secure Contexts, section 3.1).
    pub(crate) fn is_loopback(&self) -> bool {
        ["localhost", "127.0.0.1", "[::1]"].contains(&self.host.as_str()) || self.host.ends_with(".localhost")
    }

    /// In lower case, without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether a request's authority is this origin's; the default port may be written out.
    pub(crate) fn is_named_by(&self, authority: &[u8]) -> bool {
        authority == self.authority.as_bytes() || self.is_spelled(authority)
    }

    /// Whether it is named in any way that is allowed.
    fn is_spelled(&self, authority: &[u8]) -> bool {
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
        write!(f, "http{}://{}", if self.secure { "s" } else { "" }, self.authority)
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
}
