//! Letting connections in: with room for them, and without giving up or filling the log when the system has no more to give.

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
/// It takes in what was let in before it accepts another connection; so room need not be reserved.
pub(super) struct Door {
    socket: Socket,
    local_addr: SocketAddr,
    connections: Arc<Connections>,
    closes: LogSampler,
    is_full: LogSampler,
    fails: LogSampler,
}

impl Door {
    /// The pause after a failure, because the next try may fail likewise at once.
    const PAUSE: Duration = Duration::from_millis(10);

    pub(super) fn new(socket: Socket, connections: Arc<Connections>) -> io::Result<Self> {
        let [closes, is_full, fails] = [const { LogSampler::a_minute() }; 3];
        Ok(Self { local_addr: socket.local_addr()?, socket, connections, closes, is_full, fails })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr.clone()
    }

    /// Lets connections in, for ever; to drop this closes the socket, so that the kernel takes no more that nobody will ever serve.
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

/// Whether file descriptors or the kernel's memory ran out.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}
