//! Changes that root makes to keys and accounts of a server that runs as another user.
//!
//! `tests/run` skips this module without root or `setpriv`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use super::{active, login_sealed_with};
use crate::harness::{Home, PASSWORD, Server, text};

/// Id of the unprivileged user and group that run the server.
pub(crate) const SERVER: u32 = 54_321;
/// Id of an unrelated user. The server does not run as this user.
const OTHER_USER: u32 = 54_322;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changes the mode");
}

/// Changes the owner and group of a directory and of everything in it.
pub(crate) fn chown_recursively(directory: &Path, uid: u32, gid: u32) {
    chown(directory, Some(uid), Some(gid)).expect("this runs as root");
    for entry in fs::read_dir(directory).expect("reads") {
        let path = entry.expect("reads").path();
        if path.is_dir() {
            chown_recursively(&path, uid, gid)
        } else {
            chown(&path, Some(uid), Some(gid)).expect("this runs as root")
        }
    }
}

/// Returns name, owner, group and permissions of each file in a directory.
fn owners(directory: &Path) -> Vec<(String, u32, u32, u32)> {
    let entries = fs::read_dir(directory).expect("reads").map(|entry| entry.expect("reads"));
    entries
        .map(|entry| {
            let metadata = entry.metadata().expect("reads");
            (entry.file_name().into_string().expect("text"), metadata.uid(), metadata.gid(), metadata.mode() & 0o777)
        })
        .collect()
}

/// Returns the command, run as the server's user. The program is linked into the home, because that user may execute it there.
pub(crate) fn as_server(home: &Home, command: &Command) -> Command {
    let program = home.path("sealjar");
    if !program.exists() {
        let linked = fs::hard_link(command.get_program(), &program);
        linked.or_else(|_| fs::copy(command.get_program(), &program).map(|_| ())).expect("copies");
    }
    let mut wrapped = Command::new("setpriv");
    wrapped.args([&format!("--reuid={SERVER}"), &format!("--regid={SERVER}"), "--clear-groups"]);
    wrapped.arg(program).args(command.get_args()).current_dir(home.path("."));
    wrapped
}

/// Gives everything in the home to the server's user, and starts a server as this user.
fn start(home: &Home) -> Server<'_> {
    start_as_server(home, &[])
}

/// Gives everything in the home to the server's user, and starts a server with these arguments as this user.
pub(crate) fn start_as_server<'h>(home: &'h Home, arguments: &[&str]) -> Server<'h> {
    chown_recursively(&home.path("."), SERVER, SERVER);
    home.start_through(|serve| as_server(home, serve), arguments)
}

#[tokio::test]
async fn a_server_of_another_user_follows_keys_changed_by_root() {
    let home = Home::new();
    let server = start(&home);
    let old = server.login("alice").await;
    fs::remove_file(home.path("keys/.lock")).expect("removes");
    let replacement = home.run_ok(&["keys", "revoke", &active(&home.keys()), "--replace"]).trim().to_owned();
    println!("the server followed after {:?}", server.until_status(&old, "401 invalid").await);
    login_sealed_with(&server, &replacement).await;
    let rotated = home.run_ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
    login_sealed_with(&server, &rotated).await;
    let files = owners(&home.path("keys"));
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(files.iter().all(|(_, uid, gid, mode)| (*uid, *gid, *mode) == (SERVER, SERVER, 0o600)), "{files:?}");
    // The server's user can use the lock file that root created.
    let by_server = as_server(&home, &home.command(&["keys", "rotate"])).output().expect("setpriv runs");
    assert!(by_server.status.success(), "{}", text(&by_server.stderr));
}

#[tokio::test]
async fn root_creates_keys_and_database_for_another_user() {
    let home = Home::new();
    chmod(&home.path("."), 0o755);
    fs::create_dir(home.path("data")).expect("creates the directory");
    chown_recursively(&home.path("data"), SERVER, SERVER);
    let flags = ["--keys", "data/ring/keys", "--store", "sqlite://data/sealjar.db"];
    home.run_ok(&[&["keys", "init"], &flags[..]].concat());
    let add = |login| {
        let added = home.run_with_input(&[&["users", "add", login], &flags[..]].concat(), &format!("{PASSWORD}\n"));
        assert!(added.status.success(), "{}", text(&added.stderr));
    };
    add("alice");
    let mut server = home.start_through(|serve| as_server(&home, serve), &flags);
    server.login("alice").await;
    add("bob");
    server.login("bob").await;
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    for directory in ["data", "data/ring", "data/ring/keys"] {
        let files = owners(&home.path(directory));
        assert!(files.iter().all(|(_, uid, gid, _)| (*uid, *gid) == (SERVER, SERVER)), "{directory}: {files:?}");
    }
}

#[tokio::test]
async fn rotation_keeps_keys_readable_for_the_servers_group() {
    let home = Home::new();
    chown_recursively(&home.path("."), SERVER, SERVER);
    // Root owns the keys, and the server's group can read them.
    chown_recursively(&home.path("keys"), 0, SERVER);
    chmod(&home.path("keys"), 0o750);
    for key in home.keys() {
        chmod(&home.path(&format!("keys/{}.key", key["kid"].as_str().expect("text"))), 0o640);
    }
    let server = home.start_through(|serve| as_server(&home, serve), &[]);
    let rotated = home.run_ok(&["keys", "rotate", "--activate-in", "0s"]).trim().to_owned();
    login_sealed_with(&server, &rotated).await;
    let files = owners(&home.path("keys"));
    let mut keys = files.iter().filter(|(name, ..)| name.ends_with(".key"));
    assert!(keys.all(|(_, uid, gid, mode)| (*uid, *gid, *mode) == (0, SERVER, 0o640)), "{files:?}");
}

#[test]
fn changes_nothing_if_files_cannot_be_given_to_the_user() {
    let home = Home::new();
    chown_recursively(&home.path("."), SERVER, SERVER);
    for with_lock in [true, false] {
        if !with_lock {
            fs::remove_file(home.path("keys/.lock")).expect("removes");
        }
        let before = owners(&home.path("keys"));
        let rotate = home.command(&["keys", "revoke", &active(&home.keys()), "--replace"]);
        let mut without_chown = Command::new("setpriv");
        without_chown.arg("--bounding-set=-chown").arg(rotate.get_program()).args(rotate.get_args());
        let refused = without_chown.current_dir(home.path(".")).output().expect("setpriv runs");
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(74), "{stderr}");
        assert!(stderr.contains(&format!("the user with the id {SERVER}")), "{stderr}");
        assert!(stderr.contains("run the command as that user or as root"), "{stderr}");
        assert_eq!(owners(&home.path("keys")), before);
    }
    assert_eq!(home.keys().len(), 1);
}

#[test]
fn root_does_not_chown_a_file_planted_as_the_lock() {
    let home = Home::new();
    let precious = home.path("precious");
    fs::write(&precious, "root's").expect("writes");
    chown_recursively(&home.path("keys"), SERVER, SERVER);
    let lock = home.path("keys/.lock");
    fs::remove_file(&lock).expect("removes");
    std::os::unix::fs::symlink(&precious, &lock).expect("links");
    assert_eq!(home.run(&["keys", "rotate"]).status.code(), Some(74), "a link is not accepted as the lock");
    fs::remove_file(&lock).expect("removes");
    fs::hard_link(&precious, &lock).expect("links");
    home.run_ok(&["keys", "rotate"]);
    assert_eq!(fs::metadata(&precious).expect("the file exists").uid(), 0);
}

#[test]
fn the_ring_is_not_reloaded_with_a_key_of_another_user() {
    let home = Home::new();
    chown_recursively(&home.path("."), SERVER, SERVER);
    let mut server = home.start_through(|serve| as_server(&home, serve), &[]);
    let key = home.path(&format!("keys/{}.key", active(&home.keys())));
    chmod(&key, 0o640);
    chown(&key, Some(OTHER_USER), Some(SERVER)).expect("this runs as root");
    let line = server.wait_for("the key ring cannot be read");
    let reason = format!("it belongs to the user with the id {OTHER_USER}, who could change the key");
    assert!(line["error"].as_str().is_some_and(|error| error.contains(&reason)), "{line}");
    let refused = home.run(&["keys", "rotate"]);
    let remedy = format!("chown {SERVER} {}", key.display());
    for part in [&reason, &remedy] {
        assert!(text(&refused.stderr).contains(part), "{}", text(&refused.stderr));
    }
    chown(&key, Some(0), Some(SERVER)).expect("this runs as root");
    server.wait_for("can be read again");
    // A link to a key in a directory whose owner can replace the key.
    fs::create_dir(home.path("theirs")).expect("creates the directory");
    chown(home.path("theirs"), Some(OTHER_USER), None).expect("this runs as root");
    let real = home.path("theirs/real");
    fs::rename(&key, &real).expect("renames");
    std::os::unix::fs::symlink(&real, &key).expect("links");
    while !server.wait_for("the key ring cannot be read")["error"].as_str().is_some_and(|error| {
        error.contains(&format!("which belongs to the user with the id {OTHER_USER}, who could replace the key"))
    }) {}
}

/// Runs a command as the server's user, which must fail. Returns its standard error, and the doctor's line about the key files.
fn errors(home: &Home, arguments: &[&str], flags: &[&str]) -> (String, String) {
    let run = |arguments: &[&str]| {
        let command = home.command(&[arguments, flags].concat());
        as_server(home, &command).output().expect("setpriv runs")
    };
    let refused = run(arguments);
    let stderr = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(74), "{arguments:?}: {stderr}");
    let report = text(&run(&["doctor"]).stdout);
    let line = report.lines().find(|line| line.contains(" keys.files "));
    (stderr, line.expect("a line about key files").to_owned())
}

#[test]
fn a_user_without_access_to_the_keys_gets_a_remedy() {
    let home = Home::new();
    home.run_ok(&["keys", "init", "--keys", "above/keys"]);
    chown_recursively(&home.path("."), SERVER, SERVER);
    let key = format!("keys/{}.key", active(&home.keys()));
    let run = |change: &str, path: &str| format!("run: chmod {change} {}", home.path(path).display());
    let cases: [(&str, u32, u32, &str, String); 7] = [
        ("keys", 0o000, SERVER, "keys", run("u+rwx", "keys")),
        ("keys", 0o300, SERVER, "keys", run("u+rwx", "keys")),
        (
            "keys",
            0o700,
            0,
            "keys",
            format!("run this as root; or, if it is meant for the user {SERVER}, give it to that user"),
        ),
        (&key, 0o000, SERVER, "keys", run("u+rw", &key)),
        (
            &key,
            0o600,
            OTHER_USER,
            "keys",
            format!("run this as the user {OTHER_USER} or root; or, if it is meant for the user {SERVER}, "),
        ),
        ("above", 0o000, SERVER, "above/keys", run("u+x", "above")),
        ("above", 0o700, 0, "above/keys", format!("run this as root, or let the user {SERVER} enter that directory")),
    ];
    for (path, mode, uid, keys, remedy) in cases {
        let before = fs::metadata(home.path(path)).expect("the file exists");
        chown(home.path(path), Some(uid), None).expect("this runs as root");
        chmod(&home.path(path), mode);
        let facts = format!(
            "{path} has mode {mode:04o} and belongs to the user {uid}, and this process runs as the user {SERVER}"
        );
        for arguments in [&["keys", "list"][..], &["keys", "rotate"], &["serve"]] {
            let (stderr, line) = errors(&home, arguments, &["--keys", keys]);
            assert_eq!(stderr.matches(&format!("{facts}; {remedy}")).count(), 1, "{arguments:?}: {stderr}");
            assert!(!stderr.contains("doctor") && !stderr.contains("keys init"), "{arguments:?}: {stderr}");
            assert!(line.contains(&facts) && line.contains(&format!("; remedy: {remedy}")), "{line}");
            assert_eq!(line.matches(&remedy).count(), 1, "{line}");
        }
        chown(home.path(path), Some(SERVER), None).expect("this runs as root");
        chmod(&home.path(path), before.mode() & 0o777);
    }
}

#[test]
fn a_user_who_can_only_read_the_keys_gets_the_reason() {
    let home = Home::new();
    home.run_ok(&["keys", "init", "--keys", "my keys"]);
    fs::create_dir(home.path("other")).expect("creates the directory");
    chown_recursively(&home.path("."), SERVER, SERVER);
    chown(home.path("other"), Some(0), Some(0)).expect("this runs as root");
    let kid = active(&home.keys());
    let refused = |arguments: &[&str]| {
        let output = as_server(&home, &home.command(arguments)).output().expect("setpriv runs");
        assert_eq!(output.status.code(), Some(74), "{arguments:?}");
        text(&output.stderr)
    };
    let facts = |path: &str, mode, uid| {
        format!("{path} has mode {mode} and belongs to the user {uid}, and this process runs as the user {SERVER}")
    };
    for (directory, quoted) in [
        ("keys", home.path("keys").display().to_string()),
        ("my keys", format!("'{}'", home.path("my keys").display())),
    ] {
        chmod(&home.path(directory), 0o500);
        for arguments in [&["keys", "rotate"][..], &["keys", "revoke", &kid, "--replace"]] {
            if directory != "keys" && arguments.len() > 2 {
                continue;
            }
            let stderr = refused(&[arguments, &["--keys", directory]].concat());
            let message = format!(
                "cannot write in the key directory {directory}: Permission denied (os error 13); {}; run: chmod u+rwx {quoted}\n",
                facts(directory, "0500", SERVER)
            );
            assert!(stderr.contains(&message), "{arguments:?}: {stderr}");
        }
        chmod(&home.path(directory), 0o700);
    }
    let stderr = refused(&["keys", "init", "--keys", "other/a/keys"]);
    let message =
        format!("cannot create the directory other/a: Permission denied (os error 13); {}", facts("other", "0755", 0));
    assert!(stderr.contains(&message) && stderr.contains("; run this as root; or, "), "{stderr}");
}
