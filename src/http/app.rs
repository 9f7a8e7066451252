//! The application state and settings that request handlers use.
//!
//! They form one value, [`App`]. A reload of the configuration replaces the whole value, so a request never uses settings of two
//! configurations. `server/app.rs` creates it.

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
use crate::http::headers::PreparedHeaders;
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

/// Shared state that exists as long as the process, and settings that a reload can change.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Clock from which request handlers read the time.
    pub(crate) clock: Clock,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Store,
    /// Measures the time from the write of a revocation on another node until this node reads it.
    pub(crate) lag: Arc<Lag>,
    pub(crate) committer: Committer,
    pub(crate) passwords: Arc<Checker>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) hosts: Hosts,
    /// Authorities that requests to the admin listener may name.
    pub(crate) admin_authorities: AdminAuthorities,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Format of client addresses in the log.
    pub(crate) client_form: ClientForm,
    pub(crate) cookies: Cookies,
    pub(crate) prepared: PreparedHeaders,
    pub(crate) description: Description,
    pub(crate) pages: Pages,
    pub(crate) max_body_bytes: u32,
    pub(crate) body_timeout: Duration,
    /// Connections of the public listener.
    pub(crate) connections: Arc<Connections>,
    pub(crate) key_directory: Arc<KeyDirectory>,
    /// Limits the HTTP/2 requests of trusted proxies that wait for their bodies.
    pub(crate) body_waits: Arc<BodyWaits>,
    /// Limits the requests that wait for the key ring to be read again.
    pub(crate) key_ring_waits: Arc<KeyWaits>,
    /// Limits the requests that wait for the reports of other nodes.
    pub(crate) node_report_waits: Arc<KeyWaits>,
    /// Certificate of the public listener, or `None` if it does not use TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Calls that change something. They run to completion, even if their client disconnects.
    pub(crate) changes: Changes,
    /// Reads the reports of other nodes about their keys.
    pub(crate) node_reports: Arc<NodeReports>,
    /// Whether the process has received the signal to stop.
    pub(crate) is_stopping: Arc<AtomicBool>,
    pub(crate) reloads: Arc<Reloads>,
    /// Protections of this process that the system has applied.
    pub(crate) hardening: Hardening,
}

/// Handle to the current [`App`]. A request uses the same `App` from its beginning to its end.
#[derive(Debug, Clone)]
pub(crate) struct AppHandle(Arc<ArcSwap<App>>);

impl AppHandle {
    pub(crate) fn new(app: App) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(app)))
    }

    /// Returns the current app for code that does not wait. The guard is cheap, but a thread has only a few fast ones
    /// ([`ArcSwap::load`]), so it must not be held across an `await`.
    pub(crate) fn load(&self) -> Guard<Arc<App>> {
        self.0.load()
    }

    /// Returns the current app for code that may wait.
    pub(crate) fn load_full(&self) -> Arc<App> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, app: App) {
        self.0.store(Arc::new(app));
    }
}
