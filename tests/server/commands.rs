//! Audit events of commands: one for each change, and none for a command that fails.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Home, PASSWORD, text};

/// Id of a session that does not exist.
const SID: &str = "0123456789abcdef0123456789abcdef";

fn run(mut command: Command, input: &str) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the binary runs");
    // A command that reads no input may have exited already.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the command ends")
}

/// Returns the audit events on standard error, and the other lines.
fn events(output: &Output) -> (Vec<Value>, String) {
    let stderr = text(&output.stderr);
    let (events, others): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.starts_with('{'));
    (events.into_iter().map(|line| serde_json::from_str(line).expect("JSON")).collect(), others.join("\n"))
}

fn sub(home: &Home, login: &str) -> Value {
    let accounts: Value = serde_json::from_str(&home.run_ok(&["users", "list", "--json"])).expect("JSON");
    let account = accounts.as_array().expect("a list").iter().find(|account| account["login"] == login);
    account.expect("an account")["sub"].clone()
}

/// A command, the names of its changes, and fields that each event must have.
type Case<'c> = (&'c [&'c str], &'c [&'c str], &'c [(&'c str, Value)]);

#[test]
fn every_change_by_a_command_writes_an_audit_event() {
    let home = Home::new();
    let uid = File::open(home.path("keys")).expect("opens").metadata().expect("reads").uid();
    let sub = sub(&home, "alice");
    let first = home.keys()[0]["kid"].as_str().expect("text").to_owned();
    let copied = home.path("sealjar.db").display().to_string();
    let account = [("login", "alice".into()), ("sub", sub)];
    let store = [("store", Value::from("sqlite://sealjar.db"))];
    let sid = [("sid", Value::from(SID))];
    let changes: [Case<'_>; 13] = [
        (&["users", "add", "Bob"], &["account-added"], &[("login", "bob".into())]),
        (&["users", "passwd", "alice"], &["password-set"], &account),
        (&["users", "disable", "alice"], &["account-disabled"], &account),
        (&["users", "enable", "alice"], &["account-enabled"], &account),
        (&["users", "roles", "alice", "a", "b"], &["roles-set"], &account),
        (&["revoke", "--user", "alice"], &["account-sessions-ended"], &account),
        (&["users", "delete", "alice"], &["account-deleted"], &account),
        (&["revoke", "--session", SID], &["session-ended"], &sid),
        (&["revoke", "--everyone"], &["every-session-ended"], &store),
        (&["store", "restored"], &["store-restored"], &store),
        (&["keys", "rotate"], &["key-published"], &[]),
        (&["keys", "revoke", &first, "--replace"], &["key-published", "key-revoked"], &[]),
        (&["keys", "rotate", "--wait"], &["key-published", "key-activated"], &[]),
    ];
    for (arguments, names, fields) in changes {
        let output = run(home.command(arguments), &format!("{PASSWORD}\n"));
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let (events, others) = events(&output);
        let logged: Vec<_> = events.iter().map(|event| event["change"].as_str().expect("text")).collect();
        assert_eq!(logged, names, "{arguments:?}");
        for event in &events {
            assert_eq!((&event["event"], &event["target"]), (&"command".into(), &"sealjar::audit".into()));
            assert_eq!(event["uid"], uid, "{arguments:?}");
            assert!(fields.iter().all(|(name, value)| event[*name] == *value), "{arguments:?}: {event}");
            assert_eq!(event["kid"].is_string(), event["change"].as_str().expect("text").starts_with("key-"));
            assert!(!event.to_string().contains(PASSWORD), "{event}");
        }
        assert!(!others.is_empty(), "messages for people are printed, too");
    }
    let count_keys = |state: &str| home.keys().into_iter().filter(|key| key["state"] == state).count();
    assert_eq!((count_keys("revoked"), count_keys("active")), (1, 1));
    let migrated = home.run(&["migrate", "--from", &format!("sqlite://{copied}"), "--to", "sqlite://new.db"]);
    assert_eq!(events(&migrated).0[0]["store"], "sqlite://new.db", "{}", text(&migrated.stderr));
}

#[test]
fn commands_that_fail_or_only_read_write_no_audit_event() {
    let home = Home::new();
    for arguments in [
        &["users", "add", "alice"][..],
        &["users", "passwd", "nobody"],
        &["users", "delete", "nobody"],
        &["users", "list"],
        &["keys", "init"],
        &["keys", "revoke", "0123456789abcdef"],
        &["keys", "list"],
        &["keys", "prune"],
        &["revoke", "--user", "nobody"],
        &["users", "disable", "alice", "--store", "sqlite://absent.db"],
        &["config"],
    ] {
        let (events, _) = events(&run(home.command(arguments), &format!("{PASSWORD}\n")));
        assert!(events.is_empty(), "{arguments:?}: {events:?}");
    }
}

#[test]
fn the_user_id_of_sudo_is_logged_if_it_is_a_number() {
    let home = Home::new();
    for (value, expected) in [(Some("1000"), Value::from(1000)), (Some("alice"), Value::Null), (None, Value::Null)] {
        let mut command = home.command(&["revoke", "--user", "alice"]);
        command.env_remove("SUDO_UID").envs(value.map(|value| ("SUDO_UID", value)));
        assert_eq!(events(&run(command, "")).0[0]["sudo_uid"], expected, "{value:?}");
    }
}

#[test]
fn audit_events_follow_the_log_format_and_log_level() {
    let home = Home::new();
    let stderr = |settings: &[&str]| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let output = home.run(&["revoke", "--user", "alice"].into_iter().chain(settings).collect::<Vec<_>>());
        assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(0), ""));
        text(&output.stderr)
    };
    let line = stderr(&["log.format=text"]);
    let has = |part: &str| assert!(line.contains(part), "{line}");
    ["INFO", "sealjar::audit", "a command changed something", "change=\"account-sessions-ended\""]
        .into_iter()
        .for_each(has);
    assert_eq!(stderr(&["log.level=info,sealjar::audit=off"]), "ended all sessions of alice\n");
    assert_eq!(stderr(&["log.level=off,sealjar::audit=info"]).lines().count(), 2);
}

#[test]
fn an_event_that_cannot_be_written_changes_no_exit_code() {
    let home = Home::new();
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let mut command = home.command(&["keys", "rotate"]);
    let output = command.stdout(Stdio::piped()).stderr(full).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout).trim().len(), 16, "the id of the key");
}
