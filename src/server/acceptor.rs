//! Accepts the connections of a listener, within the limit of open connections.
//!
//! If accepting fails, for example because no file descriptors are left, the acceptor tries again after a short delay. The
//! log lines about such errors are sampled. Uses `http/connections.rs`, which counts connections and evicts those that
//! have waited longest.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use salvo::conn::SocketAddr;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

use super::protocol::Protocol;
use super::stream::TrackedStream;
use crate::clock::Now;
use crate::http::connections::{Capacity, Connections};
use crate::log_sampler::LogSampler;

/// A listening socket.
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

/// Accepts connections, one after the other. An accepted connection is served as soon as the number of connections is below
/// the limit. Until then, no other connection is accepted.
///
/// No other task adds connections, so the acceptor need not reserve a slot while it waits.
pub(super) struct Acceptor {
    socket: Socket,
    local_addr: SocketAddr,
    connections: Arc<Connections>,
    /// Sampler of the log line about evictions.
    eviction_sampler: LogSampler,
    /// Sampler of the log line about a full listener.
    full_sampler: LogSampler,
    /// Sampler of the log line about errors.
    error_sampler: LogSampler,
}

impl Acceptor {
    /// Delay after an error, because the next attempt may fail immediately, too.
    const RETRY_DELAY: Duration = Duration::from_millis(10);

    pub(super) fn new(socket: Socket, connections: Arc<Connections>) -> io::Result<Self> {
        let [eviction_sampler, full_sampler, error_sampler] = [const { LogSampler::one_per_minute() }; 3];
        Ok(Self {
            local_addr: socket.local_addr()?,
            socket,
            connections,
            eviction_sampler,
            full_sampler,
            error_sampler,
        })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr.clone()
    }

    /// Accepts and serves connections, without end. If the future is dropped, the socket is closed, and the kernel
    /// refuses new connections.
    pub(super) async fn serve(self, protocol: Arc<Protocol>, tasks: TaskTracker) {
        loop {
            let (stream, peer) = self.next().await;
            self.connections.open(&peer.clone(), &tasks, |connection| {
                let tracker = connection.tracker();
                protocol.clone().serve(TrackedStream::new(stream, connection), peer, tracker)
            });
        }
    }

    /// Accepts the next connection, and waits until it may be served.
    async fn next(&self) -> (Either<TcpStream, UnixStream>, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    self.wait_for_capacity().await;
                    return accepted;
                }
                Err(error) => {
                    if let Some(left_out) = self.error_sampler.take(Now::read().boot) {
                        tracing::warn!(%error, left_out, "cannot accept a connection; trying again");
                    }
                    // A closed connection frees a file descriptor and memory.
                    if is_exhaustion(&error) {
                        self.connections.close_longest_waiting();
                    }
                    tokio::time::sleep(Self::RETRY_DELAY).await;
                }
            }
        }
    }

    /// Waits until the number of connections is below the limit.
    async fn wait_for_capacity(&self) {
        let listener = &self.local_addr;
        loop {
            match self.connections.ensure_capacity() {
                Capacity::Available => return,
                Capacity::Closing(_) => {
                    if let Some(left_out) = self.eviction_sampler.take(Now::read().boot) {
                        tracing::warn!(
                            %listener,
                            left_out,
                            "the connection limit is reached; closing the connections that have waited longest"
                        );
                    }
                }
                Capacity::None => {
                    if let Some(left_out) = self.full_sampler.take(Now::read().boot) {
                        tracing::warn!(
                            %listener,
                            left_out,
                            "the connection limit is reached, and every connection has a request in progress; new connections wait; raise http.max_connections"
                        );
                    }
                }
            }
            self.connections.wait_for_change().await;
        }
    }
}

/// Returns whether the error means that no file descriptors or no kernel memory are left.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}
