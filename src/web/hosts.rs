//! Hosts: the authorities that a request may name, and the site of the sessions on each host.
//!
//! A request must name exactly one authority (host and port): in the `Host` field, or in `:authority` in HTTP/2 ([RFC 9110
//! section 7.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.2)). On public routes, it must be the authority of a configured
//! origin. On the verify routes, it may also be a name under which proxies reach this server (`http.verify_authorities`). Salvo
//! checks neither the number of authorities nor their values, so this module checks both.

use std::borrow::Cow;

use salvo::http::header::{HOST, HeaderMap};
use salvo::http::uri::Uri;

use super::origin::Origin;
use crate::id::Site;

/// A domain whose hosts share one session (`cookie.domain`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain(String);

impl Domain {
    /// Parses a name with at least two labels, so that it is not a top-level domain such as `com`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        (name.contains('.') && name.len() <= 253 && name.split('.').all(is_label) && !is_address).then_some(Self(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the domain may be a public suffix such as `co.uk`, under which anyone can register a name. This is a
    /// heuristic: the domain has two labels, the first one is short or a usual word for a type of registrant, and the second one
    /// is a country code. Only the [public suffix list](https://publicsuffix.org) has the exact answer. In doubt, the result is
    /// `true`.
    pub(crate) fn may_be_public_suffix(&self) -> bool {
        const REGISTRANT_TYPES: [&str; 8] = ["asso", "coop", "gouv", "govt", "info", "name", "school", "store"];
        const MAX_SHORT_BYTES: usize = 3;
        let Some((second, top)) = self.0.split_once('.') else { return false };
        let is_country = top.len() == 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
        is_country && (second.len() <= MAX_SHORT_BYTES || REGISTRANT_TYPES.contains(&second))
    }

    /// Returns whether the host is the domain itself or below it.
    pub(crate) fn covers(&self, host: &str) -> bool {
        host.strip_suffix(&self.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// The hosts that are served.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    origins: Vec<Served>,
    domain: Option<Domain>,
    /// Authorities for verify requests, in addition to the authorities of the origins.
    verify_authorities: Vec<String>,
}

/// An origin that is served, and the site of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) origin: Origin,
    pub(crate) site: Site,
}

/// Reason why the authority of a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadAuthority {
    /// The request has no authority, several `Host` fields, or a `Host` field that differs from the authority in its target.
    NotExactlyOne,
    /// The server does not serve the authority.
    NotServed,
}

impl Hosts {
    pub(crate) fn new(origins: Vec<Origin>, domain: Option<Domain>, verify_authorities: Vec<String>) -> Self {
        let site = |origin: &Origin| Site::of_host(domain.as_ref().map_or_else(|| origin.host(), Domain::as_str));
        let origins = origins.into_iter().map(|origin| Served { site: site(&origin), origin }).collect();
        Self { origins, domain, verify_authorities }
    }

    /// Returns the first origin. It is used in texts, and for the login of hosts that have no login page.
    pub(crate) fn first(&self) -> Option<&Origin> {
        self.origins.first().map(|served| &served.origin)
    }

    pub(crate) fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter().map(|served| &served.origin)
    }

    pub(crate) const fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// Returns the origin whose authority a request for a public route names.
    pub(crate) fn find_public(&self, uri: &Uri, headers: &HeaderMap) -> Result<&Served, BadAuthority> {
        let authority = authority(uri, headers)?;
        self.origins.iter().find(|served| served.origin.is_named_by(authority)).ok_or(BadAuthority::NotServed)
    }

    /// Returns the authority that a request for a verify route names.
    pub(crate) fn check_verify_authority<'r>(
        &self,
        uri: &'r Uri,
        headers: &'r HeaderMap,
    ) -> Result<&'r [u8], BadAuthority> {
        let authority = authority(uri, headers)?;
        let is_named = |name: &String| authority.eq_ignore_ascii_case(name.as_bytes());
        let is_accepted = self.verify_authorities.iter().any(is_named) || self.find_protected(authority).is_some();
        is_accepted.then_some(authority).ok_or(BadAuthority::NotServed)
    }

    /// Returns the origin of a host that clients request from a proxy: a configured origin, or any host in the cookie domain.
    /// Returns `None` for other hosts.
    pub(crate) fn find_protected(&self, authority: &[u8]) -> Option<Cow<'_, Served>> {
        if let Some(served) = self.origins.iter().find(|served| served.origin.is_named_by(authority)) {
            return Some(Cow::Borrowed(served));
        }
        let domain = self.domain.as_ref()?;
        let origin = Origin::parse(&format!("https://{}", str::from_utf8(authority).ok()?))?;
        let site = Site::of_host(domain.as_str());
        domain.covers(origin.host()).then_some(Cow::Owned(Served { origin, site }))
    }

    /// Returns whether the value of an `Origin` field is exactly one of the configured origins.
    pub(crate) fn is_origin(&self, value: &[u8]) -> bool {
        self.origins().any(|origin| origin.to_string().as_bytes() == value)
    }
}

/// Returns the authority that a request names.
///
/// # Errors
/// [`BadAuthority::NotExactlyOne`], unless the request names exactly one authority.
pub(crate) fn authority<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Result<&'r [u8], BadAuthority> {
    let mut hosts = headers.get_all(HOST).iter();
    match (uri.authority(), hosts.next(), hosts.next()) {
        (None, Some(host), None) => Ok(host.as_bytes()),
        (Some(authority), None, None) => Ok(authority.as_str().as_bytes()),
        (Some(authority), Some(host), None) if authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            Ok(host.as_bytes())
        }
        _ => Err(BadAuthority::NotExactlyOne),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(origins: &[&str], domain: Option<&str>) -> Hosts {
        let origins = origins.iter().map(|text| Origin::parse(text).expect("valid")).collect();
        Hosts::new(origins, domain.and_then(Domain::parse), vec!["sealjar:8080".to_owned()])
    }

    fn headers(hosts: &[&str]) -> HeaderMap {
        hosts.iter().map(|host| (HOST, host.parse().expect("a header value"))).collect()
    }

    #[test]
    fn a_request_names_exactly_one_authority_that_is_served() {
        let served = hosts(&["https://app.example.com", "http://localhost:8080"], None);
        let find = |uri: &str, names: &[&str]| {
            let origin = served.find_public(&uri.parse().expect("a target"), &headers(names)).cloned();
            origin.map(|served| served.origin.to_string())
        };
        let app = Ok("https://app.example.com".to_owned());
        assert_eq!(find("/x", &["app.example.com"]), app);
        assert_eq!(find("/x", &["APP.example.com:443"]), app);
        assert_eq!(find("https://app.example.com/x", &[]), app);
        assert_eq!(find("https://app.example.com/x", &["app.example.com"]), app);
        assert_eq!(find("/x", &["localhost:8080"]), Ok("http://localhost:8080".to_owned()));
        for (uri, names) in [
            ("/x", &[][..]),
            ("/x", &["app.example.com", "app.example.com"]),
            ("https://app.example.com/x", &["localhost:8080"]),
        ] {
            assert_eq!(find(uri, names), Err(BadAuthority::NotExactlyOne), "{uri} {names:?}");
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
            "sealjar:8080",
        ] {
            assert_eq!(find("/x", &[host]), Err(BadAuthority::NotServed), "{host}");
        }
    }

    #[test]
    fn verify_routes_accept_additional_authorities() {
        let served = hosts(&["https://app.example.com"], None);
        let is_accepted =
            |host: &str| served.check_verify_authority(&"/x".parse().expect("a target"), &headers(&[host])).is_ok();
        for host in ["sealjar:8080", "SEALJAR:8080", "app.example.com"] {
            assert!(is_accepted(host), "{host}");
        }
        for host in ["sealjar", "sealjar:80", "other.example.com", ""] {
            assert!(!is_accepted(host), "{host}");
        }
    }

    #[test]
    fn all_hosts_of_a_cookie_domain_are_one_site() {
        let served = hosts(&["https://a.example.com"], Some("Example.com"));
        let find = |authority: &str| served.find_protected(authority.as_bytes()).map(|found| found.into_owned());
        let listed = find("a.example.com").expect("a configured origin");
        let unlisted = find("b.example.com:8443").expect("a host in the cookie domain");
        assert_eq!(listed.site, unlisted.site);
        assert_eq!(unlisted.origin.to_string(), "https://b.example.com:8443");
        assert!(find("example.com").is_some());
        for foreign in ["badexample.com", "example.com.evil", "evil", "u@a.example.com", "a.example.com/", "", ".com"] {
            assert_eq!(find(foreign), None, "{foreign}");
        }
        let without_domain = hosts(&["https://a.example.com", "https://b.example.com"], None);
        let site = |host: &str| without_domain.find_protected(host.as_bytes()).map(|found| found.site);
        assert_ne!(site("a.example.com"), site("b.example.com"));
        assert_eq!(site("c.example.com"), None);
    }

    #[test]
    fn a_domain_has_at_least_two_labels() {
        for good in ["example.com", "a.b.c", "test.localhost"] {
            assert!(Domain::parse(good).is_some(), "{good}");
        }
        for bad in ["", "com", "localhost", ".example.com", "example.com.", "a..b", "127.0.0.1", "ex ample.com", "-a.b"]
        {
            assert!(Domain::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_short_name_under_a_country_may_be_a_public_suffix() {
        for (text, expected) in [
            ("co.uk", true),
            ("COM.au", true),
            ("ac.at", true),
            ("edu.pl", true),
            ("gov.in", true),
            ("net.br", true),
            ("or.jp", true),
            ("gouv.fr", true),
            ("govt.nz", true),
            ("example.co.uk", false),
            ("example.uk", false),
            ("co.com", false),
            ("com.123", false),
            ("test.localhost", false),
        ] {
            assert_eq!(Domain::parse(text).expect("a name").may_be_public_suffix(), expected, "{text}");
        }
    }

    #[test]
    fn an_origin_field_must_match_exactly() {
        let served = hosts(&["https://a.example"], None);
        assert!(served.is_origin(b"https://a.example"));
        for value in
            ["null", "", "https://a.example:443", "https://a.example/", "http://a.example", "https://A.example"]
        {
            assert!(!served.is_origin(value.as_bytes()), "{value}");
        }
    }
}
