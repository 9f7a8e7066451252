//! Standard output and standard error that cannot be written to.

use std::fs::File;
use std::io::{Write, pipe};
use std::process::{Output, Stdio};

use crate::harness::{Home, text};

/// Commands that print something and change nothing.
const READING: [&[&str]; 19] = [
    &["config"],
    &["keys", "list"],
    &["keys", "list", "--json"],
    &["keys", "status"],
    &["keys", "status", "--json"],
    &["users", "list"],
    &["users", "list", "--json"],
    &["users", "show", "alice"],
    &["users", "show", "alice", "--json"],
    &["users", "calibrate", "--target", "1ms", "--max-memory-kib", "7168"],
    &["inspect"],
    &["doctor"],
    &["doctor", "--json"],
    &["openapi"],
    &["openapi", "--admin"],
    &["completions", "bash"],
    &["--help"],
    &["--version"],
    &["users", "add", "--help"],
];

/// Commands that print the ids of the keys that they create or remove.
const CHANGING: [&[&str]; 3] =
    [&["keys", "init", "--keys", "other"], &["keys", "rotate", "--activate-in", "0s"], &["keys", "prune"]];

/// Returns the write end of a pipe whose read end is closed.
fn closed() -> Stdio {
    pipe().expect("a pipe").1.into()
}

fn run(home: &Home, arguments: &[&str], input: &str, stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = home.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).spawn().expect("the binary runs");
    // A command that reads no input may have ended.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the command ends")
}

#[tokio::test]
async fn a_closed_standard_output_changes_no_exit_code() {
    let home = Home::new();
    let token = home.start().login("alice").await.cookie();
    for arguments in READING.iter().chain(&CHANGING) {
        // Only a read-only command can be run twice with the same outcome.
        let read = READING.contains(arguments).then(|| run(&home, arguments, &token, Stdio::piped(), Stdio::null()));
        let expected = read.map_or(Some(0), |output| {
            assert!(!output.stdout.is_empty(), "{arguments:?} prints nothing");
            output.status.code()
        });
        let output = run(&home, arguments, &token, closed(), Stdio::piped());
        assert_eq!(output.status.code(), expected, "{arguments:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{arguments:?}: {}", text(&output.stderr));
        if READING.contains(arguments) {
            assert_eq!(run(&home, arguments, &token, closed(), closed()).status.code(), expected, "{arguments:?}");
        }
    }
    assert_eq!(home.keys().len(), 2, "the rotation was carried out");
}

#[test]
fn a_revocation_is_completed_although_its_output_is_closed() {
    let home = Home::new();
    let _server = home.start();
    let kid = home.keys()[0]["kid"].as_str().expect("text").to_owned();
    let output = run(&home, &["keys", "revoke", &kid, "--replace"], "", closed(), Stdio::piped());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("every session sealed with it has ended"), "{}", text(&output.stderr));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    // These two commands print nothing in this test, because there is no token and no live server.
    let silent: [&[&str]; 2] = [&["inspect"], &["keys", "status"]];
    for arguments in READING.iter().filter(|arguments| !silent.contains(arguments)) {
        let full = File::options().write(true).open("/dev/full").expect("a full device");
        let output = run(&home, arguments, "", full.into(), Stdio::piped());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{arguments:?}: {message}");
        assert!(message.contains("sealjar: cannot write to standard output: No space left on device"), "{message}");
    }
}

#[test]
fn a_failure_does_not_hide_that_output_was_lost() {
    let home = Home::new();
    let arguments = ["config", "--explain", "session.idle", "--set", "session.idle=x"];
    assert_eq!(run(&home, &arguments, "", Stdio::piped(), Stdio::null()).status.code(), Some(78));
    assert_eq!(run(&home, &arguments, "", closed(), Stdio::null()).status.code(), Some(78));
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let output = run(&home, &arguments, "", full.into(), Stdio::piped());
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{message}");
    for part in ["setting session.idle", "sealjar: cannot write to standard output", "the output is incomplete"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("was carried out"), "{message}");
    // An error about the output itself is printed once.
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let output = run(&home, &["users", "add", "bob", "--generate"], "", full.into(), Stdio::piped());
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{message}");
    assert_eq!(message.matches("cannot write to standard output").count(), 1, "{message}");
}

#[test]
fn errors_that_cannot_be_written_change_no_exit_code() {
    let home = Home::new();
    let cases: [(&[&str], i32); 5] = [
        (&["--no-such-option"], 2),
        (&["users", "set", "alice"], 2),
        (&["users", "show", "nobody"], 1),
        (&["users", "list", "--store", "sqlite://absent.db"], 74),
        (&["users", "list", "--set", "session.idle=x"], 78),
    ];
    for (arguments, code) in cases {
        let full = File::options().write(true).open("/dev/full").expect("a full device");
        for stderr in [full.into(), closed()] {
            assert_eq!(run(&home, arguments, "", Stdio::piped(), stderr).status.code(), Some(code), "{arguments:?}");
        }
    }
}
