//! Restoring of a backup while nodes are running. `sealjar store restored` ends the sessions that the backup made valid
//! again.

use crate::nodes::{self, ROLLED_BACK, until_all};
use crate::postgres::Postgres;

#[tokio::test]
async fn store_restored_ends_the_sessions_that_a_backup_revived() {
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    home.add_user("bob");
    let mut nodes = Vec::from(nodes::start_three(&home, &[]));
    let live = nodes[0].login("alice").await;
    let ended = nodes[1].login("alice").await;
    let bobs = nodes[2].login("bob").await;
    let backup = database.dump();
    assert_eq!(nodes[1].logout(&ended).await, "200");
    home.run_ok(&["revoke", "--user", "bob"]);
    until_all(&nodes, &bobs, "401 revoked").await;
    let bobs_next = nodes[2].login("bob").await;
    home.run_ok(&["revoke", "--everyone"]);
    until_all(&nodes, &bobs_next, "401 revoked").await;
    let last = nodes[0].login("alice").await;

    database.restore(&backup);
    nodes.push(home.start());
    for session in [&live, &ended, &bobs] {
        nodes[3].until_status(session, "200").await;
    }
    for node in &mut nodes[..3] {
        node.wait_for("the store was rolled back");
    }
    assert_eq!(nodes[3].metric(ROLLED_BACK).await, 0.0, "this node has found no evidence yet");
    assert_eq!(nodes[3].status(&last).await, "200");
    nodes[3].wait_for("the store was rolled back");
    home.run_ok(&["store", "restored"]);
    for session in [&live, &ended, &bobs, &bobs_next, &last] {
        until_all(&nodes, session, "401 revoked").await;
    }
    for node in &nodes {
        assert_eq!(node.metric(ROLLED_BACK).await, 0.0);
    }
    // Three of the nodes still refuse the earlier sessions, including those of bob's account.
    for login in ["alice", "bob"] {
        for node in &nodes {
            until_all(&nodes, &node.login(login).await, "200").await;
        }
    }
    let session = nodes[0].login("bob").await;
    assert_eq!(nodes[1].logout(&session).await, "200");
    until_all(&nodes, &session, "401 revoked").await;
}
