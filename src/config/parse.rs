//! Parses a configuration into [`Settings`]. A setting that contradicts another or a rule of safety stops the start; the message
//! names the setting and its source.

use std::time::Duration;

use tracing::dispatcher::{self, Dispatch};

use super::error::{Bad, ConfigError};
use super::layers::Layers;
use super::log_level;
use super::settings::Settings;
use super::{Config, Keys, PasswordCost, Revocation, Session, StaleChoice, Throttle};
use crate::account::password::Cost;
use crate::http::throttle::{Limits, Rate};
use crate::revocation::retention::COMMITTED_WITHIN;
use crate::revocation::{Freshness, WhenStale};
use crate::session::Lifetimes;
use crate::session::lifetime::{BadLifetime, Lifetime, MAX_LIFETIME};
use crate::store::url::StoreUrl;
use crate::store::url::without_password;
use crate::web::origin::LOOPBACK;

/// The longest name of a node, in characters; no host's is longer.
const MAX_NODE_NAME: usize = 64;

/// Least and most of `session.copy_detection_memory`, in bytes.
const MIN_COPY_DETECTION_MEMORY: u64 = 1 << 20;
const MAX_COPY_DETECTION_MEMORY: u64 = 64 << 30;

/// Why a span over [`MAX_LIFETIME`] is refused.
const TOO_LONG: &str = "it must be at most 3650d";

impl Config {
    /// Parses the settings, which came from these layers. The error is the first setting at fault.
    pub(crate) fn parse(&self, layers: &Layers) -> Result<Settings, ConfigError> {
        let bad = |setting: &str, reason: &str| layers.bad(setting, reason);
        // sqlx logs at each call that it does not use the password file. `password_file` says it once, with the remedy.
        let store = dispatcher::with_default(&Dispatch::none(), || StoreUrl::parse(&self.store));
        let store = store.map_err(|reason| bad("store", &reason))?;
        let lifetimes = self.session.parse(&bad)?;
        self.check_bounds(&bad)?;
        if self.keys.dir.as_os_str().is_empty() {
            return Err(bad("keys.dir", "it must name a directory"));
        }
        let node_name = self.node_name(&bad)?;
        let cost = self.password.parse(&bad)?;
        self.check_listeners(&bad)?;
        self.check_tls(&bad)?;
        let sites = self.sites(&bad)?;
        let trusted_proxies = self.trusted_proxies(&bad)?;
        self.check_verify_authorities(&bad)?;
        let admin_authorities = self.admin_authorities(&bad)?;
        let log_targets = log_level::parse(&self.log.level).map_err(|reason| bad("log.level", &reason))?;
        let http = &self.http;
        let Keys { dir, activate_after, rotate_every } = &self.keys;
        let certificate = self.tls.source(|| match sites.origins() {
            [] => LOOPBACK.map(without_brackets).to_vec(),
            origins => origins.iter().map(|origin| without_brackets(origin.host())).collect(),
        });
        Ok(Settings {
            store,
            store_name: without_password(&self.store),
            store_limits: self.postgres.limits(),
            listen: http.listen.clone(),
            admin_listen: http.admin_listen.clone(),
            unix_mode: http.unix_mode,
            sites,
            verify_authorities: http.verify_authorities.clone(),
            admin_authorities,
            trusted_proxies,
            hides_clients: self.hides_clients(),
            trusts_everybody: self.trusts_everybody(),
            max_body_bytes: http.max_body_bytes,
            body_timeout: http.body_timeout.0,
            max_connections: http.max_connections as usize,
            idle_timeout: http.idle_timeout.0,
            shutdown_delay: http.shutdown_delay.0,
            shutdown_timeout: http.shutdown_timeout.0,
            certificate,
            min_tls_version: self.tls.min_version,
            pages: self.pages.parse(&bad)?,
            key_directory: dir.clone(),
            activate_after: activate_after.0,
            rotate_every: Some(rotate_every.0).filter(|every| !every.is_zero()),
            node_name,
            lifetimes,
            copy_detection: self.session.copy_detection_memory(&bad)?,
            freshness: self.revocation.freshness(),
            cost,
            password_threads: self.password.thread_count(),
            password_memory_kib: self.password.memory_budget_kib,
            password_queue: self.password.queue as usize,
            throttle: self.throttle.limits(),
            log_format: self.log.format,
            log_targets,
            log_client: self.log.client,
            landlock: self.process.landlock,
        })
    }

    fn check_bounds(&self, bad: Bad<'_>) -> Result<(), ConfigError> {
        for (name, span) in [
            ("keys.activate_after", self.keys.activate_after),
            ("throttle.network_interval", self.throttle.network_interval),
            ("throttle.account_and_network_interval", self.throttle.account_and_network_interval),
            ("throttle.account_interval", self.throttle.account_interval),
            ("throttle.success_interval", self.throttle.success_interval),
            ("keys.rotate_every", self.keys.rotate_every),
            ("revocation.max_staleness", self.revocation.max_staleness),
        ] {
            if span.0 > MAX_LIFETIME {
                return Err(bad(name, TOO_LONG));
            }
        }
        for (name, span) in [
            ("revocation.max_staleness", self.revocation.max_staleness),
            ("postgres.statement_timeout", self.postgres.statement_timeout),
            ("postgres.connect_timeout", self.postgres.connect_timeout),
            ("http.idle_timeout", self.http.idle_timeout),
            ("throttle.network_interval", self.throttle.network_interval),
            ("throttle.account_and_network_interval", self.throttle.account_and_network_interval),
            ("throttle.account_interval", self.throttle.account_interval),
            ("throttle.success_interval", self.throttle.success_interval),
            ("http.body_timeout", self.http.body_timeout),
        ] {
            if span.0 < Duration::from_secs(1) {
                return Err(bad(name, "it must be at least 1s"));
            }
        }
        for (name, number, least) in [
            ("http.max_connections", self.http.max_connections, 1),
            ("postgres.max_connections", self.postgres.max_connections, 1),
            ("http.max_body_bytes", self.http.max_body_bytes, 2048),
            ("password.queue", self.password.queue, 1),
        ] {
            if number < least {
                return Err(bad(name, &format!("it must be at least {least}")));
            }
        }
        for (name, span) in [
            ("postgres.statement_timeout", self.postgres.statement_timeout),
            ("postgres.connect_timeout", self.postgres.connect_timeout),
        ] {
            if span.0 >= COMMITTED_WITHIN {
                return Err(bad(name, "it must be less than 5s, after which a commit does not count"));
            }
        }
        Ok(())
    }

    /// Returns the name of this server in its reports: the setting, or the printable part of the host's name.
    fn node_name(&self, bad: Bad<'_>) -> Result<String, ConfigError> {
        let name = &self.node.name;
        if name.len() > MAX_NODE_NAME || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "it must be at most 64 visible ASCII characters; empty for the host's name";
            return Err(bad("node.name", reason));
        }
        if !name.is_empty() {
            return Ok(name.clone());
        }
        let host = rustix::system::uname();
        Ok(host.nodename().to_string_lossy().chars().filter(char::is_ascii_graphic).take(MAX_NODE_NAME).collect())
    }
}

impl Session {
    fn parse(&self, bad: Bad<'_>) -> Result<Lifetimes, ConfigError> {
        let ordinary = Lifetime::new(self.idle.0, self.absolute.0);
        let remembered = Lifetime::new(self.remembered_idle.0, self.remembered_absolute.0);
        for (name, absolute, lifetime) in [
            ("session.idle", "session.absolute", ordinary),
            ("session.remembered_idle", "session.remembered_absolute", remembered),
        ] {
            match lifetime {
                Err(BadLifetime::IdleTooShort) => return Err(bad(name, "it must be at least 10s")),
                Err(BadLifetime::IdleOverAbsolute) => return Err(bad(name, &format!("it is longer than {absolute}"))),
                Err(BadLifetime::AbsoluteTooLong) | Ok(_) => {}
            }
        }
        Ok(Lifetimes {
            ordinary: ordinary.map_err(|_| bad("session.absolute", TOO_LONG))?,
            remembered: remembered.map_err(|_| bad("session.remembered_absolute", TOO_LONG))?,
        })
    }

    /// Returns the memory for copy detection, if it is on.
    fn copy_detection_memory(&self, bad: Bad<'_>) -> Result<Option<usize>, ConfigError> {
        let bytes = self.copy_detection_memory.0;
        if !(MIN_COPY_DETECTION_MEMORY..=MAX_COPY_DETECTION_MEMORY).contains(&bytes) {
            return Err(bad("session.copy_detection_memory", "it must be from 1MiB to 64GiB"));
        }
        let bytes = usize::try_from(bytes).map_err(|_| bad("session.copy_detection_memory", "it is too much here"))?;
        Ok(self.copy_detection.then_some(bytes))
    }
}

impl PasswordCost {
    fn parse(&self, bad: Bad<'_>) -> Result<Cost, ConfigError> {
        let cost = self.cost();
        if cost.memory_kib < Cost::LEAST_MEMORY_KIB || !cost.is_bearable() {
            let reason =
                "Argon2id's cost must be at least 7168 KiB, at most 262144 KiB, and bearable in passes and lanes";
            return Err(bad("password.memory_kib", reason));
        }
        if u64::from(self.threads.max(1)) * u64::from(self.memory_kib) > u64::from(self.memory_budget_kib) {
            let reason = "it must be enough for password.memory_kib in each of password.threads";
            return Err(bad("password.memory_budget_kib", reason));
        }
        Ok(cost)
    }
}

impl Revocation {
    const fn freshness(&self) -> Freshness {
        let when_stale = match self.when_stale {
            StaleChoice::Refuse => WhenStale::Refuse,
            StaleChoice::Allow => WhenStale::Allow,
        };
        Freshness { max_staleness: self.max_staleness.0, when_stale }
    }
}

impl Throttle {
    const fn limits(&self) -> Limits {
        Limits {
            network: Rate { burst: self.network_burst, interval: self.network_interval.0 },
            account_and_network: Rate {
                burst: self.account_and_network_burst,
                interval: self.account_and_network_interval.0,
            },
            account: Rate { burst: self.account_burst, interval: self.account_interval.0 },
            success: Rate { burst: self.success_burst, interval: self.success_interval.0 },
        }
    }
}

fn without_brackets(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}
