//! The server process: from a configuration to two listeners, and a graceful shutdown.

mod admission;
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
use crate::config::origins::Origins;
use crate::config::settings::Settings;
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
use crate::store::records::Empty;
use crate::sync::committer::Committer;
use crate::sync::follower::Follower;
use crate::sync::lag::Lag;
use crate::web::hosts::Hosts;
use error::ServeError;
use listener::{Inherited, Listener};
use log::Log;
use reload::Reload;
use report::Reporting;

/// Time limit for the last sign-outs to reach the store after the last request.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses of a server that is ready.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    pub(crate) hosts: &'a Hosts,
    pub(crate) has_accounts: bool,
}

/// Serves until a signal to stop. `on_ready` is called when the whole revocation list is loaded and both listeners are open.
/// The settings are those of `config`, which was read from `origins`; these are followed.
pub(crate) async fn serve(
    settings: Settings,
    config: Config,
    origins: Origins,
    log: Log,
    mut inherited: Inherited,
    hardening: Hardening,
    on_ready: impl FnOnce(Ready<'_>),
) -> Result<(), ServeError> {
    // Registered first: a hangup signal during the start would otherwise end the process.
    let hangups = signal(SignalKind::hangup())?;
    let pages = Pages::open(&settings.pages, settings.sites.plain_http())?;
    let ring = KeyRing::load(&settings.key_directory)?;
    let store = Store::open(&settings.store, settings.store_limits, Empty::Filled).await?;
    let list = Arc::new(RevocationList::new(settings.freshness));
    let lag = Arc::new(Lag::default());
    let follower = Follower::load(store.clone(), list.clone(), lag.clone(), settings.lifetimes).await?;
    // The last use of the store that can fail the start: from here on the server serves without it.
    let has_accounts = store.has_accounts().await?;
    let mode = settings.unix_mode;
    let public = Listener::open("http.listen", &settings.listen, mode, &mut inherited)?;
    let admin = Listener::open("http.admin_listen", &settings.admin_listen, mode, &mut inherited)?;
    inherited.warn_of_others();

    let places = descriptors::connections(settings.max_connections);
    let idle_timeout = settings.idle_timeout;
    let connections = Connections::new(places, idle_timeout, settings.trusted_proxies.clone());
    let (committer, mut committing) = Committer::start(list.clone(), store.clone());
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
    let live = AppHandle::new(app::new(&settings, parts)?);
    // A reload replaces `App`, but not the parts used here, which live as long as the process.
    let app = live.hold();
    let ring_changed = Arc::new(tokio::sync::Notify::new());
    // A refused key has the key ring read again, which reports the change.
    let reads = app.key_directory.clone();
    let on_key_refused = move || reads.ask();
    let mut background = vec![
        tokio::spawn(follower.run(on_key_refused)),
        tokio::spawn(node_reports::follow(app.node_reports.clone(), store.clone())),
        tokio::spawn(ring::follow(app.clone(), settings.key_directory.clone(), ring_changed.clone())),
    ];
    background.extend(tls.clone().map(|tls| tokio::spawn(tls.follow())));
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    let reporting = Reporting::start(app.clone(), settings.load().node_name.clone(), ring_changed);
    let addresses = (public.place.clone(), admin.place.clone());
    let public = public.start(connections, tls.clone(), http::public(live.clone()))?;
    let connections = Connections::new(places, idle_timeout, TrustedProxies::default());
    let admin = admin.start(connections, None, http::admin(live.clone()))?;
    let mut stop = Stop::listen()?;
    settings.load().warn_of_dangers();
    tracing::info!(dumpable = hardening.dumpable, landlock = hardening.landlock.name(), "hardening of the process");
    tracing::info!(public = %addresses.0, admin = %addresses.1, tls = tls.is_some(), "listening");
    background.push(tokio::spawn(ring::rotate(app.clone(), settings.clone())));
    let reload = Reload::new(live.clone(), settings.clone(), config, origins, log, port);
    background.push(tokio::spawn(reload.run(hangups)));
    on_ready(Ready { hosts: &app.hosts, has_accounts });
    supervisor::ready();

    stop.signal().await;
    app.stopping.store(true, Ordering::Release);
    supervisor::stopping();
    tracing::info!("stopping: /readyz answers 503");
    tokio::select! {
        () = tokio::time::sleep(settings.load().shutdown_delay) => {}
        () = stop.signal() => {}
    }
    tracing::info!("stopping: new connections are refused, requests under way are finished");
    let timeout = settings.load().shutdown_timeout;
    let drained = async { tokio::join!(public.stop(timeout), admin.stop(timeout)) };
    tokio::select! {
        _ = drained => {}
        () = stop.signal() => tracing::warn!("stopping at once: requests under way are dropped"),
    }
    // Changes may outlive their connections.
    if tokio::time::timeout(FLUSH_TIMEOUT, app.changes.finish()).await.is_err() {
        tracing::error!("requests that change something did not end in time: their outcome is not known");
    }
    background.iter().for_each(JoinHandle::abort);
    let flushed = committing.finish(FLUSH_TIMEOUT).await;
    reporting.finish().await;
    if tokio::time::timeout(FLUSH_TIMEOUT, store.close()).await.is_err() {
        tracing::error!("the database did not close in time");
    }
    tracing::info!("stopped");
    if flushed { Ok(()) } else { Err(ServeError::NotFlushed) }
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
