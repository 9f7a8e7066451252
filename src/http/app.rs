//! The state and settings that handlers work with: one value, which a change of the settings replaces as a whole.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::account::password::checker::Checker;
use crate::clock::Clock;
use crate::hardening::Hardening;
use crate::http::admin_authorities::AdminAuthorities;
use crate::http::body_waits::BodyWaits;
use crate::http::connections::Connections;
use crate::http::description::Description;
use crate::http::forwarded::TrustedProxies;
use crate::http::headers::Prepared;
use crate::http::key_waits::KeyWaits;
use crate::http::node_reports::NodeReports;
use crate::http::pages::Pages;
use crate::http::reloads::Reloads;
use crate::http::throttle::Throttle;
use crate::http::tls::Tls;
use crate::network::ClientForm;
use crate::session::Sessions;
use crate::store::Store;
use crate::sync::committer::Committer;
use crate::sync::key_directory::KeyDirectory;
use crate::sync::lag::Lag;
use crate::web::changes::Changes;
use crate::web::cookie::Cookies;
use crate::web::hosts::Hosts;

/// State that lives as long as the process, shared, and settings that may change meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Clock that requests read.
    pub(crate) clock: Clock,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Store,
    /// Delay between the writing of other nodes' revocations and their reading here.
    pub(crate) lag: Arc<Lag>,
    pub(crate) committer: Committer,
    pub(crate) passwords: Arc<Checker>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) hosts: Hosts,
    /// Names under which the admin listener is asked.
    pub(crate) admin_authorities: AdminAuthorities,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Form of clients in the log.
    pub(crate) client_form: ClientForm,
    pub(crate) cookies: Cookies,
    pub(crate) prepared: Prepared,
    pub(crate) description: Description,
    pub(crate) pages: Pages,
    pub(crate) max_body_bytes: u32,
    pub(crate) body_timeout: Duration,
    /// Connections of the public listener.
    pub(crate) connections: Arc<Connections>,
    pub(crate) key_directory: Arc<KeyDirectory>,
    /// Requests of trusted proxies over HTTP/2 that wait for their bodies.
    pub(crate) body_waits: Arc<BodyWaits>,
    /// Requests that wait for the key ring to be read.
    pub(crate) ring_waits: Arc<KeyWaits>,
    /// Requests that wait for other nodes' reports.
    pub(crate) node_waits: Arc<KeyWaits>,
    /// Certificate of the public listener, if it speaks TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Calls that change something. They run to their end.
    pub(crate) changes: Changes,
    /// Reports of other nodes about their keys.
    pub(crate) node_reports: Arc<NodeReports>,
    /// Set when the signal to stop has come.
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) reloads: Arc<Reloads>,
    /// Hardening of this process.
    pub(crate) hardening: Hardening,
}

/// The [`App`] in force. A request keeps the one that it began with.
#[derive(Debug, Clone)]
pub(crate) struct AppHandle(Arc<ArcSwap<App>>);

impl AppHandle {
    pub(crate) fn new(app: App) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(app)))
    }

    /// Returns the app for a request that waits for nothing. A thread has few such guards.
    pub(crate) fn load(&self) -> Guard<Arc<App>> {
        self.0.load()
    }

    /// Returns the app for something that may wait.
    pub(crate) fn hold(&self) -> Arc<App> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, app: App) {
        self.0.store(Arc::new(app));
    }
}
