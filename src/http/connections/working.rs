//! Requests that are being worked on, whose connections are not closed to make room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use salvo::conn::SocketAddr;

use super::Connections;
use super::slot::Slot;
use crate::clock::{Now, milliseconds};

impl Connections {
    /// Lets the peer's connection do nothing for so much longer: a body has a time of its own. Returns whether other visitors'
    /// requests are on the connection at the same time.
    pub(crate) fn wait_for_body(&self, address: &SocketAddr, timeout: Duration) -> bool {
        let until = self.now.load(Ordering::Relaxed).saturating_add(milliseconds(timeout));
        let slots = self.of_peer(address);
        slots.iter().for_each(|slot| slot.is_waited_for(until));
        slots.iter().any(|slot| slot.is_shared())
    }

    /// Keeps the peer's connection from being closed until its request is dealt with.
    pub(crate) fn work_for(&self, address: &SocketAddr) -> Working {
        let slots = self.of_peer(address);
        slots.iter().for_each(|slot| slot.begin_work());
        Working(slots)
    }
}

/// A request is being worked on; dropped when its answer is known.
#[derive(Debug)]
pub(crate) struct Working(Vec<Arc<Slot>>);

impl Working {
    /// Lets the connection be closed to make room until the result is dropped. For a wait that a stranger can cause; it has
    /// `timeout`, in which the connection is not idle.
    pub(crate) fn pause(&self, timeout: Duration) -> Paused<'_> {
        let until = milliseconds(Now::read().boot.saturating_add(timeout));
        for slot in &self.0 {
            slot.is_waited_for(until);
            slot.pause_work();
        }
        Paused(self)
    }
}

/// A request that is not being worked on for a while.
#[derive(Debug)]
pub(crate) struct Paused<'w>(&'w Working);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.0.iter().for_each(|slot| slot.begin_work());
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let due = milliseconds(Now::read().boot.saturating_add(Connections::ANSWER));
        for slot in &self.0 {
            slot.end_work(due);
        }
    }
}
