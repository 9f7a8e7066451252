//! The connections of one listener: which of them gives way when there is no room for another, and which have done nothing for too
//! long.
//!
//! At the limit, those that have waited longest are closed: for a request to be complete, or for an answer to be taken. So
//! connections that are merely held, by whatever kind of slowness, keep nobody out. Those of trusted proxies give way only to
//! each other and when nobody else waits; those whose request is here whole and being worked on never do. Of that only requests with
//! a body tell (`Submission::read`), because all others are answered without waiting for anything but the key ring.
//!
//! In HTTP/2 what counts is a request that has arrived and an answer that was taken, and not the bytes of the socket
//! (`exchange.rs`). If its requests and answers hold too much memory, connections are closed: strangers' before those of trusted
//! proxies, and of each the one that has held something longest. Work on a request protects only a connection that holds little
//! more than that request. The memory is there until the runtime has dropped a connection's tasks, and a burst can be quicker than
//! that; so it counts until then, and beyond twice the limit a stranger's new requests are refused.
//!
//! Whose turn it is to give way is counted in connections, and time is what [`Connections::watch`] last read from the clock. So
//! nothing reads a clock, sets a timer, takes a lock or touches the heap when bytes come and go.

pub(crate) mod exchange;
mod held;
mod slot;
#[cfg(test)]
mod tests;
mod working;

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
use crate::metrics::GAVE_WAY;
use slot::Slot;
pub(crate) use working::{Paused, Working};

/// The connections that a listener has open, and how many it may have.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    idle_timeout: Duration,
    proxies: ArcSwap<TrustedProxies>,
    /// How many were opened so far.
    opened: AtomicU64,
    /// The boot clock when it was last read, in milliseconds.
    now: AtomicU64,
    open: Mutex<Open>,
    /// Number of requests and answers of HTTP/2 so far.
    numbered: AtomicU64,
    /// Approximate memory of requests that are not answered and answers that are not taken.
    held_bytes: AtomicUsize,
    /// Approximate memory of those of connections that are being closed for it, until they are dropped.
    closing_bytes: AtomicUsize,
    /// A connection has ended, or may be closed from now on.
    changed: Notify,
    /// All are to end as soon as nothing is under way.
    leaving: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    /// By the peer, with a number: a connection that is about to end may have the same address as a new one.
    slots: BTreeMap<(Peer, u64), Arc<Slot>>,
    /// How many of them were told to close.
    closing: usize,
}

impl Open {
    fn close(&mut self, slot: &Slot) {
        if slot.close() {
            self.closing += 1;
        }
    }
}

/// The other end of a connection, so that a request can be told to be of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Ip(SocketAddr),
    /// Peers at a Unix socket have no address, but each connection has an object for it, here by where that is.
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

/// Whether there is room for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// So many are being closed to make some.
    Closing(usize),
    /// None can be closed.
    None,
}

impl Connections {
    /// How long an answer may take from the handler to the socket, and so the longest wait of [`Connections::change`].
    const ANSWER: Duration = Duration::from_secs(1);
    /// The most that are closed at once, so that a flood of connections does not look through all of them each time.
    const MOST_AT_ONCE: usize = 64;
    /// How often the clock is read.
    const TICK: Duration = Duration::from_secs(1);
    /// How long a client may take none of an answer, or in HTTP/2 not all of it. A trusted proxy's connection has the requests of
    /// many clients, so for one of them it ends only if in that time none of its requests ended.
    const STALL: Duration = Duration::from_secs(30);

    pub(crate) fn new(limit: usize, idle_timeout: Duration, proxies: TrustedProxies) -> Arc<Self> {
        let (opened, open, changed) = (AtomicU64::new(0), Mutex::default(), Notify::new());
        let (now, leaving) = (AtomicU64::new(milliseconds(Now::read().boot)), CancellationToken::new());
        let proxies = ArcSwap::from_pointee(proxies);
        let numbered = AtomicU64::new(0);
        Arc::new(Self {
            limit,
            idle_timeout,
            proxies,
            opened,
            now,
            open,
            numbered,
            held_bytes: AtomicUsize::new(0),
            closing_bytes: AtomicUsize::new(0),
            changed,
            leaving,
        })
    }

    /// From now on these are the trusted proxies; connections that are open stay what they were.
    pub(crate) fn trust(&self, proxies: TrustedProxies) {
        self.proxies.store(Arc::new(proxies));
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().slots.len()
    }

    /// How many may be.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Asks for room, and begins to close connections if there is none.
    pub(crate) fn room(&self) -> Room {
        let mut open = self.lock();
        if open.slots.len() < self.limit {
            Room::Free
        } else if open.closing > 0 {
            Room::Closing(open.closing)
        } else {
            self.close_some(&mut open)
        }
    }

    /// Begins to close those that have waited longest, a few at once.
    pub(crate) fn close_longest_waiting(&self) -> Room {
        self.close_some(&mut self.lock())
    }

    fn close_some(&self, open: &mut Open) -> Room {
        let now = milliseconds(Now::read().boot);
        let of_kind = |is_proxy: bool| {
            let slots = open.slots.values().filter(|slot| slot.is_proxy == is_proxy && slot.may_be_closed(now));
            slots.map(|slot| (slot.waits_since(), slot.clone())).collect::<Vec<_>>()
        };
        let mut waiting = of_kind(false);
        if waiting.is_empty() {
            waiting = of_kind(true);
        }
        let count = Self::at_once(open.slots.len()).min(waiting.len());
        if count == 0 {
            return Room::None;
        }
        waiting.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        waiting[..count].iter().for_each(|(_, slot)| open.close(slot));
        GAVE_WAY.add_many(0, count as u64);
        Room::Closing(count)
    }

    /// Number of connections to close at once, of so many.
    fn at_once(open: usize) -> usize {
        (open / Self::MOST_AT_ONCE).clamp(1, Self::MOST_AT_ONCE)
    }

    /// Closes those that have done nothing for too long: no request was whole in `idle_timeout` from its first byte or, before that,
    /// from the last answer; or nothing of an answer was taken for [`Self::STALL`]. Never ends.
    pub(crate) async fn watch(&self) {
        let mut ticks = tokio::time::interval(Self::TICK);
        loop {
            ticks.tick().await;
            self.close_idle(milliseconds(Now::read().boot));
        }
    }

    fn close_idle(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
        // Marks are up to a tick too early.
        let before = |timeout: Duration| now.saturating_sub(milliseconds(timeout.saturating_add(Self::TICK)));
        let (idle, stall) = (before(self.idle_timeout), before(Self::STALL));
        let mut open = self.lock();
        self.close_longest_holding(&mut open, now);
        let is_over = |slot: &&Arc<Slot>| slot.is_stalled_before(stall) || slot.is_idle_before(idle, now);
        let over: Vec<_> = open.slots.values().filter(is_over).cloned().collect();
        over.iter().for_each(|slot| open.close(slot));
    }

    /// Lets all end as soon as nothing is under way.
    pub(crate) fn take_leave(&self) {
        self.leaving.cancel();
    }

    /// Lets the peer's end as soon as nothing is under way.
    pub(crate) fn take_leave_of(&self, address: &conn::SocketAddr) {
        self.of_peer(address).iter().for_each(|slot| slot.leaving.cancel());
    }

    /// Closes all.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        let all: Vec<_> = open.slots.values().cloned().collect();
        all.iter().for_each(|slot| open.close(slot));
    }

    /// Waits until it is worth asking for room again.
    pub(crate) async fn change(&self) {
        let _ = tokio::time::timeout(Self::ANSWER, self.changed.notified()).await;
    }

    /// Takes a connection in, and lets a task serve it, which ends when it is closed here.
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
        // Under the lock, because it may have been told to close meanwhile.
        let _open = self.lock();
        slot.served_by(task.abort_handle());
    }

    fn add(self: &Arc<Self>, address: &conn::SocketAddr) -> Connection {
        let key = (Peer::of(address), self.opened.fetch_add(1, Ordering::Relaxed) + 1);
        let is_proxy = self.proxies.load().contains(address.ip());
        let leaving = self.leaving.child_token();
        let slot = Arc::new(Slot::new(is_proxy, key.1, self.now.load(Ordering::Relaxed), leaving));
        self.lock().slots.insert(key, slot.clone());
        Connection { connections: self.clone(), key, slot }
    }

    fn of_peer(&self, address: &conn::SocketAddr) -> Vec<Arc<Slot>> {
        let (open, peer) = (self.lock(), Peer::of(address));
        open.slots.range((peer, 0)..=(peer, u64::MAX)).map(|(_, slot)| slot.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection, as its stream tells of it. It counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    connections: Arc<Connections>,
    key: (Peer, u64),
    slot: Arc<Slot>,
}

impl Connection {
    /// Bytes have come from it.
    pub(crate) fn has_read(&self) {
        self.slot.has_read(|| self.connections.now.load(Ordering::Relaxed));
    }

    /// Bytes were sent to it.
    pub(crate) fn has_written(&self) {
        let Connections { opened, now, changed, .. } = &*self.connections;
        if self.slot.has_written(opened.load(Ordering::Relaxed), now.load(Ordering::Relaxed)) {
            changed.notify_one();
        }
    }

    /// It takes no bytes for the moment.
    pub(crate) fn stalls(&self) {
        self.slot.stalls(self.connections.now.load(Ordering::Relaxed));
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
