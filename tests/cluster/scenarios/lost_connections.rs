//! Connections that are closed while database server and nodes continue to run: after a fast restart or failover, after the
//! restart of a pooler, or by `pg_terminate_backend`.

use crate::load_permit;
use crate::nodes;
use crate::postgres::Postgres;

/// Statements that close all connections of the nodes, and wait until the last one is closed.
const CLOSE_ALL: &str = "SELECT count(*) > 0 AND bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE usename = 'sealjar';
                       SELECT count(pg_terminate_backend(pid, 10000)) >= 0 FROM pg_stat_activity
                       WHERE usename = 'sealjar';";

#[tokio::test]
async fn connections_lost_just_after_use_cost_no_request() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let node = home.start();
    let mut operator = database.connection();
    for _ in 0..10 {
        let session = node.login("alice").await;
        assert_eq!(operator.run(CLOSE_ALL), ["t", "t"]);
        assert_eq!(node.logout(&session).await, "200");
        assert_eq!(operator.run(CLOSE_ALL), ["t", "t"]);
    }
    node.login("alice").await;
}
