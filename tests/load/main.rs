//! Delays that unauthenticated clients can cause for other clients. These tests measure times, so they run one after the
//! other, and Cargo runs no other test at the same time.

#![allow(clippy::disallowed_methods, reason = "time is what these tests measure")]

#[path = "../server/harness.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod harness;

mod flood;
mod full_head;
mod timing;
#[allow(dead_code, reason = "the other tests use the rest")]
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use wire::Wire;

/// Locks the machine for one measuring test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
