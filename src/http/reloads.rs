//! Outcome and time of the last read of the configuration, for `/metrics`. `server/reload.rs` records them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::UnixTime;

/// Outcome and time of the last read of the configuration.
#[derive(Debug)]
pub(crate) struct Reloads {
    /// Time at which the server started.
    started_at: UnixTime,
    /// Whether the last read resulted in a usable configuration.
    last_succeeded: AtomicBool,
    /// Time at which the current configuration was read, in Unix seconds.
    last_success_at: AtomicU64,
}

impl Reloads {
    /// Records the start of the server, which needs a usable configuration.
    pub(crate) fn new(now: UnixTime) -> Self {
        Self { started_at: now, last_succeeded: AtomicBool::new(true), last_success_at: AtomicU64::new(now.0) }
    }

    /// Records a read that resulted in a usable configuration.
    pub(crate) fn record_success(&self, now: UnixTime) {
        self.last_success_at.store(now.0, Ordering::Relaxed);
        self.last_succeeded.store(true, Ordering::Relaxed);
    }

    /// Records a read that failed. The older configuration stays in use.
    pub(crate) fn record_failure(&self) {
        self.last_succeeded.store(false, Ordering::Relaxed);
    }

    /// Returns the time at which the server started.
    pub(crate) const fn started_at(&self) -> UnixTime {
        self.started_at
    }

    /// Returns whether the last read resulted in a usable configuration.
    pub(crate) fn last_succeeded(&self) -> bool {
        self.last_succeeded.load(Ordering::Relaxed)
    }

    /// Returns the time of the last read that resulted in a usable configuration.
    pub(crate) fn last_success_at(&self) -> UnixTime {
        UnixTime(self.last_success_at.load(Ordering::Relaxed))
    }
}
