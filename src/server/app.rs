//! Builds the [`App`] (the state that all requests share) from the settings, and builds a new one after a reload.

use std::io;
use std::sync::Arc;

use crate::account::password::checker::Checker;
use crate::clock::Clock;
use crate::config::settings::Settings;
use crate::hardening::Hardening;
use crate::http::app::App;
use crate::http::connections::Connections;
use crate::http::description::Description;
use crate::http::headers::PreparedHeaders;
use crate::http::key_waits::KeyWaits;
use crate::http::openapi;
use crate::http::pages::Pages;
use crate::http::reloads::Reloads;
use crate::http::throttle::Throttle;
use crate::http::tls::Tls;
use crate::keyring::KeyRing;
use crate::revocation::RevocationList;
use crate::session::Sessions;
use crate::store::Store;
use crate::sync::committer::Committer;
use crate::sync::key_directory::KeyDirectory;
use crate::sync::lag::Lag;
use crate::web::changes::Changes;

/// Parts of the app that exist before it.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) ring: KeyRing,
    pub(crate) list: Arc<RevocationList>,
    pub(crate) lag: Arc<Lag>,
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    /// Connections of the public listener.
    pub(crate) connections: Arc<Connections>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) pages: Pages,
    /// Port of the public listener, if it has one.
    pub(crate) port: Option<u16>,
    pub(crate) hardening: Hardening,
}

/// Builds the app, and starts the threads that check passwords.
///
/// # Errors
/// The error of the system if a thread cannot be started.
pub(crate) fn new(settings: &Settings, parts: Parts) -> io::Result<App> {
    let Parts { clock, ring, list, lag, store, committer, connections, tls, pages, port, hardening } = parts;
    let now = clock.now();
    let cookies = settings.sites.cookies();
    let hosts = settings.hosts(port);
    let passwords = Checker::start(
        settings.cost,
        settings.password_threads,
        settings.password_queue,
        settings.password_memory_kib,
    )?;
    let sessions = Sessions::new(ring, list, cookies.session().clone(), settings.lifetimes);
    sessions.detect_copies(settings.copy_detection);
    Ok(App {
        clock,
        sessions: Arc::new(sessions),
        store,
        lag,
        committer,
        passwords: Arc::new(passwords),
        throttle: Arc::new(Throttle::new(settings.throttle)),
        prepared: PreparedHeaders::new(&hosts),
        description: Description::new(openapi::of_public(&hosts, &cookies)),
        hosts,
        admin_authorities: settings.admin_authorities.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        client_form: settings.log_client,
        cookies,
        pages,
        max_body_bytes: settings.max_body_bytes,
        body_timeout: settings.body_timeout,
        connections,
        key_directory: Arc::new(KeyDirectory::new(now)),
        body_waits: Arc::default(),
        key_ring_waits: Arc::new(KeyWaits::new()),
        node_report_waits: Arc::new(KeyWaits::new()),
        tls,
        changes: Changes::new(),
        node_reports: Arc::default(),
        is_stopping: Arc::default(),
        reloads: Arc::new(Reloads::new(now.wall)),
        hardening,
    })
}

/// Returns a copy of the app with those new settings that take effect without a restart. It shares all state with the
/// old app. Every field is written out, instead of `..app`, so that a field that depends on a setting cannot be
/// forgotten.
pub(super) fn with_settings(app: &App, settings: &Settings, port: Option<u16>) -> App {
    let hosts = settings.hosts(port);
    App {
        prepared: PreparedHeaders::new(&hosts),
        description: Description::new(openapi::of_public(&hosts, &app.cookies)),
        hosts,
        admin_authorities: settings.admin_authorities.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        client_form: settings.log_client,
        pages: app.pages.with_settings(&settings.pages),
        max_body_bytes: settings.max_body_bytes,
        body_timeout: settings.body_timeout,
        clock: app.clock.clone(),
        sessions: app.sessions.clone(),
        store: app.store.clone(),
        lag: app.lag.clone(),
        committer: app.committer.clone(),
        passwords: app.passwords.clone(),
        throttle: app.throttle.clone(),
        cookies: app.cookies.clone(),
        connections: app.connections.clone(),
        key_directory: app.key_directory.clone(),
        body_waits: app.body_waits.clone(),
        key_ring_waits: app.key_ring_waits.clone(),
        node_report_waits: app.node_report_waits.clone(),
        tls: app.tls.clone(),
        changes: app.changes.clone(),
        node_reports: app.node_reports.clone(),
        is_stopping: app.is_stopping.clone(),
        reloads: app.reloads.clone(),
        hardening: app.hardening,
    }
}
