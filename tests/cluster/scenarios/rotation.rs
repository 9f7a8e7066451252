//! Key rotation while the nodes are in use: the other nodes open each token of one node before, during and after the rotation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Home, Server, Session, text};
use crate::postgres::Postgres;
use crate::{load_permit, nodes, reduced_or_stated};

/// Maximum time from a rotation to the first token that is sealed with the new key.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn sessions_open_on_every_node_through_immediate_rotations() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    rotate_repeatedly(&home, &nodes, &["keys", "rotate", "--activate-in", "0s"], reduced_or_stated(5, 20)).await;
}

/// Each node has its own key directory, which is updated with a different delay, as with rsync, a configuration management
/// tool or Kubernetes.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_open_on_every_node_through_rotations_that_wait() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let keys = ["keys-a", "keys-b", "keys-c"].map(|name| home.path(name));
    for directory in &keys {
        fs::create_dir(directory).expect("a new directory");
        write_keys(directory, &read_keys(&home));
    }
    let nodes = keys.each_ref().map(|directory| home.start_with(&["--keys", directory.to_str().expect("ASCII")], &[]));
    let running = Running(AtomicBool::new(true));
    let delays = [0, 200, 600].map(Duration::from_millis);
    std::thread::scope(|scope| {
        for (directory, delay) in keys.iter().zip(delays) {
            let running = &running;
            let home = &home;
            scope.spawn(move || running.copy_keys(home, directory, delay));
        }
        let _stop = Stop(&running);
        let rotate = ["keys", "rotate", "--wait"];
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(rotate_repeatedly(
                &home,
                &nodes,
                &rotate,
                reduced_or_stated(3, 20),
            ));
        });
    });
}

/// Rotates the keys. Until the first node seals with the new key, logs in on the first node and checks the session on the
/// others.
async fn rotate_repeatedly(home: &Home, nodes: &[Server<'_>; 3], rotate: &[&str], rotations: usize) {
    let [a, b, c] = nodes;
    let mut sessions = vec![a.login("alice").await];
    for _ in 0..rotations {
        let old_key = key_of(sessions.last().expect("at least one session"));
        let started = Instant::now();
        let mut command = home.command(rotate);
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        loop {
            // This sleep sets the rate of the logins. It does not wait for a result.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let new_session = a.login("alice").await;
            let status = tokio::join!(b.status(&new_session), c.status(&new_session));
            assert_eq!(status, ("200".to_owned(), "200".to_owned()), "the other nodes accept a new token");
            let rotated = key_of(&new_session) != old_key;
            sessions.push(new_session);
            if rotated {
                break;
            }
            assert!(started.elapsed() < TIMEOUT, "{rotate:?} leads to no new key: {:?}", command.wait_with_output());
        }
        let output = command.wait_with_output().expect("the command ends");
        assert!(output.status.success(), "{}", text(&output.stderr));
        for session in &sessions {
            for node in nodes {
                assert_eq!(node.status(session).await, "200", "every node accepts the tokens that were sealed before");
            }
        }
    }
    println!(
        "{rotations} rotations with {:?}: {} sessions, each verified on every node",
        rotate.join(" "),
        sessions.len()
    );
}

/// Returns the first twelve characters of the token: the version and the key id.
fn key_of(session: &Session) -> String {
    session.0.get(..12).expect("a token is longer").to_owned()
}

/// Content of each key file, by file name.
type Keys = BTreeMap<String, Vec<u8>>;

fn read_keys(home: &Home) -> Keys {
    let files = fs::read_dir(home.path("keys")).expect("the keys").map(|entry| entry.expect("an entry"));
    let named = files.filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())));
    let keys = named.filter(|(name, _)| name.ends_with(".key") && !name.starts_with('.'));
    keys.map(|(name, path)| (name, fs::read(path).expect("a key"))).collect()
}

fn write_keys(directory: &Path, keys: &Keys) {
    for (name, content) in keys {
        let temporary = directory.join(".new");
        let file = directory.join(name);
        if fs::read(&file).is_ok_and(|old| old == *content) {
            continue;
        }
        fs::write(&temporary, content).expect("writes");
        let private_mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&temporary, private_mode).expect("our own file");
        fs::rename(temporary, file).expect("renames");
    }
}

/// Whether the copying of keys continues.
struct Running(AtomicBool);

impl Running {
    /// Copies the keys of the home directory with this delay, again and again.
    fn copy_keys(&self, home: &Home, directory: &Path, delay: Duration) {
        while self.0.load(Ordering::Relaxed) {
            let keys = read_keys(home);
            // This sleep is the delay of the copying. It does not wait for a result.
            std::thread::sleep(delay + Duration::from_millis(20));
            write_keys(directory, &keys);
        }
    }
}

/// Guard that stops the copying, even if a test fails.
struct Stop<'r>(&'r Running);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}
