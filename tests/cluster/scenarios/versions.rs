//! Migration of the tables by a newer version while older versions run. Older versions continue to work and can be started,
//! until the tables need a newer version.

use crate::harness::{Server, text};
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;

#[tokio::test]
async fn older_nodes_work_until_the_tables_need_a_newer_version() {
    let database = Postgres::start();
    let home = nodes::home(&database, &["revocation.max_staleness=4s"]);
    home.add_user("bob");
    let mut nodes = vec![home.start(), home.start()];
    // These connections stay open and have prepared statements for the current tables.
    log_in_and_out(&nodes).await;
    database.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1000, 'of a newer version', TRUE, '\\x00', 0);
         ALTER TABLE account ADD COLUMN hue TEXT; ALTER TABLE state ADD COLUMN hue TEXT;
         ALTER TABLE revocation ADD COLUMN hue TEXT; CREATE TABLE hue (name TEXT)",
    );
    nodes.push(home.start());
    log_in_and_out(&nodes).await;

    let session = nodes[0].login("bob").await;
    let another = nodes[0].login("bob").await;
    let needed = database.sql("SELECT needs FROM state");
    database.sql("UPDATE state SET needs = 1000");
    until_all(&nodes, &session, "503 stale").await;
    assert_eq!(nodes[0].logout(&session).await, "503 not-durable");
    for node in &mut nodes {
        let complaint = node.wait_for("cannot read the revocation log");
        assert!(complaint["error"].as_str().is_some_and(|error| error.contains("a newer Sealjar")), "{complaint}");
    }
    for command in ["serve", "users list", "store restored"] {
        let output = home.run(&command.split(' ').collect::<Vec<_>>());
        let stderr = text(&output.stderr);
        assert!(output.status.code() == Some(74) && stderr.contains("start the newer version"), "{stderr}");
    }
    database.sql(&format!("UPDATE state SET needs = {needed}"));
    // The node of the logout refuses the session from its own pending entry, before it reads the log again.
    until_all(&nodes, &session, "401 revoked").await;
    until_all(&nodes, &another, "200").await;
    log_in_and_out(&nodes).await;
}

async fn log_in_and_out(nodes: &[Server<'_>]) {
    for node in nodes {
        let session = node.login("bob").await;
        until_all(nodes, &session, "200").await;
        assert_eq!(nodes[0].logout(&session).await, "200");
        until_all(nodes, &session, "401 revoked").await;
    }
}
