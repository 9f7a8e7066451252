//! The process: from a configuration to two listeners, and an orderly end.

mod admission;
mod descriptors;
mod report;
pub(crate) mod ring;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use salvo::conn::tcp::TcpAcceptor;
use salvo::fuse::FuseConfig;
use salvo::prelude::Service;
use salvo::server::ServerHandle;
use socket2::SockRef;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::account::password::checker::Checker;
use crate::config::Config;
use crate::http::connections::Connections;
use crate::http::edge::Prepared;
use crate::http::forwarded::TrustedProxies;
use crate::http::pages::Shell;
use crate::http::throttle::Throttle;
use crate::http::{self, App};
use crate::keyring::{KeyRing, RingError};
use crate::revocation::commit::Committer;
use crate::revocation::lag::Lag;
use crate::revocation::retention::COMMITTED_WITHIN;
use crate::revocation::tail::{self, Follower};
use crate::revocation::{RevocationList, WhenStale};
use crate::session::Sessions;
use crate::store::{Sealing, Store, StoreError};
use crate::web::hosts::Hosts;
use crate::web::ring_reads::RingReads;
use admission::{Admission, Door};
use report::Reporting;
use ring::Schedule;

/// A request's head may have this many bytes. Of fields hyper takes 100; for another number it would make room on the heap or by
/// clearing memory, at each request.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_STREAMS: u32 = 100;
/// How many connections may wait to be accepted; Linux takes net.core.somaxconn if that is less.
const QUEUE: i32 = 4096;
/// How long the last sign-outs may take to reach the store after the last request.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the server did not start, or broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on {address} ({setting}): {source}")]
    Listen { setting: &'static str, address: SocketAddr, source: io::Error },
    #[error(
        "the last sign-outs did not reach the store: these sessions live on elsewhere, and here after the next start"
    )]
    NotFlushed,
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

/// Where the server can be reached, once it can.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    pub(crate) hosts: &'a Hosts,
    pub(crate) has_accounts: bool,
}

/// Serves until a signal to stop. `on_ready` is called when the whole revocation list is loaded and both listeners are open.
pub(crate) async fn serve(config: &Config, on_ready: impl FnOnce(Ready<'_>)) -> Result<(), ServeError> {
    let ring = KeyRing::load(&config.keys.dir)?;
    let store = Store::open(&config.store_url(), config.store_limits()).await?;
    let list = Arc::new(RevocationList::new(config.freshness()));
    let sealing = Sealing {
        lifetimes: config.lifetimes(),
        lag: config.freshness().max_staleness.saturating_add(tail::POLL).saturating_add(COMMITTED_WITHIN),
        fail_open: config.freshness().when_stale == WhenStale::Allow,
    };
    let lag = Arc::new(Lag::default());
    let follower = Follower::load(store.clone(), list.clone(), lag.clone(), sealing).await?;
    // The last that the store can keep it from: from then on it serves, whatever becomes of the store.
    let has_accounts = store.has_accounts().await?;
    let public = Listener::open("http.listen", config.http.listen)?;
    let admin = Listener::open("http.admin_listen", config.http.admin_listen)?;

    let places = descriptors::connections(config.http.max_connections as usize);
    let connections = Connections::new(places, config.trusted_proxies());
    let (committer, committing) = Committer::start(list.clone(), store.clone());
    let cookies = config.cookies();
    let hosts = config.hosts(public.address.port());
    let app = Arc::new(App {
        sessions: Sessions::new(ring, list, cookies.session().clone(), config.lifetimes()),
        store: store.clone(),
        lag,
        committer,
        passwords: Checker::start(
            config.cost(),
            config.password_threads(),
            config.password.queue as usize,
            config.password.memory_budget_kib,
        )?,
        throttle: Throttle::new(config.limits()),
        prepared: Prepared::new(&hosts),
        hosts,
        trusted_proxies: config.trusted_proxies(),
        cookies,
        shell: Shell::new(config.cookie.plain_http),
        max_body_bytes: config.http.max_body_bytes,
        body_timeout: config.http.body_timeout.0,
        connections: connections.clone(),
        ring_reads: RingReads::new(),
        questions: Semaphore::new(1),
        stopping: AtomicBool::new(false),
    });
    let ring_changed = Arc::new(tokio::sync::Notify::new());
    let mut background = vec![
        tokio::spawn(follower.run()),
        tokio::spawn(ring::follow(app.clone(), config.keys.dir.clone(), ring_changed.clone())),
        tokio::spawn(reread_on_hangup(app.clone())?),
    ];
    let reporting = Reporting::start(app.clone(), config.node_name(), ring_changed);
    let public = public.start(config, connections, http::public(app.clone()))?;
    let connections = Connections::new(places, TrustedProxies::default());
    let admin = admin.start(config, connections, http::admin(app.clone()))?;
    let mut stop = Stop::listen()?;
    if config.cookie.plain_http {
        tracing::warn!(
            "DEVELOPMENT MODE: cookies travel over plain HTTP (cookie.plain_http); never use this outside your own machine"
        );
    }
    if config.hides_clients() {
        tracing::warn!(
            "no proxy is trusted (http.trusted_proxies), so all visitors behind one count as one client: a stranger's failed sign-ins may stop everybody's"
        );
    }
    tracing::info!(public = %public.address, admin = %admin.address, "listening");
    if !config.keys.rotate_every.0.is_zero() {
        let schedule = Schedule {
            directory: config.keys.dir.clone(),
            every: config.keys.rotate_every.0,
            activate_after: config.keys.activate_after.0,
            max_lifetime: config.lifetimes().longest(),
        };
        background.push(tokio::spawn(ring::rotate(app.clone(), schedule)));
    }
    on_ready(Ready { hosts: &app.hosts, has_accounts });

    stop.signal().await;
    app.stopping.store(true, Ordering::Release);
    tracing::info!("stopping: new connections are refused, requests under way are finished");
    tokio::select! {
        () = tokio::time::sleep(config.http.shutdown_delay.0) => {}
        () = stop.signal() => {}
    }
    let timeout = config.http.shutdown_timeout.0;
    let drained = async { tokio::join!(public.stop(timeout), admin.stop(timeout)) };
    let drained = tokio::select! {
        (public, admin) = drained => public.and(admin),
        () = stop.signal() => {
            tracing::warn!("stopping at once: requests under way are dropped");
            Ok(())
        }
    };
    background.iter().for_each(JoinHandle::abort);
    let flushed = committing.finish(FLUSH_TIMEOUT).await;
    reporting.finish().await;
    if tokio::time::timeout(FLUSH_TIMEOUT, store.close()).await.is_err() {
        tracing::error!("the database did not close in time");
    }
    tracing::info!("stopped");
    if flushed { Ok(drained?) } else { Err(ServeError::NotFlushed) }
}

fn reread_on_hangup(app: Arc<App>) -> io::Result<impl Future<Output = ()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("reading the key ring again; other settings need a restart");
            app.ring_reads.ask();
        }
    })
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

/// A bound socket.
struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    fn open(setting: &'static str, address: SocketAddr) -> Result<Self, ServeError> {
        let bind = || {
            let socket = TcpListener::bind(address)?;
            // As long a queue as the system allows, for those that come while others are made to give way.
            SockRef::from(&socket).listen(QUEUE)?;
            socket.set_nonblocking(true)?;
            // Linux lets accepted connections inherit it; Salvo has no setting of its own.
            SockRef::from(&socket).set_tcp_nodelay(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().map_err(|source| ServeError::Listen { setting, address, source })
    }

    fn start(self, config: &Config, connections: Arc<Connections>, service: Service) -> Result<Running, ServeError> {
        let socket = self.socket.try_clone()?;
        let acceptor = TcpAcceptor::try_from(tokio::net::TcpListener::from_std(self.socket)?)?;
        let idle = config.http.idle_timeout.0;
        // Whoever reads a body gives it a time for the whole.
        let fuse = FuseConfig::strict()
            .with_http1_header_timeout(idle)
            .with_connection_idle_timeout(idle)
            .with_request_body_timeout(None);
        let door = Door::new(acceptor, connections.clone());
        let mut server = salvo::Server::new(door).fuse_policy(Admission::new(connections, fuse));
        server.http1_mut().max_buf_size(MAX_HEAD_BYTES);
        let head = u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX);
        server.http2_mut().max_concurrent_streams(MAX_STREAMS).max_header_list_size(head);
        let handle = server.handle();
        Ok(Running { address: self.address, socket, handle, task: tokio::spawn(server.try_serve(service)) })
    }
}

/// A listener that serves.
struct Running {
    address: SocketAddr,
    socket: TcpListener,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn stop(self, timeout: Duration) -> io::Result<()> {
        self.handle.stop_graceful(timeout);
        // Else the kernel goes on accepting connections that nobody will ever serve.
        SockRef::from(&self.socket).shutdown(Shutdown::Both)?;
        self.task.await.map_err(io::Error::other)?
    }
}
