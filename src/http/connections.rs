//! The open connections of one listener: closes connections that are idle or stalled for too long, and evicts connections when
//! the listener is full or HTTP/2 uses too much memory.
//!
//! **At the connection limit**, the connections that have waited longest are closed. A connection waits if its request is not
//! complete, or if the client does not take the response. So an attacker who holds connections open, by any slow method, cannot
//! exclude other clients. Connections of trusted proxies are closed only if no other connection can be closed. A connection whose
//! request is complete and in progress is never closed. Only requests with a body report that they are in progress
//! (`Submission::read`), because other requests wait only for the key ring.
//!
//! **In HTTP/2**, activity means that a request has arrived or that a response was taken; bytes on the socket do not count
//! (`exchange.rs`). If requests and responses use too much memory, connections are closed: ordinary clients first, trusted
//! proxies last. In each class, the connection with the oldest entry is closed first. A request in progress protects a
//! connection of an ordinary client only if the connection uses little more memory than one request. The memory of a closed
//! connection is freed only when the runtime has dropped its tasks, and a burst of requests can be faster than that. So this
//! memory counts until then. Above twice the limit, new requests of ordinary clients are refused.
//!
//! The waiting time of a connection is measured as the number of connections that were opened since the wait began. Other times
//! come from the clock value that [`Connections::watch`] stored last. So code that handles bytes reads no clock, sets no timer,
//! takes no lock and allocates nothing.
//!
//! `server/acceptor.rs` waits for capacity before it serves a connection, and `server/stream.rs` reports reads and writes.

pub(crate) mod exchange;
mod held_memory;
mod slot;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use salvo::conn;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Now, milliseconds};
use crate::http::forwarded::TrustedProxies;
use crate::metrics::EVICTED_CONNECTIONS;
use slot::Slot;
pub(crate) use work::{PausedWork, WorkGuard};

/// The open connections of a listener, and their limits.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Maximum number of open connections.
    limit: usize,
    idle_timeout: Duration,
    proxies: ArcSwap<TrustedProxies>,
    /// Number of connections opened so far.
    opened: AtomicU64,
    /// Boot clock at its last reading, in milliseconds.
    now_ms: AtomicU64,
    open: Mutex<Open>,
    /// Number of entries for HTTP/2 requests and responses created so far.
    entries_created: AtomicU64,
    /// Approximate memory of HTTP/2 requests without a response and of responses that were not taken yet.
    held_bytes: AtomicUsize,
    /// Approximate memory of the same type that belongs to connections that are being closed to free memory. It is not part of
    /// `held_bytes`. It counts here until it is dropped.
    closing_bytes: AtomicUsize,
    /// Notified when a connection has ended, or may be closed from now on.
    changed: Notify,
    /// Cancelled when the listener shuts down: each connection then ends when it has no request in progress.
    shutdown: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    /// Open connections by peer and number. The number is necessary because a connection that is about to end may have the same
    /// address as a new one.
    slots: BTreeMap<(Peer, u64), Arc<Slot>>,
    /// Number of these connections that are being closed.
    closing: usize,
}

impl Open {
    fn close(&mut self, slot: &Slot) {
        if slot.close() {
            self.closing += 1;
        }
    }
}

/// Identity of the other end of a connection. Used to find the connection of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Ip(SocketAddr),
    /// A peer on a Unix socket. It has no address, so the identity is the memory address of the connection's address object.
    Unix(usize),
    Unknown,
}

impl Peer {
    fn of(address: &conn::SocketAddr) -> Self {
        match address {
            conn::SocketAddr::IPv4(address) => Self::Ip((*address).into()),
            conn::SocketAddr::IPv6(address) => Self::Ip((*address).into()),
            conn::SocketAddr::Unix(address) => Self::Unix(Arc::as_ptr(address).addr()),
            _ => Self::Unknown,
        }
    }
}

/// Capacity of a listener for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// Another connection can be opened now.
    Available,
    /// The limit is reached. This number of connections is being closed.
    Closing(usize),
    /// The limit is reached, and no connection may be closed.
    None,
}

impl Connections {
    /// Maximum time from the end of a handler until its response reaches the socket. A connection is protected from eviction for
    /// this time. Because no notification is sent when the protection ends, this is also the maximum wait of
    /// [`Connections::wait_for_change`].
    const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
    /// Maximum number of connections that are closed in one step. A step closes one connection for each 64 that are open. So in a
    /// flood of new connections, one search of all connections frees slots for many new ones.
    const MAX_CLOSED_AT_ONCE: usize = 64;
    /// Interval between two readings of the clock.
    const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
    /// Maximum time in which a client takes no byte of a response. In HTTP/2, maximum time until the client has taken the whole
    /// response. The connection of a trusted proxy carries the requests of many clients, so it is closed only if none of its
    /// HTTP/2 requests ended in this time.
    const STALL_TIMEOUT: Duration = Duration::from_secs(30);

    pub(crate) fn new(limit: usize, idle_timeout: Duration, proxies: TrustedProxies) -> Arc<Self> {
        Arc::new(Self {
            limit,
            idle_timeout,
            proxies: ArcSwap::from_pointee(proxies),
            opened: AtomicU64::new(0),
            now_ms: AtomicU64::new(milliseconds(Now::read().boot)),
            open: Mutex::default(),
            entries_created: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
            closing_bytes: AtomicUsize::new(0),
            changed: Notify::new(),
            shutdown: CancellationToken::new(),
        })
    }

    /// Replaces the trusted proxies. An open connection keeps the class that it had when it was opened.
    pub(crate) fn set_trusted_proxies(&self, proxies: TrustedProxies) {
        self.proxies.store(Arc::new(proxies));
    }

    /// Returns the number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.lock().slots.len()
    }

    /// Returns the maximum number of open connections.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the capacity for another connection. At the limit, begins to close connections unless some are being closed
    /// already.
    pub(crate) fn ensure_capacity(&self) -> Capacity {
        let mut open = self.lock();
        if open.slots.len() < self.limit {
            Capacity::Available
        } else if open.closing > 0 {
            Capacity::Closing(open.closing)
        } else {
            self.evict_longest_waiting(&mut open)
        }
    }

    /// Begins to close the few connections that have waited longest, also below the limit.
    pub(crate) fn close_longest_waiting(&self) -> Capacity {
        self.evict_longest_waiting(&mut self.lock())
    }

    fn evict_longest_waiting(&self, open: &mut Open) -> Capacity {
        let now = milliseconds(Now::read().boot);
        let candidates = |is_proxy: bool| {
            let slots = open.slots.values().filter(|slot| slot.is_proxy == is_proxy && slot.may_be_closed(now));
            slots.map(|slot| (slot.waits_since(), slot.clone())).collect::<Vec<_>>()
        };
        // Trusted proxies are closed only if no other connection can be.
        let mut waiting = candidates(false);
        if waiting.is_empty() {
            waiting = candidates(true);
        }
        let count = Self::batch_size(open.slots.len()).min(waiting.len());
        if count == 0 {
            return Capacity::None;
        }
        // Move the `count` connections that have waited longest to the front, without sorting all.
        waiting.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        waiting[..count].iter().for_each(|(_, slot)| open.close(slot));
        EVICTED_CONNECTIONS.add_many(0, count as u64);
        Capacity::Closing(count)
    }

    /// Returns the number of connections to close in one step if `open` connections are open.
    fn batch_size(open: usize) -> usize {
        (open / Self::MAX_CLOSED_AT_ONCE).clamp(1, Self::MAX_CLOSED_AT_ONCE)
    }

    /// Closes idle and stalled connections, without end. A connection is idle if a request is not complete within `idle_timeout`
    /// after its first byte, or if no request begins within `idle_timeout` after the last response. A connection is stalled if
    /// the client took nothing of a response for [`Self::STALL_TIMEOUT`].
    pub(crate) async fn watch(&self) {
        let mut ticks = tokio::time::interval(Self::CLOCK_INTERVAL);
        loop {
            ticks.tick().await;
            self.close_idle(milliseconds(Now::read().boot));
        }
    }

    fn close_idle(&self, now: u64) {
        self.now_ms.store(now, Ordering::Relaxed);
        // Times in the slots come from the stored clock, so they are up to one interval too early.
        let before = |timeout: Duration| now.saturating_sub(milliseconds(timeout.saturating_add(Self::CLOCK_INTERVAL)));
        let idle_limit = before(self.idle_timeout);
        let stall_limit = before(Self::STALL_TIMEOUT);
        let mut open = self.lock();
        self.evict_for_memory(&mut open, now);
        let is_timed_out =
            |slot: &&Arc<Slot>| slot.is_stalled_before(stall_limit) || slot.is_idle_before(idle_limit, now);
        let timed_out: Vec<_> = open.slots.values().filter(is_timed_out).cloned().collect();
        timed_out.iter().for_each(|slot| open.close(slot));
    }

    /// Starts a graceful shutdown of every connection: each one ends when it has no request in progress.
    pub(crate) fn shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Starts a graceful shutdown of the peer's connection: it ends when it has no request in progress.
    pub(crate) fn shutdown_peer(&self, address: &conn::SocketAddr) {
        self.slots_of_peer(address).iter().for_each(|slot| slot.shutdown.cancel());
    }

    /// Closes all connections immediately.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        let all: Vec<_> = open.slots.values().cloned().collect();
        all.iter().for_each(|slot| open.close(slot));
    }

    /// Waits until [`Connections::ensure_capacity`] may have another result.
    pub(crate) async fn wait_for_change(&self) {
        let _ = tokio::time::timeout(Self::RESPONSE_TIMEOUT, self.changed.notified()).await;
    }

    /// Adds a connection, and spawns the task that serves it. Closing the connection aborts the task.
    pub(crate) fn open<F>(
        self: &Arc<Self>,
        address: &conn::SocketAddr,
        tasks: &TaskTracker,
        serve: impl FnOnce(Connection) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let connection = self.add(address);
        let slot = connection.slot.clone();
        let task = tasks.spawn(serve(connection));
        // The connection may have been closed since it was added. The lock keeps `Slot::close` from running at the same time.
        let _open = self.lock();
        slot.set_task(task.abort_handle());
    }

    fn add(self: &Arc<Self>, address: &conn::SocketAddr) -> Connection {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let key = (Peer::of(address), number);
        let is_proxy = self.proxies.load().contains(address.ip());
        let shutdown = self.shutdown.child_token();
        let slot = Arc::new(Slot::new(is_proxy, number, self.now_ms.load(Ordering::Relaxed), shutdown));
        self.lock().slots.insert(key, slot.clone());
        Connection { connections: self.clone(), key, slot }
    }

    /// Returns the open connections with this peer address.
    fn slots_of_peer(&self, address: &conn::SocketAddr) -> Vec<Arc<Slot>> {
        let open = self.lock();
        let peer = Peer::of(address);
        open.slots.range((peer, 0)..=(peer, u64::MAX)).map(|(_, slot)| slot.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection. Its stream reports reads and writes here. The connection counts until this value is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    connections: Arc<Connections>,
    key: (Peer, u64),
    slot: Arc<Slot>,
}

impl Connection {
    /// Records that bytes were received.
    pub(crate) fn record_read(&self) {
        self.slot.record_read(|| self.connections.now_ms.load(Ordering::Relaxed));
    }

    /// Records that bytes were sent.
    pub(crate) fn record_write(&self) {
        let Connections { opened, now_ms, changed, .. } = &*self.connections;
        if self.slot.record_write(opened.load(Ordering::Relaxed), now_ms.load(Ordering::Relaxed)) {
            changed.notify_one();
        }
    }

    /// Records that the client accepts no more bytes for now.
    pub(crate) fn record_stall(&self) {
        self.slot.record_stall(self.connections.now_ms.load(Ordering::Relaxed));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.slots.remove(&self.key);
        open.closing = open.closing.saturating_sub(usize::from(self.slot.is_closing()));
        drop(open);
        self.connections.changed.notify_one();
    }
}
