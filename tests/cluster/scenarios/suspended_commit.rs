//! Suspension of a node during a commit, while it holds the lock of the log. The other nodes wait only until PostgreSQL closes
//! the connection of the suspended node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Server, Session};
use crate::load_permit;
use crate::nodes::{self, until_all};
use crate::postgres::Postgres;
use crate::session_factory::SessionFactory;
use crate::wire::Wire;

/// Number of concurrent clients that log out, so that the node has a commit in progress most of the time.
const CLIENTS: usize = 8;
/// Maximum number of attempts to suspend the node during a commit.
const MAX_TRIES: usize = 200;
/// Maximum duration of a logout on another node. It is less than the time after which a logout fails.
const BOUND: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_node_suspended_in_a_commit_delays_others_only_briefly() {
    let _permit = load_permit().await;
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &[]);
    let factory = SessionFactory::new(&home, &database);
    let logout_clients = LogoutClients { factory: &factory, host: &nodes[2].public, stop: AtomicBool::new(false) };
    let (session, _) = factory.session();
    let (waited, answered) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| logout_clients.sign_out())).collect();
        let resume = Resume { node: &nodes[2], stop: &logout_clients.stop };
        suspend_in_a_commit(&nodes[2], &database);
        let started = Instant::now();
        let reply = Wire::to(&nodes[0].public).post("/auth/logout", &session.cookie());
        let waited = started.elapsed();
        assert_eq!(reply.verdict(), "200", "the other nodes do not wait until their logouts fail");
        drop(resume);
        (
            waited,
            clients
                .into_iter()
                .flat_map(|client| client.join().expect("the client does not panic"))
                .collect::<Vec<_>>(),
        )
    });
    println!("a node was suspended during a commit: a logout on another node took {waited:.1?}");
    assert!(waited < BOUND, "{waited:?}");
    // The sessions of the suspended node are also revoked, regardless of its responses.
    for session in answered.iter().chain([&session]) {
        until_all(&nodes, session, "401 revoked").await;
    }
}

/// Suspends the node at a time when one of its transactions is open and PostgreSQL waits for the node's next statement.
fn suspend_in_a_commit(node: &Server<'_>, database: &Postgres) {
    let open_transactions =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sealjar' AND state = 'idle in transaction'";
    for _ in 0..MAX_TRIES {
        node.signal("STOP");
        if database.sql(open_transactions) != "0" {
            return;
        }
        node.signal("CONT");
    }
    panic!("the node never had an open transaction");
}

/// Clients that log out one session after the other.
struct LogoutClients<'m> {
    factory: &'m SessionFactory,
    host: &'m str,
    stop: AtomicBool,
}

impl LogoutClients<'_> {
    fn sign_out(&self) -> Vec<Session> {
        let mut wire = Wire::to(self.host);
        let mut all = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let (session, _) = self.factory.session();
            let verdict = wire.post("/auth/logout", &session.cookie()).verdict();
            assert!(["200", "503 not-durable"].contains(&verdict.as_str()), "{verdict}");
            all.push(session);
        }
        all
    }
}

/// Guard that resumes the node and stops its clients, even if the test fails.
struct Resume<'n> {
    node: &'n Server<'n>,
    stop: &'n AtomicBool,
}

impl Drop for Resume<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.node.signal("CONT");
    }
}
