//! Accepting connections, within their limit. Does not give up or fill the log when the system runs out of file descriptors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use salvo::conn::SocketAddr;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

use super::protocol::Protocol;
use super::stream::Watched;
use crate::clock::Now;
use crate::http::connections::{Connections, Room};
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

/// Accepts connections, waits for room before it serves one, and goes on when accepting fails.
///
/// It serves an accepted connection before it accepts the next, so room need not be reserved.
pub(super) struct Acceptor {
    socket: Socket,
    local_addr: SocketAddr,
    connections: Arc<Connections>,
    closes: LogSampler,
    is_full: LogSampler,
    fails: LogSampler,
}

impl Acceptor {
    /// Pause after a failure, because the next attempt may fail at once, too.
    const PAUSE: Duration = Duration::from_millis(10);

    pub(super) fn new(socket: Socket, connections: Arc<Connections>) -> io::Result<Self> {
        let [closes, is_full, fails] = [const { LogSampler::a_minute() }; 3];
        Ok(Self { local_addr: socket.local_addr()?, socket, connections, closes, is_full, fails })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr.clone()
    }

    /// Accepts connections for ever. Dropping the future closes the socket, so that the kernel accepts no more connections.
    pub(super) async fn serve(self, protocol: Arc<Protocol>, tasks: TaskTracker) {
        loop {
            let (stream, peer) = self.next().await;
            self.connections.open(&peer.clone(), &tasks, |connection| {
                let tracker = connection.tracker();
                protocol.clone().serve(Watched::new(stream, connection), peer, tracker)
            });
        }
    }

    async fn next(&self) -> (Either<TcpStream, UnixStream>, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    self.wait_for_room().await;
                    return accepted;
                }
                Err(error) => {
                    if let Some(left_out) = self.fails.take(Now::read().boot) {
                        tracing::warn!(%error, left_out, "cannot accept a connection; trying again");
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
        let listener = &self.local_addr;
        loop {
            match self.connections.room() {
                Room::Free => return,
                Room::Closing(_) => {
                    if let Some(left_out) = self.closes.take(Now::read().boot) {
                        tracing::warn!(
                            %listener,
                            left_out,
                            "as many connections are open as there may be; closing those that have waited longest"
                        );
                    }
                }
                Room::None => {
                    if let Some(left_out) = self.is_full.take(Now::read().boot) {
                        tracing::warn!(
                            %listener,
                            left_out,
                            "all connections are being worked for, so new ones wait; raise http.max_connections"
                        );
                    }
                }
            }
            self.connections.change().await;
        }
    }
}

/// Returns whether file descriptors or kernel memory ran out.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}
