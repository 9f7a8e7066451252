//! Many revocations: the start time and the memory of a node with a million of them, and the propagation of thousands of
//! logouts per second to all nodes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::harness::{Server, Session};
use crate::nodes::{self, QUIET, readyz, resident_kib};
use crate::postgres::Postgres;
use crate::session_factory::SessionFactory;
use crate::wire::Wire;
use crate::{load_permit, reduced_or_stated};

#[tokio::test]
async fn loads_a_million_revocations() {
    let _permit = load_permit().await;
    let count: u32 = reduced_or_stated(50_000, 1_000_000);
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let mut measurements = Vec::new();
    for number in [0, count] {
        nodes::fill(&database, 0, number);
        let started = Instant::now();
        let node = home.start();
        nodes::until_ready(&node).await;
        measurements.push((started.elapsed(), resident_kib(&node)));
        assert_eq!(readyz(&node).await["revocations"], number);
        assert_eq!(node.status(&node.login("alice").await).await, "200");
    }
    let (empty_start, empty_kib) = measurements[0];
    let (full_start, full_kib) = measurements[1];
    println!(
        "{count} live revocations: ready after {full_start:.1?} ({empty_start:.1?} with none), {} MiB resident ({} with none), {} bytes each",
        full_kib / 1024,
        empty_kib / 1024,
        full_kib.saturating_sub(empty_kib) * 1024 / u64::from(count)
    );
}

/// Number of logouts for each logout whose propagation to the other nodes is measured.
const MEASURED_INTERVAL: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn handles_thousands_of_logouts_a_second_on_three_nodes() {
    let _permit = load_permit().await;
    let (rate, seconds, connections) = reduced_or_stated((500, 4, 48), (5_000, 20, 240));
    let database = Postgres::start();
    let home = nodes::home(&database, &[]);
    let nodes = nodes::start_three(&home, &QUIET);
    let hosts = nodes.each_ref().map(|node| node.public.as_str());
    let factory = SessionFactory::new(&home, &database);
    let sessions: Vec<Session> = (0..rate * seconds).map(|_| factory.session().0).collect();
    let (measured_sender, measured_logouts) = channel();
    let (mut times, mut lags, duration) = std::thread::scope(|scope| {
        let follower = scope.spawn(move || measure_lags(hosts, measured_logouts));
        let started = Instant::now();
        let times = sign_out(hosts, &sessions, rate, connections, measured_sender);
        let duration = started.elapsed();
        (times, follower.join().expect("each session was refused"), duration)
    });
    times.sort();
    lags.sort();
    let all = times.len();
    let last = times.len() - 1;
    println!(
        "{all} sign-outs over three nodes in {duration:.1?}, {rate} a second wanted: answered in {:.1?} (median), {:.1?} (99 %), \
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

/// Logout whose propagation is measured: its node, its session, and the time of its response.
type MeasuredLogout = (usize, Session, Instant);

/// Logs all sessions out at the given rate, over `connections` connections, which are distributed over the nodes. Each logout
/// must succeed. Returns the time from the planned start of each logout to its response.
fn sign_out(
    hosts: [&str; 3],
    sessions: &[Session],
    rate: usize,
    connections: usize,
    measured: Sender<MeasuredLogout>,
) -> Vec<Duration> {
    let next = AtomicUsize::new(0);
    let times = Mutex::new(Vec::with_capacity(sessions.len()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..connections {
            let next = &next;
            let times = &times;
            let measured = measured.clone();
            scope.spawn(move || {
                let node = connection % hosts.len();
                let mut wire = Wire::to(hosts[node]);
                while let Some((number, session)) = take(next, sessions) {
                    let due = started + Duration::from_secs_f64(number as f64 / rate as f64);
                    // This sleep sets the rate of the load. It does not wait for a result.
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let reply = wire.post("/auth/logout", &session.cookie());
                    let responded_at = Instant::now();
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    times.lock().expect("no thread panics while it holds the lock").push(responded_at - due);
                    if number % MEASURED_INTERVAL == 0 {
                        measured
                            .send((node, session.clone(), responded_at))
                            .expect("the follower receives until all clients have ended");
                    }
                }
            });
        }
        drop(measured);
    });
    times.into_inner().expect("no thread panicked")
}

fn take<'s>(next: &AtomicUsize, sessions: &'s [Session]) -> Option<(usize, &'s Session)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    sessions.get(number).map(|session| (number, session))
}

/// Checks each session on the two other nodes until it is refused. Returns the time that each refusal took.
fn measure_lags(hosts: [&str; 3], followed: Receiver<MeasuredLogout>) -> Vec<Duration> {
    let mut wires = hosts.map(Wire::to);
    let mut lags = Vec::new();
    for (node, session, done) in followed {
        for other in [(node + 1) % 3, (node + 2) % 3] {
            let mut verdict = String::new();
            while verdict != "401 revoked" {
                verdict = wires[other].get("/auth/status", &session.cookie()).verdict();
                assert!(done.elapsed() < Duration::from_secs(60), "node {other} still returns {verdict}");
            }
            lags.push(done.elapsed());
        }
    }
    lags
}

/// Checks every session on every node. Returns the number of accepted checks.
fn count_accepted(nodes: &[Server<'_>; 3], sessions: &[Session]) -> usize {
    let hosts = nodes.each_ref().map(|node| node.public.as_str());
    let count = |host: &str| {
        let mut wire = Wire::to(host);
        let verdicts = sessions.iter().map(|session| wire.get("/auth/status", &session.cookie()).verdict());
        verdicts.filter(|verdict| verdict != "401 revoked").count()
    };
    std::thread::scope(|scope| {
        let counting: Vec<_> = hosts.iter().map(|host| scope.spawn(|| count(host))).collect();
        counting.into_iter().map(|one| one.join().expect("the thread does not panic")).sum()
    })
}
