//! A steady load of logins, session checks and logouts on all nodes, and a record of the responses and their times.
//!
//! Some properties must hold during every fault. They are asserted for each response. A live session is accepted, or the
//! response is 503 `stale`, but the session is never refused as revoked or expired. A logged-out session is refused at once on
//! the node of the logout.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::harness::{PASSWORD, Response, Server, Session, client};
use crate::reduced_or_stated;

/// Host name of all requests. It is the same for all nodes, so that they share the sessions.
const HOST: &str = "app.example.com";
/// Setting for this host name.
pub(crate) const ORIGIN: &str = "http.public_origins=https://app.example.com";
/// Number of clients that log in and out.
const CLIENTS: usize = 8;
/// Delay between two rounds of a client.
const ROUND_DELAY: Duration = Duration::from_millis(50);
/// Delay after a login that the node refused.
const REFUSED_DELAY: Duration = Duration::from_millis(400);
/// Delay between two requests of a watcher, a task that checks a live session.
const WATCH_DELAY: Duration = Duration::from_millis(20);
/// Time limit of a session check, which does not wait for the store.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of a request that waits for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(15);

/// Request to a node, and its response.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) node: usize,
    pub(crate) begun: Instant,
    pub(crate) answered: Instant,
    pub(crate) verdict: String,
}

/// Logout, and later requests with the logged-out session.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) session: Session,
    pub(crate) sign_out: Exchange,
    /// Later requests with the session.
    pub(crate) replays: Vec<Exchange>,
}

/// Record of all requests of the load.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Checks of a session that stays live during the whole test.
    pub(crate) checks: Vec<Exchange>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) sign_ins: Vec<Exchange>,
}

/// State that the tasks of the load share.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    /// Spare sessions, which the clients log out while no login succeeds.
    spare_sessions: Mutex<Vec<Session>>,
    signed_out: AtomicUsize,
    not_durable: AtomicUsize,
}

impl Progress {
    fn spare_sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.spare_sessions.lock().expect("no thread panics while it holds the lock")
    }
}

/// Load that is running.
pub(crate) struct Load {
    nodes: Arc<[String]>,
    progress: Arc<Progress>,
    tasks: Vec<JoinHandle<Record>>,
    live: Session,
}

impl Load {
    /// Starts the load, and waits until some logouts have succeeded.
    pub(crate) async fn start(nodes: &[Server<'_>]) -> Self {
        let nodes: Arc<[String]> = nodes.iter().map(|node| node.public.clone()).collect();
        let progress = Arc::new(Progress::default());
        let (_, live) = sign_in(&nodes, 0).await;
        let live = live.expect("there is no fault yet");
        for _ in 0..reduced_or_stated(80, 500) {
            let (_, session) = sign_in(&nodes, 0).await;
            progress.spare_sessions().extend(session);
        }
        let watchers =
            (0..nodes.len()).map(|node| tokio::spawn(watch(nodes.clone(), progress.clone(), node, live.clone())));
        let clients =
            (0..CLIENTS).map(|client_number| tokio::spawn(run_client(nodes.clone(), progress.clone(), client_number)));
        let tasks = watchers.chain(clients).collect();
        let load = Self { nodes, progress, tasks, live };
        load.until_signed_out(4 * CLIENTS).await;
        load
    }

    /// Waits until `more` additional logouts have succeeded.
    pub(crate) async fn until_signed_out(&self, more: usize) {
        let goal = self.progress.signed_out.load(Ordering::Relaxed) + more;
        self.wait_until("logouts succeed", || self.progress.signed_out.load(Ordering::Relaxed) >= goal).await;
    }

    /// Returns the number of logouts with the response 503.
    pub(crate) fn not_durable(&self) -> usize {
        self.progress.not_durable.load(Ordering::Relaxed)
    }

    /// Waits until more than `than` logouts have got the response 503.
    pub(crate) async fn until_not_durable(&self, than: usize) {
        self.wait_until("a logout gets the response 503", || self.not_durable() > than).await;
    }

    /// Waits until this node returns this verdict for the live session.
    pub(crate) async fn until_live_session_is(&self, node: usize, verdict: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while status(&self.nodes, node, &self.live).await.verdict != verdict {
            assert!(Instant::now() < deadline && !self.any_has_ended(), "node {node} never returns {verdict}");
        }
    }

    async fn wait_until(&self, what: &str, reached: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !reached() {
            assert!(Instant::now() < deadline && !self.any_has_ended(), "time limit exceeded: {what}");
            tokio::time::sleep(WATCH_DELAY).await;
        }
    }

    /// Returns whether a task has ended. A task that ends before it is stopped has panicked.
    fn any_has_ended(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    pub(crate) async fn stop(self) -> Record {
        self.progress.stop.store(true, Ordering::Relaxed);
        let mut record = Record::default();
        for task in self.tasks {
            let part = task.await.expect("no assertion of the task failed");
            record.checks.extend(part.checks);
            record.endings.extend(part.endings);
            record.sign_ins.extend(part.sign_ins);
        }
        record
    }
}

/// Checks the live session on one node, until the load is stopped.
async fn watch(nodes: Arc<[String]>, progress: Arc<Progress>, node: usize, live: Session) -> Record {
    let mut record = Record::default();
    while !progress.stop.load(Ordering::Relaxed) {
        let check = status(&nodes, node, &live).await;
        assert!(["200", "503 stale"].contains(&check.verdict.as_str()), "a live session: {check:?}");
        record.checks.push(check);
        tokio::time::sleep(WATCH_DELAY).await;
    }
    record
}

/// Repeats, until the load is stopped: logs in, checks the session on all nodes, logs out, and checks logged-out sessions on
/// all nodes.
async fn run_client(nodes: Arc<[String]>, progress: Arc<Progress>, client_number: usize) -> Record {
    let mut record = Record::default();
    for round in client_number.. {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(ROUND_DELAY).await;
        let (sign_in, session) = sign_in(&nodes, round % nodes.len()).await;
        record.sign_ins.push(sign_in);
        if session.is_none() {
            tokio::time::sleep(REFUSED_DELAY).await;
        }
        let Some(session) = session.or_else(|| progress.spare_sessions().pop()) else { continue };
        for node in 0..nodes.len() {
            let check = status(&nodes, node, &session).await;
            assert!(["200", "503 stale"].contains(&check.verdict.as_str()), "before the logout: {check:?}");
        }
        let sign_out = sign_out(&nodes, round / nodes.len() % nodes.len(), &session).await;
        match sign_out.verdict.as_str() {
            "200" => progress.signed_out.fetch_add(1, Ordering::Relaxed),
            "503 not-durable" => progress.not_durable.fetch_add(1, Ordering::Relaxed),
            _ => panic!("a sign-out: {sign_out:?}"),
        };
        record.endings.push(Ending { session, sign_out, replays: Vec::new() });
        // Check the latest logged-out session, and one of the earlier ones.
        let latest = record.endings.len() - 1;
        let other = round % record.endings.len();
        for ending in [latest, other] {
            for node in 0..nodes.len() {
                let ending = &mut record.endings[ending];
                let replay = status(&nodes, node, &ending.session).await;
                let is_revoked = replay.verdict == "401 revoked";
                assert!(
                    is_revoked || node != ending.sign_out.node,
                    "accepted on the node of its logout: {replay:?} {ending:?}"
                );
                ending.replays.push(replay);
            }
        }
    }
    record
}

async fn sign_in(nodes: &[String], node: usize) -> (Exchange, Option<Session>) {
    let body = Server::login_body("alice", PASSWORD);
    let request = client().post(format!("http://{}/auth/login", nodes[node])).json(&body);
    let (exchange, answer) = send(request, node, STORE_TIMEOUT).await;
    assert!(exchange.verdict == "200" || exchange.verdict.starts_with("503 "), "a sign-in: {exchange:?}");
    (exchange, answer.session)
}

async fn sign_out(nodes: &[String], node: usize, session: &Session) -> Exchange {
    let request = client().post(format!("http://{}/auth/logout", nodes[node])).header("cookie", session.cookie());
    send(request, node, STORE_TIMEOUT).await.0
}

async fn status(nodes: &[String], node: usize, session: &Session) -> Exchange {
    let request = client().get(format!("http://{}/auth/status", nodes[node])).header("cookie", session.cookie());
    send(request, node, CHECK_TIMEOUT).await.0
}

async fn send(request: reqwest::RequestBuilder, node: usize, timeout: Duration) -> (Exchange, Response) {
    let begun = Instant::now();
    let answer = Response::of(request.header("host", HOST).send().await.expect("a response")).await;
    let exchange = Exchange { node, begun, answered: Instant::now(), verdict: answer.verdict() };
    assert!(exchange.answered - begun < timeout, "the response was too late: {exchange:?}");
    (exchange, answer)
}

/// Waits until each node refuses the session.
pub(crate) async fn until_revoked(session: &Session, nodes: &[Server<'_>]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let addresses: Vec<String> = nodes.iter().map(|node| node.public.clone()).collect();
    for node in 0..addresses.len() {
        while status(&addresses, node, session).await.verdict != "401 revoked" {
            assert!(Instant::now() < deadline, "node {node} accepts a logged-out session");
        }
    }
}
