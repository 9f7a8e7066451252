//! How often requests with keys that somebody made up may have the key directory read, or the store asked. The times are at least so
//! long, however loaded the machine is. What else becomes of such requests is tested in `tests/routes/keys/`.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Home, Session};

/// A token that names a key which nobody has.
pub(crate) fn made_up(session: &Session) -> Session {
    let (head, rest) = session.0.split_at(10);
    Session(format!("{}{rest}", if head.ends_with('A') { "AUAAAAAAAB" } else { "AUAAAAAAAA" }))
}

#[tokio::test]
async fn made_up_keys_cause_ten_reads_a_second_at_most() {
    const TRIES: u32 = 20;
    let home = Home::new();
    let server = home.start();
    let stranger = made_up(&server.login("alice").await);
    let started = Instant::now();
    // Each waits for a read of its own, because none asks before the one ahead is answered.
    for _ in 0..TRIES {
        assert_eq!(server.status(&stranger).await, "401 invalid");
    }
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(100) * (TRIES - 1), "{TRIES} reads in {elapsed:?}");
}

#[tokio::test]
async fn sign_outs_with_made_up_keys_ask_the_store_once_a_second() {
    let home = Home::new();
    let server = home.start();
    let stranger = made_up(&server.login("alice").await);
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(server.logout(&stranger).await, "200", "nobody has the key");
    }
    // The first may be asked at once.
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(2), "three questions in {elapsed:?}");
}
