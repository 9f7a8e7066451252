//! A server reads its keys and writes none: the directory may be mounted read-only for it, and is changed elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::SystemTime;

use super::{active, rotate_at_once, sealed_with};
use crate::harness::{Home, text};

/// The names in a directory and when each was last written, the directory itself included: a file that came and went again shows
/// in its time.
fn traces(home: &Home, directory: &str) -> BTreeMap<String, SystemTime> {
    let time = |path| fs::metadata(path).and_then(|data| data.modified()).expect("it is there");
    let files = fs::read_dir(home.path(directory)).expect("reads").map(|entry| entry.expect("reads"));
    let mut found: BTreeMap<_, _> =
        files.map(|entry| (entry.file_name().into_string().expect("text"), time(entry.path()))).collect();
    found.insert(".".to_owned(), time(home.path(directory)));
    found
}

#[tokio::test]
async fn a_server_leaves_no_trace_in_its_key_directory() {
    let home = Home::new();
    // The lock that `keys init` left behind: a server that wants one would have to make it.
    fs::remove_file(home.path("keys/.lock")).expect("removes");
    let before = traces(&home, "keys");
    let mut server = home.start();
    let session = server.login("alice").await;
    server.signal("HUP");
    server.wait_for("reading keys");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.logout(&session).await, "200");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(traces(&home, "keys"), before);
}

/// A shell command, with `$0` and `$@` for the command in question, that sees the directory `keys` at `mounted`, and cannot write
/// it there.
const MOUNTED: &str = "mount --bind keys mounted && mount -o remount,bind,ro mounted && exec \"$0\" \"$@\"";

/// The command in a mount namespace of its own, which ends with it.
fn mounted(home: &Home, command: &Command) -> Command {
    let mut mounting = Command::new("unshare");
    mounting.args(["--mount", "sh", "-c", MOUNTED]).arg(command.get_program()).args(command.get_args());
    mounting.current_dir(home.path("."));
    mounting
}

#[tokio::test]
async fn keys_mounted_read_only_are_changed_elsewhere_and_followed() {
    let home = Home::new();
    fs::create_dir(home.path("mounted")).expect("makes");
    let mut server = home.start_by(|serve| mounted(&home, serve), &["--keys", "mounted"]);
    let old = sealed_with(&server, &active(&home.keys())).await;

    let rotating = home.command(&["keys", "rotate", "--keys", "mounted"]);
    let refused = mounted(&home, &rotating).output().expect("unshare runs");
    assert_eq!(refused.status.code(), Some(74), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("change the keys on a machine where the directory is writable"));

    let kid = rotate_at_once(&home);
    let new = sealed_with(&server, &kid).await;
    for session in [&old, &new] {
        assert_eq!(server.status(session).await, "200");
    }
    home.ok(&["keys", "revoke", &kid]);
    server.until_status(&new, "401 invalid").await;
    assert_eq!(server.status(&old).await, "200");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn an_open_directory_is_accepted_when_mounted_read_only() {
    let home = Home::new();
    // As Kubernetes mounts a Secret: links into a directory, and everybody may write in both.
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    fs::create_dir(home.path("keys/..data")).expect("makes");
    fs::rename(&key, home.path("keys/..data/real")).expect("renames");
    std::os::unix::fs::symlink("..data/real", &key).expect("links");
    fs::create_dir(home.path("mounted")).expect("makes");
    for directory in ["keys", "keys/..data"] {
        fs::set_permissions(home.path(directory), fs::Permissions::from_mode(0o1777)).expect("changes the mode");
    }
    let server = home.start_by(|serve| mounted(&home, serve), &["--keys", "mounted"]);
    assert_eq!(server.status(&server.login("alice").await).await, "200");
    let writable = home.run(&["keys", "list"]);
    assert!(text(&writable.stderr).contains("so others could put keys there"), "{}", text(&writable.stderr));
}

#[tokio::test]
async fn a_schedule_over_keys_mounted_read_only_says_so() {
    let home = Home::with_settings(&["keys.rotate_every=1s"]);
    fs::create_dir(home.path("mounted")).expect("makes");
    let mut server = home.start_by(|serve| mounted(&home, serve), &["--keys", "mounted"]);
    let line = server.wait_for("scheduled rotation failed");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("cannot write in the key directory mounted")));
    assert_eq!(server.status(&server.login("alice").await).await, "200");
    assert_eq!(home.keys().len(), 1);
}
