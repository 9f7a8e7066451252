//! Commands that change accounts or end sessions while a server runs.

use crate::harness::{Home, PASSWORD, Response, Server, Session, client, text};

async fn login_verdict(server: &Server<'_>, login: &str, password: &str) -> String {
    let body = Server::login_body(login, password);
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("a response");
    Response::of(response).await.verdict()
}

#[tokio::test]
async fn a_server_follows_every_change_that_ends_sessions() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let bob = server.login("bob").await;
    let changes: [(&[&str], &str); 6] = [
        (&["users", "passwd", "alice"], "correct horse battery\n"),
        (&["users", "roles", "alice", "admin", "staff"], ""),
        (&["users", "disable", "alice"], ""),
        (&["revoke", "--user", "ALICE"], ""),
        (&["users", "roles", "alice"], ""),
        (&["users", "delete", "alice"], ""),
    ];
    let mut ended = Vec::new();
    for (change, input) in changes {
        let session = server.login("alice").await;
        let output = home.run_with_input(change, input);
        assert!(output.status.success(), "{change:?}: {}", text(&output.stderr));
        println!("{change:?} followed after {:?}", server.until_status(&session, "401 revoked").await);
        assert_eq!(server.status(&bob).await, "200", "{change:?}");
        if change[1] == "disable" {
            assert_eq!(login_verdict(&server, "alice", PASSWORD).await, "401 credentials");
            home.run_ok(&["users", "enable", "alice"]);
        }
        ended.push(session);
    }
    assert_eq!(login_verdict(&server, "alice", PASSWORD).await, "401 credentials");
    home.add_user("alice");
    assert_eq!(server.status(&server.login("alice").await).await, "200", "a recreated account is another account");
    for session in ended {
        assert_eq!(server.status(&session).await, "401 revoked", "a session of the deleted account");
    }
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one() {
    let home = Home::new();
    let server = home.start();
    assert!(home.run_with_input(&["users", "passwd", "alice"], "another password\r\n").status.success());
    assert_eq!(login_verdict(&server, "alice", PASSWORD).await, "401 credentials");
    assert_eq!(login_verdict(&server, "alice", "another password").await, "200");
}

#[tokio::test]
async fn revoke_ends_one_or_every_session_but_no_later_ones() {
    let home = Home::new();
    let server = home.start();
    let first = server.login("alice").await;
    let second = server.login("alice").await;
    let sid = server.get("/auth/status", &first.cookie()).await.json()["sid"].as_str().expect("a sid").to_owned();
    home.run_ok(&["revoke", "--session", &sid]);
    server.until_status(&first, "401 revoked").await;
    assert_eq!(server.status(&second).await, "200");
    home.run_ok(&["revoke", "--everyone"]);
    server.until_status(&second, "401 revoked").await;
    let third = server.login("alice").await;
    assert_eq!(server.status(&third).await, "200");
    server.kill();
    let server = home.start();
    for (session, verdict) in [(first, "401 revoked"), (second, "401 revoked"), (third, "200")] {
        assert_eq!(server.status(&session).await, verdict, "after a restart");
    }
}

#[tokio::test]
async fn a_database_that_was_lost_and_recreated_revives_no_session() {
    let home = Home::new();
    let server = home.start();
    let ended = server.login("alice").await;
    let live = server.login("alice").await;
    assert_eq!(server.logout(&ended).await, "200");
    server.kill();
    for file in ["sealjar.db", "sealjar.db-wal", "sealjar.db-shm"] {
        let _ = std::fs::remove_file(home.path(file));
    }
    let refused = home.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(74), "a server never creates a database");
    home.add_user("alice");
    let server = home.start();
    for session in [&ended, &live] {
        assert_eq!(server.status(session).await, "401 revoked");
    }
}

#[tokio::test]
async fn inspect_shows_the_claims_and_the_reason_of_a_refusal() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let output = home.run_with_input(&["inspect"], &format!("{}\n", session.cookie()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let view: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&view["login_name"], &view["accepted"]), (&"alice".into(), &true.into()));
    assert_eq!(server.logout(&session).await, "200");
    let output = home.run_with_input(&["inspect"], &session.0);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("revoked"));
    let changed_character = if &session.0[60..61] == "A" { "B" } else { "A" };
    let flipped = format!("{}{changed_character}{}", &session.0[..60], &session.0[61..]);
    for (input, reason) in [(flipped.as_str(), "invalid (changed"), ("garbage", "invalid"), ("", "invalid")] {
        let output = home.run_with_input(&["inspect"], input);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(reason), "{input}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn only_the_owner_can_read_the_database_and_the_keys() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let server = home.start();
    server.login("alice").await;
    let mode = |name: &str| std::fs::metadata(home.path(name)).expect("the file exists").permissions().mode() & 0o777;
    assert_eq!((mode("sealjar.db"), mode("sealjar.db-wal"), mode("keys")), (0o600, 0o600, 0o700));
    assert_eq!(mode(&format!("keys/{}.key", home.keys()[0]["kid"].as_str().expect("text"))), 0o600);
}

#[tokio::test]
async fn the_next_login_rehashes_a_password_at_a_raised_cost() {
    let home = Home::new();
    let stored = || {
        let database = std::fs::read(home.path("sealjar.db")).expect("reads");
        let log = std::fs::read(home.path("sealjar.db-wal")).unwrap_or_default();
        text(&[database, log].concat())
    };
    let server = home.start_with(&["--set", "password.memory_kib=8192"], &[]);
    assert!(!stored().contains("m=8192"));
    let body = Server::login_body("alice", PASSWORD);
    let logins: Vec<_> =
        (0..6).map(|_| tokio::spawn(client().post(server.url("/auth/login")).json(&body).send())).collect();
    for login in logins {
        let response = login.await.expect("the task finishes").expect("a response");
        let session = Session::of(response.headers())
            .expect("accepted, although another login may have replaced the hash in the meantime");
        assert_eq!(server.status(&session).await, "200", "a new hash of the same password ends no session");
    }
    assert!(stored().contains("$argon2id$v=19$m=8192,t=1,p=1$"));
    assert_eq!(server.status(&server.login("alice").await).await, "200");
}

#[test]
fn calibrate_prints_settings_that_a_server_accepts() {
    let home = Home::new();
    let output = home.run(&["users", "calibrate", "--target", "60ms", "--max-memory-kib", "30000"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    std::fs::write(home.path("sealjar.toml"), &output.stdout).expect("writes");
    let mut config = std::process::Command::new(env!("CARGO_BIN_EXE_sealjar"));
    config.current_dir(home.path("")).args(["--config", "sealjar.toml", "config"]);
    let settings = text(&config.output().expect("the binary runs").stdout);
    let setting = |name: &str| -> u64 {
        let line = settings.lines().find_map(|line| line.strip_prefix(&format!("password.{name} = ")));
        let line = line.unwrap_or_else(|| panic!("{settings}"));
        assert!(line.contains("sealjar.toml"), "{line}");
        line.split(' ').next().expect("a value").parse().expect("a number")
    };
    let memory_kib = setting("memory_kib");
    let passes = setting("passes");
    assert!((19_456..=30_000).contains(&memory_kib) && passes >= 2, "{settings}");
    assert!(text(&output.stderr).contains("logins per second"));
}
