//! What a proxy says of the request that it asks about: its method, host and target.
//!
//! A client can send these fields too, so they count only from the configured proxies. Proxies write them in two families
//! (`X-Forwarded-*`, `X-Original-*`), and a proxy that sets one may let the client's own of the other through. So a fact is
//! believed only if all fields that state it agree.

use std::net::IpAddr;

use ipnet::IpNet;
use salvo::http::Method;
use salvo::http::header::{HeaderMap, HeaderName};

/// The peers whose forwarded fields are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// An address, or a network in CIDR notation.
    pub(crate) fn parse_one(text: &str) -> Option<IpNet> {
        text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    }

    pub(crate) const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the peer is one of them; an IPv4 address may come as an IPv6 one.
    pub(crate) fn contains(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| self.0.iter().any(|network| network.contains(&peer.to_canonical())))
    }
}

/// The facts that are stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'r> {
    pub(crate) method: Option<Method>,
    pub(crate) host: Option<&'r [u8]>,
    /// Path and query.
    pub(crate) target: Option<&'r [u8]>,
}

/// Two fields state different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) &'static str);

impl<'r> Forwarded<'r> {
    /// Reads the fields of a request of a trusted proxy.
    pub(crate) fn read(headers: &'r HeaderMap) -> Result<Self, Contradiction> {
        let list = |name: HeaderName| last(headers, &name).map(last_element);
        let whole = |name: HeaderName| last(headers, &name);
        let url = whole(X_ORIGINAL_URL).map(split_url);
        let methods = [list(X_FORWARDED_METHOD), list(X_ORIGINAL_METHOD)];
        let hosts = [list(X_FORWARDED_HOST), url.map(|(host, _)| host)];
        let targets = [whole(X_FORWARDED_URI), whole(X_ORIGINAL_URI), url.map(|(_, target)| target)];
        let method = agreed(methods, <[u8]>::eq).ok_or(Contradiction("the methods"))?;
        Ok(Self {
            method: method.map(Method::from_bytes).transpose().map_err(|_| Contradiction("the methods"))?,
            host: agreed(hosts, <[u8]>::eq_ignore_ascii_case).ok_or(Contradiction("the hosts"))?,
            target: agreed(targets, <[u8]>::eq).ok_or(Contradiction("the targets"))?,
        })
    }
}

/// What all that is stated says; `None` if two differ.
fn agreed<const N: usize>(stated: [Option<&[u8]>; N], same: fn(&[u8], &[u8]) -> bool) -> Option<Option<&[u8]>> {
    let mut stated = stated.into_iter().flatten().filter(|value| !value.is_empty());
    let first = stated.next();
    stated.all(|other| first.is_some_and(|first| same(first, other))).then_some(first)
}

/// The value of the last field of this name: the one that the nearest proxy wrote.
fn last<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r [u8]> {
    headers.get_all(name).iter().next_back().map(|value| value.as_bytes().trim_ascii())
}

/// Lists are read from the right, where the nearest proxy appended.
fn last_element(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

/// The host and the target of `scheme://host/target`; of anything else an empty host, which states nothing.
fn split_url(url: &[u8]) -> (&[u8], &[u8]) {
    let Some(start) = memchr::memmem::find(url, b"://") else {
        return (b"", url);
    };
    let rest = &url[start + 3..];
    rest.split_at(memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len()))
}

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

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
            .map(|found| (found.method.map(|method| method.to_string()), text(found.host), text(found.target)))
    }

    fn facts(method: &str, host: &str, target: &str) -> Facts {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (some(method), some(host), some(target))
    }

    #[test]
    fn reads_either_family_from_the_right() {
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
    fn believes_nothing_when_two_fields_differ() {
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
    fn trusts_only_what_is_listed() {
        let list = ["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"];
        let trusted = TrustedProxies::new(list.into_iter().filter_map(TrustedProxies::parse_one).collect());
        let ask = |peer: &str| trusted.contains(peer.parse().ok());
        assert!(ask("10.1.2.3") && ask("127.0.0.1") && ask("::ffff:10.1.2.3") && ask("2001:db8::1"));
        assert!(!ask("127.0.0.2") && !ask("11.0.0.1") && !ask("::1") && !ask("2001:db9::1"));
        assert!(!trusted.contains(None) && !TrustedProxies::default().contains("127.0.0.1".parse().ok()));
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0", "0.0.0.0/0x"] {
            assert_eq!(TrustedProxies::parse_one(bad), None, "{bad}");
        }
    }
}
