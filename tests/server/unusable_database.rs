//! Databases that cannot be used. The error names the file and the reason, and has a hint.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::database;
use crate::database_files::move_database;
use crate::harness::{Home, text};
use crate::keys::owner::as_server;

/// Asserts that a command failed with an I/O error that contains these parts and a hint.
fn assert_fails_with(output: &Output, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{message}");
    for part in parts.iter().chain(&["hint"]) {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("GRANT USAGE"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_not_our_database_is_named_and_not_changed() {
    let home = Home::new();
    fs::write(home.path("text.db"), "this is a text and no database at all").expect("writes");
    fs::write(home.path("other.db"), "").expect("writes");
    let mut other = database::open(&home, "other.db").await;
    // A table with a name that Sealjar also uses, and the migration table of another program that uses the same library.
    for statement in ["CREATE TABLE account (id INTEGER)", "CREATE TABLE _sqlx_migrations (version BIGINT)"] {
        database::run(&mut other, statement).await;
    }
    drop(other);
    home.run_ok(&["store", "backup", "whole.db"]);
    let whole = fs::read(home.path("whole.db")).expect("reads");
    let mut damaged = whole.clone();
    damaged.truncate(whole.len() / 2);
    fs::write(home.path("damaged.db"), &damaged).expect("writes");
    for (file, error) in [
        ("text.db", "text.db is not an SQLite database"),
        ("other.db", "other.db is the database of another program"),
        ("damaged.db", "the database damaged.db is damaged"),
    ] {
        let before = fs::read(home.path(file)).expect("reads");
        let store = format!("sqlite://{file}");
        for command in [
            &["users", "add", "bob"][..],
            &["users", "list"],
            &["serve"],
            &["store", "restored"],
            &["revoke", "--everyone"],
        ] {
            let output = home.run_with_input(&[command, &["--store", &store]].concat(), "correct horse battery\n");
            assert_fails_with(&output, &[error]);
            assert_eq!(fs::read(home.path(file)).expect("reads"), before, "{command:?} must not change {file}");
        }
        let doctor = text(&home.run(&["doctor", "--store", &store]).stdout);
        let expected = if file == "damaged.db" { "damaged" } else { error };
        assert!(doctor.contains(expected), "{file}: {doctor}");
    }
}

#[test]
fn a_path_that_is_not_a_regular_file_is_never_opened() {
    let home = Home::new();
    fs::create_dir(home.path("directory.db")).expect("a directory");
    let pipe = home.path("pipe.db");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(home.path("socket.db")).expect("a socket");
    for path in ["directory.db", "pipe.db", "socket.db", "/dev/null"] {
        let store = format!("sqlite://{path}");
        for command in [&["users", "list"][..], &["users", "add", "bob"], &["serve"], &["store", "backup", "to.db"]] {
            let output = home.run_with_input(&[command, &["--store", &store]].concat(), "correct horse battery\n");
            assert_fails_with(&output, &["is not a file", "name the file of the database"]);
        }
    }
}

#[test]
fn a_full_disk_is_named_in_the_error() {
    let home = Home::new();
    home.set_disk("full");
    for arguments in
        [&["users", "disable", "alice"][..], &["users", "set", "alice", "--email", "a@b"], &["revoke", "--everyone"]]
    {
        let mut command = home.command(arguments);
        command.env("LD_PRELOAD", Home::disk_fault_library()).env("DISK_FAULT", home.path("disk-fault"));
        let output = command.output().expect("the binary runs");
        assert_fails_with(
            &output,
            &["there is no space left for the database sealjar.db", "free space on its file system"],
        );
    }
}

/// Shell script that mounts the directory `data` read-only at `mounted`, and then runs the command, which is `$0` and `$@`.
const MOUNT_SCRIPT: &str = "mount --bind data mounted && mount -o remount,bind,ro mounted && exec \"$0\" \"$@\"";

#[test]
fn a_database_mounted_read_only_is_named_in_the_error() {
    let home = Home::new();
    for directory in ["data", "mounted"] {
        fs::create_dir(home.path(directory)).expect("creates the directory");
    }
    move_database(&home, "data");
    for arguments in [&["users", "disable", "alice"][..], &["users", "add", "bob", "--generate"]] {
        let command = home.command(&[arguments, &["--store", "sqlite://mounted/sealjar.db"]].concat());
        let mut wrapped = Command::new("unshare");
        wrapped.args(["--mount", "sh", "-c", MOUNT_SCRIPT]).arg(command.get_program()).args(command.get_args());
        let output = wrapped.current_dir(home.path(".")).output().expect("unshare runs");
        let parts = ["the database mounted/sealjar.db cannot be written", "its file system is mounted read-only"];
        assert_fails_with(&output, &parts);
    }
}

/// Runs commands as another user, with the helpers of `keys::owner`.
#[test]
fn a_database_of_another_user_is_named_with_its_mode() {
    let home = Home::new();
    fs::set_permissions(home.path("."), fs::Permissions::from_mode(0o777)).expect("changes");
    fs::set_permissions(home.path("sealjar.db"), fs::Permissions::from_mode(0o444)).expect("changes");
    let command = as_server(&home, &home.command(&["users", "disable", "alice"])).output().expect("setpriv runs");
    let parts =
        ["the database sealjar.db cannot be written", "has mode 0444 and belongs to the user 0", "run this as root"];
    assert_fails_with(&command, &parts);
    fs::set_permissions(home.path("sealjar.db"), fs::Permissions::from_mode(0o600)).expect("changes");
    let command = as_server(&home, &home.command(&["users", "list"])).output().expect("setpriv runs");
    assert_fails_with(&command, &["sealjar.db", "has mode 0600 and belongs to the user 0"]);
}
