//! Loss of notifications: the connection for notifications may be closed, or may deliver nothing for a long time. Followers
//! continue to poll.

use std::time::Duration;

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Server, Session, wait_until};
use crate::load_permit;
use crate::nodes;
use crate::postgres::Postgres;

/// Maximum time from a logout on one node to the refusal on the other node.
const BOUND: Duration = Duration::from_secs(1);
/// Query for the connections that listen for notifications.
const LISTENERS: &str = "SELECT pid FROM pg_stat_activity WHERE usename = 'sealjar' AND query LIKE 'LISTEN%'";

#[tokio::test]
async fn a_node_without_notifications_polls_and_reconnects() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let [logout_node, other_node] = [home.start(), home.start()];
    wait_until("both listen", || database.sql(LISTENERS).lines().count() == 2);
    for _ in 0..3 {
        let listeners = database.sql(LISTENERS);
        let close_connections = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        assert_eq!(database.sql(close_connections), "t\nt");
        assert_refused_within_a_second(&logout_node, &other_node).await;
        wait_until("both listen again", || {
            let new_listeners = database.sql(LISTENERS);
            new_listeners.lines().count() == 2 && new_listeners.lines().all(|pid| !listeners.contains(pid))
        });
        assert_refused_within_a_second(&logout_node, &other_node).await;
    }
}

#[tokio::test]
async fn a_node_checks_a_silent_connection_and_keeps_listening() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["http.idle_timeout=1h"]);
    let clock = home.path("clock");
    write_clock(&clock, "-29s");
    let [logout_node, other_node] = [home.start(), home.start_with(&[], &every_clock(&clock))];
    wait_until("both listen", || database.sql(LISTENERS).lines().count() == 2);
    let listeners = database.sql(LISTENERS);
    write_clock(&clock, "+29s");
    let checked_connection =
        "SELECT pid FROM pg_stat_activity WHERE usename = 'sealjar' AND query = 'SELECT 1' AND state = 'idle'";
    wait_until("one node has checked its connection", || {
        listeners.contains(&database.sql(checked_connection)) && !database.sql(checked_connection).is_empty()
    });
    assert_refused_within_a_second(&logout_node, &other_node).await;
}

/// Logs a session out on one node. Asserts that the other node refuses the session within a second.
async fn assert_refused_within_a_second(logout_node: &Server<'_>, other_node: &Server<'_>) {
    let session: Session = logout_node.login("alice").await;
    assert_eq!(other_node.status(&session).await, "200");
    assert_eq!(logout_node.logout(&session).await, "200");
    let delay = other_node.until_status(&session, "401 revoked").await;
    assert!(delay < BOUND, "{delay:?}");
}
