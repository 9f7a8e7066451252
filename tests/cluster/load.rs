//! A steady load of sign-ins, verifications and sign-outs on all nodes, and a record of what was answered and when.
//!
//! What may never happen, whatever befalls the nodes or the store, is asserted as it is answered: a live session is accepted or not
//! vouched for, but never refused; a session is dead at once where it was signed out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::harness::{Answer, PASSWORD, Server, Session, client};
use crate::reduced_or_stated;

/// Under this name all nodes are asked, wherever they are, so that they share their sessions.
const HOST: &str = "app.example.com";
/// The setting that goes with it.
pub(crate) const ORIGIN: &str = "http.public_origins=https://app.example.com";
const VISITORS: usize = 8;
/// Between two visits of a visitor.
const PACE: Duration = Duration::from_millis(50);
/// After a sign-in that the node could not take.
const PACE_WHEN_REFUSED: Duration = Duration::from_millis(400);
/// Between two questions of a watcher.
const WATCH: Duration = Duration::from_millis(20);
/// Within these, and not only in the end, is answered: a verification, which waits for nothing; what waits for the store.
const PROMPT: Duration = Duration::from_secs(2);
const BOUNDED: Duration = Duration::from_secs(15);

/// A question to a node, and the answer.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) begun: Instant,
    pub(crate) answered: Instant,
    pub(crate) verdict: String,
}

/// A session that was signed out, and what became of it.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) session: Session,
    pub(crate) sign_out: Asked,
    pub(crate) replays: Vec<Asked>,
}

/// All that was answered.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Of sessions that lived all the while.
    pub(crate) checks: Vec<Asked>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) sign_ins: Vec<Asked>,
}

/// How far the load has come.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    /// Sessions to sign out when none can begin.
    stock: Mutex<Vec<Session>>,
    signed_out: AtomicUsize,
    not_durable: AtomicUsize,
}

impl Progress {
    fn stock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.stock.lock().expect("nobody panics in between")
    }
}

/// The load, until it is stopped.
pub(crate) struct Load {
    nodes: Arc<[String]>,
    progress: Arc<Progress>,
    tasks: Vec<JoinHandle<Record>>,
    live: Session,
}

impl Load {
    /// Begins, and returns when the load is under way.
    pub(crate) async fn start(nodes: &[Server<'_>]) -> Self {
        let nodes: Arc<[String]> = nodes.iter().map(|node| node.public.clone()).collect();
        let progress = Arc::new(Progress::default());
        let (_, live) = sign_in(&nodes, 0).await;
        let live = live.expect("nothing has befallen the nodes yet");
        for _ in 0..reduced_or_stated(80, 500) {
            let (_, session) = sign_in(&nodes, 0).await;
            progress.stock().extend(session);
        }
        let watchers =
            (0..nodes.len()).map(|node| tokio::spawn(watch(nodes.clone(), progress.clone(), node, live.clone())));
        let visitors = (0..VISITORS).map(|visitor| tokio::spawn(visit(nodes.clone(), progress.clone(), visitor)));
        let tasks = watchers.chain(visitors).collect();
        let load = Self { nodes, progress, tasks, live };
        load.until_signed_out(4 * VISITORS).await;
        load
    }

    /// Waits for so many more sign-outs that are answered with success.
    pub(crate) async fn until_signed_out(&self, more: usize) {
        let goal = self.progress.signed_out.load(Ordering::Relaxed) + more;
        self.until("sign-outs succeed", || self.progress.signed_out.load(Ordering::Relaxed) >= goal).await;
    }

    /// How many sign-outs were answered with 503.
    pub(crate) fn not_durable(&self) -> usize {
        self.progress.not_durable.load(Ordering::Relaxed)
    }

    /// Waits until there are more than so many.
    pub(crate) async fn until_not_durable(&self, than: usize) {
        self.until("a sign-out is told to fail", || self.not_durable() > than).await;
    }

    /// Waits until this node answers so for a session that lives.
    pub(crate) async fn until_live_session_is(&self, node: usize, verdict: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while status(&self.nodes, node, &self.live).await.verdict != verdict {
            assert!(Instant::now() < deadline && !self.any_has_ended(), "node {node} never answers {verdict}");
        }
    }

    async fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !reached() {
            assert!(Instant::now() < deadline && !self.any_has_ended(), "waited in vain: {what}");
            tokio::time::sleep(WATCH).await;
        }
    }

    /// A task that ends before it is stopped has panicked.
    fn any_has_ended(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    pub(crate) async fn stop(self) -> Record {
        self.progress.stop.store(true, Ordering::Relaxed);
        let mut record = Record::default();
        for task in self.tasks {
            let part = task.await.expect("no answer was one that may never be");
            record.checks.extend(part.checks);
            record.endings.extend(part.endings);
            record.sign_ins.extend(part.sign_ins);
        }
        record
    }
}

/// Asks one node again and again about a session that lives.
async fn watch(nodes: Arc<[String]>, progress: Arc<Progress>, node: usize, live: Session) -> Record {
    let mut record = Record::default();
    while !progress.stop.load(Ordering::Relaxed) {
        let check = status(&nodes, node, &live).await;
        assert!(["200", "503 stale"].contains(&check.verdict.as_str()), "a live session: {check:?}");
        record.checks.push(check);
        tokio::time::sleep(WATCH).await;
    }
    record
}

/// Signs in, is verified everywhere, signs out, and tries the cookie again, everywhere and for long.
async fn visit(nodes: Arc<[String]>, progress: Arc<Progress>, visitor: usize) -> Record {
    let mut record = Record::default();
    for round in visitor.. {
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(PACE).await;
        let (sign_in, session) = sign_in(&nodes, round % nodes.len()).await;
        record.sign_ins.push(sign_in);
        if session.is_none() {
            tokio::time::sleep(PACE_WHEN_REFUSED).await;
        }
        let Some(session) = session.or_else(|| progress.stock().pop()) else { continue };
        for node in 0..nodes.len() {
            let check = status(&nodes, node, &session).await;
            assert!(["200", "503 stale"].contains(&check.verdict.as_str()), "not signed out yet: {check:?}");
        }
        let sign_out = sign_out(&nodes, round / nodes.len() % nodes.len(), &session).await;
        match sign_out.verdict.as_str() {
            "200" => progress.signed_out.fetch_add(1, Ordering::Relaxed),
            "503 not-durable" => progress.not_durable.fetch_add(1, Ordering::Relaxed),
            _ => panic!("a sign-out: {sign_out:?}"),
        };
        record.endings.push(Ending { session, sign_out, replays: Vec::new() });
        // The newest, and in turn all those before.
        let (newest, other) = (record.endings.len() - 1, round % record.endings.len());
        for ending in [newest, other] {
            for node in 0..nodes.len() {
                let ending = &mut record.endings[ending];
                let replay = status(&nodes, node, &ending.session).await;
                let dead = replay.verdict == "401 revoked";
                assert!(dead || node != ending.sign_out.node, "alive where it was signed out: {replay:?} {ending:?}");
                ending.replays.push(replay);
            }
        }
    }
    record
}

async fn sign_in(nodes: &[String], node: usize) -> (Asked, Option<Session>) {
    let body = Server::login_body("alice", PASSWORD);
    let request = client().post(format!("http://{}/auth/login", nodes[node])).json(&body);
    let (asked, answer) = ask(request, node, BOUNDED).await;
    assert!(asked.verdict == "200" || asked.verdict.starts_with("503 "), "a sign-in: {asked:?}");
    (asked, answer.session)
}

async fn sign_out(nodes: &[String], node: usize, session: &Session) -> Asked {
    let request = client().post(format!("http://{}/auth/logout", nodes[node])).header("cookie", session.cookie());
    ask(request, node, BOUNDED).await.0
}

async fn status(nodes: &[String], node: usize, session: &Session) -> Asked {
    let request = client().get(format!("http://{}/auth/status", nodes[node])).header("cookie", session.cookie());
    ask(request, node, PROMPT).await.0
}

async fn ask(request: reqwest::RequestBuilder, node: usize, within: Duration) -> (Asked, Answer) {
    let begun = Instant::now();
    let answer = Answer::of(request.header("host", HOST).send().await.expect("an answer")).await;
    let asked = Asked { node, begun, answered: Instant::now(), verdict: answer.verdict() };
    assert!(asked.answered - begun < within, "answered too late: {asked:?}");
    (asked, answer)
}

/// Asks all nodes again and again until each refuses the session.
pub(crate) async fn until_dead(session: &Session, nodes: &[Server<'_>]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let addresses: Vec<String> = nodes.iter().map(|node| node.public.clone()).collect();
    for node in 0..addresses.len() {
        while status(&addresses, node, session).await.verdict != "401 revoked" {
            assert!(Instant::now() < deadline, "node {node} does not learn that a session was signed out");
        }
    }
}
