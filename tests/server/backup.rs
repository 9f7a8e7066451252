//! `sealjar store backup`: a copy of the database while a server uses it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use sqlx::Row;

use crate::database;
use crate::harness::{Home, Server, client, text, wait_until};

/// Returns the names of the files in the home, except those of the database, the keys and the disk fault.
fn other_files(home: &Home) -> Vec<String> {
    let files = fs::read_dir(home.path(".")).expect("reads").map(|entry| entry.expect("reads").file_name());
    let mut names: Vec<String> = files.map(|name| name.into_string().expect("text")).collect();
    names.retain(|name| !name.starts_with("sealjar.db") && !["keys", "disk-fault"].contains(&name.as_str()));
    names.sort();
    names
}

/// Logs in and out until `stop` is set. Returns the number of logouts.
async fn log_in_and_out(
    url: String,
    body: serde_json::Value,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> usize {
    let mut count = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let login = client().post(format!("{url}/auth/login")).json(&body).send().await.expect("a response");
        assert_eq!(login.status(), 200);
        let cookie =
            login.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let logout = client().post(format!("{url}/auth/logout")).header("cookie", cookie).send().await;
        assert_eq!(logout.expect("a response").status(), 200, "a logout does not wait for the backup");
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_contains_every_earlier_logout() {
    let home = Home::new();
    database::insert_revocations(&home, 20_000).await;
    let server = home.start();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let body = Server::login_body("alice", crate::harness::PASSWORD);
    let clients: Vec<_> =
        (0..2).map(|_| tokio::spawn(log_in_and_out(server.url(""), body.clone(), stop.clone()))).collect();
    let mut rows = Vec::new();
    for number in 0..3 {
        // This logout is durable before the copy begins.
        let session = server.login("alice").await;
        let sid = server.get("/auth/status", &session.cookie()).await.json()["sid"].as_str().expect("a sid").to_owned();
        assert_eq!(server.logout(&session).await, "200");
        let name = format!("copy{number}.db");
        home.run_ok(&["store", "backup", &name]);
        assert_eq!(fs::metadata(home.path(&name)).expect("the copy exists").permissions().mode() & 0o777, 0o600);
        let mut copy = database::open(&home, &name).await;
        let integrity: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut copy).await.expect("reads");
        assert_eq!(integrity, "ok");
        let query = sqlx::query("SELECT count(*), coalesce(sum(hex(sid) = upper(?)), 0) FROM revocation").bind(sid);
        let row = query.fetch_one(&mut copy).await.expect("reads");
        assert_eq!(row.get::<i64, _>(1), 1, "the copy has the logout");
        rows.push(row.get::<i64, _>(0));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut logouts = 0;
    for client in clients {
        logouts += client.await.expect("every logout succeeded");
    }
    println!("rows {rows:?}, {logouts} logouts during the backups");
    assert!(rows.is_sorted() && rows[0] > 20_000 && rows[2] > rows[0], "{rows:?}");
    assert_eq!(other_files(&home), ["copy0.db", "copy1.db", "copy2.db"], "no other files are left");
}

#[tokio::test]
async fn a_backup_is_served_only_after_store_restored() {
    let home = Home::new();
    let server = home.start();
    let ended = server.login("alice").await;
    home.run_ok(&["store", "backup", "copy.db"]);
    assert_eq!(server.logout(&ended).await, "200", "this logout is not in the copy");
    server.kill();
    let store = ["--store", "sqlite://copy.db"];
    for command in
        [&["serve"][..], &["users", "list"], &["migrate", "--from", "sqlite://copy.db", "--to", "sqlite://x.db"]]
    {
        let refused = home.run(&[command, &store].concat());
        let message = text(&refused.stderr);
        assert!(!refused.status.success() && message.contains("is a backup of 20"), "{command:?}: {message}");
        assert!(message.contains("sealjar store restored"), "{command:?}: {message}");
    }
    home.run_ok(&["store", "backup", "copy-of-copy.db", "--store", "sqlite://copy.db"]);
    let again = home.run(&["users", "list", "--store", "sqlite://copy-of-copy.db"]);
    assert!(text(&again.stderr).contains("is a backup of"), "a copy of a backup is a backup, too");
    home.run_ok(&["store", "restored", "--store", "sqlite://copy.db"]);
    let server = home.start_with(&store, &[]);
    assert_eq!(server.status(&ended).await, "401 revoked");
    assert_eq!(server.status(&server.login("alice").await).await, "200");
}

#[test]
fn a_failed_backup_leaves_no_files() {
    let home = Home::new();
    fs::write(home.path("there.db"), "precious").expect("writes");
    std::os::unix::fs::symlink("nowhere", home.path("link.db")).expect("links");
    fs::write(home.path("old.db-wal"), "the log of another database").expect("writes");
    std::os::unix::fs::symlink("nowhere", home.path("linked.db-journal")).expect("links");
    for (arguments, code, error) in [
        (&["there.db"][..], 1, "there.db exists already"),
        (&["link.db"], 1, "link.db exists already"),
        (&["old.db"], 1, "old.db-wal exists, and SQLite would read"),
        (&["linked.db"], 1, "linked.db-journal exists"),
        (&["./sealjar.db-journal"], 1, "is the name of a file that SQLite creates"),
        (&["nowhere/copy.db"], 74, "cannot write nowhere/copy.db"),
        (&["copy.db", "--store", "sqlite://absent.db"], 74, "there is no database at absent.db"),
        (&["copy.db", "--store", "sqlite://there.db"], 74, "there.db is not an SQLite database"),
        (&["copy.db", "--store", "postgres://alice@db.example.com/sealjar"], 1, "pg_dump"),
    ] {
        let output = home.run(&[&["store", "backup"], arguments].concat());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(error) && message.contains("hint: "), "{arguments:?}: {message}");
    }
    home.set_disk("full");
    let mut command = home.command(&["store", "backup", "copy.db"]);
    command.env("LD_PRELOAD", Home::disk_fault_library()).env("DISK_FAULT", home.path("disk-fault"));
    let output = command.output().expect("the binary runs");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{message}");
    assert!(message.contains("cannot write copy.db") && message.contains("no storage space"), "{message}");
    assert_eq!(other_files(&home), ["link.db", "linked.db-journal", "old.db-wal", "there.db"]);
    assert_eq!(fs::read(home.path("there.db")).expect("reads"), b"precious");
}

#[test]
fn an_interrupted_backup_leaves_no_files() {
    let home = Home::new();
    home.set_disk("hang");
    let mut command = home.command(&["store", "backup", "copy.db"]);
    command.env("LD_PRELOAD", Home::disk_fault_library()).env("DISK_FAULT", home.path("disk-fault"));
    let child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
    wait_until("the copy is being written", || other_files(&home).iter().any(|name| name.ends_with(".partial")));
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let output = child.wait_with_output().expect("the process exits");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("interrupted"), "{}", text(&output.stderr));
    assert!(other_files(&home).is_empty(), "{:?}", other_files(&home));
}
