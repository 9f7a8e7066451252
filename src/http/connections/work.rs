//! Protects a connection from eviction while a request on it is in progress.
//!
//! `Submission::read` (`http/body.rs`) calls [`Connections::begin_work`] when the body is complete. During a wait that any client
//! can cause, the protection is paused. Otherwise an attacker could open many connections that cannot be evicted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use salvo::conn::SocketAddr;

use super::Connections;
use super::slot::Slot;
use crate::clock::{Now, milliseconds};

impl Connections {
    /// Postpones the start of the idle timeout of the peer's connection by `timeout`, the maximum time until a body is complete.
    /// Returns whether the connection is shared. A shared connection carries requests of several clients at the same time.
    pub(crate) fn extend_idle_timeout(&self, address: &SocketAddr, timeout: Duration) -> bool {
        let until = self.now_ms.load(Ordering::Relaxed).saturating_add(milliseconds(timeout));
        let slots = self.slots_of_peer(address);
        slots.iter().for_each(|slot| slot.postpone_idle_timeout(until));
        slots.iter().any(|slot| slot.is_shared())
    }

    /// Protects the peer's connection from eviction until the returned guard is dropped.
    pub(crate) fn begin_work(&self, address: &SocketAddr) -> WorkGuard {
        let slots = self.slots_of_peer(address);
        slots.iter().for_each(|slot| slot.begin_work());
        WorkGuard(slots)
    }
}

/// Marks a request as in progress. Dropped when the handler has decided on the response.
#[derive(Debug)]
pub(crate) struct WorkGuard(Vec<Arc<Slot>>);

impl WorkGuard {
    /// Removes the protection until the returned guard is dropped. To be called for a wait that any client can cause. The
    /// connection does not count as idle before `timeout` has passed.
    pub(crate) fn pause(&self, timeout: Duration) -> PausedWork<'_> {
        let until = milliseconds(Now::read().boot.saturating_add(timeout));
        for slot in &self.0 {
            slot.postpone_idle_timeout(until);
            slot.pause_work();
        }
        PausedWork(self)
    }
}

/// A request whose protection is paused.
#[derive(Debug)]
pub(crate) struct PausedWork<'w>(&'w WorkGuard);

impl Drop for PausedWork<'_> {
    fn drop(&mut self) {
        self.0.0.iter().for_each(|slot| slot.begin_work());
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        let deadline = milliseconds(Now::read().boot.saturating_add(Connections::RESPONSE_TIMEOUT));
        for slot in &self.0 {
            slot.end_work(deadline);
        }
    }
}
