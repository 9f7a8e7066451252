//! The parsed settings, in the types of the code that uses them.
//!
//! Only [`Config::parse`](super::Config::parse) creates them. They are therefore within their bounds and safe, and do not
//! contradict each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::LogFormat;
use super::listen::{Listen, UnixMode};
use crate::account::password::Cost;
use crate::http::admin_authorities::AdminAuthorities;
use crate::http::forwarded::TrustedProxies;
use crate::http::pages::PageSettings;
use crate::http::throttle;
use crate::http::tls::{Source, TlsVersion};
use crate::network::ClientForm;
use crate::revocation::Freshness;
use crate::session::lifetime::Lifetime;
use crate::session::{Lifetimes, copy_detection};
use crate::store;
use crate::store::url::StoreUrl;
use crate::web::hosts::Hosts;
use crate::web::origin::{LOOPBACK, Origin};
use crate::web::sites::Sites;

/// All parsed settings. They contain the password of the store, so this type has no `Debug`.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) store: StoreUrl,
    /// Address of the store without the password.
    pub(crate) store_name: String,
    pub(crate) store_limits: store::Limits,
    pub(crate) listen: Listen,
    pub(crate) admin_listen: Listen,
    pub(crate) unix_mode: UnixMode,
    pub(crate) sites: Sites,
    pub(super) verify_authorities: Vec<String>,
    pub(crate) admin_authorities: AdminAuthorities,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Whether a proxy must terminate TLS, but no proxy is trusted.
    pub(super) lacks_trusted_proxy: bool,
    /// Entries of `http.trusted_proxies` that contain a large part of all addresses.
    pub(super) overly_broad_proxies: Vec<String>,
    pub(crate) max_body_bytes: u32,
    pub(crate) body_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) shutdown_delay: Duration,
    pub(crate) shutdown_timeout: Duration,
    /// Source of the certificate, or `None` without TLS.
    pub(crate) certificate: Option<Source>,
    pub(crate) min_tls_version: TlsVersion,
    pub(crate) pages: PageSettings,
    pub(crate) key_directory: PathBuf,
    pub(crate) activate_after: Duration,
    /// Interval of the scheduled rotation of keys, or `None` if it is off.
    pub(crate) rotate_every: Option<Duration>,
    /// Name of this server in its node reports.
    pub(crate) node_name: String,
    pub(crate) lifetimes: Lifetimes,
    /// Memory for copy detection in bytes, or `None` if copy detection is off.
    pub(crate) copy_detection: Option<usize>,
    pub(crate) freshness: Freshness,
    pub(crate) cost: Cost,
    pub(crate) password_threads: u32,
    pub(crate) password_memory_kib: u32,
    pub(crate) password_queue: usize,
    pub(crate) throttle: throttle::Limits,
    pub(crate) log_format: LogFormat,
    pub(crate) log_targets: Targets,
    pub(crate) log_client: ClientForm,
    pub(crate) landlock: bool,
}

impl Settings {
    /// Returns the hosts that the public listener serves. `port` is its actual port, or `None` for a Unix socket.
    pub(crate) fn hosts(&self, port: Option<u16>) -> Hosts {
        let is_secure = self.certificate.is_some();
        let origins = match self.sites.origins() {
            [] => LOOPBACK.map(|host| Origin::new(is_secure, host.to_owned(), port)).to_vec(),
            origins => origins.to_vec(),
        };
        let mut verify_authorities = self.verify_authorities.clone();
        if verify_authorities.is_empty() {
            let with_port = |host: &str| port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            verify_authorities.extend(LOOPBACK.map(with_port));
            let listen_authority = self.listen.ip().zip(port).map(|(ip, port)| SocketAddr::new(ip, port).to_string());
            verify_authorities.extend(listen_authority);
        }
        Hosts::new(origins, self.sites.domain().cloned(), verify_authorities)
    }

    /// Returns the types of sessions (ordinary, remembered) for which copy detection is turned on, but is not possible
    /// with their lifetimes. Each has the name of the setting of its idle timeout.
    pub(crate) fn without_copy_detection(&self) -> impl Iterator<Item = (&'static str, Lifetime)> {
        let Lifetimes { ordinary, remembered } = self.lifetimes;
        let session_types = [("session.idle", ordinary), ("session.remembered_idle", remembered)];
        let is_on = self.copy_detection.is_some();
        session_types.into_iter().filter(move |(_, lifetime)| is_on && !copy_detection::is_possible(*lifetime))
    }

    /// Logs a warning for each dangerous setting.
    pub(crate) fn warn_of_dangers(&self) {
        if self.sites.plain_http() {
            tracing::warn!(
                "DEVELOPMENT MODE: cookies travel over plain HTTP (cookie.plain_http); never use this outside your own machine"
            );
        }
        if self.lacks_trusted_proxy {
            tracing::warn!(
                "no proxy is trusted (http.trusted_proxies), so all users behind a proxy count as one client: the failed logins of one can block the logins of all. Sessions are renewed late"
            );
        }
        for network in &self.overly_broad_proxies {
            tracing::warn!(
                network,
                "http.trusted_proxies has a network that is too large: any client can forge its address, and the host and path of its request; list only the addresses of the proxies"
            );
        }
        for (setting, lifetime) in self.without_copy_detection() {
            let Lifetime { idle, .. } = lifetime;
            tracing::warn!(
                setting,
                idle_secs = idle.as_secs(),
                "copy detection is off for these sessions: it needs {setting} of 18m or more, and less than the absolute timeout"
            );
        }
    }
}
