//! Letting connections in: with room for them, and without giving up or filling the log when the system has no more to give.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use salvo::conn::tcp::TcpCoupler;
use salvo::conn::{Accepted, Acceptor, ConnCtrl, HandshakeStream, Holding, SocketAddr, StraightStream};
use salvo::fuse::{ArcFusePolicy, FuseConfig};
use salvo::http::Version;
use salvo::http::uri::Scheme;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::clock::Now;
use crate::http::connections::{Connections, Room};
use crate::http::tls::Tls;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    async fn accept(&self) -> io::Result<(Either<TcpStream, UnixStream>, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, peer)| (Either::Left(stream), peer.into())),
            Self::Unix(socket) => socket.accept().await.map(|(stream, peer)| (Either::Right(stream), peer.into())),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(SocketAddr::from),
            Self::Unix(socket) => socket.local_addr().map(SocketAddr::from),
        }
    }
}

/// A listening socket that waits for room before a connection is served, and goes on when accepting fails.
///
/// Salvo asks for one connection after the other, and takes in what was let in before it asks again; so room need not be reserved.
pub(super) struct Door {
    /// None when it is closed, so that the kernel takes no more connections that nobody will ever serve.
    socket: Option<Socket>,
    closing: CancellationToken,
    holdings: [Holding; 1],
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    fuse: FuseConfig,
    closes: Seldom,
    is_full: Seldom,
    fails: Seldom,
}

type Plain = StraightStream<Either<TcpStream, UnixStream>>;

impl Door {
    /// The pause after a failure, because the next try may fail likewise at once.
    const PAUSE: Duration = Duration::from_millis(10);

    pub(super) fn new(
        socket: Socket,
        closing: CancellationToken,
        tls: Option<Arc<Tls>>,
        connections: Arc<Connections>,
        fuse: FuseConfig,
    ) -> io::Result<Self> {
        let holdings = [Holding {
            local_addr: socket.local_addr()?,
            http_versions: vec![Version::HTTP_11, Version::HTTP_2],
            http_scheme: if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP },
        }];
        let [closes, is_full, fails] = std::array::from_fn(|_| Seldom::default());
        Ok(Self { socket: Some(socket), closing, holdings, tls, connections, fuse, closes, is_full, fails })
    }

    async fn next(&self) -> (Either<TcpStream, UnixStream>, SocketAddr) {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        loop {
            match socket.accept().await {
                Ok(accepted) => {
                    self.wait_for_room().await;
                    return accepted;
                }
                Err(error) => {
                    if self.fails.is_time() {
                        tracing::warn!(%error, "cannot accept a connection; trying again");
                    }
                    if is_exhaustion(&error) {
                        self.connections.close_longest_waiting();
                    }
                    tokio::time::sleep(Self::PAUSE).await;
                }
            }
        }
    }

    async fn wait_for_room(&self) {
        let listener = &self.holdings[0].local_addr;
        loop {
            match self.connections.room() {
                Room::Free => return,
                Room::Closing(_) if self.closes.is_time() => tracing::warn!(
                    %listener,
                    "as many connections are open as there may be; closing those that have waited longest"
                ),
                Room::None if self.is_full.is_time() => tracing::warn!(
                    %listener,
                    "all connections are being worked for, so new ones wait; raise http.max_connections"
                ),
                Room::Closing(_) | Room::None => {}
            }
            self.connections.change().await;
        }
    }
}

impl Acceptor for Door {
    type Coupler = TcpCoupler<Self::Stream>;
    type Stream = Either<Plain, StraightStream<HandshakeStream<TlsStream<Plain>>>>;

    fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    /// The policy is not asked: whether there is room is all that is decided here.
    async fn accept(&mut self, _: Option<ArcFusePolicy>) -> io::Result<Accepted<Self::Coupler, Self::Stream>> {
        let Some((stream, remote_addr)) = self.closing.run_until_cancelled(self.next()).await else {
            self.socket = None;
            return std::future::pending().await;
        };
        let [holding] = &self.holdings;
        let (fuse_config, conn_ctrl) = (Some(self.fuse), ConnCtrl::new());
        let stream = match &self.tls {
            None => {
                let observer = self.connections.add(&remote_addr, &conn_ctrl);
                Either::Left(StraightStream::new(stream, fuse_config, conn_ctrl.clone(), Some(observer)))
            }
            Some(tls) => {
                let [bytes, content] = self.connections.add_encrypted(&remote_addr, &conn_ctrl);
                let stream = StraightStream::new(stream, fuse_config, conn_ctrl.clone(), Some(bytes));
                // The handshake is made when the stream is first read, and not here, where others wait.
                let handshake = TlsAcceptor::from(tls.current()).accept(stream);
                let stream = HandshakeStream::new(handshake, fuse_config);
                Either::Right(StraightStream::new(stream, None, conn_ctrl.clone(), Some(content)))
            }
        };
        Ok(Accepted {
            coupler: TcpCoupler::new(),
            stream,
            fuse_config,
            conn_ctrl,
            local_addr: holding.local_addr.clone(),
            remote_addr,
            http_scheme: holding.http_scheme.clone(),
        })
    }
}

/// Whether file descriptors or the kernel's memory ran out.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}

/// Keeps a line that could come with every connection to one a minute.
#[derive(Debug, Default)]
struct Seldom(Mutex<Option<Duration>>);

impl Seldom {
    const EVERY: Duration = Duration::from_secs(60);

    fn is_time(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Now::read().boot;
        let is_time = last.is_none_or(|last| now.saturating_sub(last) >= Self::EVERY);
        if is_time {
            *last = Some(now);
        }
        is_time
    }
}
