//! What the parts of the server are made from: the settings in their types.

use std::net::SocketAddr;

use tracing_subscriber::filter::Targets;

use super::{Config, MAX_NODE_NAME, PasswordCost, Postgres, Session, StaleChoice, Throttle, Tls};
use crate::account::password::Cost;
use crate::http::forwarded::TrustedProxies;
use crate::http::throttle::{Limits, Rate};
use crate::http::tls::{Files, Source};
use crate::revocation::{Freshness, WhenStale};
use crate::session::Lifetimes;
use crate::session::lifetime::Lifetime;
use crate::store;
use crate::store::StoreUrl;
use crate::web::cookie::Cookies;
use crate::web::hosts::{Domain, Hosts};
use crate::web::origin::Origin;

impl Config {
    /// The hosts to serve, given the port that is really listened on, if there is one.
    pub(crate) fn hosts(&self, port: Option<u16>) -> Hosts {
        const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
        let scheme = if self.speaks_tls() { "https" } else { "http" };
        let at_port = |host: &str| port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let loopback = LOOPBACK.map(|host| format!("{scheme}://{}", at_port(host)));
        let named = if self.http.public_origins.is_empty() { &loopback[..] } else { &self.http.public_origins };
        let origins = named.iter().filter_map(|origin| Origin::parse(origin)).collect();
        let mut verify_authorities = self.http.verify_authorities.clone();
        if verify_authorities.is_empty() {
            verify_authorities.extend(LOOPBACK.map(at_port));
            let own = self.http.listen.ip().zip(port).map(|(ip, port)| SocketAddr::new(ip, port).to_string());
            verify_authorities.extend(own);
        }
        Hosts::new(origins, self.cookie_domain(), verify_authorities)
    }

    pub(crate) fn cookie_domain(&self) -> Option<Domain> {
        Domain::parse(&self.cookie.domain)
    }

    pub(crate) fn cookies(&self) -> Cookies {
        Cookies::new(self.cookie_domain().as_ref(), self.cookie.plain_http)
    }

    pub(crate) fn trusted_proxies(&self) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        for text in &self.http.trusted_proxies {
            proxies.add(text).expect("checked when the configuration was read");
        }
        proxies
    }

    /// Whether a proxy must be in front, because browsers come with https, and clients are not told apart behind it.
    pub(crate) fn hides_clients(&self) -> bool {
        self.http.trusted_proxies.is_empty()
            && !self.speaks_tls()
            && self.http.public_origins.iter().any(|origin| origin.starts_with("https:"))
    }

    /// Whether the public listener speaks TLS itself.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.self_signed || !self.tls.certificate.as_os_str().is_empty()
    }

    /// Where the certificate comes from, if there is to be one; one that is made here is for these hosts.
    pub(crate) fn certificate(&self, hosts: &Hosts) -> Option<Source> {
        let Tls { certificate, private_key, self_signed, .. } = self.tls.clone();
        let names = || hosts.origins().map(|origin| origin.host().trim_matches(['[', ']']).to_owned()).collect();
        self.speaks_tls().then(|| {
            if self_signed { Source::SelfSigned(names()) } else { Source::Files(Files { certificate, private_key }) }
        })
    }

    /// How this server is called in its reports: by its setting, or by the host's name, as far as that is fit to print.
    pub(crate) fn node_name(&self) -> String {
        if !self.node.name.is_empty() {
            return self.node.name.clone();
        }
        let host = rustix::system::uname();
        host.nodename().to_string_lossy().chars().filter(char::is_ascii_graphic).take(MAX_NODE_NAME).collect()
    }

    pub(crate) fn log_targets(&self) -> Targets {
        self.log.level.parse().expect("checked when the configuration was read")
    }

    /// Says what is allowed and should be known.
    pub(crate) fn warn_of_dangers(&self) {
        if self.cookie.plain_http {
            tracing::warn!(
                "DEVELOPMENT MODE: cookies travel over plain HTTP (cookie.plain_http); never use this outside your own machine"
            );
        }
        if self.hides_clients() {
            tracing::warn!(
                "no proxy is trusted (http.trusted_proxies), so all visitors behind one count as one client: a stranger's failed sign-ins may stop everybody's"
            );
        }
    }

    pub(crate) fn store_url(&self) -> StoreUrl {
        StoreUrl::parse(&self.store).expect("checked when the configuration was read")
    }

    pub(crate) const fn store_limits(&self) -> store::Limits {
        let Postgres { max_connections, statement_timeout, connect_timeout } = self.postgres;
        store::Limits {
            connections: max_connections as usize,
            statement_timeout: statement_timeout.0,
            connect_timeout: connect_timeout.0,
        }
    }

    pub(crate) const fn lifetimes(&self) -> Lifetimes {
        let Session { idle, absolute, remembered_idle, remembered_absolute } = self.session;
        Lifetimes {
            ordinary: Lifetime { idle: idle.0, absolute: absolute.0 },
            remembered: Lifetime { idle: remembered_idle.0, absolute: remembered_absolute.0 },
        }
    }

    pub(crate) const fn freshness(&self) -> Freshness {
        let when_stale = match self.revocation.when_stale {
            StaleChoice::Refuse => WhenStale::Refuse,
            StaleChoice::Allow => WhenStale::Allow,
        };
        Freshness { max_staleness: self.revocation.max_staleness.0, when_stale }
    }

    /// How many threads hash.
    pub(crate) fn password_threads(&self) -> u32 {
        let PasswordCost { memory_kib, threads, memory_budget_kib, .. } = self.password;
        let cores =
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
        if threads == 0 { cores.min(memory_budget_kib / memory_kib.max(1)).max(1) } else { threads }
    }

    pub(crate) const fn limits(&self) -> Limits {
        let Throttle {
            network_burst,
            network_interval,
            account_and_network_burst,
            account_and_network_interval,
            account_burst,
            account_interval,
        } = self.throttle;
        Limits {
            network: Rate { burst: network_burst, interval: network_interval.0 },
            account_and_network: Rate { burst: account_and_network_burst, interval: account_and_network_interval.0 },
            account: Rate { burst: account_burst, interval: account_interval.0 },
        }
    }

    pub(crate) const fn cost(&self) -> Cost {
        let PasswordCost { memory_kib, passes, lanes, .. } = self.password;
        Cost { memory_kib, passes, lanes }
    }
}
