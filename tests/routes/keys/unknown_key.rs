//! Tests of tokens that name an unknown key. A request with such a token waits for a read of the key directory, and must not
//! delay other requests.

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

/// Maximum number of waiting requests of one network.
const MAX_WAITING: usize = 64;

/// Returns a token of the same length that names a key that no server has.
pub(super) fn token_of_unknown_key(session: &Session) -> Session {
    let (head, rest) = session.0.split_at(10);
    Session(format!("{}{rest}", if head.ends_with('A') { "AUAAAAAAAB" } else { "AUAAAAAAAA" }))
}

/// Requests that are sent concurrently.
struct Concurrent<'s> {
    pending: Vec<Pin<Box<dyn Future<Output = Response> + 's>>>,
    responses: Vec<Response>,
}

impl<'s> Concurrent<'s> {
    fn new(requests: impl Iterator<Item = RequestBuilder<'s>>) -> Self {
        let pending = requests.map(|request| Box::pin(request.send()) as _).collect();
        Self { pending, responses: Vec::new() }
    }

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

    /// Waits until at most `max_pending` requests are without a response, and returns the responses to the others.
    async fn until_pending(&mut self, max_pending: usize) -> Vec<Response> {
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
    let other = site.another_server().await;
    let session = session_of_new_key(&site, &other).await;
    site.deliver(session.kid(), &other);
    // The server reads at most ten times a second, and a request waits at most one second. With a read for each request, most of
    // them would be refused.
    let mut requests = Concurrent::new((0..MAX_WAITING).map(|_| other.get("/auth/status").session(&session)));
    for response in requests.until_pending(0).await {
        assert_eq!(response.verdict(), "200");
    }
}

/// No other test in this process uses this misspelt rule, so its counter is exact.
#[tokio::test]
async fn a_misspelt_rule_is_counted_once_if_the_check_is_repeated() {
    let site = Site::new().await;
    let unknown = token_of_unknown_key(&site.login("alice").await);
    let count = || MISSPELT_RULES.total(RuleName::Csrf as usize);
    for path in ["/auth/verify?csfr=1", "/auth/verify/-?csfr=1"] {
        let before = count();
        assert_eq!(site.get(path).session(&unknown).send().await.verdict(), "401 invalid");
        assert_eq!(count() - before, 1, "{path}");
    }
}

#[tokio::test]
async fn a_request_rereads_the_keys_only_once() {
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
async fn concurrent_logouts_with_unknown_keys_share_one_query() {
    let site = Site::new().await;
    let unknown = token_of_unknown_key(&site.login("alice").await);
    // Each request waits for at most 5 s. Meanwhile the server queries the store five times.
    let mut requests = Concurrent::new((0..MAX_WAITING).map(|_| site.post("/auth/logout").session(&unknown)));
    for response in requests.until_pending(0).await {
        assert_eq!(response.verdict(), "200", "no server has the key");
    }
}

#[tokio::test]
async fn a_live_session_does_not_wait_for_a_read_of_the_keys() {
    let site = Site::new().await;
    site.stop_background_tasks();
    let session = site.login("alice").await;
    let unknown = token_of_unknown_key(&session);
    for path in ["/auth/status", "/auth/verify", "/auth/renew", "/protected"] {
        let mut others = Concurrent::new((0..16).map(|_| site.get(path).session(&unknown)));
        assert_eq!(others.until_pending(16).await.len(), 0);
        let mut live = Concurrent::new([site.get(path).session(&session)].into_iter());
        poll_fn(|cx| {
            live.poll(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(live.responses.pop().expect("an immediate response").verdict(), "200", "{path}");
    }
}

/// Writer for the log lines of this thread. It records them until the guard of [`Log::begin`] is dropped.
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
async fn requests_that_wait_for_keys_are_limited_per_network() {
    const REQUESTS: usize = 3 * MAX_WAITING;
    let log = Log::default();
    let _logging = log.begin();
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
        let from = |client: &str| site.request(method, path).session(&unknown).header("x-forwarded-for", client);
        let mut flood = Concurrent::new((0..REQUESTS).map(|_| from("192.0.2.1")));
        let refused = flood.until_pending(MAX_WAITING).await;
        assert_eq!(refused.len(), REQUESTS - MAX_WAITING, "{path}");
        for response in refused {
            assert_eq!(
                (response.verdict().as_str(), response.header("retry-after")),
                ("503 busy", Some("1")),
                "{path}"
            );
        }
        assert!(KEY_WAITS_REFUSED.total(0) >= refused_before + (REQUESTS - MAX_WAITING) as u64);
        let page = site.get("/auth/login").session(&unknown).header("x-forwarded-for", "192.0.2.1").send().await;
        assert_eq!(page.status, 200, "the login page is still served");
        let mut other = Concurrent::new([from("192.0.2.2")].into_iter());
        assert_eq!(other.until_pending(1).await.len(), 0, "{path}: a client of another network may wait");
        site.start_background_tasks();
        for response in flood.until_pending(0).await.iter().chain(&other.until_pending(0).await) {
            assert_eq!(response.verdict(), verdict, "{path}");
        }
    }
    assert!(log.text().contains("a request did not wait for its key"), "{}", log.text());
}
