//! The state of one connection: atomic values that its stream changes without a lock, and the memory of its HTTP/2 requests.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::held_memory::HeldMemory;

/// State of one connection. Times are milliseconds of the boot clock, as it was last read.
#[derive(Debug)]
pub(super) struct Slot {
    /// Task that serves the connection. Set shortly after the connection was opened.
    task: OnceLock<AbortHandle>,
    is_closing: AtomicBool,
    /// Whether the peer was a trusted proxy when it connected.
    pub(super) is_proxy: bool,
    /// Cancelled to shut the connection down gracefully.
    pub(super) shutdown: CancellationToken,
    /// Whether the client uses HTTP/2. If so, only exchanges count as activity, and bytes on the socket do not.
    is_http2: AtomicBool,
    /// Number of HTTP/2 requests whose responses the client has not taken yet.
    open_exchanges: AtomicU32,
    /// Number of HTTP/2 requests so far. It may wrap around.
    exchanges_begun: AtomicU32,
    /// Time at which an exchange last ended: its response was taken or is not needed any more. 0 if no exchange has ended.
    exchange_ended_at: AtomicU64,
    /// Memory of HTTP/2 requests and responses.
    memory: Mutex<HeldMemory>,
    /// Start of the wait, as the number of connections that the listener had opened by then. The wait starts when this connection
    /// is opened, and again when something is sent on it. A lower number means a longer wait.
    waits_since: AtomicU64,
    /// Number of requests in progress.
    requests_in_progress: AtomicU32,
    /// Time until which the last response may be on its way to the socket. 0 if no response is on its way.
    response_deadline: AtomicU64,
    /// Time of the last activity, at which the idle timeout starts. In HTTP/1: the connection was opened, something was sent,
    /// or the first byte after the last sent one arrived. In HTTP/2: the connection was opened, a request arrived, or a
    /// response was taken. While the server waits for a body, it is a time in the future.
    active_at: AtomicU64,
    /// Whether a byte has arrived since something was last sent.
    has_request_bytes: AtomicBool,
    /// Time since which the client has taken no byte of a response. 0 if the client takes bytes.
    stalled_since: AtomicU64,
}

impl Slot {
    pub(super) fn new(is_proxy: bool, number: u64, now: u64, shutdown: CancellationToken) -> Self {
        Self {
            task: OnceLock::new(),
            is_closing: AtomicBool::new(false),
            is_proxy,
            shutdown,
            is_http2: AtomicBool::new(false),
            open_exchanges: AtomicU32::new(0),
            exchanges_begun: AtomicU32::new(0),
            exchange_ended_at: AtomicU64::new(0),
            memory: Mutex::default(),
            waits_since: AtomicU64::new(number),
            requests_in_progress: AtomicU32::new(0),
            response_deadline: AtomicU64::new(0),
            active_at: AtomicU64::new(now),
            has_request_bytes: AtomicBool::new(false),
            stalled_since: AtomicU64::new(0),
        }
    }

    /// Sets the task that serves the connection, and aborts it if the connection is closed already. The caller must hold the lock
    /// under which [`Slot::close`] is called.
    pub(super) fn set_task(&self, task: AbortHandle) {
        let task = self.task.get_or_init(|| task);
        if self.is_closing() {
            task.abort();
        }
    }

    /// Closes the connection. Returns whether it was open.
    pub(super) fn close(&self) -> bool {
        self.task.get().inspect(|task| task.abort());
        !self.is_closing.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    pub(super) fn waits_since(&self) -> u64 {
        self.waits_since.load(Ordering::Relaxed)
    }

    /// Records that bytes were received. Only the first byte of a request counts as activity: a client that sends its request
    /// byte by byte must reach the idle timeout.
    pub(super) fn record_read(&self, now: impl FnOnce() -> u64) {
        if !self.has_request_bytes.load(Ordering::Relaxed) {
            self.has_request_bytes.store(true, Ordering::Relaxed);
            self.active_at.store(now(), Ordering::Relaxed);
        }
    }

    /// Postpones the start of the idle timeout to `until`, unless it already starts later.
    pub(super) fn postpone_idle_timeout(&self, until: u64) {
        self.active_at.fetch_max(until, Ordering::Relaxed);
    }

    /// Records that bytes were sent. Returns whether a response was on its way. These bytes may belong to it.
    pub(super) fn record_write(&self, opened: u64, now: u64) -> bool {
        self.stalled_since.store(0, Ordering::Relaxed);
        // In HTTP/2, the bytes may be the reply to a PING.
        if !self.is_http2() {
            self.waits_since.store(opened, Ordering::Relaxed);
            self.active_at.store(now, Ordering::Relaxed);
            self.has_request_bytes.store(false, Ordering::Relaxed);
        }
        self.clear_response_deadline()
    }

    fn clear_response_deadline(&self) -> bool {
        let was_set = self.response_deadline.load(Ordering::Relaxed) != 0;
        if was_set {
            self.response_deadline.store(0, Ordering::Relaxed);
        }
        was_set
    }

    /// Records that the client uses HTTP/2. From now on only exchanges count as activity.
    pub(super) fn mark_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection carries requests of several clients at the same time.
    pub(super) fn is_shared(&self) -> bool {
        self.is_proxy && self.is_http2()
    }

    fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Records that an HTTP/2 request has arrived.
    pub(super) fn begin_exchange(&self, now: u64) {
        self.exchanges_begun.fetch_add(1, Ordering::Relaxed);
        self.open_exchanges.fetch_add(1, Ordering::Relaxed);
        // `store` would be wrong: another request that waits for its body may have postponed the idle timeout.
        self.active_at.fetch_max(now, Ordering::Relaxed);
    }

    /// Records that an exchange has ended. Returns whether a response was on its way. It may be the response of this
    /// exchange.
    pub(super) fn end_exchange(&self, opened: u64, now: u64) -> bool {
        self.waits_since.store(opened, Ordering::Relaxed);
        self.active_at.fetch_max(now, Ordering::Relaxed);
        self.exchange_ended_at.store(now, Ordering::Relaxed);
        self.open_exchanges.fetch_sub(1, Ordering::Relaxed);
        self.clear_response_deadline()
    }

    /// Returns the number of exchanges so far if the client uses HTTP/2 and none is open.
    pub(super) fn exchange_count_if_idle(&self) -> Option<u32> {
        let is_idle = self.is_http2() && self.open_exchanges.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.exchanges_begun.load(Ordering::Relaxed))
    }

    /// Locks the list of the memory that HTTP/2 requests and responses use.
    pub(super) fn memory(&self) -> MutexGuard<'_, HeldMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the client accepts no more bytes for now.
    pub(super) fn record_stall(&self, now: u64) {
        if self.stalled_since.load(Ordering::Relaxed) == 0 {
            self.stalled_since.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn begin_work(&self) {
        self.requests_in_progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the work on a request. From now on its response is on its way, until `deadline` at the latest.
    pub(super) fn end_work(&self, deadline: u64) {
        self.response_deadline.store(deadline, Ordering::Relaxed);
        self.requests_in_progress.fetch_sub(1, Ordering::Release);
    }

    /// Ends the protection of a request in progress, until `begin_work` is called again. Unlike [`Slot::end_work`], does not
    /// expect a response to be on its way.
    pub(super) fn pause_work(&self) {
        self.requests_in_progress.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns whether a request is in progress.
    pub(super) fn is_working(&self) -> bool {
        self.requests_in_progress.load(Ordering::Acquire) > 0
    }

    /// Returns whether the connection is open and has neither a request in progress nor a response on its way.
    pub(super) fn may_be_closed(&self, now: u64) -> bool {
        // The order of these two reads matters: `end_work` sets the deadline before it decreases the number of requests.
        let is_idle = !self.is_working() && self.response_deadline.load(Ordering::Relaxed) <= now;
        is_idle && !self.is_closing()
    }

    /// Returns whether the last activity was before `instant`, and the connection may be closed.
    pub(super) fn is_idle_before(&self, instant: u64, now: u64) -> bool {
        let has_exchange = self.open_exchanges.load(Ordering::Relaxed) > 0;
        self.active_at.load(Ordering::Relaxed) < instant && !has_exchange && self.may_be_closed(now)
    }

    /// Returns whether the client has stalled since before `instant`. In HTTP/1, it has taken no byte of a response since then.
    /// In HTTP/2, it has not taken the whole of a response that has waited since then. The connection of a proxy counts as
    /// stalled only if no other exchange has ended since then, either.
    pub(super) fn is_stalled_before(&self, instant: u64) -> bool {
        let is_socket_stalled = (1..instant).contains(&self.stalled_since.load(Ordering::Relaxed));
        let takes_other_responses = self.is_proxy && self.exchange_ended_at.load(Ordering::Relaxed) >= instant;
        let is_response_stalled = !takes_other_responses && self.memory().has_response_waiting_before(instant);
        (is_socket_stalled || is_response_stalled) && !self.is_closing()
    }
}
