//! Checks which authority (host and port) a request to the admin listener names, against DNS rebinding.
//!
//! The admin listener requires no credentials. With [DNS rebinding](https://en.wikipedia.org/wiki/DNS_rebinding), the owner of a
//! web page can let the page's host name resolve to the address of this machine. A browser on this machine would then send
//! requests of the page to the admin listener, and let the page read the responses. Such a request names the host of the page, so
//! it is refused.
//!
//! IP addresses are accepted, because DNS cannot change them. Loopback names and names without a dot are accepted, because they
//! cannot be registered on the Internet. `http.admin_authorities` adds other names.

use std::net::{Ipv4Addr, Ipv6Addr};

use salvo::http::Version;
use salvo::http::header::HOST;
use salvo::hyper::Request as HyperRequest;

use crate::http::problem::Problem;
use crate::log_sampler::sampled;
use crate::web::hosts::authority;
use crate::web::origin::{Origin, split_port};

/// The names in `http.admin_authorities`, in addition to those that are always accepted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdminAuthorities(Vec<Name>);

/// A host name, for one port or for every port.
#[derive(Debug, Clone)]
struct Name {
    /// Host name in lower case.
    host: String,
    /// Port that a request must name. `None` if every port is accepted.
    port: Option<u16>,
}

/// Maximum length of a refused host in the log.
const MAX_LOGGED_BYTES: usize = 128;

impl AdminAuthorities {
    /// Parses the names in `http.admin_authorities`.
    ///
    /// # Errors
    /// The first text that is not a valid name.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let parse = |text: &String| {
            let origin = Origin::parse(&format!("http://{text}"));
            let port = split_port(text).map(|(_, port)| port);
            let name = origin.zip(port).map(|(origin, port)| Name { host: origin.host().to_owned(), port });
            name.ok_or_else(|| text.clone())
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Checks the authority that a request names. A request of HTTP/1.0, such as a health check, is accepted without an
    /// authority, because browsers always name one.
    pub(crate) fn check<B>(&self, request: &HyperRequest<B>) -> Result<(), Problem> {
        let uri = request.uri();
        let headers = request.headers();
        if request.version() == Version::HTTP_10 && uri.authority().is_none() && !headers.contains_key(HOST) {
            return Ok(());
        }
        let host = String::from_utf8_lossy(authority(uri, headers)?);
        if self.accepts(&host) {
            return Ok(());
        }
        let host = &host[..host.floor_char_boundary(MAX_LOGGED_BYTES)];
        sampled!(
            WARN,
            host,
            "refused a request to the admin listener with 421: its host is not in http.admin_authorities"
        );
        Err(Problem::AdminMisdirected)
    }

    fn accepts(&self, authority: &str) -> bool {
        let Some((host, port)) = split_port(authority) else {
            return false;
        };
        let host = host.to_ascii_lowercase();
        let is_listed = |name: &Name| name.host == host && name.port.is_none_or(|only| port == Some(only));
        is_address(&host) || is_local_name(&host) || self.0.iter().any(is_listed)
    }
}

fn is_address(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    v6.map_or_else(|| host.parse::<Ipv4Addr>().is_ok(), |inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// Returns whether the host is `localhost`, a name below it, or a name without a dot, such as the name of a container or a
/// service.
fn is_local_name(host: &str) -> bool {
    let is_label = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    host.strip_suffix(".localhost").unwrap_or(host).split('.').all(is_label)
        && (host.ends_with(".localhost") || !host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: [&str; 3] = ["sealjar.monitoring.svc", "Metrics.example:9000", "[::2]:1"];

    fn check(request: HyperRequest<()>) -> Result<(), Problem> {
        AdminAuthorities::parse(&LISTED.map(str::to_owned)).expect("names").check(&request)
    }

    fn check_host(version: Version, target: &str, hosts: &[&str]) -> Result<(), Problem> {
        let request = HyperRequest::builder().version(version).uri(target);
        let request = hosts.iter().fold(request, |request, host| request.header(HOST, *host));
        check(request.body(()).expect("a request"))
    }

    #[test]
    fn addresses_local_names_and_listed_names_are_accepted() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "203.0.113.9:1",
            "[::1]:8081",
            "[2001:DB8::1]",
            "localhost",
            "LocalHost:8081",
            "a.b.localhost:8081",
            "sealjar:8081",
            "SEALJAR",
            "node_1:8081",
            "2130706433",
            "0x7f000001:8081",
            "",
            "sealjar.monitoring.svc",
            "Sealjar.Monitoring.SVC:8081",
            "metrics.example:9000",
        ] {
            assert_eq!(check_host(Version::HTTP_11, "/metrics", &[host]), Ok(()), "{host}");
            if !host.is_empty() {
                assert_eq!(check_host(Version::HTTP_2, &format!("http://{host}/metrics"), &[]), Ok(()), "{host}");
            }
        }
    }

    #[test]
    fn refuses_names_that_an_attacker_can_register() {
        for host in [
            "evil.example",
            "evil.example:8081",
            "EVIL.example",
            "evil.example.",
            "evil.",
            "localhost.",
            "localhost.evil.example",
            "evillocalhost.example",
            ".localhost.",
            "127.0.0.1.evil.example",
            "127.0.0.1.",
            "127.1",
            "0x7f.0.0.1",
            "256.0.0.1",
            "sealjar.monitoring.svc.",
            "x.sealjar.monitoring.svc",
            "metrics.example",
            "metrics.example:9001",
        ] {
            for (version, target) in [(Version::HTTP_10, "/metrics"), (Version::HTTP_11, "/metrics")] {
                assert_eq!(check_host(version, target, &[host]), Err(Problem::AdminMisdirected), "{host}");
            }
            let url = format!("http://{host}/metrics");
            assert_eq!(check_host(Version::HTTP_2, &url, &[]), Err(Problem::AdminMisdirected), "{host}");
            assert_eq!(check_host(Version::HTTP_11, &url, &[host]), Err(Problem::AdminMisdirected), "{host}");
        }
    }

    #[test]
    fn refuses_invalid_hosts() {
        for host in
            ["::1", "[::1", "[127.0.0.1]", "[::1]x", "a@127.0.0.1", "a/b", "a b", "a,b", "localhost:x", "a:1:2", "*"]
        {
            assert_eq!(check_host(Version::HTTP_11, "/metrics", &[host]), Err(Problem::AdminMisdirected), "{host}");
        }
        let raw = HyperRequest::builder().uri("/").header(HOST, &b"\xff"[..]).body(()).expect("a request");
        assert_eq!(check(raw), Err(Problem::AdminMisdirected));
        let user = check_host(Version::HTTP_11, "http://localhost@evil.example/", &[]);
        assert_eq!(user, Err(Problem::AdminMisdirected));
    }

    #[test]
    fn a_request_names_one_authority_or_is_http_1_0() {
        assert_eq!(check_host(Version::HTTP_10, "/readyz", &[]), Ok(()));
        for (version, target, hosts) in [
            (Version::HTTP_11, "/readyz", &[][..]),
            (Version::HTTP_2, "/readyz", &[]),
            (Version::HTTP_10, "/readyz", &["localhost", "localhost"]),
            (Version::HTTP_11, "/readyz", &["localhost", "evil.example"]),
            (Version::HTTP_11, "http://localhost/readyz", &["evil.example"]),
            (Version::HTTP_2, "http://evil.example/readyz", &["localhost"]),
        ] {
            assert_eq!(check_host(version, target, hosts), Err(Problem::Authority), "{target} {hosts:?}");
        }
    }

    #[test]
    fn a_listed_name_is_a_host_with_or_without_a_port() {
        for bad in
            ["", "http://a.example", "a.example/", "a.example:", "a.example:0x1", "*.example", "a example", "::1"]
        {
            assert_eq!(AdminAuthorities::parse(&[bad.to_owned()]).err().as_deref(), Some(bad));
        }
    }
}
