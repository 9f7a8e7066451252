//! The connections of one listener, and which of them gives way when there is no room for another.
//!
//! At the limit, those that have waited longest are closed: for a request to be complete, or for an answer to be taken. So
//! connections that are merely held, by whatever kind of slowness, keep nobody out. Those of trusted proxies give way only to
//! each other and when nobody else waits; those whose request is here whole and being worked on
//! never do. Of that only requests with a body tell (`Submission::read`), because all others are answered without waiting for
//! anything.
//!
//! Age is counted in connections, and not in seconds: nothing reads a clock, takes a lock or touches the heap when bytes come and
//! go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use salvo::conn::{self, ConnCtrl};
use salvo::fuse::{ArcConnObserver, ConnObserver};
use tokio::sync::Notify;

use super::forwarded::TrustedProxies;
use crate::clock::{Now, milliseconds};
use crate::metrics::GAVE_WAY;

/// The connections that a listener has open, and how many it may have.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    proxies: ArcSwap<TrustedProxies>,
    /// How many were opened so far.
    opened: AtomicU64,
    open: Mutex<Open>,
    /// A connection has ended, or may be closed from now on.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// By the peer, with a number: a connection that is about to end may have the same address as a new one.
    slots: BTreeMap<(Peer, u64), Arc<Slot>>,
    /// How many of them were told to close.
    closing: usize,
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

#[derive(Debug)]
struct Slot {
    ctrl: ConnCtrl,
    is_proxy: bool,
    /// How many connections had been opened when this one was, or when something was last sent to it.
    waits_since: AtomicU64,
    /// Its requests that are being worked on.
    working: AtomicU32,
    /// A byte of a request has come from it.
    spoke: AtomicBool,
    /// Until this instant of the boot clock, in milliseconds, its last answer may be on the way; 0 if none is.
    answer_due: AtomicU64,
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

    pub(crate) fn new(limit: usize, proxies: TrustedProxies) -> Arc<Self> {
        let (opened, open, changed) = (AtomicU64::new(0), Mutex::default(), Notify::new());
        Arc::new(Self { limit, proxies: ArcSwap::from_pointee(proxies), opened, open, changed })
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
        let age = |slot: &Arc<Slot>| slot.may_be_closed(now).then(|| slot.waits_since.load(Ordering::Relaxed));
        let of_kind = |is_proxy: bool| {
            let slots = open.slots.values().filter(|slot| slot.is_proxy == is_proxy);
            slots.filter_map(|slot| Some((age(slot)?, slot))).collect::<Vec<_>>()
        };
        let mut waiting = of_kind(false);
        if waiting.is_empty() {
            waiting = of_kind(true);
        }
        let count = (open.slots.len() / Self::MOST_AT_ONCE).clamp(1, Self::MOST_AT_ONCE).min(waiting.len());
        if count == 0 {
            return Room::None;
        }
        waiting.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        waiting[..count].iter().for_each(|(_, slot)| slot.ctrl.abort());
        open.closing += count;
        GAVE_WAY.add_many(0, count as u64);
        Room::Closing(count)
    }

    /// Closes those that never sent a byte: they would hold up an orderly stop, which waits for a request of theirs.
    pub(crate) fn close_silent(&self) {
        let open = self.lock();
        let silent = open.slots.values().filter(|slot| !slot.spoke.load(Ordering::Relaxed));
        silent.for_each(|slot| slot.ctrl.abort());
    }

    /// Waits until it is worth asking for room again.
    pub(crate) async fn change(&self) {
        let _ = tokio::time::timeout(Self::ANSWER, self.changed.notified()).await;
    }

    /// Takes a connection in, whose bytes are what its peer says. It counts until the observer is dropped, which its stream does
    /// when it is closed.
    pub(crate) fn add(self: &Arc<Self>, address: &conn::SocketAddr, ctrl: &ConnCtrl) -> ArcConnObserver {
        self.observe(address, ctrl, true)
    }

    /// The same for a connection with TLS: an observer of its bytes, and one of what they mean.
    pub(crate) fn add_encrypted(self: &Arc<Self>, address: &conn::SocketAddr, ctrl: &ConnCtrl) -> [ArcConnObserver; 2] {
        let bytes = self.observe(address, ctrl, false);
        let content = Arc::new(Reader(bytes.slot.clone()));
        [bytes, content]
    }

    fn observe(self: &Arc<Self>, address: &conn::SocketAddr, ctrl: &ConnCtrl, is_plain: bool) -> Arc<Observer> {
        let peer = Peer::of(address);
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = Arc::new(Slot {
            ctrl: ctrl.clone(),
            is_proxy: self.proxies.load().contains(address.ip()),
            waits_since: AtomicU64::new(number),
            working: AtomicU32::new(0),
            spoke: AtomicBool::new(false),
            answer_due: AtomicU64::new(0),
        });
        self.lock().slots.insert((peer, number), slot.clone());
        Arc::new(Observer { connections: self.clone(), key: (peer, number), slot, is_plain })
    }

    /// Keeps the peer's connection from being closed until its request is dealt with.
    pub(crate) fn work_for(&self, address: &conn::SocketAddr) -> Working {
        let (open, peer) = (self.lock(), Peer::of(address));
        let slots: Vec<_> = open.slots.range((peer, 0)..=(peer, u64::MAX)).map(|(_, slot)| slot.clone()).collect();
        for slot in &slots {
            slot.working.fetch_add(1, Ordering::Relaxed);
        }
        drop(open);
        Working(slots)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn has_spoken(&self) {
        // A line of memory that is only read stays in every core's cache.
        if !self.spoke.load(Ordering::Relaxed) {
            self.spoke.store(true, Ordering::Relaxed);
        }
    }

    fn may_be_closed(&self, now: u64) -> bool {
        // In this order: an answer is due before the work on it ends.
        let is_idle = self.working.load(Ordering::Acquire) == 0 && self.answer_due.load(Ordering::Relaxed) <= now;
        is_idle && !self.ctrl.is_aborted()
    }
}

/// What a connection's stream tells of it.
struct Observer {
    connections: Arc<Connections>,
    key: (Peer, u64),
    slot: Arc<Slot>,
    is_plain: bool,
}

/// What a connection's stream tells of what came out of TLS.
struct Reader(Arc<Slot>);

impl ConnObserver for Reader {
    fn on_read(&self, _bytes: usize) {
        self.0.has_spoken();
    }
}

impl ConnObserver for Observer {
    fn on_read(&self, _bytes: usize) {
        // A handshake says nothing yet.
        if self.is_plain {
            self.slot.has_spoken();
        }
    }

    /// What is read counts for nothing: trickling a request must not look like life.
    fn on_write(&self, _bytes: usize) {
        let slot = &*self.slot;
        slot.waits_since.store(self.connections.opened.load(Ordering::Relaxed), Ordering::Relaxed);
        if slot.answer_due.load(Ordering::Relaxed) != 0 {
            slot.answer_due.store(0, Ordering::Relaxed);
            self.connections.changed.notify_one();
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.slots.remove(&self.key);
        open.closing = open.closing.saturating_sub(usize::from(self.slot.ctrl.is_aborted()));
        drop(open);
        self.connections.changed.notify_one();
    }
}

/// A request is being worked on; dropped when its answer is known.
#[derive(Debug)]
pub(crate) struct Working(Vec<Arc<Slot>>);

impl Drop for Working {
    fn drop(&mut self) {
        let due = milliseconds(Now::read().boot.saturating_add(Connections::ANSWER));
        for slot in &self.0 {
            slot.answer_due.store(due, Ordering::Relaxed);
            slot.working.fetch_sub(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> conn::SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port)).into()
    }

    #[test]
    fn one_gives_way_at_a_time_and_counts_until_it_is_gone() {
        let connections = Connections::new(2, TrustedProxies::default());
        let (first, second) = (ConnCtrl::new(), ConnCtrl::new());
        let observers = [connections.add(&peer(1), &first), connections.add(&peer(2), &second)];
        assert_eq!(connections.room(), Room::Closing(1));
        assert_eq!(connections.room(), Room::Closing(1), "the same one");
        assert!(first.is_aborted() && !second.is_aborted());
        let [first_observer, _second_observer] = observers;
        drop(first_observer);
        assert_eq!(connections.room(), Room::Free);
        let _third = connections.add(&peer(3), &ConnCtrl::new());
        assert_eq!(connections.room(), Room::Closing(1));
        assert!(second.is_aborted());
    }

    #[test]
    fn an_answer_on_its_way_keeps_the_connection_until_it_is_written() {
        let connections = Connections::new(1, TrustedProxies::default());
        let observer = connections.add(&peer(1), &ConnCtrl::new());
        let working = [connections.work_for(&peer(1)), connections.work_for(&peer(1))];
        assert_eq!(connections.room(), Room::None);
        let [one, other] = working;
        drop(one);
        observer.on_write(1);
        assert_eq!(connections.room(), Room::None, "the other is worked on");
        drop(other);
        assert_eq!(connections.room(), Room::None, "its answer is on the way");
        observer.on_write(1);
        assert_eq!(connections.room(), Room::Closing(1));
    }

    #[test]
    fn two_connections_with_one_address_are_both_kept_and_leave_one_by_one() {
        let connections = Connections::new(2, TrustedProxies::default());
        let old = connections.add(&peer(1), &ConnCtrl::new());
        let _new = connections.add(&peer(1), &ConnCtrl::new());
        let _working = connections.work_for(&peer(1));
        let _nobody = connections.work_for(&conn::SocketAddr::Unknown);
        assert_eq!(connections.room(), Room::None);
        drop(old);
        assert_eq!(connections.room(), Room::Free);
        let _third = connections.add(&peer(2), &ConnCtrl::new());
        assert_eq!(connections.room(), Room::Closing(1));
    }
}
