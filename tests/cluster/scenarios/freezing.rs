//! A node stops in the middle of a commit, with the lock of the log in its hand: the others wait a moment, and not for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Server, Session};
use crate::mint::Mint;
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;
use crate::turn;
use crate::wire::Wire;

/// Sign-outs on the node at once, so that it is in the middle of a commit most of the time.
const AT_ONCE: usize = 8;
/// How often it is stopped, until it is.
const TRIES: usize = 200;
/// Less than the time after which a sign-out is told to have failed.
const BOUND: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_node_that_freezes_in_a_commit_holds_up_nobody_for_long() {
    let _turn = turn().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::three(&home, &[]);
    let mint = Mint::new(&home, &database);
    let busy = Busy { mint: &mint, host: &nodes[2].public, stop: AtomicBool::new(false) };
    let (session, _) = mint.session();
    let (waited, answered) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| busy.sign_out())).collect();
        let thaw = Thaw { node: &nodes[2], stop: &busy.stop };
        freeze_in_a_commit(&nodes[2], &database);
        let started = Instant::now();
        let reply = Wire::to(&nodes[0].public).post("/auth/logout", &session.cookie());
        let waited = started.elapsed();
        assert_eq!(reply.verdict(), "200", "the others are not held up until they give up");
        drop(thaw);
        (waited, clients.into_iter().flat_map(|client| client.join().expect("each was answered")).collect::<Vec<_>>())
    });
    println!("a node froze in the middle of a commit: a sign-out on another took {waited:.1?}");
    assert!(waited < BOUND, "{waited:?}");
    // Those of the frozen node, too, whatever it said of them.
    for session in answered.iter().chain([&session]) {
        until_all(&nodes, session, "401 revoked").await;
    }
}

/// Stops the node when one of its transactions is open and waits for it.
fn freeze_in_a_commit(node: &Server<'_>, database: &Postgres) {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND state = 'idle in transaction'";
    for _ in 0..TRIES {
        node.signal("STOP");
        if database.sql(open) != "0" {
            return;
        }
        node.signal("CONT");
    }
    panic!("the node was never in the middle of a commit");
}

/// Signs out one session after the other.
struct Busy<'m> {
    mint: &'m Mint,
    host: &'m str,
    stop: AtomicBool,
}

impl Busy<'_> {
    fn sign_out(&self) -> Vec<Session> {
        let mut wire = Wire::to(self.host);
        let mut all = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let (session, _) = self.mint.session();
            let verdict = wire.post("/auth/logout", &session.cookie()).verdict();
            assert!(["200", "503 not-durable"].contains(&verdict.as_str()), "{verdict}");
            all.push(session);
        }
        all
    }
}

/// Lets the node go on and its clients end, also when the test fails.
struct Thaw<'n> {
    node: &'n Server<'n>,
    stop: &'n AtomicBool,
}

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.node.signal("CONT");
    }
}
