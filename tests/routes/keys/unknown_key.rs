//! Tests of tokens whose key id names an unknown key. A request with such a token waits until the server has read the key
//! directory again. A logout also queries the store. The waiting requests must not delay other requests.

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
use crate::routes::fixture::Site;
use crate::routes::request::RequestBuilder;
use crate::routes::response::{Response, Session};

/// Maximum number of requests of one network that wait for a key.
const MAX_WAITING_PER_NETWORK: usize = 64;

/// Returns a token of the same length that names a key that no server has.
///
/// Replaces the first ten characters. They encode the version, which stays 1, and the first bits of the key id. There are two
/// replacements, so that one of them differs from the original.
pub(super) fn token_of_unknown_key(session: &Session) -> Session {
    let (head, rest) = session.0.split_at("AUAAAAAAAA".len());
    Session(format!("{}{rest}", if head.ends_with('A') { "AUAAAAAAAB" } else { "AUAAAAAAAA" }))
}

/// Requests that are sent concurrently.
struct Concurrent<'s> {
    pending: Vec<Pin<Box<dyn Future<Output = Response> + 's>>>,
    responses: Vec<Response>,
}

impl<'s> Concurrent<'s> {
    /// Prepares the requests. They are sent at the first poll.
    fn new(requests: impl Iterator<Item = RequestBuilder<'s>>) -> Self {
        let pending = requests.map(|request| Box::pin(request.send()) as _).collect();
        Self { pending, responses: Vec::new() }
    }

    /// Polls every request without a response once, and collects the responses.
    fn poll(&mut self, cx: &mut Context<'_>) {
        let responses = &mut self.responses;
        self.pending.retain_mut(|request| match request.as_mut().poll(cx) {
            Poll::Ready(response) => {
                responses.push(response);
                false
            }
            Poll::Pending => true,
        });
    }

    /// Waits until at most `max_pending` requests are without a response. Returns the responses that no earlier call has
    /// returned.
    async fn wait_until_pending(&mut self, max_pending: usize) -> Vec<Response> {
        poll_fn(|cx| {
            self.poll(cx);
            if self.pending.len() <= max_pending { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        std::mem::take(&mut self.responses)
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_read_of_the_keys() {
    let site = Site::new().await;
    let other_server = site.another_server().await;
    let session = session_of_new_key(&site, &other_server).await;
    site.deliver(session.kid(), &other_server);
    // The server reads the key directory at most ten times a second, and a request waits at most one second. If each request
    // needed its own read, most requests would be refused.
    let mut requests =
        Concurrent::new((0..MAX_WAITING_PER_NETWORK).map(|_| other_server.get("/auth/status").session(&session)));
    for response in requests.wait_until_pending(0).await {
        assert_eq!(response.verdict(), "200");
    }
}

/// The request with an unknown key is checked again after the keys were read. No other test in this process uses this misspelt
/// rule, so its counter is exact.
#[tokio::test]
async fn a_misspelt_rule_is_counted_once_if_the_check_is_repeated() {
    let site = Site::new().await;
    let unknown = token_of_unknown_key(&site.login("alice").await);
    let misspelt_count = || MISSPELT_RULES.total(RuleName::Csrf as usize);
    for path in ["/auth/verify?csfr=1", "/auth/verify/-?csfr=1"] {
        let count_before = misspelt_count();
        assert_eq!(site.get(path).session(&unknown).send().await.verdict(), "401 invalid");
        assert_eq!(misspelt_count() - count_before, 1, "{path}");
    }
}

#[tokio::test]
async fn a_request_rereads_the_keys_only_once() {
    let site = Site::new().await;
    let (head, ()) = HyperRequest::new(()).into_parts();
    let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let context = http::context::Context::new(site.handle.load(), head, peer.into(), 0).into_long_lived();
    // The first call waits for a read of the keys. The second call of the same request returns at once.
    let mut first = pin!(context.reread_keys());
    assert!(poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await.is_pending());
    assert_eq!(first.await, Ok(()));
    let mut second = pin!(context.reread_keys());
    assert_eq!(poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx))).await, Poll::Ready(Ok(())));
}

#[tokio::test]
async fn concurrent_logouts_with_unknown_keys_share_one_query() {
    let site = Site::new().await;
    let unknown = token_of_unknown_key(&site.login("alice").await);
    // Each request waits for at most 5 s. In this time the server makes only about five queries, so the requests must share them.
    let mut requests =
        Concurrent::new((0..MAX_WAITING_PER_NETWORK).map(|_| site.post("/auth/logout").session(&unknown)));
    for response in requests.wait_until_pending(0).await {
        assert_eq!(response.verdict(), "200", "a logout succeeds if no server has the key");
    }
}

#[tokio::test]
async fn a_live_session_does_not_wait_for_a_read_of_the_keys() {
    let site = Site::new().await;
    // Without the background tasks, the keys are not read, so requests with an unknown key stay pending.
    site.stop_background_tasks();
    let session = site.login("alice").await;
    let unknown = token_of_unknown_key(&session);
    for path in ["/auth/status", "/auth/verify", "/auth/renew", "/protected"] {
        let mut with_unknown_key = Concurrent::new((0..16).map(|_| site.get(path).session(&unknown)));
        assert_eq!(with_unknown_key.wait_until_pending(16).await.len(), 0);
        let mut with_live_session = Concurrent::new([site.get(path).session(&session)].into_iter());
        poll_fn(|cx| {
            with_live_session.poll(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(
            with_live_session.responses.pop().expect("the response is ready after one poll").verdict(),
            "200",
            "{path}"
        );
    }
}

/// Writer that records log lines in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Records the log lines of this thread until the returned guard is dropped.
    fn record_this_thread(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(move || log.clone()).finish())
    }

    /// Returns the recorded log lines.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no thread panicked while it held the lock")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no thread panicked while it held the lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn requests_that_wait_for_keys_are_limited_per_network() {
    const REQUESTS: usize = 3 * MAX_WAITING_PER_NETWORK;
    let log = Log::default();
    let _guard = log.record_this_thread();
    for (method, path, verdict) in [
        ("POST", "/auth/logout", "200"),
        ("GET", "/auth/verify", "401 invalid"),
        ("GET", "/auth/renew", "401 invalid"),
        ("GET", "/auth/status", "401 invalid"),
    ] {
        let site = Site::with(&["http.trusted_proxies=127.0.0.1"]).await;
        let unknown = token_of_unknown_key(&site.login("alice").await);
        site.stop_background_tasks();
        let refused_before = KEY_WAITS_REFUSED.total(0);
        let request_from =
            |client: &str| site.request(method, path).session(&unknown).header("x-forwarded-for", client);
        let mut same_network = Concurrent::new((0..REQUESTS).map(|_| request_from("192.0.2.1")));
        let refused = same_network.wait_until_pending(MAX_WAITING_PER_NETWORK).await;
        assert_eq!(refused.len(), REQUESTS - MAX_WAITING_PER_NETWORK, "{path}");
        for response in refused {
            assert_eq!(
                (response.verdict().as_str(), response.header("retry-after")),
                ("503 busy", Some("1")),
                "{path}"
            );
        }
        assert!(KEY_WAITS_REFUSED.total(0) >= refused_before + (REQUESTS - MAX_WAITING_PER_NETWORK) as u64);
        let page = site.get("/auth/login").session(&unknown).header("x-forwarded-for", "192.0.2.1").send().await;
        assert_eq!(page.status, 200, "the login page is still served");
        let mut other_network = Concurrent::new([request_from("192.0.2.2")].into_iter());
        assert_eq!(other_network.wait_until_pending(1).await.len(), 0, "{path}: a client of another network may wait");
        // The background tasks read the keys, so the waiting requests get their responses.
        site.start_background_tasks();
        for response in
            same_network.wait_until_pending(0).await.iter().chain(&other_network.wait_until_pending(0).await)
        {
            assert_eq!(response.verdict(), verdict, "{path}");
        }
    }
    assert!(log.text().contains("a request did not wait for its key"), "{}", log.text());
}
