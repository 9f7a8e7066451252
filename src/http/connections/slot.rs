//! What is known of one connection, in numbers that its stream changes without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::held::Held;

/// One connection. Instants are of the boot clock, in milliseconds, as it was last read.
#[derive(Debug)]
pub(super) struct Slot {
    /// What serves it, a moment after it was opened.
    task: OnceLock<AbortHandle>,
    closing: AtomicBool,
    pub(super) is_proxy: bool,
    pub(super) leaving: CancellationToken,
    /// The socket's bytes are no activity; exchanges are.
    is_http2: AtomicBool,
    /// Requests of HTTP/2 whose answers were not taken yet.
    exchanges: AtomicU32,
    /// Number of requests of HTTP/2 so far; it may wrap around.
    begun: AtomicU32,
    /// When such an answer was last taken, or was not wanted any more; 0 if none was.
    ended_at: AtomicU64,
    /// The memory of both.
    held: Mutex<Held>,
    /// How many connections had been opened when this one was, or when something was last sent to it.
    waits_since: AtomicU64,
    /// Its requests that are being worked on.
    working: AtomicU32,
    /// Until then its last answer may be on the way; 0 if none is.
    answer_due: AtomicU64,
    /// When it was opened, something was last sent to it, or the first byte came after that; later if it is waited for. In HTTP/2,
    /// when it was opened, or a request last arrived, or an answer was last taken.
    active_at: AtomicU64,
    /// A byte has come since something was last sent.
    asks: AtomicBool,
    /// When it took no more of an answer; 0 if it does.
    stalled_at: AtomicU64,
}

impl Slot {
    pub(super) fn new(is_proxy: bool, number: u64, now: u64, leaving: CancellationToken) -> Self {
        Self {
            task: OnceLock::new(),
            closing: AtomicBool::new(false),
            is_proxy,
            leaving,
            is_http2: AtomicBool::new(false),
            exchanges: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            ended_at: AtomicU64::new(0),
            held: Mutex::default(),
            waits_since: AtomicU64::new(number),
            working: AtomicU32::new(0),
            answer_due: AtomicU64::new(0),
            active_at: AtomicU64::new(now),
            asks: AtomicBool::new(false),
            stalled_at: AtomicU64::new(0),
        }
    }

    /// Only under the lock that [`Slot::close`] is called under.
    pub(super) fn served_by(&self, task: AbortHandle) {
        let task = self.task.get_or_init(|| task);
        if self.is_closing() {
            task.abort();
        }
    }

    /// Whether it was open.
    pub(super) fn close(&self) -> bool {
        self.task.get().inspect(|task| task.abort());
        !self.closing.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(super) fn waits_since(&self) -> u64 {
        self.waits_since.load(Ordering::Relaxed)
    }

    /// What is read counts only as the beginning of a request: trickling one must not look like life.
    pub(super) fn has_read(&self, now: impl FnOnce() -> u64) {
        if !self.asks.load(Ordering::Relaxed) {
            self.asks.store(true, Ordering::Relaxed);
            self.active_at.store(now(), Ordering::Relaxed);
        }
    }

    pub(super) fn is_waited_for(&self, until: u64) {
        self.active_at.fetch_max(until, Ordering::Relaxed);
    }

    /// Whether an answer was on the way, which may be this.
    pub(super) fn has_written(&self, opened: u64, now: u64) -> bool {
        self.stalled_at.store(0, Ordering::Relaxed);
        // In HTTP/2 it may be the answer to a PING.
        if !self.is_http2() {
            self.waits_since.store(opened, Ordering::Relaxed);
            self.active_at.store(now, Ordering::Relaxed);
            self.asks.store(false, Ordering::Relaxed);
        }
        self.take_answer_due()
    }

    fn take_answer_due(&self) -> bool {
        let was_due = self.answer_due.load(Ordering::Relaxed) != 0;
        if was_due {
            self.answer_due.store(0, Ordering::Relaxed);
        }
        was_due
    }

    /// From now on only exchanges count as activity.
    pub(super) fn speaks_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    /// Whether other visitors' requests are on it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        self.is_proxy && self.is_http2()
    }

    fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    pub(super) fn begin_exchange(&self, now: u64) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        // Another's body may be waited for.
        self.active_at.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether an answer was on the way, which may be this one's.
    pub(super) fn end_exchange(&self, opened: u64, now: u64) -> bool {
        self.waits_since.store(opened, Ordering::Relaxed);
        self.active_at.fetch_max(now, Ordering::Relaxed);
        self.ended_at.store(now, Ordering::Relaxed);
        self.exchanges.fetch_sub(1, Ordering::Relaxed);
        self.take_answer_due()
    }

    pub(super) fn exchanges_if_idle(&self) -> Option<u32> {
        let is_idle = self.is_http2() && self.exchanges.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.begun.load(Ordering::Relaxed))
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stalls(&self, now: u64) {
        if self.stalled_at.load(Ordering::Relaxed) == 0 {
            self.stalled_at.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn begin_work(&self) {
        self.working.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer is on the way from now on, until `due` at the latest.
    pub(super) fn end_work(&self, due: u64) {
        self.answer_due.store(due, Ordering::Relaxed);
        self.working.fetch_sub(1, Ordering::Release);
    }

    /// The work stops for a while, and no answer is on the way.
    pub(super) fn pause_work(&self) {
        self.working.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a request is being worked on.
    pub(super) fn works(&self) -> bool {
        self.working.load(Ordering::Acquire) > 0
    }

    pub(super) fn may_be_closed(&self, now: u64) -> bool {
        // In this order: an answer is due before the work on it ends.
        let is_idle = !self.works() && self.answer_due.load(Ordering::Relaxed) <= now;
        is_idle && !self.is_closing()
    }

    pub(super) fn is_idle_before(&self, instant: u64, now: u64) -> bool {
        let has_exchange = self.exchanges.load(Ordering::Relaxed) > 0;
        self.active_at.load(Ordering::Relaxed) < instant && !has_exchange && self.may_be_closed(now)
    }

    /// Whether nothing of an answer was taken since before `instant`, or in HTTP/2 not all of it, nor of a proxy's any other.
    pub(super) fn is_stalled_before(&self, instant: u64) -> bool {
        let is_stalled = (1..instant).contains(&self.stalled_at.load(Ordering::Relaxed));
        let takes_others = self.is_proxy && self.ended_at.load(Ordering::Relaxed) >= instant;
        let is_held = !takes_others && self.held().answer_waits_since_before(instant);
        (is_stalled || is_held) && !self.is_closing()
    }
}
