//! The settings in force, which may change while requests are answered.
//!
//! A change makes another [`App`] and swaps the whole: nobody sees half of a new configuration. A request goes on with the one that
//! its handler began with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::App;
use crate::clock::UnixTime;

/// What the handlers work with, as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<ArcSwap<App>>);

impl Live {
    pub(crate) fn new(app: App) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(app)))
    }

    /// For a request that is answered at once, as a rule.
    pub(crate) fn load(&self) -> Guard<Arc<App>> {
        self.0.load()
    }

    /// For one that waits for something: a thread has few guards to lend.
    pub(crate) fn hold(&self) -> Arc<App> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, app: App) {
        self.0.store(Arc::new(app));
    }
}

/// How the configuration was read last.
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
