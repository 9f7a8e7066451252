//! Rate limits for requests with unknown key ids: reads of the key directory, and queries of the store.
//!
//! The tests assert minimum times, which a loaded machine cannot shorten. `tests/routes/keys/` has the other tests of such
//! requests.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Home, Session};

/// Returns the token with the id of a key that does not exist.
pub(crate) fn with_unknown_key(session: &Session) -> Session {
    let (head, rest) = session.0.split_at(10);
    Session(format!("{}{rest}", if head.ends_with('A') { "AUAAAAAAAB" } else { "AUAAAAAAAA" }))
}

#[tokio::test]
async fn unknown_keys_cause_at_most_ten_reads_a_second() {
    const REQUESTS: u32 = 20;
    let home = Home::new();
    let server = home.start();
    let unknown = with_unknown_key(&server.login("alice").await);
    let started = Instant::now();
    // Requests are sequential, so each needs its own read of the directory.
    for _ in 0..REQUESTS {
        assert_eq!(server.status(&unknown).await, "401 invalid");
    }
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(100) * (REQUESTS - 1), "{REQUESTS} reads in {elapsed:?}");
}

#[tokio::test]
async fn logouts_with_unknown_keys_query_the_store_once_a_second() {
    let home = Home::new();
    let server = home.start();
    let unknown = with_unknown_key(&server.login("alice").await);
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(server.logout(&unknown).await, "200", "no node has the key");
    }
    // The first query may be made immediately.
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(2), "three queries in {elapsed:?}");
}
