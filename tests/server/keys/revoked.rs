//! A revoked key is refused by every node of the store, whatever its key files say; the command says which nodes it cannot vouch
//! for; and nobody is told that a session is over which lives on where its key opens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;

use super::nodes::{start, until_status};
use super::{active, copied_keys, deliver, kid_of, rotate_at_once, sealed_with};
use crate::database;
use crate::harness::{Answer, Home, PASSWORD, Server, Session, client, text};

/// A store of another address, where there is none: what is revoked is revoked in the key files and nowhere else.
const FILES_ONLY: [&str; 2] = ["--store", "sqlite://elsewhere.db"];

fn revoke(home: &Home, kid: &str) -> Output {
    home.run(&["keys", "revoke", kid, "--replace"])
}

fn assert_revoked(output: &Output, said: &str) {
    assert!(output.status.success() && text(&output.stderr).contains(said), "{}", text(&output.stderr));
}

fn assert_not_known(output: &Output, said: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(said) && stderr.contains("hint: "), "{stderr}");
}

async fn login(server: &Server<'_>) -> String {
    let body = Server::login_body("alice", PASSWORD);
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("an answer");
    Answer::of(response).await.verdict()
}

#[tokio::test]
async fn a_node_whose_key_files_never_change_refuses_a_revoked_key() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let one = start(&home, "one", "keys");
    let mut other = start(&home, "other", &other_keys);
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    let kid = active(&home.keys());
    let session = other.login("alice").await;

    let output = revoke(&home, &kid);
    // No node was told of anything but by the store, and each has reported since.
    assert_revoked(&output, "2 of 2 nodes refuse the key: every session sealed with it has ended");
    let idle = "these nodes have no key to seal with, so no user can log in there: other; copy the key files to them, then check with: sealjar keys status";
    assert!(text(&output.stderr).contains(idle), "{}", text(&output.stderr));
    let successor = text(&output.stdout).trim().to_owned();
    for node in [&one, &other] {
        assert_eq!(node.status(&session).await, "401 invalid");
    }
    assert_eq!(login(&other).await, "503 no-active-key", "it seals with no other key, having none");
    let event = other.event("revocation");
    assert_eq!((&event["kind"], &event["kid"]), (&Value::from("key"), &Value::from(&*kid)));
    assert_eq!(other.event("key-revoked")["kid"], *kid);
    let (nodes, said) = until_status(&home, |_, nodes, _| nodes.len() == 2);
    assert!(said.contains(&format!("other lacks {successor}")) && !said.contains("still opens"), "{said}");
    assert_eq!(nodes[1]["kids"], serde_json::json!([]));

    // After a restart with the same files, too, and although other files change.
    drop(other);
    let other = start(&home, "other", &other_keys);
    assert_eq!(other.status(&session).await, "401 invalid");
    deliver(&home, &successor, &other_keys);
    let fresh = sealed_with(&one, &successor).await;
    assert_eq!(other.status(&fresh).await, "200");
    assert_eq!(other.status(&session).await, "401 invalid");
    assert_eq!(kid_of(&other.login("alice").await), successor);
}

#[test]
fn a_key_revoked_right_after_another_was_made_names_that() {
    let home = Home::new();
    let first = active(&home.keys());
    let second = home.ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
    for _ in 0..2 {
        let output = home.run(&["keys", "revoke", &first, "--replace"]);
        assert_revoked(&output, &format!("if it was stolen, revoke these keys as well: {second}\n"));
    }
}

#[tokio::test]
async fn the_key_before_seals_again_where_its_successor_is_refused() {
    let home = Home::new();
    let first = active(&home.keys());
    let second = rotate_at_once(&home);
    let other_keys = copied_keys(&home);
    let other = start(&home, "other", &other_keys);
    assert_eq!(kid_of(&other.login("alice").await), second);
    let output = home.run(&["keys", "revoke", &second]);
    assert_revoked(&output, "1 of 1 nodes refuse the key");
    // It sealed from the moment when it was made, so no session of it was renewed under another.
    assert!(!text(&output.stderr).contains("remain valid"), "{}", text(&output.stderr));
    assert_eq!(kid_of(&other.login("alice").await), first);
}

#[tokio::test]
async fn a_stopped_node_is_named_and_refuses_the_key_when_it_goes_on() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let _one = start(&home, "one", "keys");
    let other = start(&home, "other", &other_keys);
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    let kid = active(&home.keys());
    let session = other.login("alice").await;
    other.signal("STOP");
    assert_not_known(&revoke(&home, &kid), "1 of 2 refuse it; no report since it was revoked: other (last report ");
    assert!(home.keys().iter().any(|key| key["kid"] == *kid && key["state"] == "revoked"));
    other.signal("CONT");
    other.until_status(&session, "401 invalid").await;
    assert_revoked(&revoke(&home, &kid), "2 of 2 nodes refuse the key");
}

#[tokio::test]
async fn a_killed_node_is_named_until_silent_for_five_minutes() {
    let home = Home::new();
    let _one = start(&home, "one", "keys");
    let gone = start(&home, "gone", "keys");
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    gone.kill();
    let kid = active(&home.keys());
    assert_not_known(&revoke(&home, &kid), "1 of 2 refuse it; no report since it was revoked: gone (last report ");
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "UPDATE node SET reported_at = reported_at - 300000 WHERE name = 'gone'").await;
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
}

/// Such a node serves on with its old list, or for longer, and nothing but its report tells.
#[tokio::test]
async fn a_killed_node_that_could_serve_for_longer_counts_for_longer() {
    let home = Home::new();
    let _one = start(&home, "one", "keys");
    let patient = ["--set", "node.name=patient", "--set", "revocation.max_staleness=10m"];
    let open = ["--set", "node.name=open", "--set", "revocation.when_stale=allow"];
    let patient = home.start_with(&patient, &[]);
    let open = home.start_with(&open, &[]);
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 3);
    patient.kill();
    open.kill();
    let kid = active(&home.keys());
    let mut tables = database::open(&home, "sealjar.db").await;
    let later = async |tables: &mut _, secs: u32| {
        let statement = format!("UPDATE node SET reported_at = reported_at - {secs}000 WHERE name <> 'one'");
        database::run(tables, &statement).await;
    };
    later(&mut tables, 400).await;
    let output = revoke(&home, &kid);
    assert_not_known(&output, "1 of 3 refuse it; no report since it was revoked: open (last report ");
    assert!(text(&output.stderr).contains(", patient (last report "), "{}", text(&output.stderr));
    later(&mut tables, 86_000).await;
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
}

#[tokio::test]
async fn a_node_that_reports_still_to_open_with_the_key_is_named() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let _other = start(&home, "other", &other_keys);
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    let kid = active(&home.keys());
    // A node of an older make, that reports and does not know of refused keys.
    let mut tables = database::open(&home, "sealjar.db").await;
    let reports_on = format!(
        "CREATE TRIGGER old AFTER UPDATE ON node WHEN new.kids = ''
         BEGIN UPDATE node SET kids = '{kid}', active = '{kid}' WHERE id = new.id; END"
    );
    database::run(&mut tables, &reports_on).await;
    assert_not_known(&revoke(&home, &kid), "0 of 1 refuse it; still opening with it: other (reported ");
}

#[tokio::test]
async fn a_revocation_without_a_store_changes_the_files_and_fails() {
    let home = Home::new();
    let kid = active(&home.keys());
    let output = home.run(&[&["keys", "revoke", &kid, "--replace"][..], &FILES_ONLY[..]].concat());
    assert_not_known(&output, &format!("{kid} is revoked only in keys: there is no store at sqlite://elsewhere.db"));
    assert!(!home.path("elsewhere.db").exists());
    assert!(home.keys().iter().any(|key| key["kid"] == *kid && key["state"] == "revoked"));
}

#[tokio::test]
async fn a_revocation_the_store_does_not_take_can_be_run_again() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let other = start(&home, "other", &other_keys);
    let session = other.login("alice").await;
    let kid = active(&home.keys());
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "CREATE TRIGGER full BEFORE INSERT ON revocation BEGIN SELECT RAISE(FAIL, 'full'); END")
        .await;
    let output = revoke(&home, &kid);
    assert_not_known(&output, &format!("{kid} is revoked in keys, but not in the store: "));
    assert_eq!(active(&home.keys()), text(&output.stdout).trim());
    assert_eq!(other.status(&session).await, "200");
    database::run(&mut tables, "DROP TRIGGER full").await;
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
    assert_eq!(other.status(&session).await, "401 invalid");
}

/// Else sessions of the revoked key would be renewed under the successor, and live on.
#[tokio::test]
async fn a_successor_does_not_seal_before_the_store_refuses_the_key() {
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
    assert!(revoke.wait().expect("it ends").success());
    assert_eq!(server.status(&session).await, "401 invalid");
    assert_ne!(kid_of(&server.login("alice").await), kid);
}

#[tokio::test]
async fn a_store_that_cannot_be_seen_is_not_one_that_was_never_made() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let kid = active(&home.keys());
    let second = rotate_at_once(&home);
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    // As if another user's directory, for whoever is not root; and a database that was moved away under the server.
    fs::write(home.path("file"), "").expect("writes");
    fs::rename(home.path("sealjar.db"), home.path("moved.db")).expect("renames");
    for (store, said) in [("file/s.db", "Not a directory"), ("sealjar.db", "but its log")] {
        let output = home.run(&["keys", "revoke", &kid, "--store", &format!("sqlite://{store}")]);
        assert_not_known(&output, said);
        assert!(text(&output.stderr).contains(&format!("{kid} is revoked in keys, but not in the store")));
    }
    fs::rename(home.path("moved.db"), home.path("sealjar.db")).expect("renames");
    assert_revoked(&home.run(&["keys", "revoke", &kid]), "1 of 1 nodes refuse the key");
    assert_eq!(server.status(&session).await, "401 invalid");
    assert_eq!(active(&home.keys()), second);
}

/// Else its user would be told that the session is over, and a copy of it would live on where the key opens.
#[tokio::test]
async fn a_sign_out_is_no_success_while_a_node_opens_the_revoked_key() {
    let home = Home::new();
    let other_keys = copied_keys(&home);
    let one = start(&home, "one", "keys");
    let other = start(&home, "other", &other_keys);
    let kid = active(&home.keys());
    let session = other.login("alice").await;
    assert_not_known(&home.run(&[&["keys", "revoke", &kid, "--replace"][..], &FILES_ONLY[..]].concat()), "alone");
    one.until_status(&session, "401 invalid").await;
    until_status(&home, |_, nodes, _| nodes.len() == 2 && nodes[0]["active"] != *kid && nodes[1]["active"] == *kid);
    for path in ["/auth/logout", "/auth/logout/all"] {
        let answer = one.post(path, &session.cookie()).await;
        assert_eq!((answer.verdict().as_str(), answer.session), ("503 key-elsewhere", None), "{path}");
    }
    assert_eq!(other.status(&session).await, "200");
    // A sign-in says nothing about the old session, and does not wait.
    let body = Server::login_body("alice", PASSWORD);
    let request = client().post(one.url("/auth/login")).header("cookie", session.cookie()).json(&body);
    assert_eq!(Answer::of(request.send().await.expect("an answer")).await.verdict(), "200");

    assert_revoked(&revoke(&home, &kid), "2 of 2 nodes refuse the key");
    let again = revoke(&home, &kid);
    assert_revoked(&again, "2 of 2 nodes refuse the key");
    assert!(text(&again.stderr).contains(&format!("{kid} was revoked in keys before")));
    let mut tables = database::open(&home, "sealjar.db").await;
    let query = sqlx::query_scalar("SELECT count(*) FROM revocation WHERE kid IS NOT NULL");
    assert_eq!(query.fetch_one(&mut tables).await.ok(), Some(1), "one entry, however often it is revoked");
    for node in [&one, &other] {
        assert_eq!(node.logout(&session).await, "200", "it opens nowhere");
    }
}

#[tokio::test]
async fn a_sign_out_does_not_wait_for_a_node_that_was_killed_long_ago() {
    let home = Home::new();
    let one = start(&home, "one", "keys");
    let gone = start(&home, "gone", "keys");
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 2);
    gone.kill();
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "UPDATE node SET reported_at = reported_at - 301000 WHERE name = 'gone'").await;
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
    let server = home.start_by(unprivileged, &[]);
    let session: Session = server.login("alice").await;
    let kid = active(&home.keys());
    // As files are that root copied from elsewhere.
    fs::create_dir(home.path("aside")).expect("makes");
    deliver(&home, &kid, "aside");
    let key = home.path(&format!("aside/{kid}.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("our own file");
    fs::rename(&key, home.path(&format!("keys/{kid}.key"))).expect("renames");
    assert_revoked(&revoke(&home, &kid), "1 of 1 nodes refuse the key");
    assert_eq!(server.status(&session).await, "401 invalid");
    assert_ne!(login(&server).await, "401 bad-credentials");
}

/// The files of a server that has not got the successor call the key good, and nobody can sign in there.
#[tokio::test]
async fn a_key_that_only_the_store_refuses_is_not_called_active() {
    let home = Home::new();
    let _server = start(&home, "one", "keys");
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    let kid = active(&home.keys());
    let elsewhere = copied_keys(&home);
    let output = home.run(&["keys", "revoke", &kid, "--replace", "--keys", &elsewhere]);
    assert_revoked(&output, "these nodes have no key to seal with, so no user can log in there: one");
    assert_eq!(active(&home.keys()), kid, "in the files");
    let (_, said) = until_status(&home, |code, _, _| code == Some(1));
    assert!(said.contains("no key here can seal") && said.contains("hint: make one with"), "{said}");
    let report = text(&home.run(&["doctor"]).stdout);
    let found = format!("problem  store.nodes             the store refuses {kid}, so no key is active");
    let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(spaced(&report).contains(&spaced(&found)), "{report}");
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_no_key_alive() {
    let home = Home::new();
    let server = start(&home, "one", "keys");
    until_status(&home, |code, nodes, _| code == Some(0) && nodes.len() == 1);
    let kid = active(&home.keys());
    let session = server.login("alice").await;
    let second = rotate_at_once(&home);
    let later = sealed_with(&server, &second).await;
    until_status(&home, |code, _, _| code == Some(0));
    home.ok(&["keys", "init", "--keys", "other"]);
    // A directory without the key, which the node has; and one that cannot be trusted.
    let elsewhere = home.run(&["keys", "revoke", &kid, "--replace", "--keys", "other"]);
    assert_eq!(elsewhere.status.code(), Some(1), "{}", text(&elsewhere.stderr));
    assert!(text(&elsewhere.stderr).contains("is revoked in the store, and nodes that follow it refuse it"));
    server.until_status(&session, "401 invalid").await;

    fs::set_permissions(home.path("keys"), fs::Permissions::from_mode(0o777)).expect("allowed");
    let open = home.run(&["keys", "revoke", &second, "--replace"]);
    assert_eq!(open.status.code(), Some(74), "{}", text(&open.stderr));
    assert!(text(&open.stderr).contains("is revoked in the store, and nodes that follow it refuse it"));
    server.until_status(&later, "401 invalid").await;
    let unknown = home.run(&["keys", "revoke", "0123456789abcdef", "--keys", "other"]);
    assert!(text(&unknown.stderr).contains("there is no key 0123456789abcdef"), "{}", text(&unknown.stderr));
}
