//! Connections that somebody else closes, though server and node go on: a restart or a failover that took no time, a pooler that
//! was restarted, an operator's `pg_terminate_backend`.

use crate::nodes;
use crate::postgres::Postgres;
use crate::turn;

/// Closes every connection of a node at once, and returns when the last one is closed.
const CUT_OFF: &str = "SELECT count(*) > 0 AND bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE usename = 'sealjar';
                       SELECT count(pg_terminate_backend(pid, 10000)) >= 0 FROM pg_stat_activity
                       WHERE usename = 'sealjar';";

#[tokio::test]
async fn connections_lost_just_after_use_cost_no_request() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let node = home.start();
    let mut operator = database.connection();
    for _ in 0..10 {
        let session = node.login("alice").await;
        assert_eq!(operator.run(CUT_OFF), ["t", "t"]);
        assert_eq!(node.logout(&session).await, "200");
        assert_eq!(operator.run(CUT_OFF), ["t", "t"]);
    }
    node.login("alice").await;
}
