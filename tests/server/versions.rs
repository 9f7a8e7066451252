//! The tables are those of a newer version: what runs and what is started goes on with them, until they say that it must not.

use crate::database;
use crate::harness::{Home, Server, text};

#[tokio::test]
async fn an_older_server_runs_on_newer_tables_until_they_forbid_it() {
    let home = Home::new();
    let server = home.start();
    // By connections that are kept, and know the tables as they are now.
    signs_in_and_out(&server).await;
    let mut tables = database::open(&home, "sealjar.db").await;
    for statement in [
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1000, 'of a newer version', TRUE, x'00', 0)",
        "ALTER TABLE account ADD COLUMN hue TEXT",
        "ALTER TABLE state ADD COLUMN hue TEXT",
        "ALTER TABLE revocation ADD COLUMN hue TEXT",
    ] {
        database::run(&mut tables, statement).await;
    }
    for server in [&server, &home.start()] {
        signs_in_and_out(server).await;
    }
    let session = server.login("alice").await;
    database::run(&mut tables, "UPDATE state SET needs = 1000").await;
    assert_eq!(server.logout(&session).await, "503 not-durable");
    let output = home.run(&["serve"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(74) && said.contains("need a newer Sealjar"), "{said}");
    assert!(said.contains("start the newer version"), "{said}");
}

async fn signs_in_and_out(server: &Server<'_>) {
    let session = server.login("alice").await;
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.logout(&session).await, "200");
}
