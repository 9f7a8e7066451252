//! Loss of notifications: the connection for notifications may be closed, or may deliver nothing for a long time. Followers
//! continue to poll.

use std::time::Duration;

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Server, Session, wait_until};
use crate::load_permit;
use crate::nodes;
use crate::postgres::Postgres;

const BOUND: Duration = Duration::from_secs(1);
/// Query for the connections that listen.
const LISTENERS: &str = "SELECT pid FROM pg_stat_activity WHERE usename = 'sealjar' AND query LIKE 'LISTEN%'";

#[tokio::test]
async fn a_node_without_notifications_polls_and_reconnects() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let [ends, follows] = [home.start(), home.start()];
    wait_until("both listen", || database.sql(LISTENERS).lines().count() == 2);
    for _ in 0..3 {
        let listeners = database.sql(LISTENERS);
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        assert_eq!(database.sql(cut), "t\nt");
        assert_refused_within_a_second(&ends, &follows).await;
        wait_until("both listen again", || {
            let now = database.sql(LISTENERS);
            now.lines().count() == 2 && now.lines().all(|pid| !listeners.contains(pid))
        });
        assert_refused_within_a_second(&ends, &follows).await;
    }
}

#[tokio::test]
async fn a_node_checks_a_silent_connection_and_keeps_listening() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["http.idle_timeout=1h"]);
    let clock = home.path("clock");
    write_clock(&clock, "-29s");
    let [ends, follows] = [home.start(), home.start_with(&[], &every_clock(&clock))];
    wait_until("both listen", || database.sql(LISTENERS).lines().count() == 2);
    let listeners = database.sql(LISTENERS);
    write_clock(&clock, "+29s");
    let checked =
        "SELECT pid FROM pg_stat_activity WHERE usename = 'sealjar' AND query = 'SELECT 1' AND state = 'idle'";
    wait_until("one node has checked its connection", || {
        listeners.contains(&database.sql(checked)) && !database.sql(checked).is_empty()
    });
    assert_refused_within_a_second(&ends, &follows).await;
}

async fn assert_refused_within_a_second(ends: &Server<'_>, follows: &Server<'_>) {
    let session: Session = ends.login("alice").await;
    assert_eq!(follows.status(&session).await, "200");
    assert_eq!(ends.logout(&session).await, "200");
    let lag = follows.until_status(&session, "401 revoked").await;
    assert!(lag < BOUND, "{lag:?}");
}
