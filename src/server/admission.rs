//! Letting connections in: with room for them, and without giving up or filling the log when the system has no more to give.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use salvo::conn::tcp::TcpAcceptor;
use salvo::conn::{Accepted, Acceptor, ConnCtrl, Holding};
use salvo::fuse::{ArcConnObserver, ArcFusePolicy, FuseAction, FuseConfig, FuseInfo, FusePolicy};
use salvo::prelude::async_trait;

use crate::clock::Now;
use crate::http::connections::{Connections, Room};

/// Waits for room before a connection is served. Salvo asks for one connection after the other, and takes in what was let in before
/// it asks again; so room need not be reserved, and nothing is lost when a stop cuts the waiting short.
pub(super) struct Admission {
    connections: Arc<Connections>,
    fuse: FuseConfig,
    closes: Seldom,
    is_full: Seldom,
}

impl Admission {
    pub(super) fn new(connections: Arc<Connections>, fuse: FuseConfig) -> Self {
        Self { connections, fuse, closes: Seldom::default(), is_full: Seldom::default() }
    }
}

#[async_trait]
impl FusePolicy for Admission {
    async fn decide(&self, info: &FuseInfo) -> FuseAction {
        loop {
            match self.connections.room() {
                Room::Free => return FuseAction::Accept(self.fuse),
                Room::Closing(_) if self.closes.is_time() => tracing::warn!(
                    listener = %info.local_addr,
                    "as many connections are open as there may be; closing those that have waited longest"
                ),
                Room::None if self.is_full.is_time() => tracing::warn!(
                    listener = %info.local_addr,
                    "all connections are being worked for, so new ones wait; raise http.max_connections"
                ),
                Room::Closing(_) | Room::None => {}
            }
            self.connections.change().await;
        }
    }

    fn observe(&self, info: &FuseInfo, ctrl: &ConnCtrl) -> Option<ArcConnObserver> {
        Some(self.connections.add(info.remote_addr.clone().into_std()?, ctrl))
    }
}

/// A listening socket that goes on when accepting fails.
pub(super) struct Door {
    socket: TcpAcceptor,
    connections: Arc<Connections>,
    fails: Seldom,
}

impl Door {
    /// The pause after a failure, because the next try may fail likewise at once.
    const PAUSE: Duration = Duration::from_millis(10);

    pub(super) fn new(socket: TcpAcceptor, connections: Arc<Connections>) -> Self {
        Self { socket, connections, fails: Seldom::default() }
    }
}

impl Acceptor for Door {
    type Coupler = <TcpAcceptor as Acceptor>::Coupler;
    type Stream = <TcpAcceptor as Acceptor>::Stream;

    fn holdings(&self) -> &[Holding] {
        self.socket.holdings()
    }

    async fn accept(&mut self, policy: Option<ArcFusePolicy>) -> io::Result<Accepted<Self::Coupler, Self::Stream>> {
        loop {
            match self.socket.accept(policy.clone()).await {
                Ok(accepted) => return Ok(accepted),
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
