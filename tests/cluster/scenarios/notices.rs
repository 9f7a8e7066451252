//! Notices make followers quick, and nobody relies on them: their connection may be lost, or silent for long.

use std::time::Duration;

use crate::clock_file::{every_clock, write_clock};
use crate::harness::{Server, Session, until};
use crate::nodes;
use crate::postgres::Postgres;
use crate::turn;

const BOUND: Duration = Duration::from_secs(1);
/// Who listens: his last statement was that, or the question whether the server is there.
const LISTENERS: &str = "SELECT pid FROM pg_stat_activity WHERE usename = 'sealjar' AND query LIKE 'LISTEN%'";

#[tokio::test]
async fn a_node_without_notices_polls_and_listens_again() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let [ends, follows] = [home.start(), home.start()];
    until("both listen", || database.sql(LISTENERS).lines().count() == 2);
    for _ in 0..3 {
        let listeners = database.sql(LISTENERS);
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        assert_eq!(database.sql(cut), "t\nt");
        assert_refused_within_a_second(&ends, &follows).await;
        until("both listen again", || {
            let now = database.sql(LISTENERS);
            now.lines().count() == 2 && now.lines().all(|pid| !listeners.contains(pid))
        });
        assert_refused_within_a_second(&ends, &follows).await;
    }
}

#[tokio::test]
async fn a_node_that_heard_nothing_for_long_asks_and_listens_on() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &["http.idle_timeout=1h"]);
    let clock = home.path("clock");
    write_clock(&clock, "-29s");
    let [ends, follows] = [home.start(), home.start_with(&[], &every_clock(&clock))];
    until("both listen", || database.sql(LISTENERS).lines().count() == 2);
    let listeners = database.sql(LISTENERS);
    write_clock(&clock, "+29s");
    let asked = "SELECT pid FROM pg_stat_activity WHERE usename = 'sealjar' AND query = 'SELECT 1' AND state = 'idle'";
    until("one has asked", || listeners.contains(&database.sql(asked)) && !database.sql(asked).is_empty());
    assert_refused_within_a_second(&ends, &follows).await;
}

async fn assert_refused_within_a_second(ends: &Server<'_>, follows: &Server<'_>) {
    let session: Session = ends.login("alice").await;
    assert_eq!(follows.status(&session).await, "200");
    assert_eq!(ends.logout(&session).await, "200");
    let lag = follows.until_status(&session, "401 revoked").await;
    assert!(lag < BOUND, "{lag:?}");
}
