//! Values that are computed from a few settings, without parsing the whole configuration. `sealjar doctor` can therefore
//! use them even if the configuration is invalid.

use super::breadth::{self, NetworkBreadth};
use super::{Config, PasswordCost, Postgres, Tls};
use crate::account::password::Cost;
use crate::http::tls::{Files, Source};
use crate::store::Limits;
use crate::web::origin::Origin;

impl Config {
    /// Returns whether a proxy must terminate TLS (an origin is https, and Sealjar has no TLS), but no proxy is
    /// trusted. Then all clients behind the proxy have the proxy's address.
    pub(crate) fn lacks_trusted_proxy(&self) -> bool {
        let is_secure = |text: &String| Origin::parse(text).is_some_and(|origin| origin.is_secure());
        self.http.trusted_proxies.is_empty() && !self.tls.is_on() && self.http.public_origins.iter().any(is_secure)
    }

    /// Returns the entries of `http.trusted_proxies` that contain a large part of all addresses.
    pub(super) fn overly_broad_proxies(&self) -> Vec<String> {
        let networks = self.http.trusted_proxies.iter();
        networks.filter(|text| breadth::of(text) == Some(NetworkBreadth::Global)).cloned().collect()
    }
}

impl Tls {
    /// Returns whether the public listener uses TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.self_signed || !self.certificate.as_os_str().is_empty()
    }

    /// Returns the source of the certificate, or `None` without TLS. A self-signed certificate is created for the hosts
    /// that `hosts` returns.
    pub(crate) fn source(&self, hosts: impl FnOnce() -> Vec<String>) -> Option<Source> {
        let Self { certificate, private_key, self_signed, .. } = self;
        self.is_on().then(|| {
            if *self_signed {
                Source::SelfSigned(hosts())
            } else {
                Source::Files(Files { certificate: certificate.clone(), private_key: private_key.clone() })
            }
        })
    }
}

impl Postgres {
    /// Returns the limits of the connections to PostgreSQL.
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections as usize,
            statement_timeout: self.statement_timeout.0,
            connect_timeout: self.connect_timeout.0,
        }
    }
}

impl PasswordCost {
    /// Returns the cost of new password hashes.
    pub(crate) const fn cost(&self) -> Cost {
        Cost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes }
    }

    /// Returns the number of threads that hash passwords: the setting, or for 0 the number of cores, limited by the memory
    /// budget.
    pub(crate) fn thread_count(&self) -> u32 {
        let Self { memory_kib, threads, memory_budget_kib, .. } = *self;
        let cores =
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
        if threads == 0 { cores.min(memory_budget_kib / memory_kib.max(1)).max(1) } else { threads }
    }
}
