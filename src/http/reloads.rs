//! How the configuration was read last, for `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::UnixTime;

/// Outcome and time of the last read of the configuration.
#[derive(Debug)]
pub(crate) struct Reloads {
    started_at: UnixTime,
    is_good: AtomicBool,
    /// When the one in force was read, in Unix seconds.
    good_at: AtomicU64,
}

impl Reloads {
    /// The server starts with a good one.
    pub(crate) fn new(now: UnixTime) -> Self {
        Self { started_at: now, is_good: AtomicBool::new(true), good_at: AtomicU64::new(now.0) }
    }

    pub(crate) fn succeeded(&self, now: UnixTime) {
        self.good_at.store(now.0, Ordering::Relaxed);
        self.is_good.store(true, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.is_good.store(false, Ordering::Relaxed);
    }

    /// When the server did.
    pub(crate) const fn started_at(&self) -> UnixTime {
        self.started_at
    }

    /// Whether the last reading made a configuration that can be used.
    pub(crate) fn is_good(&self) -> bool {
        self.is_good.load(Ordering::Relaxed)
    }

    /// When one was last read that can be used.
    pub(crate) fn good_at(&self) -> UnixTime {
        UnixTime(self.good_at.load(Ordering::Relaxed))
    }
}
