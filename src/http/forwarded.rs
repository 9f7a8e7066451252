//! Forwarded header fields: the client, method, host and target of a client's request, as a trusted proxy reports them.
//!
//! A client can send these fields too, so they are accepted only from the configured proxies. There are two families of names
//! (`X-Forwarded-*` and `X-Original-*`). A proxy that sets the fields of one family may forward fields of the other family that
//! the client sent. So a fact is accepted only if all fields that state it agree.
//!
//! Used by the verify routes (`verify.rs`) and, for the address of the client, by every request (`context.rs`).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use salvo::http::Method;
use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};

/// The trusted proxies: peers whose forwarded fields are accepted (`http.trusted_proxies`).
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNet>,
    /// Whether all peers on a Unix socket are trusted. The permissions of the socket decide who can connect.
    unix: bool,
}

impl TrustedProxies {
    /// Maximum number of addresses that are read from `X-Forwarded-For`.
    const MAX_HOPS: usize = 16;

    /// Adds an address, a network in CIDR notation, or `unix`. Returns `None` if the text is none of these.
    pub(crate) fn add(&mut self, text: &str) -> Option<()> {
        if text == "unix" {
            self.unix = true;
        } else {
            self.networks.push(network(text)?);
        }
        Some(())
    }

    /// Returns whether the peer is a trusted proxy. `None` is a peer on a Unix socket, which has no address. An IPv4 address may
    /// be written as an IPv4-mapped IPv6 address.
    pub(crate) fn contains(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |peer| self.networks.iter().any(|network| network.contains(&peer.to_canonical())))
    }

    /// Returns the address of the client: the peer or, behind trusted proxies, the last address in `X-Forwarded-For` that is not
    /// a trusted proxy. The field is read from the right, because each proxy appends on the right, and a client controls the left
    /// part. If an element is not an address, the result is the address of the proxy that appended it.
    pub(crate) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer;
        let fields = headers.get_all(X_FORWARDED_FOR).iter().rev().map(HeaderValue::as_bytes);
        let mut hops = fields.flat_map(|field| field.rsplit(|byte| *byte == b',')).take(Self::MAX_HOPS);
        while self.contains(client)
            && let Some(hop) = hops.next().and_then(address)
        {
            client = Some(hop);
        }
        client
    }
}

/// Parses an address, or a network in CIDR notation. Converts IPv4-mapped IPv6 addresses to IPv4, because the addresses of peers
/// are converted, too.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let mapped = network.prefix_len().checked_sub(96).zip(match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    });
    Some(mapped.and_then(|(prefix, address)| IpNet::new(address.into(), prefix).ok()).unwrap_or(network))
}

/// Parses an element of `X-Forwarded-For`: an address, which some proxies write with a port.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Returns whether a request has a forwarded field.
pub(crate) fn has_forwarded_fields(headers: &HeaderMap) -> bool {
    // The prefix excludes nearly all other fields, and is cheap to compare.
    let is_forwarded = |name: &HeaderName| NAMES.contains(name) || *name == X_FORWARDED_FOR;
    headers.keys().any(|name| name.as_str().starts_with("x-") && is_forwarded(name))
}

/// Facts about a client's request that a trusted proxy reports. A fact without a field is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'r> {
    pub(crate) method: Option<Method>,
    pub(crate) host: Option<&'r [u8]>,
    /// Path and query.
    pub(crate) target: Option<&'r [u8]>,
}

/// Error for forwarded fields that contradict each other, or for an invalid method. Contains the name of the fact, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) &'static str);

impl<'r> Forwarded<'r> {
    /// Reads the forwarded fields of a request. The caller must have checked that a trusted proxy sent it.
    pub(crate) fn read(headers: &'r HeaderMap) -> Result<Self, Contradiction> {
        // Collect the last field of each name, which the nearest proxy wrote. One pass is necessary: six lookups would cost as
        // much as opening a session.
        let mut last = [None; NAMES.len()];
        for (name, value) in headers {
            if let Some(index) = NAMES.iter().position(|known| known == name) {
                last[index] = Some(value.as_bytes().trim_ascii());
            }
        }
        let [forwarded_method, original_method, forwarded_host, forwarded_uri, original_uri, original_url] = last;
        let url = original_url.map(split_url);
        let methods = [forwarded_method, original_method].map(|list| list.map(last_element));
        let hosts = [forwarded_host.map(last_element), url.map(|(host, _)| host)];
        let targets = [forwarded_uri, original_uri, url.map(|(_, target)| target)];
        let method = agreed_value(methods, <[u8]>::eq).ok_or(Contradiction("the methods"))?;
        Ok(Self {
            method: method.map(Method::from_bytes).transpose().map_err(|_| Contradiction("the methods"))?,
            host: agreed_value(hosts, <[u8]>::eq_ignore_ascii_case).ok_or(Contradiction("the hosts"))?,
            target: agreed_value(targets, <[u8]>::eq).ok_or(Contradiction("the targets"))?,
        })
    }
}

/// Returns the common value of all fields that state a fact: `Some(None)` if no field does, and `None` if two fields differ.
fn agreed_value<const N: usize>(stated: [Option<&[u8]>; N], same: fn(&[u8], &[u8]) -> bool) -> Option<Option<&[u8]>> {
    let mut stated = stated.into_iter().flatten().filter(|value| !value.is_empty());
    let first = stated.next();
    stated.all(|other| first.is_some_and(|first| same(first, other))).then_some(first)
}

/// Returns the last element of a list, which the nearest proxy appended.
fn last_element(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

/// Splits `scheme://host/target` into host and target. For any other text, the host is empty, which counts as no statement.
fn split_url(url: &[u8]) -> (&[u8], &[u8]) {
    let Some(start) = memchr::memmem::find(url, b"://") else {
        return (b"", url);
    };
    let rest = &url[start + 3..];
    rest.split_at(memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len()))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Names of the forwarded fields, in the order that [`Forwarded::read`] expects.
static NAMES: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
];

#[cfg(test)]
mod tests {
    use super::*;

    type Facts = (Option<String>, Option<String>, Option<String>);

    fn read(fields: &[(&'static str, &str)]) -> Result<Facts, Contradiction> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a header value"));
        }
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Forwarded::read(&headers)
            .map(|facts| (facts.method.map(|method| method.to_string()), text(facts.host), text(facts.target)))
    }

    fn facts(method: &str, host: &str, target: &str) -> Facts {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (some(method), some(host), some(target))
    }

    #[test]
    fn reads_both_families_from_the_right() {
        for (fields, expected) in [
            (&[][..], facts("", "", "")),
            (
                &[("x-forwarded-method", "POST"), ("x-forwarded-host", "a.example"), ("x-forwarded-uri", "/x?y=1,2")],
                facts("POST", "a.example", "/x?y=1,2"),
            ),
            (
                &[("x-original-method", "GET"), ("x-original-url", "https://a.example/x?y")],
                facts("GET", "a.example", "/x?y"),
            ),
            (&[("x-original-uri", "/x"), ("x-forwarded-uri", "/x")], facts("", "", "/x")),
            (&[("x-forwarded-host", "evil.example, a.example")], facts("", "a.example", "")),
            (&[("x-forwarded-host", "evil.example"), ("x-forwarded-host", "a.example")], facts("", "a.example", "")),
            (&[("x-forwarded-host", ""), ("x-original-url", "https://a.example")], facts("", "a.example", "")),
            (&[("x-original-url", "/x"), ("x-forwarded-host", "a.example")], facts("", "a.example", "/x")),
            (
                &[("x-original-url", "https://A.example/"), ("x-forwarded-host", "a.example")],
                facts("", "a.example", "/"),
            ),
        ] {
            assert_eq!(read(fields), Ok(expected), "{fields:?}");
        }
    }

    #[test]
    fn refuses_fields_that_contradict_each_other() {
        for fields in [
            &[("x-forwarded-method", "GET"), ("x-original-method", "POST")][..],
            &[("x-forwarded-method", "G T")],
            &[("x-forwarded-host", "a.example"), ("x-original-url", "https://b.example/")],
            &[("x-forwarded-uri", "/a"), ("x-original-uri", "/b")],
            &[("x-forwarded-uri", "/a"), ("x-original-url", "https://a.example/b")],
        ] {
            assert!(read(fields).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn trusts_only_listed_proxies() {
        let list = ["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"];
        let mut trusted = TrustedProxies::default();
        list.into_iter().for_each(|text| trusted.add(text).expect("well formed"));
        let is_trusted = |peer: &str| trusted.contains(peer.parse().ok());
        for peer in ["10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(is_trusted(peer), "{peer}");
        }
        for peer in ["127.0.0.2", "11.0.0.1", "::1", "2001:db9::1"] {
            assert!(!is_trusted(peer), "{peer}");
        }
        assert!(!trusted.contains(None) && !TrustedProxies::default().contains("127.0.0.1".parse().ok()));
        for mapped in ["::ffff:10.1.2.3", "::ffff:10.0.0.0/104"] {
            let mut trusted = TrustedProxies::default();
            trusted.add(mapped).expect("well formed");
            assert!(
                trusted.contains("10.1.2.3".parse().ok()) && !trusted.contains("11.0.0.1".parse().ok()),
                "{mapped}"
            );
        }
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0", "0.0.0.0/0x"] {
            assert_eq!(TrustedProxies::default().add(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let list = ["10.0.0.0/8", "2001:db8::/32"];
        let mut trusted = TrustedProxies::default();
        list.into_iter().for_each(|text| trusted.add(text).expect("well formed"));
        for (peer, fields, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9 ,10.2.0.1", "10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db9::1]:4711"], "2001:db9::1"),
            ("10.0.0.1", &["[2001:db9::1]"], "2001:db9::1"),
            ("10.0.0.1", &["2001:db9::1, 2001:db8::5"], "2001:db9::1"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(X_FORWARDED_FOR, field.parse().expect("a header value"));
            }
            let peer = peer.parse().expect("an address");
            assert_eq!(trusted.client(Some(peer), &headers), expected.parse().ok(), "{peer} {fields:?}");
        }
        assert_eq!(trusted.client(None, &HeaderMap::new()), None);
    }
}
