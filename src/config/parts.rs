//! Values that single parts of a configuration make, also of one that contradicts itself: `sealjar doctor` looks at these too.

use super::breadth::{self, Breadth};
use super::{Config, PasswordCost, Postgres, Tls};
use crate::account::password::Cost;
use crate::http::tls::{Files, Source};
use crate::store::Limits;
use crate::web::origin::Origin;

impl Config {
    /// Returns whether a proxy must be in front, because browsers come with https, and clients are not told apart behind it.
    pub(crate) fn hides_clients(&self) -> bool {
        let is_secure = |text: &String| Origin::parse(text).is_some_and(|origin| origin.is_secure());
        self.http.trusted_proxies.is_empty() && !self.tls.is_on() && self.http.public_origins.iter().any(is_secure)
    }

    /// Returns the entries of `http.trusted_proxies` that trust everybody.
    pub(super) fn trusts_everybody(&self) -> Vec<String> {
        let networks = self.http.trusted_proxies.iter();
        networks.filter(|text| breadth::of(text) == Some(Breadth::Everybody)).cloned().collect()
    }
}

impl Tls {
    /// Returns whether the public listener speaks TLS itself.
    pub(crate) fn is_on(&self) -> bool {
        self.self_signed || !self.certificate.as_os_str().is_empty()
    }

    /// Returns the source of the certificate, if there is to be one. A self-signed one is for the hosts that `names` returns.
    pub(crate) fn source(&self, names: impl FnOnce() -> Vec<String>) -> Option<Source> {
        let Self { certificate, private_key, self_signed, .. } = self;
        self.is_on().then(|| {
            if *self_signed {
                Source::SelfSigned(names())
            } else {
                Source::Files(Files { certificate: certificate.clone(), private_key: private_key.clone() })
            }
        })
    }
}

impl Postgres {
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections as usize,
            statement_timeout: self.statement_timeout.0,
            connect_timeout: self.connect_timeout.0,
        }
    }
}

impl PasswordCost {
    pub(crate) const fn cost(&self) -> Cost {
        Cost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes }
    }

    /// Returns the number of threads that hash.
    pub(crate) fn thread_count(&self) -> u32 {
        let Self { memory_kib, threads, memory_budget_kib, .. } = *self;
        let cores =
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
        if threads == 0 { cores.min(memory_budget_kib / memory_kib.max(1)).max(1) } else { threads }
    }
}
