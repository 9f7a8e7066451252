//! Memory and timeouts of HTTP/2 requests and responses.

use salvo::http::ResBody;
use salvo::hyper::body::{Body, Bytes, Frame};
use salvo::hyper::{Request as HyperRequest, Response as HyperResponse};

use super::super::exchange::{ConnectionTracker, Exchange};
use super::*;

const KIB: usize = 1024;
/// Number of requests that are just above the limit of 32 MiB. Each request counts 24 KiB.
pub(super) const TOO_MANY_REQUESTS: usize = 1366;

/// Adds a connection whose client uses HTTP/2.
pub(super) fn add(connections: &Arc<Connections>, peer: conn::SocketAddr) -> (Connection, Arc<ConnectionTracker>) {
    let connection = connections.add(&peer);
    let tracker = connection.tracker();
    connection.record_read();
    tracker.mark_http2();
    (connection, tracker)
}

fn request() -> HyperRequest<()> {
    HyperRequest::new(())
}

/// Returns the frames of a response, which hyper would keep until the client takes them.
async fn frames(exchange: Exchange, body: impl Into<ResBody>) -> Vec<Frame<Bytes>> {
    let mut body = exchange.attach_to(HyperResponse::new(body.into())).into_body();
    let mut frames = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        frames.push(frame.expect("these bodies do not fail"));
    }
    frames
}

/// Returns the counted memory of open connections.
pub(super) fn held_bytes(connections: &Connections) -> usize {
    connections.held_bytes.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_response_counts_until_its_last_bytes_are_dropped() {
    let connections = connections(9);
    let (_connection, tracker) = add(&connections, peer(1));
    for (body, lengths) in [
        (ResBody::from(b"page".as_slice()), vec![4]),
        (ResBody::from(""), vec![0]),
        (ResBody::None, vec![0]),
        (ResBody::Chunks([Bytes::from_static(b"pa"), Bytes::from_static(b"ge")].into()), vec![2, 2]),
    ] {
        let mut taken = frames(tracker.begin(&request()), body).await;
        let sizes: Vec<_> = taken.iter().map(|frame| frame.data_ref().expect("no trailers").len()).collect();
        assert_eq!(sizes, lengths);
        assert!(held_bytes(&connections) >= 4 * KIB);
        let last = taken.pop().expect("at least one frame");
        taken.clear();
        assert!(held_bytes(&connections) >= 4 * KIB, "the last frame keeps the entry");
        drop(last);
        assert_eq!(held_bytes(&connections), 0);
    }
    drop(tracker.begin(&request()).attach_to(HyperResponse::new(ResBody::from("not sent at all"))));
    drop(tracker.begin(&request()));
    assert_eq!(held_bytes(&connections), 0);
}

#[tokio::test]
async fn closes_a_client_that_does_not_take_a_whole_response() {
    let connections = connections(9);
    let start = connections.now_ms.load(Ordering::Relaxed);
    let advance_to = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [(never, never_tracker), (taking, tracker)] = [1, 2].map(|port| add(&connections, peer(port)));
    let _never_taken = frames(never_tracker.begin(&request()), "page").await;
    let taken = frames(tracker.begin(&request()), "page").await;
    advance_to(20);
    drop(taken);
    let _next = frames(tracker.begin(&request()), "page").await;
    // Neither bytes on the socket nor other responses that are taken prevent the close.
    never.record_read();
    never.record_write();
    drop(frames(never_tracker.begin(&request()), "page").await);
    advance_to(32);
    assert!(never.slot.is_closing() && !taking.slot.is_closing());
    advance_to(52);
    assert!(taking.slot.is_closing());
}

#[tokio::test]
async fn only_requests_and_taken_responses_are_activity() {
    let connections = connections(9);
    let start = connections.now_ms.load(Ordering::Relaxed);
    let advance_to = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [(pinging, _), (requesting, tracker), (waiting, waiting_tracker)] =
        [1, 2, 3].map(|port| add(&connections, peer(port)));
    let open_exchange = waiting_tracker.begin(&request());
    advance_to(70);
    pinging.record_read();
    pinging.record_write();
    drop(frames(tracker.begin(&request()), "page").await);
    advance_to(77);
    assert!(pinging.slot.is_closing());
    advance_to(140);
    assert!(!requesting.slot.is_closing() && !waiting.slot.is_closing());
    drop(open_exchange);
    advance_to(148);
    assert!(requesting.slot.is_closing() && !waiting.slot.is_closing());
    advance_to(217);
    assert!(waiting.slot.is_closing());
}

#[tokio::test]
async fn a_taken_response_shortens_the_wait_but_a_pong_does_not() {
    let connections = connections(2);
    let [(pinging, _), (requesting, tracker)] = [1, 2].map(|port| add(&connections, peer(port)));
    drop(frames(tracker.begin(&request()), "page").await);
    pinging.record_write();
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1));
    assert!(pinging.slot.is_closing() && !requesting.slot.is_closing());
}

#[tokio::test]
async fn above_32_mib_of_responses_closes_the_oldest() {
    const PAGE_BYTES: usize = 28 * KIB;
    let connections = connections(99);
    let page = || "x".repeat(PAGE_BYTES);
    let [(first, first_tracker), (second, second_tracker)] = [1, 2].map(|port| add(&connections, peer(port)));
    // The first connection's first response was taken, so the second connection has the oldest entry.
    drop(frames(first_tracker.begin(&request()), page()).await);
    let _second_response = frames(second_tracker.begin(&request()), page()).await;
    let mut waiting = Vec::new();
    for _ in 0..1023 {
        waiting.push(frames(first_tracker.begin(&request()), page()).await);
    }
    assert!(!first.slot.is_closing() && !second.slot.is_closing(), "{}", held_bytes(&connections));
    let (third, third_tracker) = add(&connections, peer(3));
    let last = frames(third_tracker.begin(&request()), page()).await;
    assert!(second.slot.is_closing() && !first.slot.is_closing() && !third.slot.is_closing());
    waiting.push(frames(second_tracker.begin(&request()), page()).await);
    assert!(!first.slot.is_closing(), "connections that are being closed do not count here");
    waiting.push(frames(third_tracker.begin(&request()), page()).await);
    assert!(first.slot.is_closing() && !third.slot.is_closing());
    drop((waiting, last, _second_response));
    assert_eq!(held_bytes(&connections), 0);
}

#[tokio::test]
async fn a_request_counts_with_its_head_until_its_response() {
    let connections = connections(9);
    let start = connections.now_ms.load(Ordering::Relaxed);
    let advance_to = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let (connection, tracker) = add(&connections, peer(1));
    let mut long = request();
    long.headers_mut().insert("cookie", "x".repeat(20 * KIB).parse().expect("visible ASCII"));
    let exchanges = [tracker.begin(&request()), tracker.begin(&long)];
    assert!((68 * KIB..69 * KIB).contains(&held_bytes(&connections)), "{}", held_bytes(&connections));
    // The stall timeout does not apply to a request without a response: its body has a separate timeout.
    advance_to(60);
    assert!(!connection.slot.is_closing());
    let [short, long] = exchanges;
    drop(short);
    let response = frames(long, "page").await;
    assert!((4 * KIB..5 * KIB).contains(&held_bytes(&connections)), "{}", held_bytes(&connections));
    advance_to(89);
    assert!(!connection.slot.is_closing(), "the stall timeout begins with the response, not with the request");
    advance_to(92);
    assert!(connection.slot.is_closing());
    drop(response);
    assert_eq!(held_bytes(&connections), 0);
}

#[tokio::test]
async fn requests_and_responses_share_one_memory_limit() {
    let connections = connections(9);
    let [(first, first_tracker), (second, second_tracker), (third, third_tracker)] =
        [1, 2, 3].map(|port| add(&connections, peer(port)));
    let _request = first_tracker.begin(&request());
    let _response = frames(second_tracker.begin(&request()), "page").await;
    let many: Vec<_> = (0..1365).map(|_| third_tracker.begin(&request())).collect();
    assert!(first.slot.is_closing() && !second.slot.is_closing() && !third.slot.is_closing());
    let _more = third_tracker.begin(&request());
    assert!(second.slot.is_closing() && third.slot.is_closing(), "closing one connection was not enough");
    drop(many);
}

/// Creates connections of a listener for which [`peer`] is a trusted proxy.
pub(super) fn behind_proxy() -> Arc<Connections> {
    let mut proxies = TrustedProxies::default();
    proxies.add("192.0.2.1").expect("an address");
    Connections::new(99, IDLE_TIMEOUT, proxies)
}

/// Returns the address of a client, which is not a trusted proxy of the listener of [`behind_proxy`].
pub(super) fn client(port: u16) -> conn::SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], port)).into()
}

/// Begins `count` requests on a connection. Each counts 24 KiB.
pub(super) fn begin_requests(tracker: &Arc<ConnectionTracker>, count: usize) -> Vec<Exchange> {
    (0..count).map(|_| tracker.begin(&request())).collect()
}

#[test]
fn closes_proxies_last_and_never_small_busy_connections() {
    let connections = behind_proxy();
    let (proxy, proxy_tracker) = add(&connections, peer(1));
    let clients = [1, 2, 3, 4].map(|port| add(&connections, client(port)));
    let [(working, working_tracker), (large, large_tracker), (small, small_tracker), (other, other_tracker)] = &clients;
    let are_closing =
        || [large, small, other, &proxy, working].map(|connection| u8::from(connection.slot.is_closing()));
    let _work = [1, 2].map(|port| connections.begin_work(&client(port)));
    let _requests = [
        begin_requests(&proxy_tracker, 100),
        begin_requests(working_tracker, 4),
        begin_requests(large_tracker, 1200),
        begin_requests(small_tracker, 4),
    ];
    assert_eq!(are_closing(), [0, 0, 0, 0, 0]);
    let _other = begin_requests(other_tracker, 100);
    assert_eq!(
        are_closing(),
        [1, 0, 0, 0, 0],
        "`large` has the oldest request of the connections that are not protected: it uses too much memory"
    );
    let _requests_of_proxy = begin_requests(&proxy_tracker, 1158);
    assert_eq!(are_closing(), [1, 1, 0, 0, 0]);
    let _more = begin_requests(&proxy_tracker, 4);
    assert_eq!(are_closing(), [1, 1, 1, 0, 0]);
    let _rest = begin_requests(&proxy_tracker, 100);
    assert_eq!(are_closing(), [1, 1, 1, 1, 0], "a few requests, of which one is in progress, are protected");
    let _many = begin_requests(working_tracker, TOO_MANY_REQUESTS);
    assert_eq!(are_closing(), [1, 1, 1, 1, 1]);
    assert_eq!(held_bytes(&connections), 0);
}

/// If a client takes no byte of a response, the response stays on its way. If this protected the connection, a client could
/// protect all its connections by sending one request a second on each of them.
#[test]
fn a_response_on_its_way_does_not_protect_a_client() {
    let connections = behind_proxy();
    let (proxy, proxy_tracker) = add(&connections, peer(1));
    let (small, small_tracker) = add(&connections, client(1));
    let add_with_response_on_its_way = |port| {
        let (connection, tracker) = add(&connections, client(port));
        let requests = begin_requests(&tracker, 19);
        drop(connections.begin_work(&client(port)));
        (connection, requests)
    };
    let attacking: Vec<_> = (10..75).map(add_with_response_on_its_way).collect();
    let _other_requests = [begin_requests(&proxy_tracker, 1), begin_requests(&small_tracker, 1)];
    let _more: Vec<_> = (75..110).map(add_with_response_on_its_way).collect();
    assert!(!proxy.slot.is_closing() && !small.slot.is_closing());
    assert!(attacking.iter().filter(|(connection, _)| connection.slot.is_closing()).count() >= 29);
    assert!(held_bytes(&connections) <= 32 * KIB * KIB);
}

#[tokio::test]
async fn a_body_that_several_responses_share_counts_little() {
    let connections = connections(9);
    let (_connection, tracker) = add(&connections, peer(1));
    let shared = Bytes::from("x".repeat(160 * KIB));
    let unshared = "x".repeat(30 * KIB);
    for (body, counts) in [(ResBody::Once(shared), 36), (unshared.into(), 34)] {
        let _waiting = frames(tracker.begin(&request()), body).await;
        assert_eq!(held_bytes(&connections) / KIB, counts);
    }
}

#[tokio::test]
async fn does_not_close_a_proxy_that_takes_other_responses() {
    let connections = behind_proxy();
    let start = connections.now_ms.load(Ordering::Relaxed);
    let advance_to = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let (proxy, tracker) = add(&connections, peer(1));
    let _never_taken = frames(tracker.begin(&request()), "page").await;
    for seconds in [20, 40, 60] {
        advance_to(seconds);
        drop(frames(tracker.begin(&request()), "page").await);
    }
    advance_to(90);
    assert!(!proxy.slot.is_closing());
    advance_to(92);
    assert!(proxy.slot.is_closing());
}
