//! What is known of one connection, in numbers that its stream changes without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// One connection. Instants are of the boot clock, in milliseconds, as it was last read.
#[derive(Debug)]
pub(super) struct Slot {
    /// What serves it, a moment after it was opened.
    task: OnceLock<AbortHandle>,
    closing: AtomicBool,
    pub(super) is_proxy: bool,
    pub(super) leaving: CancellationToken,
    /// How many connections had been opened when this one was, or when something was last sent to it.
    waits_since: AtomicU64,
    /// Its requests that are being worked on.
    working: AtomicU32,
    /// Until then its last answer may be on the way; 0 if none is.
    answer_due: AtomicU64,
    /// When it was opened, something was last sent to it, or the first byte came after that; later if it is waited for.
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
        self.waits_since.store(opened, Ordering::Relaxed);
        self.active_at.store(now, Ordering::Relaxed);
        self.asks.store(false, Ordering::Relaxed);
        self.stalled_at.store(0, Ordering::Relaxed);
        let was_due = self.answer_due.load(Ordering::Relaxed) != 0;
        if was_due {
            self.answer_due.store(0, Ordering::Relaxed);
        }
        was_due
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

    pub(super) fn may_be_closed(&self, now: u64) -> bool {
        // In this order: an answer is due before the work on it ends.
        let is_idle = self.working.load(Ordering::Acquire) == 0 && self.answer_due.load(Ordering::Relaxed) <= now;
        is_idle && !self.is_closing()
    }

    pub(super) fn is_idle_before(&self, instant: u64, now: u64) -> bool {
        self.active_at.load(Ordering::Relaxed) < instant && self.may_be_closed(now)
    }

    pub(super) fn is_stalled_before(&self, instant: u64) -> bool {
        (1..instant).contains(&self.stalled_at.load(Ordering::Relaxed)) && !self.is_closing()
    }
}
