//! Tokens that name a key which nobody has: a request with one waits for a read of the key directory, and slows down nobody else.

use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use salvo::hyper::Request as HyperRequest;

use super::session_of_new_key;
use crate::http;
use crate::metrics::{KEY_WAITS_REFUSED, MISSPELT_RULES, RuleName};
use crate::routes::answer::{Answer, Session};
use crate::routes::fixture::Site;
use crate::routes::request::Ask;

/// Number of requests of one network that may wait.
const MOST: usize = 64;

/// Returns a token of the same length that names a key which nobody has.
pub(super) fn of(session: &Session) -> Session {
    let (head, rest) = session.0.split_at(10);
    Session(format!("{}{rest}", if head.ends_with('A') { "AUAAAAAAAB" } else { "AUAAAAAAAA" }))
}

/// Requests that are made at once.
struct Together<'s> {
    waiting: Vec<Pin<Box<dyn Future<Output = Answer> + 's>>>,
    answers: Vec<Answer>,
}

impl<'s> Together<'s> {
    fn new(requests: impl Iterator<Item = Ask<'s>>) -> Self {
        let waiting = requests.map(|request| Box::pin(request.send()) as _).collect();
        Self { waiting, answers: Vec::new() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        let answers = &mut self.answers;
        self.waiting.retain_mut(|request| match request.as_mut().poll(cx) {
            Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            Poll::Pending => true,
        });
    }

    /// Waits until no more than `most` of them wait, and returns the answers to the others.
    async fn until_waiting(&mut self, most: usize) -> Vec<Answer> {
        poll_fn(|cx| {
            self.poll(cx);
            if self.waiting.len() <= most { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        std::mem::take(&mut self.answers)
    }
}

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_read() {
    let site = Site::new().await;
    let other = site.another_server().await;
    let session = session_of_new_key(&site, &other).await;
    site.deliver(session.kid(), &other);
    // Ten reads a second, and nobody waits for longer than a second: with a read for each, most would be refused.
    let mut all = Together::new((0..MOST).map(|_| other.get("/auth/status").session(&session)));
    for answer in all.until_waiting(0).await {
        assert_eq!(answer.verdict(), "200");
    }
}

/// No other test in this process asks with this one.
#[tokio::test]
async fn a_misspelt_rule_is_counted_once_in_a_question_asked_again() {
    let site = Site::new().await;
    let stranger = of(&site.login("alice").await);
    let count = || MISSPELT_RULES.total(RuleName::Csrf as usize);
    for path in ["/auth/verify?csfr=1", "/auth/verify/-?csfr=1"] {
        let before = count();
        assert_eq!(site.get(path).session(&stranger).send().await.verdict(), "401 invalid");
        assert_eq!(count() - before, 1, "{path}");
    }
}

#[tokio::test]
async fn a_request_has_the_keys_read_again_once() {
    let site = Site::new().await;
    let (head, ()) = HyperRequest::new(()).into_parts();
    let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let context = http::context::Context::new(site.handle.load(), head, peer.into(), 0).into_long_lived();
    let mut first = pin!(context.reread_keys());
    assert!(poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await.is_pending());
    assert_eq!(first.await, Ok(()));
    let mut second = pin!(context.reread_keys());
    assert_eq!(poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx))).await, Poll::Ready(Ok(())));
}

#[tokio::test]
async fn many_sign_outs_with_made_up_keys_share_one_question() {
    let site = Site::new().await;
    let stranger = of(&site.login("alice").await);
    // Each waits for 5 s at most, in which the store is asked five times.
    let mut all = Together::new((0..MOST).map(|_| site.post("/auth/logout").session(&stranger)));
    for answer in all.until_waiting(0).await {
        assert_eq!(answer.verdict(), "200", "nobody has the key");
    }
}

#[tokio::test]
async fn a_live_session_does_not_wait_for_a_read() {
    let site = Site::new().await;
    site.stop_following();
    let session = site.login("alice").await;
    let stranger = of(&session);
    for path in ["/auth/status", "/auth/verify", "/auth/renew", "/protected"] {
        let mut strangers = Together::new((0..16).map(|_| site.get(path).session(&stranger)));
        assert_eq!(strangers.until_waiting(16).await.len(), 0);
        let mut live = Together::new([site.get(path).session(&session)].into_iter());
        poll_fn(|cx| {
            live.poll(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(live.answers.pop().expect("an answer at once").verdict(), "200", "{path}");
    }
}

/// The lines that are logged on this thread while the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(move || log.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_few_of_one_network_wait_and_others_wait_all_the_same() {
    const AT_ONCE: usize = 3 * MOST;
    let log = Log::default();
    let _logging = log.begin();
    for (method, path, usual) in [
        ("POST", "/auth/logout", "200"),
        ("GET", "/auth/verify", "401 invalid"),
        ("GET", "/auth/renew", "401 invalid"),
        ("GET", "/auth/status", "401 invalid"),
    ] {
        let site = Site::with(&["http.trusted_proxies=127.0.0.1"]).await;
        let stranger = of(&site.login("alice").await);
        site.stop_following();
        let refused_before = KEY_WAITS_REFUSED.total(0);
        let from = |visitor: &str| site.request(method, path).session(&stranger).header("x-forwarded-for", visitor);
        let mut flood = Together::new((0..AT_ONCE).map(|_| from("192.0.2.1")));
        let refused = flood.until_waiting(MOST).await;
        assert_eq!(refused.len(), AT_ONCE - MOST, "{path}");
        for answer in refused {
            assert_eq!((answer.verdict().as_str(), answer.header("retry-after")), ("503 busy", Some("1")), "{path}");
        }
        assert!(KEY_WAITS_REFUSED.total(0) >= refused_before + (AT_ONCE - MOST) as u64);
        let page = site.get("/auth/login").session(&stranger).header("x-forwarded-for", "192.0.2.1").send().await;
        assert_eq!(page.status, 200, "there is a page to sign in");
        let mut other = Together::new([from("192.0.2.2")].into_iter());
        assert_eq!(other.until_waiting(1).await.len(), 0, "{path}: another visitor is let wait");
        site.follow();
        for answer in flood.until_waiting(0).await.iter().chain(&other.until_waiting(0).await) {
            assert_eq!(answer.verdict(), usual, "{path}");
        }
    }
    assert!(log.text().contains("a request did not wait for its key"), "{}", log.text());
}
