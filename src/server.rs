//! The server process: starts the store, the background tasks and the two listeners, and shuts them down gracefully.
//!
//! Invariant: no request is served before the whole revocation list is loaded. During the shutdown, the revocations of
//! finished requests are written to the store before the process ends. Called by `sealjar serve` (`cli/serve.rs`).

mod acceptor;
pub(crate) mod app;
pub(crate) mod descriptors;
pub(crate) mod error;
pub(crate) mod listener;
pub(crate) mod log;
mod log_queue;
mod protocol;
mod reload;
mod report;
pub(crate) mod ring;
mod stream;
mod supervisor;
pub(crate) mod writable;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::settings::Settings;
use crate::config::sources::ConfigSources;
use crate::hardening::Hardening;
use crate::http;
use crate::http::app::AppHandle;
use crate::http::connections::Connections;
use crate::http::forwarded::TrustedProxies;
use crate::http::node_reports;
use crate::http::pages::Pages;
use crate::http::tls::Tls;
use crate::keyring::KeyRing;
use crate::revocation::RevocationList;
use crate::store::Store;
use crate::store::records::EmptyPolicy;
use crate::sync::committer::Committer;
use crate::sync::follower::Follower;
use crate::sync::lag::Lag;
use crate::web::hosts::Hosts;
use error::ServeError;
use listener::{InheritedSockets, Listener};
use log::Log;
use reload::Reload;
use report::Reporting;

/// Maximum time for each of the last steps of a shutdown: finishing changes, writing the last revocations, closing the store.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Facts about a server that is ready, for the output of the command.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    /// Hosts that the public listener serves.
    pub(crate) hosts: &'a Hosts,
    /// Whether the store has at least one account.
    pub(crate) has_accounts: bool,
}

/// Runs the server until it receives a signal to stop. Calls `on_ready` when the whole revocation list is loaded and
/// both listeners are open. `settings` is the parsed form of `config`, which was read from `sources`. The sources are
/// read again while the server runs.
pub(crate) async fn serve(
    settings: Settings,
    config: Config,
    sources: ConfigSources,
    log: Log,
    mut inherited: InheritedSockets,
    hardening: Hardening,
    on_ready: impl FnOnce(Ready<'_>),
) -> Result<(), ServeError> {
    // Install the handler of SIGHUP first. Without a handler, SIGHUP would end the process during the start.
    let hangups = signal(SignalKind::hangup())?;
    // Load everything that the server needs before the first request. An error here prevents the start.
    let pages = Pages::open(&settings.pages, settings.sites.plain_http())?;
    let ring = KeyRing::load(&settings.key_directory)?;
    let store = Store::open(&settings.store, settings.store_limits, EmptyPolicy::Filled).await?;
    let list = Arc::new(RevocationList::new(settings.freshness));
    let lag = Arc::new(Lag::default());
    let follower = Follower::load(store.clone(), list.clone(), lag.clone(), settings.lifetimes).await?;
    // This is the last query whose failure stops the start. From here on, the server also runs while the store is unavailable.
    let has_accounts = store.has_accounts().await?;
    let mode = settings.unix_mode;
    let public = Listener::open("http.listen", &settings.listen, mode, &mut inherited)?;
    let admin = Listener::open("http.admin_listen", &settings.admin_listen, mode, &mut inherited)?;
    inherited.warn_of_unused();

    // Build the parts that requests share, and the app.
    let max_connections = descriptors::raise_limit(settings.max_connections);
    let idle_timeout = settings.idle_timeout;
    let connections = Connections::new(max_connections, idle_timeout, settings.trusted_proxies.clone());
    let (committer, mut commit_task) = Committer::start(list.clone(), store.clone());
    let port = public.port();
    let certificate = settings.certificate.clone();
    let tls = certificate.map(|source| Tls::open(source, settings.min_tls_version)).transpose()?;
    let parts = app::Parts {
        clock: Clock::System,
        ring,
        list,
        lag,
        store: store.clone(),
        committer,
        connections: connections.clone(),
        tls: tls.clone(),
        pages,
        port,
        hardening,
    };
    let handle = AppHandle::new(app::new(&settings, parts)?);
    // A reload replaces the `App`, but never the parts of it that are used here.
    let app = handle.load_full();
    let ring_changed = Arc::new(tokio::sync::Notify::new());
    // If the revocation log refuses a key, the key ring is read again, so that the change is reported.
    let key_directory = app.key_directory.clone();
    let on_key_refused = move || key_directory.request_read();
    // Start the background tasks.
    let mut background = vec![
        tokio::spawn(follower.run(on_key_refused)),
        tokio::spawn(node_reports::read_on_request(app.node_reports.clone(), store.clone())),
        tokio::spawn(ring::follow(app.clone(), settings.key_directory.clone(), ring_changed.clone())),
    ];
    background.extend(tls.clone().map(|tls| tokio::spawn(tls.watch_files())));
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    let reporting = Reporting::start(app.clone(), settings.load().node_name.clone(), ring_changed);
    // Start to serve.
    let public_address = public.address.clone();
    let admin_address = admin.address.clone();
    let public = public.start(connections, tls.clone(), http::public(handle.clone()))?;
    let connections = Connections::new(max_connections, idle_timeout, TrustedProxies::default());
    let admin = admin.start(connections, None, http::admin(handle.clone()))?;
    let mut stop_signals = StopSignals::install()?;
    settings.load().warn_of_dangers();
    tracing::info!(dumpable = hardening.dumpable, landlock = hardening.landlock.name(), "hardening of the process");
    tracing::info!(public = %public_address, admin = %admin_address, tls = tls.is_some(), "listening");
    background.push(tokio::spawn(ring::rotate(app.clone(), settings.clone())));
    let reload = Reload::new(handle.clone(), settings.clone(), config, sources, log, port);
    background.push(tokio::spawn(reload.run(hangups)));
    on_ready(Ready { hosts: &app.hosts, has_accounts });
    supervisor::ready();

    stop_signals.recv().await;
    // Begin the shutdown. First, `/readyz` responds with 503, so that load balancers stop sending requests to this server.
    app.is_stopping.store(true, Ordering::Release);
    supervisor::stopping();
    tracing::info!("stopping: /readyz answers 503");
    tokio::select! {
        () = tokio::time::sleep(settings.load().shutdown_delay) => {}
        () = stop_signals.recv() => {}
    }
    tracing::info!("stopping: new connections are refused, requests in progress are finished");
    let timeout = settings.load().shutdown_timeout;
    let drained = async { tokio::join!(public.stop(timeout), admin.stop(timeout)) };
    tokio::select! {
        _ = drained => {}
        () = stop_signals.recv() => tracing::warn!("stopping immediately: requests in progress are dropped"),
    }
    // A request that changes data runs in its own task, which can continue after its connection has been closed.
    if tokio::time::timeout(FLUSH_TIMEOUT, app.changes.finish()).await.is_err() {
        tracing::error!("requests that change something did not end in time: their outcome is not known");
    }
    // Write the last revocations, and then delete the report of this node.
    background.iter().for_each(JoinHandle::abort);
    let flushed = commit_task.finish(FLUSH_TIMEOUT).await;
    reporting.finish().await;
    if tokio::time::timeout(FLUSH_TIMEOUT, store.close()).await.is_err() {
        tracing::error!("the database did not close in time");
    }
    tracing::info!("stopped");
    if flushed { Ok(()) } else { Err(ServeError::NotFlushed) }
}

/// Handlers of the signals that stop the server: SIGTERM and SIGINT.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
