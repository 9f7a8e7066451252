//! A newer version has brought the tables up to date, while older ones run: they go on, and can be started, until the tables say
//! that they must not.

use crate::harness::{Server, text};
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;

#[tokio::test]
async fn older_nodes_go_on_until_the_tables_need_newer_ones() {
    let database = Postgres::start();
    let home = nodes::home(&database, &["revocation.max_staleness=4s"]);
    home.add_user("bob");
    let mut nodes = vec![home.start(), home.start()];
    // By connections that are kept, and know the tables as they are now.
    signs_in_and_out(&nodes).await;
    database.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1000, 'of a newer version', TRUE, '\\x00', 0);
         ALTER TABLE account ADD COLUMN hue TEXT; ALTER TABLE state ADD COLUMN hue TEXT;
         ALTER TABLE revocation ADD COLUMN hue TEXT; CREATE TABLE hue (name TEXT)",
    );
    nodes.push(home.start());
    signs_in_and_out(&nodes).await;

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
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(74) && said.contains("start the newer version"), "{said}");
    }
    database.sql(&format!("UPDATE state SET needs = {needed}"));
    // The node of the sign-out says the first before it follows again.
    until_all(&nodes, &session, "401 revoked").await;
    until_all(&nodes, &another, "200").await;
    signs_in_and_out(&nodes).await;
}

async fn signs_in_and_out(nodes: &[Server<'_>]) {
    for node in nodes {
        let session = node.login("bob").await;
        until_all(nodes, &session, "200").await;
        assert_eq!(nodes[0].logout(&session).await, "200");
        until_all(nodes, &session, "401 revoked").await;
    }
}
