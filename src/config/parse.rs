//! Parses a configuration into [`Settings`].
//!
//! The server does not start if a setting is out of its bounds, contradicts another setting or is unsafe. The error names
//! the setting and its source.

use std::time::Duration;

use tracing::dispatcher::{self, Dispatch};

use super::error::{ConfigError, ErrorFor};
use super::layers::Layers;
use super::log_level;
use super::settings::Settings;
use super::{Config, Keys, PasswordCost, Revocation, Session, StaleChoice, Throttle};
use crate::account::password::Cost;
use crate::http::throttle::{Limits, Rate};
use crate::revocation::retention::MAX_COMMIT_DURATION;
use crate::revocation::{Freshness, WhenStale};
use crate::session::Lifetimes;
use crate::session::lifetime::{BadLifetime, Lifetime, MAX_LIFETIME};
use crate::store::url::StoreUrl;
use crate::store::url::without_password;
use crate::web::origin::LOOPBACK;

/// Maximum length of the name of a node, in characters. Host names on Linux have the same maximum.
const MAX_NODE_NAME_CHARS: usize = 64;

/// Minimum of `session.copy_detection_memory`, in bytes.
const MIN_COPY_DETECTION_MEMORY: u64 = 1 << 20;
/// Maximum of `session.copy_detection_memory`, in bytes.
const MAX_COPY_DETECTION_MEMORY: u64 = 64 << 30;

/// Reason for refusing a duration over [`MAX_LIFETIME`].
const TOO_LONG: &str = "it must be at most 3650d";

impl Config {
    /// Parses the settings, which came from these layers. The error is about the first invalid setting.
    pub(crate) fn parse(&self, layers: &Layers) -> Result<Settings, ConfigError> {
        let error_for = |setting: &str, reason: &str| layers.error_for(setting, reason);
        // sqlx logs at each call if it does not use the password file. The log of sqlx is turned off here, because
        // `store/password_file.rs` logs the problem once and with a remedy.
        let store = dispatcher::with_default(&Dispatch::none(), || StoreUrl::parse(&self.store));
        let store = store.map_err(|reason| error_for("store", &reason))?;
        let lifetimes = self.session.parse(&error_for)?;
        self.check_bounds(&error_for)?;
        if self.keys.dir.as_os_str().is_empty() {
            return Err(error_for("keys.dir", "it must name a directory"));
        }
        let node_name = self.node_name(&error_for)?;
        let cost = self.password.parse(&error_for)?;
        self.check_listeners(&error_for)?;
        self.check_tls(&error_for)?;
        let sites = self.sites(&error_for)?;
        let trusted_proxies = self.trusted_proxies(&error_for)?;
        self.check_verify_authorities(&error_for)?;
        let admin_authorities = self.admin_authorities(&error_for)?;
        let log_targets = log_level::parse(&self.log.level).map_err(|reason| error_for("log.level", &reason))?;
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
            lacks_trusted_proxy: self.lacks_trusted_proxy(),
            overly_broad_proxies: self.overly_broad_proxies(),
            max_body_bytes: http.max_body_bytes,
            body_timeout: http.body_timeout.0,
            max_connections: http.max_connections as usize,
            idle_timeout: http.idle_timeout.0,
            shutdown_delay: http.shutdown_delay.0,
            shutdown_timeout: http.shutdown_timeout.0,
            certificate,
            min_tls_version: self.tls.min_version,
            pages: self.pages.parse(&error_for)?,
            key_directory: dir.clone(),
            activate_after: activate_after.0,
            rotate_every: Some(rotate_every.0).filter(|every| !every.is_zero()),
            node_name,
            lifetimes,
            copy_detection: self.session.copy_detection_memory(&error_for)?,
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

    /// Checks the minimum and maximum of durations and numbers.
    fn check_bounds(&self, error_for: ErrorFor<'_>) -> Result<(), ConfigError> {
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
                return Err(error_for(name, TOO_LONG));
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
                return Err(error_for(name, "it must be at least 1s"));
            }
        }
        for (name, number, minimum) in [
            ("http.max_connections", self.http.max_connections, 1),
            ("postgres.max_connections", self.postgres.max_connections, 1),
            ("http.max_body_bytes", self.http.max_body_bytes, 2048),
            ("password.queue", self.password.queue, 1),
        ] {
            if number < minimum {
                return Err(error_for(name, &format!("it must be at least {minimum}")));
            }
        }
        for (name, span) in [
            ("postgres.statement_timeout", self.postgres.statement_timeout),
            ("postgres.connect_timeout", self.postgres.connect_timeout),
        ] {
            if span.0 >= MAX_COMMIT_DURATION {
                return Err(error_for(name, "it must be less than 5s, the time limit of a commit"));
            }
        }
        Ok(())
    }

    /// Returns the name of this server in its node reports: the setting, or the visible ASCII characters of the host's name.
    fn node_name(&self, error_for: ErrorFor<'_>) -> Result<String, ConfigError> {
        let name = &self.node.name;
        if name.len() > MAX_NODE_NAME_CHARS || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "it must be at most 64 visible ASCII characters, or empty to use the name of the host";
            return Err(error_for("node.name", reason));
        }
        if !name.is_empty() {
            return Ok(name.clone());
        }
        let host = rustix::system::uname();
        Ok(host.nodename().to_string_lossy().chars().filter(char::is_ascii_graphic).take(MAX_NODE_NAME_CHARS).collect())
    }
}

impl Session {
    /// Parses the lifetimes of ordinary and of remembered sessions.
    fn parse(&self, error_for: ErrorFor<'_>) -> Result<Lifetimes, ConfigError> {
        let ordinary = Lifetime::new(self.idle.0, self.absolute.0);
        let remembered = Lifetime::new(self.remembered_idle.0, self.remembered_absolute.0);
        for (name, absolute, lifetime) in [
            ("session.idle", "session.absolute", ordinary),
            ("session.remembered_idle", "session.remembered_absolute", remembered),
        ] {
            match lifetime {
                Err(BadLifetime::IdleTooShort) => return Err(error_for(name, "it must be at least 10s")),
                Err(BadLifetime::IdleOverAbsolute) => {
                    return Err(error_for(name, &format!("it is longer than {absolute}")));
                }
                Err(BadLifetime::AbsoluteTooLong) | Ok(_) => {}
            }
        }
        Ok(Lifetimes {
            ordinary: ordinary.map_err(|_| error_for("session.absolute", TOO_LONG))?,
            remembered: remembered.map_err(|_| error_for("session.remembered_absolute", TOO_LONG))?,
        })
    }

    /// Returns the memory for copy detection in bytes, or `None` if copy detection is off.
    fn copy_detection_memory(&self, error_for: ErrorFor<'_>) -> Result<Option<usize>, ConfigError> {
        let bytes = self.copy_detection_memory.0;
        if !(MIN_COPY_DETECTION_MEMORY..=MAX_COPY_DETECTION_MEMORY).contains(&bytes) {
            return Err(error_for("session.copy_detection_memory", "it must be from 1MiB to 64GiB"));
        }
        let bytes = usize::try_from(bytes)
            .map_err(|_| error_for("session.copy_detection_memory", "it is more than this machine can address"))?;
        Ok(self.copy_detection.then_some(bytes))
    }
}

impl PasswordCost {
    /// Checks the cost of password hashes, and that the memory budget is large enough for the threads.
    fn parse(&self, error_for: ErrorFor<'_>) -> Result<Cost, ConfigError> {
        let cost = self.cost();
        if cost.memory_kib < Cost::MIN_MEMORY_KIB || !cost.is_within_limits() {
            let reason = "the memory must be from 7168 to 262144 KiB, passes at least 1, lanes from 1 to 16, and memory multiplied by passes at most 2097152";
            return Err(error_for("password.memory_kib", reason));
        }
        if u64::from(self.threads.max(1)) * u64::from(self.memory_kib) > u64::from(self.memory_budget_kib) {
            let reason = "it must be at least password.memory_kib multiplied by password.threads";
            return Err(error_for("password.memory_budget_kib", reason));
        }
        Ok(cost)
    }
}

impl Revocation {
    /// Returns the maximum age of the revocation list, and the behavior when the list is older.
    const fn freshness(&self) -> Freshness {
        let when_stale = match self.when_stale {
            StaleChoice::Refuse => WhenStale::Refuse,
            StaleChoice::Allow => WhenStale::Allow,
        };
        Freshness { max_staleness: self.max_staleness.0, when_stale }
    }
}

impl Throttle {
    /// Returns the rate limits for passwords.
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

/// Returns the host without the brackets of an IPv6 address.
fn without_brackets(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}
