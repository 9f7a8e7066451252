//! Many revocations: what a million cost a node, and whether thousands a second arrive everywhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::harness::{Server, Session};
use crate::mint::Mint;
use crate::nodes::{self, QUIET, readyz, resident_kib};
use crate::postgres::Postgres;
use crate::wire::Wire;
use crate::{reduced_or_stated, turn};

#[tokio::test]
async fn a_million_live_revocations() {
    let _turn = turn().await;
    let count: u32 = reduced_or_stated(50_000, 1_000_000);
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let mut seen = Vec::new();
    for number in [0, count] {
        nodes::fill(&database, 0, number);
        let started = Instant::now();
        let node = home.start();
        nodes::until_ready(&node).await;
        seen.push((started.elapsed(), resident_kib(&node)));
        assert_eq!(readyz(&node).await["revocations"], number);
        assert_eq!(node.status(&node.login("alice").await).await, "200");
    }
    let ((empty, base), (full, loaded)) = (seen[0], seen[1]);
    println!(
        "{count} live revocations: ready after {full:.1?} ({empty:.1?} with none), {} MiB resident ({} with none), {} bytes each",
        loaded / 1024,
        base / 1024,
        loaded.saturating_sub(base) * 1024 / u64::from(count)
    );
}

/// Of so many sign-outs one is followed closely on the other nodes.
const FOLLOWED: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_sign_outs_a_second_over_three_nodes() {
    let _turn = turn().await;
    let (rate, seconds, connections) = reduced_or_stated((500, 4, 48), (5_000, 20, 240));
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::three(&home, &QUIET);
    let hosts = nodes.each_ref().map(|node| node.public.as_str());
    let mint = Mint::new(&home, &database);
    let sessions: Vec<Session> = (0..rate * seconds).map(|_| mint.session().0).collect();
    let (follow, followed) = channel();
    let (mut times, mut lags, took) = std::thread::scope(|scope| {
        let follower = scope.spawn(move || follow_closely(hosts, followed));
        let started = Instant::now();
        let times = sign_out(hosts, &sessions, rate, connections, follow);
        let took = started.elapsed();
        (times, follower.join().expect("each was refused"), took)
    });
    times.sort();
    lags.sort();
    let (all, last) = (times.len(), times.len() - 1);
    println!(
        "{all} sign-outs over three nodes in {took:.1?}, {rate} a second wanted: answered in {:.1?} (median), {:.1?} (99 %), \
         {:.1?} (worst)",
        times[all / 2],
        times[all * 99 / 100],
        times[last]
    );
    println!(
        "refused elsewhere {:.1?} (median), {:.1?} (worst of {}) after the answer",
        lags[lags.len() / 2],
        lags[lags.len() - 1],
        lags.len()
    );
    let lost = count_accepted(&nodes, &sessions);
    println!("lost: {lost}");
    assert_eq!(lost, 0);
    for node in &nodes {
        assert_eq!(readyz(node).await["revocations"], all);
    }
}

type Follow = (usize, Session, Instant);

/// Signs all out, each when it is due, over so many connections to the nodes in turn; each must succeed. Returns the times from due
/// to done.
fn sign_out(
    hosts: [&str; 3],
    sessions: &[Session],
    rate: usize,
    connections: usize,
    follow: Sender<Follow>,
) -> Vec<Duration> {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(sessions.len())));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..connections {
            let (next, times, follow) = (&next, &times, follow.clone());
            scope.spawn(move || {
                let node = connection % hosts.len();
                let mut wire = Wire::to(hosts[node]);
                while let Some((number, session)) = take(next, sessions) {
                    let due = started + Duration::from_secs_f64(number as f64 / rate as f64);
                    // The pace of the load, and nothing that is waited for.
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let reply = wire.post("/auth/logout", &session.cookie());
                    let done = Instant::now();
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    times.lock().expect("nobody panics in between").push(done - due);
                    if number % FOLLOWED == 0 {
                        follow.send((node, session.clone(), done)).expect("the follower waits for all");
                    }
                }
            });
        }
        drop(follow);
    });
    times.into_inner().expect("nobody panicked")
}

fn take<'s>(next: &AtomicUsize, sessions: &'s [Session]) -> Option<(usize, &'s Session)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    sessions.get(number).map(|session| (number, session))
}

/// Tries each on the two other nodes until it is refused; returns the times that took.
fn follow_closely(hosts: [&str; 3], followed: Receiver<Follow>) -> Vec<Duration> {
    let mut wires = hosts.map(Wire::to);
    let mut lags = Vec::new();
    for (node, session, done) in followed {
        for other in [(node + 1) % 3, (node + 2) % 3] {
            let mut verdict = String::new();
            while verdict != "401 revoked" {
                verdict = wires[other].get("/auth/status", &session.cookie()).verdict();
                assert!(done.elapsed() < Duration::from_secs(60), "node {other} still says {verdict}");
            }
            lags.push(done.elapsed());
        }
    }
    lags
}

/// Tries every session on every node.
fn count_accepted(nodes: &[Server<'_>; 3], sessions: &[Session]) -> usize {
    let hosts = nodes.each_ref().map(|node| node.public.as_str());
    let count = |host: &str| {
        let mut wire = Wire::to(host);
        let verdicts = sessions.iter().map(|session| wire.get("/auth/status", &session.cookie()).verdict());
        verdicts.filter(|verdict| verdict != "401 revoked").count()
    };
    std::thread::scope(|scope| {
        let counting: Vec<_> = hosts.iter().map(|host| scope.spawn(|| count(host))).collect();
        counting.into_iter().map(|one| one.join().expect("all were answered")).sum()
    })
}
