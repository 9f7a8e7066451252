//! Settings that contradict each other or a rule of safety stop the start; the message names the setting and its source.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::layers::{Layers, Source};
use super::listen::Listen;
use super::{Config, MAX_NODE_NAME, PasswordCost, Tls};
use crate::account::password::Cost;
use crate::http::forwarded::TrustedProxies;
use crate::revocation::retention::COMMITTED_WITHIN;
use crate::store::StoreUrl;
use crate::web::origin::Origin;

/// Ten years: longer is a slip of the keyboard.
pub(crate) const MAX_SPAN: Duration = Duration::from_secs(3650 * 24 * 3600);

/// A configuration that cannot be used. Each message names the setting and where its value came from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("unknown setting {setting} ({from})")]
    Unknown { setting: String, from: Source },
    #[error("setting {setting} ({from}): {reason}")]
    BadValue { setting: String, from: Source, reason: String },
}

impl Config {
    /// Refuses settings that contradict each other or a rule of safety.
    pub(crate) fn check(&self, layers: &Layers) -> Result<(), ConfigError> {
        let bad = |setting: &str, reason: &str| {
            Err(ConfigError::BadValue {
                setting: setting.to_owned(),
                from: layers.source(setting).clone(),
                reason: reason.to_owned(),
            })
        };
        if let Err(reason) = StoreUrl::parse(&self.store) {
            return bad("store", &reason);
        }
        for (name, idle, absolute) in [
            ("session.idle", self.session.idle, self.session.absolute),
            ("session.remembered_idle", self.session.remembered_idle, self.session.remembered_absolute),
        ] {
            if idle.0 < Duration::from_secs(10) {
                return bad(name, "it must be at least 10s");
            }
            if idle.0 > absolute.0 {
                return bad(name, &format!("it is longer than {}", name.replace("idle", "absolute")));
            }
        }
        for (name, span) in [
            ("session.absolute", self.session.absolute),
            ("session.remembered_absolute", self.session.remembered_absolute),
            ("keys.activate_after", self.keys.activate_after),
            ("throttle.network_interval", self.throttle.network_interval),
            ("throttle.account_and_network_interval", self.throttle.account_and_network_interval),
            ("throttle.account_interval", self.throttle.account_interval),
            ("keys.rotate_every", self.keys.rotate_every),
            ("revocation.max_staleness", self.revocation.max_staleness),
        ] {
            if span.0 > MAX_SPAN {
                return bad(name, "it must be at most 3650d");
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
            ("http.body_timeout", self.http.body_timeout),
        ] {
            if span.0 < Duration::from_secs(1) {
                return bad(name, "it must be at least 1s");
            }
        }
        for (name, number, least) in [
            ("http.max_connections", self.http.max_connections, 1),
            ("postgres.max_connections", self.postgres.max_connections, 1),
            ("http.max_body_bytes", self.http.max_body_bytes, 2048),
            ("password.queue", self.password.queue, 1),
        ] {
            if number < least {
                return bad(name, &format!("it must be at least {least}"));
            }
        }
        for (name, span) in [
            ("postgres.statement_timeout", self.postgres.statement_timeout),
            ("postgres.connect_timeout", self.postgres.connect_timeout),
        ] {
            if span.0 >= COMMITTED_WITHIN {
                return bad(name, "it must be less than 5s, after which a commit does not count");
            }
        }
        if self.node.name.len() > MAX_NODE_NAME || !self.node.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return bad("node.name", "it must be at most 64 visible ASCII characters; empty for the host's name");
        }
        let cost = self.cost();
        if cost.memory_kib < Cost::LEAST_MEMORY_KIB || !cost.is_bearable() {
            return bad(
                "password.memory_kib",
                "Argon2id's cost must be at least 7168 KiB, at most 262144 KiB, and bearable in passes and lanes",
            );
        }
        let PasswordCost { memory_kib, threads, memory_budget_kib, .. } = self.password;
        if u64::from(threads.max(1)) * u64::from(memory_kib) > u64::from(memory_budget_kib) {
            return bad(
                "password.memory_budget_kib",
                "it must be enough for password.memory_kib in each of password.threads",
            );
        }
        if self.http.admin_listen.collides_with(&self.http.listen) {
            return bad(
                "http.admin_listen",
                "it is the same as http.listen; /healthz and /readyz need an address of their own",
            );
        }
        if self.http.public_origins.is_empty() && !self.http.listen.ip().is_some_and(|ip| ip.is_loopback()) {
            return bad(
                "http.public_origins",
                "it must name the origins that browsers use, because http.listen is not a loopback address",
            );
        }
        self.check_tls(&bad)?;
        let domain = self.cookie_domain();
        if domain.is_none() && !self.cookie.domain.is_empty() {
            return bad("cookie.domain", "it must be a name such as example.com, without a dot in front; or empty");
        }
        if domain.is_some() && self.http.public_origins.is_empty() {
            return bad("cookie.domain", "it needs http.public_origins, each on a host of that domain");
        }
        if domain.is_some() && self.cookie.plain_http {
            return bad("cookie.plain_http", "it cannot be combined with cookie.domain");
        }
        for text in &self.http.public_origins {
            let Some(origin) = Origin::parse(text) else {
                return bad(
                    "http.public_origins",
                    &format!("{text:?} is not an origin such as https://app.example.com"),
                );
            };
            if !origin.is_secure() && !origin.is_loopback() {
                return bad(
                    "http.public_origins",
                    &format!(
                        "{origin}: browsers drop Secure cookies over plain http; use https, or a loopback host to try things out"
                    ),
                );
            }
            if self.speaks_tls() && !origin.is_secure() {
                return bad("http.public_origins", &format!("{origin}: with the settings of tls it must be https"));
            }
            if self.cookie.plain_http && !origin.is_loopback() {
                return bad(
                    "cookie.plain_http",
                    &format!("it is for development on this machine, and http.public_origins names {origin}"),
                );
            }
            if domain.as_ref().is_some_and(|domain| !domain.covers(origin.host())) {
                return bad("cookie.domain", &format!("{origin} of http.public_origins is not below it"));
            }
        }
        for text in &self.http.trusted_proxies {
            if TrustedProxies::default().add(text).is_none() {
                return bad(
                    "http.trusted_proxies",
                    &format!("{text:?} is neither an address nor a network such as 10.0.0.0/8, nor unix"),
                );
            }
        }
        for text in &self.http.verify_authorities {
            if Origin::parse(&format!("https://{text}")).is_none() {
                return bad(
                    "http.verify_authorities",
                    &format!("{text:?} is not a host and port such as sealjar:8080"),
                );
            }
        }
        if self.log.level.parse::<Targets>().is_err() {
            return bad("log.level", "it must be a level, or targets with levels, such as sealjar=debug,sqlx=warn");
        }
        Ok(())
    }
    fn check_tls(&self, bad: &impl Fn(&str, &str) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
        let Tls { certificate, private_key, self_signed, .. } = &self.tls;
        let (has_certificate, has_key) = (!certificate.as_os_str().is_empty(), !private_key.as_os_str().is_empty());
        if has_certificate && !has_key {
            return bad("tls.private_key", "it must name the file of the private key, because tls.certificate is set");
        }
        if has_key && !has_certificate {
            return bad("tls.certificate", "it must name the file of the certificate, because tls.private_key is set");
        }
        if has_certificate && *self_signed {
            return bad("tls.self_signed", "there is a certificate in tls.certificate already");
        }
        if self.speaks_tls() && matches!(self.http.listen, Listen::Unix(_)) {
            return bad("http.listen", "there is no TLS on a Unix socket; leave out the settings of tls");
        }
        if self.speaks_tls() && self.cookie.plain_http {
            return bad("cookie.plain_http", "it is for plain HTTP, and the settings of tls are given");
        }
        Ok(())
    }
}
