//! Several nodes on one PostgreSQL: real servers and a real database, and whatever can befall either.
//!
//! Counts and times are reduced, unless SEALJAR_SOAK=1 asks for the stated ones (`make soak`). Most of these tests measure, or load
//! the machine, so they take turns. Everything is on loopback, or in network namespaces that have no way out.

#![allow(clippy::disallowed_methods, reason = "time is what these tests measure")]

#[path = "../server/clock_file.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod clock_file;
#[path = "../server/database.rs"]
mod database;
#[path = "../server/faketime.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod faketime;
#[path = "../server/harness.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod harness;
#[path = "../load/wire.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod wire;

mod load;
mod mint;
mod namespace;
mod nodes;
mod postgres;
mod scenarios;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Held by a test that measures or loads the machine: two of them at once have time to spare, and four would not. With the stated
/// counts and times each has the machine for itself (`make soak`).
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(2);
    TURNS.acquire().await.expect("never closed")
}

/// The first of the two, or the second when the stated counts and times are asked for.
pub(crate) fn reduced_or_stated<T>(reduced: T, stated: T) -> T {
    if std::env::var_os("SEALJAR_SOAK").is_some_and(|value| value == "1") { stated } else { reduced }
}
