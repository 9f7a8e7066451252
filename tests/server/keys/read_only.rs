//! Key directories that are mounted read-only for the server. A server writes to its key directory only for a scheduled
//! rotation. Without it, the keys can be changed outside of the mount.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::SystemTime;

use super::{active, login_sealed_with, rotate_at_once};
use crate::harness::{Home, text};

/// Returns the names in a directory and their modification times. The time of the directory itself, named `.`, reveals a file
/// that was created and removed again.
fn modification_times(home: &Home, directory: &str) -> BTreeMap<String, SystemTime> {
    let time = |path| fs::metadata(path).and_then(|data| data.modified()).expect("the file exists");
    let files = fs::read_dir(home.path(directory)).expect("reads").map(|entry| entry.expect("reads"));
    let mut times: BTreeMap<_, _> =
        files.map(|entry| (entry.file_name().into_string().expect("text"), time(entry.path()))).collect();
    times.insert(".".to_owned(), time(home.path(directory)));
    times
}

#[tokio::test]
async fn a_server_leaves_no_trace_in_its_key_directory() {
    let home = Home::new();
    // Remove the lock file of `keys init`: a server that locked the directory would create it again.
    fs::remove_file(home.path("keys/.lock")).expect("removes");
    let before = modification_times(&home, "keys");
    let mut server = home.start();
    let session = server.login("alice").await;
    server.signal("HUP");
    server.wait_for("reading keys");
    assert_eq!(server.status(&session).await, "200");
    assert_eq!(server.logout(&session).await, "200");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(modification_times(&home, "keys"), before);
}

/// Shell script that mounts the directory `keys` read-only at `mounted`, and then runs the command, which is `$0` and `$@`.
const MOUNT_SCRIPT: &str = "mount --bind keys mounted && mount -o remount,bind,ro mounted && exec \"$0\" \"$@\"";

/// Returns the command, run in its own mount namespace, in which the keys are mounted read-only.
fn with_mounted_keys(home: &Home, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", MOUNT_SCRIPT]).arg(command.get_program()).args(command.get_args());
    wrapped.current_dir(home.path("."));
    wrapped
}

#[tokio::test]
async fn keys_mounted_read_only_are_changed_elsewhere_and_followed() {
    let home = Home::new();
    fs::create_dir(home.path("mounted")).expect("creates the directory");
    let mut server = home.start_through(|serve| with_mounted_keys(&home, serve), &["--keys", "mounted"]);
    let old = login_sealed_with(&server, &active(&home.keys())).await;

    let rotate = home.command(&["keys", "rotate", "--keys", "mounted"]);
    let refused = with_mounted_keys(&home, &rotate).output().expect("unshare runs");
    assert_eq!(refused.status.code(), Some(74), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("change the keys on a machine where the directory is writable"));

    let kid = rotate_at_once(&home);
    let new = login_sealed_with(&server, &kid).await;
    for session in [&old, &new] {
        assert_eq!(server.status(session).await, "200");
    }
    home.run_ok(&["keys", "revoke", &kid]);
    server.until_status(&new, "401 invalid").await;
    assert_eq!(server.status(&old).await, "200");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn a_world_writable_directory_is_accepted_if_mounted_read_only() {
    let home = Home::new();
    // Kubernetes mounts a Secret like this: links into a directory, and every user may write to both directories.
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    fs::create_dir(home.path("keys/..data")).expect("creates the directory");
    fs::rename(&key, home.path("keys/..data/real")).expect("renames");
    std::os::unix::fs::symlink("..data/real", &key).expect("links");
    fs::create_dir(home.path("mounted")).expect("creates the directory");
    for directory in ["keys", "keys/..data"] {
        fs::set_permissions(home.path(directory), fs::Permissions::from_mode(0o1777)).expect("changes the mode");
    }
    let server = home.start_through(|serve| with_mounted_keys(&home, serve), &["--keys", "mounted"]);
    assert_eq!(server.status(&server.login("alice").await).await, "200");
    let writable = home.run(&["keys", "list"]);
    assert!(text(&writable.stderr).contains("so others could put keys there"), "{}", text(&writable.stderr));
}

#[tokio::test]
async fn scheduled_rotation_over_read_only_keys_logs_an_error() {
    let home = Home::with_settings(&["keys.rotate_every=1s"]);
    fs::create_dir(home.path("mounted")).expect("creates the directory");
    let mut server = home.start_through(|serve| with_mounted_keys(&home, serve), &["--keys", "mounted"]);
    let line = server.wait_for("scheduled rotation failed");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("cannot write in the key directory mounted")));
    assert_eq!(server.status(&server.login("alice").await).await, "200");
    assert_eq!(home.keys().len(), 1);
}
