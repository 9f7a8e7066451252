//! Tests of writes, for both engines. A write whose future is dropped before it completes, for example because a client
//! disconnects, does not prevent the next write. The transaction of a revocation determines which sessions of a subject end.

use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{Child, Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use super::Store;
use super::error::StoreError;
use super::node::NodeReport;
use super::postgres::pool::Limits;
use super::records::{Account, Change, ProfileChange, Revocation, SealingRecord};
use super::url::StoreUrl;
use crate::account::{Profile, Roles};
use crate::clock::UnixTime;
use crate::id::{Kid, NodeId, Sid};
use crate::revocation::Entry;
use crate::session::Lifetimes;

const LIMITS: Limits =
    Limits { connections: 2, statement_timeout: Duration::from_secs(4), connect_timeout: Duration::from_secs(4) };
/// Maximum number of writes that a test starts. The test fails if too few of them were dropped before they completed.
const MAX_STARTED: usize = 5_000;

type Outcome<'s> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 's>>;
/// Function that starts a write. The number is different in each call, and makes names unique.
type Write = for<'s> fn(&'s Store, usize) -> Outcome<'s>;

const WRITES: [(&str, Write); 15] = [
    ("revoke", |store, _| Box::pin(async { store.revoke(&[session(), subject("somebody")]).await.map(drop) })),
    ("revoke_key", |store, _| Box::pin(store.revoke_key(Kid::from_bytes([7; 8])))),
    ("revoke_everyone", |store, _| Box::pin(async { store.revoke_everyone().await.map(drop) })),
    ("restored", |store, _| Box::pin(store.restored())),
    ("add_account", |store, number| Box::pin(async move { store.add_account(&account(&format!("u{number}"))).await })),
    ("change_account", |store, _| {
        Box::pin(async {
            let changed = store.change_account(&account("alice").profile.login_name, &Change::EndSessions).await;
            changed.map(drop)
        })
    }),
    ("change_profile", |store, number| {
        Box::pin(async move {
            let email = Some(format!("a{number}@example.com").parse().expect("an address"));
            let change = ProfileChange { email, ..ProfileChange::default() };
            store.change_profile(&account("alice").profile.login_name, &change).await.map(drop)
        })
    }),
    ("import", |store, number| {
        Box::pin(async move {
            let accounts = [format!("first{number}"), format!("second{number}")].map(|name| account(&name));
            store.import(&accounts).await
        })
    }),
    ("change_own_password", |store, number| {
        Box::pin(async move {
            let alice = store.require_account(&account("alice").profile.login_name).await?;
            store.change_own_password(&alice, &format!("hash {number}")).await.map(drop)
        })
    }),
    ("rehash", |store, _| Box::pin(store.rehash("alice", "old", "new"))),
    ("record_sealing", |store, _| {
        let sealing = SealingRecord { lifetimes: Lifetimes::default(), lag: Duration::from_secs(11), fail_open: false };
        Box::pin(async move { store.record_sealing(&sealing, UnixTime(1), UnixTime(2)).await })
    }),
    ("record_pruned_through", |store, _| Box::pin(store.record_pruned_through(UnixTime(1)))),
    ("delete_expired", |store, _| Box::pin(async { store.delete_expired(UnixTime(1)).await.map(drop) })),
    ("report_node", |store, _| Box::pin(async { store.report_node(&node()).await })),
    ("forget_node", |store, _| Box::pin(store.delete_node_report(NodeId::random()))),
];

#[tokio::test]
async fn a_dropped_write_does_not_prevent_the_next_in_sqlite() {
    let home = tempfile::tempdir().expect("a directory");
    drop_all(&StoreUrl::file(home.path().join("test.db"))).await;
}

#[tokio::test]
async fn a_dropped_write_does_not_prevent_the_next_in_postgresql() {
    let home = tempfile::tempdir().expect("a directory");
    let _server = Postgres::start(home.path());
    let url = format!("postgres:///postgres?host={}&user=postgres", home.path().display());
    drop_all(&StoreUrl::parse(&url).expect("an address")).await;
}

#[tokio::test]
async fn postgresql_ends_sessions_that_began_before_the_commit() {
    let home = tempfile::tempdir().expect("a directory");
    let _server = Postgres::start(home.path());
    let url = format!("postgres:///postgres?host={}&user=postgres", home.path().display());
    end_so_far(&StoreUrl::parse(&url).expect("an address")).await;
}

#[tokio::test]
async fn sqlite_ends_sessions_that_began_before_the_commit() {
    let home = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", home.path().join("test.db").display());
    end_so_far(&StoreUrl::parse(&url).expect("an address")).await;
}

/// Tests `Revocation::SubjectUntilCommit`. Between the query of the generation and the commit, other revocations raise the
/// generation of new sessions.
async fn end_so_far(url: &StoreUrl) {
    let (store, _) = Store::open_or_create(url, LIMITS).await.expect("a database");
    store.revoke_everyone().await.expect("committed");
    let min_below = store.generation().await.expect("read") + 1;
    store.revoke(&[session(), session(), session()]).await.expect("committed");
    let generation_before_commit = store.generation().await.expect("read");
    assert!(generation_before_commit >= min_below);
    let end = |sub: &str, min_below| Revocation::SubjectUntilCommit { sub: sub.into(), min_below };
    let batch = [session(), end("a", min_below), session(), end("b", generation_before_commit + 1000)];
    let entries = store.revoke(&batch).await.expect("committed");
    let below = |entry: &Entry| if let Entry::Subject { below, .. } = entry { Some(*below) } else { None };
    let belows: Vec<u64> = entries.iter().filter_map(below).collect();
    assert_eq!(
        belows,
        [generation_before_commit + 1, generation_before_commit + 1000],
        "sessions that began before the commit end, and `below` is never lower than `min_below`"
    );
    assert!(store.generation().await.expect("read") >= belows[0], "sessions that begin after the commit stay live");
    store.close().await;
}

/// Drops each write after one poll, then after two polls and so on, until the write completes. Checks after each attempt
/// that another write succeeds. A write may need fewer polls if the database responds early, so the loop repeats until
/// enough writes were dropped.
async fn drop_all(url: &StoreUrl) {
    let (store, _) = Store::open_or_create(url, LIMITS).await.expect("an empty database");
    store.add_account(&account("alice")).await.expect("an account");
    let mut started = 0;
    let mut dropped = 0;
    while dropped < 3 * WRITES.len() {
        for (name, write) in WRITES {
            for polls in 1.. {
                started += 1;
                let outcome = poll_times(write(&store, started), polls).await;
                let next = tokio::time::timeout(Duration::from_secs(60), store.revoke(&[session()])).await;
                next.expect("the next write is not blocked")
                    .unwrap_or_else(|error| panic!("after {polls} polls of {name}: {error}"));
                match outcome {
                    Some(Ok(())) => break,
                    Some(Err(error)) => panic!("{name}: {error}"),
                    None => dropped += 1,
                }
            }
        }
        assert!(started < MAX_STARTED, "only {dropped} of {started} writes were dropped before they completed");
    }
    store.close().await;
}

/// Polls a future at most `times` times. Returns its outcome, or `None` if it is not complete by then.
async fn poll_times<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut remaining = times;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => {
            remaining -= 1;
            if remaining == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

fn session() -> Revocation {
    Revocation::Session { sid: Sid::random(), token: None }
}

fn subject(sub: &str) -> Revocation {
    Revocation::Subject { sub: sub.into(), below: 1 }
}

fn account(name: &str) -> Account {
    let profile = Profile {
        login_name: name.parse().expect("a login name"),
        display_name: "".parse().expect("a display name"),
        email: "".parse().expect("an address"),
        roles: Roles::new(&[]).expect("no roles"),
    };
    Account { sub: name.to_owned(), ..Account::new(profile, "hash".to_owned(), false, UnixTime(1)) }
}

fn node() -> NodeReport {
    NodeReport {
        id: NodeId::random(),
        name: "node".to_owned(),
        kids: Vec::new(),
        active: None,
        serves_for: Duration::ZERO,
    }
}

/// A PostgreSQL server with its own Unix socket.
struct Postgres(Child);

impl Postgres {
    fn start(home: &Path) -> Self {
        let data = home.join("data");
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            assert!(Command::new("chown").arg("postgres:").arg(home).status().expect("chown runs").success());
        }
        // PostgreSQL does not run as root.
        let program = |name: &str| {
            let mut command = Command::new(if is_root { "setpriv" } else { "env" });
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"].iter().take(if is_root {
                3
            } else {
                0
            }));
            command.arg(newest(name)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--locale=C.UTF-8", "--pgdata"]).arg(&data);
        assert!(initdb.status().expect("initdb runs").success());
        let mut server = program("postgres");
        server.args(["-c", "listen_addresses=", "-c"]).arg(format!("unix_socket_directories={}", home.display()));
        let server = Self(server.arg("-D").arg(&data).spawn().expect("postgres runs"));
        let mut pg_isready = Command::new(newest("pg_isready"));
        pg_isready.args(["-q", "-t", "60", "-h"]).arg(home);
        while !pg_isready.status().expect("pg_isready runs").success() {}
        server
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At SIGQUIT, PostgreSQL stops all its processes immediately.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.0.wait();
    }
}

/// Returns the path of a program of the newest PostgreSQL version in Debian's directories.
fn newest(name: &str) -> std::path::PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let programs = versions.map(|version| version.path().join("bin").join(name)).filter(|program| program.exists());
    programs.max().expect("this test needs PostgreSQL's server (Debian: apt-get install postgresql)")
}
