//! Tests of several nodes on one PostgreSQL, with real servers, a real database, and faults of servers and database.
//!
//! Counts and times are reduced, unless SEALJAR_SOAK=1 is set (`make soak`). Most of these tests measure times or load the
//! machine, so only two of them run at the same time. They use the loopback interface, or network namespaces without access
//! to other networks.

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
mod namespace;
mod nodes;
mod postgres;
mod scenarios;
mod session_factory;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Waits for a permit. A test that measures times or loads the machine holds a permit while it runs. There are two permits,
/// because four such tests at the same time are too slow. With the full counts and times (`make soak`), the tests run one by
/// one.
pub(crate) async fn load_permit() -> SemaphorePermit<'static> {
    static PERMITS: Semaphore = Semaphore::const_new(2);
    PERMITS.acquire().await.expect("the semaphore is never closed")
}

/// Returns the reduced count or time, or the full one if SEALJAR_SOAK=1 is set.
pub(crate) fn reduced_or_stated<T>(reduced: T, stated: T) -> T {
    if std::env::var_os("SEALJAR_SOAK").is_some_and(|value| value == "1") { stated } else { reduced }
}
