//! Test of a database that was migrated by a newer version of Sealjar. Older servers run and start with its tables, unless the
//! column `needs` of the table `state` requires the newer version.

use crate::database;
use crate::harness::{Home, Server, text};

/// Exit code of a command that could not use the database.
const EXIT_CODE_IO: i32 = 74;

#[tokio::test]
async fn an_older_server_runs_on_newer_tables_until_they_forbid_it() {
    let home = Home::new();
    let server = home.start();
    // The connections of the server to the database stay open, and cache the structure of the tables before the change.
    log_in_and_out(&server).await;
    let mut connection = database::open(&home, "sealjar.db").await;
    // Add the changes of a newer version: an entry in sqlx's table of migrations, and columns that this version does not have.
    for statement in [
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1000, 'of a newer version', TRUE, x'00', 0)",
        "ALTER TABLE account ADD COLUMN added_by_newer_version TEXT",
        "ALTER TABLE state ADD COLUMN added_by_newer_version TEXT",
        "ALTER TABLE revocation ADD COLUMN added_by_newer_version TEXT",
    ] {
        database::run(&mut connection, statement).await;
    }
    // Both the running server and a new one work with the changed tables.
    for server in [&server, &home.start()] {
        log_in_and_out(server).await;
    }
    let session = server.login("alice").await;
    // The tables require the newer version: the running server cannot commit, and another server does not start.
    database::run(&mut connection, "UPDATE state SET needs = 1000").await;
    assert_eq!(server.logout(&session).await, "503 not-durable");
    let output = home.run(&["serve"]);
    let stderr = text(&output.stderr);
    assert!(output.status.code() == Some(EXIT_CODE_IO) && stderr.contains("need a newer Sealjar"), "{stderr}");
    assert!(stderr.contains("start the newer version"), "{stderr}");
}

/// Logs in, checks the session, and logs out. Every step must succeed.
async fn log_in_and_out(server: &Server<'_>) {
    let session = server.login("alice").await;
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.logout(&session).await, "200");
}
