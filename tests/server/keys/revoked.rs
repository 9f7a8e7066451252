//! Revocation of keys. Every node that follows the store refuses a revoked key, regardless of its own key files.
//!
//! `keys revoke` names the nodes that may still open tokens with the key. A logout fails while such a node still accepts the
//! session.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;

use super::nodes::{start, wait_for_status};
use super::{active, copy_keys, deliver, kid_of, login_sealed_with, rotate_at_once};
use crate::database;
use crate::harness::{Home, PASSWORD, Response, Server, Session, client, text};

/// Flags for a store that does not exist, so that a key is revoked in the key files only.
const FILES_ONLY: [&str; 2] = ["--store", "sqlite://elsewhere.db"];

fn revoke(home: &Home, kid: &str) -> Output {
    home.run(&["keys", "revoke", kid, "--replace"])
}

fn assert_revoked(output: &Output, message: &str) {
    assert!(output.status.success() && text(&output.stderr).contains(message), "{}", text(&output.stderr));
}

/// Asserts that the command could not confirm the revocation on every node.
fn assert_unconfirmed(output: &Output, message: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(message) && stderr.contains("hint: "), "{stderr}");
}

async fn login_verdict(server: &Server<'_>) -> String {
    let body = Server::login_body("alice", PASSWORD);
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("a response");
    Response::of(response).await.verdict()
}

#[tokio::test]
async fn a_node_whose_key_files_never_change_refuses_a_revoked_key() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let one = start(&home, "one", "keys");
    let mut other = start(&home, "other", &other_keys);
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    let kid = active(&home.keys());
    let session = other.login("alice").await;

    let output = revoke(&home, &kid);
    // The nodes read the revocation from the store only, and each node has reported since then.
    assert_revoked(&output, "2 of 2 nodes refuse the key: every session sealed with it has ended");
    let message = "these nodes have no key to seal with, so no user can log in there: other; copy the key files to them, then check with: sealjar keys status";
    assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    let replacement = text(&output.stdout).trim().to_owned();
    for node in [&one, &other] {
        assert_eq!(node.status(&session).await, "401 invalid");
    }
    assert_eq!(login_verdict(&other).await, "503 no-active-key", "the node has no other key to seal with");
    let event = other.event("revocation");
    assert_eq!((&event["kind"], &event["kid"]), (&Value::from("key"), &Value::from(&*kid)));
    assert_eq!(other.event("key-revoked")["kid"], *kid);
    let (nodes, stderr) = wait_for_status(&home, |_, nodes, _| nodes.len() == 2);
    assert!(stderr.contains(&format!("other lacks {replacement}")) && !stderr.contains("still opens"), "{stderr}");
    assert_eq!(nodes[1]["kids"], serde_json::json!([]));

    // The key stays refused after a restart with the same files, and after other files have changed.
    drop(other);
    let other = start(&home, "other", &other_keys);
    assert_eq!(other.status(&session).await, "401 invalid");
    deliver(&home, &replacement, &other_keys);
    let fresh = login_sealed_with(&one, &replacement).await;
    assert_eq!(other.status(&fresh).await, "200");
    assert_eq!(other.status(&session).await, "401 invalid");
    assert_eq!(kid_of(&other.login("alice").await), replacement);
}

#[test]
fn revoking_a_key_names_newer_keys_that_may_be_stolen_too() {
    let home = Home::new();
    let first = active(&home.keys());
    let second = home.run_ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
    for _ in 0..2 {
        let output = home.run(&["keys", "revoke", &first, "--replace"]);
        assert_revoked(&output, &format!("if it was stolen, revoke these keys as well: {second}\n"));
    }
}

#[tokio::test]
async fn the_previous_key_seals_again_if_the_newer_one_is_refused() {
    let home = Home::new();
    let first = active(&home.keys());
    let second = rotate_at_once(&home);
    let other_keys = copy_keys(&home);
    let other = start(&home, "other", &other_keys);
    assert_eq!(kid_of(&other.login("alice").await), second);
    let output = home.run(&["keys", "revoke", &second]);
    assert_revoked(&output, "1 of 1 nodes refuse the key");
    // The key was active from its creation until now, so none of its sessions was renewed with another key.
    assert!(!text(&output.stderr).contains("remain valid"), "{}", text(&output.stderr));
    assert_eq!(kid_of(&other.login("alice").await), first);
}

#[tokio::test]
async fn a_paused_node_is_named_and_refuses_the_key_when_it_resumes() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let _one = start(&home, "one", "keys");
    let other = start(&home, "other", &other_keys);
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    let kid = active(&home.keys());
    let session = other.login("alice").await;
    other.signal("STOP");
    assert_unconfirmed(&revoke(&home, &kid), "1 of 2 refuse it; no report since it was revoked: other (last report ");
    assert!(home.keys().iter().any(|key| key["kid"] == *kid && key["state"] == "revoked"));
    other.signal("CONT");
    other.until_status(&session, "401 invalid").await;
    assert_revoked(&revoke(&home, &kid), "2 of 2 nodes refuse the key");
}

#[tokio::test]
async fn a_killed_node_is_named_until_silent_for_five_minutes() {
    let home = Home::new();
    let _one = start(&home, "one", "keys");
    let killed = start(&home, "killed", "keys");
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    killed.kill();
    let kid = active(&home.keys());
    assert_unconfirmed(&revoke(&home, &kid), "1 of 2 refuse it; no report since it was revoked: killed (last report ");
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "UPDATE node SET reported_at = reported_at - 300000 WHERE name = 'killed'").await;
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
}

/// A node with a longer `max_staleness`, or with `when_stale=allow`, may still serve with its old revocation
/// list. The command can read these settings only from the node's report.
#[tokio::test]
async fn a_killed_node_with_a_longer_staleness_counts_for_longer() {
    let home = Home::new();
    let _one = start(&home, "one", "keys");
    let tolerant = ["--set", "node.name=tolerant", "--set", "revocation.max_staleness=10m"];
    let open = ["--set", "node.name=open", "--set", "revocation.when_stale=allow"];
    let tolerant = home.start_with(&tolerant, &[]);
    let open = home.start_with(&open, &[]);
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 3);
    tolerant.kill();
    open.kill();
    let kid = active(&home.keys());
    let mut tables = database::open(&home, "sealjar.db").await;
    let age_reports = async |tables: &mut _, secs: u32| {
        let statement = format!("UPDATE node SET reported_at = reported_at - {secs}000 WHERE name <> 'one'");
        database::run(tables, &statement).await;
    };
    age_reports(&mut tables, 400).await;
    let output = revoke(&home, &kid);
    assert_unconfirmed(&output, "1 of 3 refuse it; no report since it was revoked: open (last report ");
    assert!(text(&output.stderr).contains(", tolerant (last report "), "{}", text(&output.stderr));
    age_reports(&mut tables, 86_000).await;
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
}

#[tokio::test]
async fn a_node_that_still_opens_with_the_key_is_named() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let _other = start(&home, "other", &other_keys);
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    let kid = active(&home.keys());
    // The trigger simulates a node of an older version, which reports but ignores revoked keys.
    let mut tables = database::open(&home, "sealjar.db").await;
    let trigger = format!(
        "CREATE TRIGGER old AFTER UPDATE ON node WHEN new.kids = ''
         BEGIN UPDATE node SET kids = '{kid}', active = '{kid}' WHERE id = new.id; END"
    );
    database::run(&mut tables, &trigger).await;
    assert_unconfirmed(&revoke(&home, &kid), "0 of 1 refuse it; still opening with it: other (reported ");
}

#[tokio::test]
async fn a_revocation_without_a_store_changes_the_files_and_fails() {
    let home = Home::new();
    let kid = active(&home.keys());
    let output = home.run(&[&["keys", "revoke", &kid, "--replace"][..], &FILES_ONLY[..]].concat());
    assert_unconfirmed(&output, &format!("{kid} is revoked only in keys: there is no store at sqlite://elsewhere.db"));
    assert!(!home.path("elsewhere.db").exists());
    assert!(home.keys().iter().any(|key| key["kid"] == *kid && key["state"] == "revoked"));
}

#[tokio::test]
async fn a_revocation_that_the_store_rejects_can_be_repeated() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let other = start(&home, "other", &other_keys);
    let session = other.login("alice").await;
    let kid = active(&home.keys());
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "CREATE TRIGGER full BEFORE INSERT ON revocation BEGIN SELECT RAISE(FAIL, 'full'); END")
        .await;
    let output = revoke(&home, &kid);
    assert_unconfirmed(&output, &format!("{kid} is revoked in keys, but not in the store: "));
    assert_eq!(active(&home.keys()), text(&output.stdout).trim());
    assert_eq!(other.status(&session).await, "200");
    database::run(&mut tables, "DROP TRIGGER full").await;
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
    assert_eq!(other.status(&session).await, "401 invalid");
}

/// If the replacement sealed earlier, sessions of the revoked key could be renewed with the replacement, and would stay valid.
#[tokio::test]
async fn a_replacement_does_not_seal_before_the_store_has_the_entry() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    let kid = active(&home.keys());
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "BEGIN IMMEDIATE").await;
    let mut revoke = home.command(&["keys", "revoke", &kid, "--replace"]).spawn().expect("the binary runs");
    server.event("key-published");
    assert_eq!(active(&home.keys()), kid);
    assert_eq!(kid_of(&server.login("alice").await), kid);
    database::run(&mut tables, "ROLLBACK").await;
    assert!(revoke.wait().expect("the process exits").success());
    assert_eq!(server.status(&session).await, "401 invalid");
    assert_ne!(kid_of(&server.login("alice").await), kid);
}

#[tokio::test]
async fn an_inaccessible_store_is_not_treated_as_a_missing_one() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let kid = active(&home.keys());
    let second = rotate_at_once(&home);
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    // A path below a regular file fails even for root, like a directory without permission. The database is moved away while the
    // server has it open.
    fs::write(home.path("file"), "").expect("writes");
    fs::rename(home.path("sealjar.db"), home.path("moved.db")).expect("renames");
    for (store, message) in [("file/s.db", "Not a directory"), ("sealjar.db", "but its log")] {
        let output = home.run(&["keys", "revoke", &kid, "--store", &format!("sqlite://{store}")]);
        assert_unconfirmed(&output, message);
        assert!(text(&output.stderr).contains(&format!("{kid} is revoked in keys, but not in the store")));
    }
    fs::rename(home.path("moved.db"), home.path("sealjar.db")).expect("renames");
    assert_revoked(&home.run(&["keys", "revoke", &kid]), "1 of 1 nodes refuse the key");
    assert_eq!(server.status(&session).await, "401 invalid");
    assert_eq!(active(&home.keys()), second);
}

/// If the logout succeeded, a copy of the session would stay valid on the node that still opens tokens with the key.
#[tokio::test]
async fn a_logout_fails_while_a_node_still_opens_the_revoked_key() {
    let home = Home::new();
    let other_keys = copy_keys(&home);
    let one = start(&home, "one", "keys");
    let other = start(&home, "other", &other_keys);
    let kid = active(&home.keys());
    let session = other.login("alice").await;
    assert_unconfirmed(
        &home.run(&[&["keys", "revoke", &kid, "--replace"][..], &FILES_ONLY[..]].concat()),
        "is revoked only in",
    );
    one.until_status(&session, "401 invalid").await;
    wait_for_status(&home, |_, nodes, _| nodes.len() == 2 && nodes[0]["active"] != *kid && nodes[1]["active"] == *kid);
    for path in ["/auth/logout", "/auth/logout/all"] {
        let response = one.post(path, &session.cookie()).await;
        assert_eq!((response.verdict().as_str(), response.session), ("503 key-elsewhere", None), "{path}");
    }
    assert_eq!(other.status(&session).await, "200");
    // A login does not confirm the end of the old session, so it does not wait for the other node.
    let body = Server::login_body("alice", PASSWORD);
    let request = client().post(one.url("/auth/login")).header("cookie", session.cookie()).json(&body);
    assert_eq!(Response::of(request.send().await.expect("a response")).await.verdict(), "200");

    assert_revoked(&revoke(&home, &kid), "2 of 2 nodes refuse the key");
    let repeated = revoke(&home, &kid);
    assert_revoked(&repeated, "2 of 2 nodes refuse the key");
    assert!(text(&repeated.stderr).contains(&format!("{kid} was revoked in keys before")));
    let mut tables = database::open(&home, "sealjar.db").await;
    let query = sqlx::query_scalar("SELECT count(*) FROM revocation WHERE kid IS NOT NULL");
    assert_eq!(query.fetch_one(&mut tables).await.ok(), Some(1), "repeated revocations write one entry");
    for node in [&one, &other] {
        assert_eq!(node.logout(&session).await, "200", "no node opens the token");
    }
}

#[tokio::test]
async fn a_logout_does_not_wait_for_a_node_killed_long_ago() {
    let home = Home::new();
    let one = start(&home, "one", "keys");
    let killed = start(&home, "killed", "keys");
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    killed.kill();
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "UPDATE node SET reported_at = reported_at - 301000 WHERE name = 'killed'").await;
    let session = one.login("alice").await;
    let kid = active(&home.keys());
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
    assert_eq!(one.logout(&session).await, "200");
}

/// The key files that the command writes belong to root, and the server cannot read them.
#[tokio::test]
async fn a_key_revoked_by_root_is_refused_by_a_server_of_another_user() {
    let home = Home::new();
    let id = Command::new("id").arg("-u").output().expect("id runs");
    if text(&id.stdout).trim() != "0" {
        println!("skipped: only root can start a server of another user");
        return;
    }
    let program = home.path("program");
    fs::copy(env!("CARGO_BIN_EXE_sealjar"), &program).expect("copies");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(home.path(".")).status();
    assert!(chown.expect("chown runs").success());
    let unprivileged = |serve: &Command| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
        command.args(serve.get_args()).current_dir(home.path("."));
        command
    };
    let server = home.start_through(unprivileged, &[]);
    let session: Session = server.login("alice").await;
    let kid = active(&home.keys());
    // Make the key file belong to root, as if root had copied it from elsewhere.
    fs::create_dir(home.path("copies")).expect("creates the directory");
    deliver(&home, &kid, "copies");
    let key = home.path(&format!("copies/{kid}.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("our own file");
    fs::rename(&key, home.path(&format!("keys/{kid}.key"))).expect("renames");
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
    assert_eq!(server.status(&session).await, "401 invalid");
    assert_ne!(login_verdict(&server).await, "401 credentials");
}

/// The key files of a server without the replacement still show the revoked key as active, but no login is possible there.
#[tokio::test]
async fn a_key_revoked_only_in_the_store_is_not_reported_as_active() {
    let home = Home::new();
    let _server = start(&home, "one", "keys");
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    let kid = active(&home.keys());
    let other_keys = copy_keys(&home);
    let output = home.run(&["keys", "revoke", &kid, "--replace", "--keys", &other_keys]);
    assert_revoked(&output, "these nodes have no key to seal with, so no user can log in there: one");
    assert_eq!(active(&home.keys()), kid, "the key is still active in the files of this server");
    let (_, stderr) = wait_for_status(&home, |code, _, _| code == Some(1));
    assert!(stderr.contains("no key here can seal") && stderr.contains("hint: create one with"), "{stderr}");
    let report = text(&home.run(&["doctor"]).stdout);
    let finding = format!("problem  store.nodes             the store refuses {kid}, so no key is active");
    let with_single_spaces = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(with_single_spaces(&report).contains(&with_single_spaces(&finding)), "{report}");
}

#[tokio::test]
async fn a_key_is_revoked_in_the_store_even_if_its_file_is_unusable() {
    let home = Home::new();
    let server = start(&home, "one", "keys");
    wait_for_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    let kid = active(&home.keys());
    let session = server.login("alice").await;
    let second = rotate_at_once(&home);
    let later = login_sealed_with(&server, &second).await;
    wait_for_status(&home, |code, _, _| code == Some(0));
    home.run_ok(&["keys", "init", "--keys", "other"]);
    // First a directory that does not have the key, then a directory that other users can write.
    let elsewhere = home.run(&["keys", "revoke", &kid, "--replace", "--keys", "other"]);
    assert_eq!(elsewhere.status.code(), Some(1), "{}", text(&elsewhere.stderr));
    assert!(text(&elsewhere.stderr).contains("is revoked in the store, and nodes that follow it refuse it"));
    server.until_status(&session, "401 invalid").await;

    fs::set_permissions(home.path("keys"), fs::Permissions::from_mode(0o777)).expect("changes the mode");
    let open = home.run(&["keys", "revoke", &second, "--replace"]);
    assert_eq!(open.status.code(), Some(74), "{}", text(&open.stderr));
    assert!(text(&open.stderr).contains("is revoked in the store, and nodes that follow it refuse it"));
    server.until_status(&later, "401 invalid").await;
    let unknown = home.run(&["keys", "revoke", "0123456789abcdef", "--keys", "other"]);
    assert!(text(&unknown.stderr).contains("there is no key 0123456789abcdef"), "{}", text(&unknown.stderr));
}
