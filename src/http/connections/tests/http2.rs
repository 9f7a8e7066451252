//! Requests and answers of HTTP/2.

use salvo::http::ResBody;
use salvo::hyper::body::{Body, Bytes, Frame};
use salvo::hyper::{Request as HyperRequest, Response as HyperResponse};

use super::super::exchange::{Exchange, Tracker};
use super::*;

const KIB: usize = 1024;
/// Each request holds 24 KiB, so together they hold just over 32 MiB.
pub(super) const TOO_MANY: usize = 1366;

/// A connection whose client began with the preface of HTTP/2.
pub(super) fn add(connections: &Arc<Connections>, peer: conn::SocketAddr) -> (Connection, Arc<Tracker>) {
    let connection = connections.add(&peer);
    let tracker = connection.tracker();
    connection.has_read();
    tracker.speaks_http2();
    (connection, tracker)
}

fn request() -> HyperRequest<()> {
    HyperRequest::new(())
}

/// The frames that the HTTP library holds until the client takes them.
async fn frames(exchange: Exchange, body: impl Into<ResBody>) -> Vec<Frame<Bytes>> {
    let mut body = exchange.answer(HyperResponse::new(body.into())).into_body();
    let mut frames = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        frames.push(frame.expect("these bodies do not fail"));
    }
    frames
}

pub(super) fn held(connections: &Connections) -> usize {
    connections.held_bytes.load(Ordering::Relaxed)
}

#[tokio::test]
async fn an_answer_waits_until_its_last_bytes_are_dropped() {
    let connections = connections(9);
    let (_connection, tracker) = add(&connections, peer(1));
    for (body, lengths) in [
        (ResBody::from(b"page".as_slice()), vec![4]),
        (ResBody::from(""), vec![0]),
        (ResBody::None, vec![0]),
        (ResBody::Chunks([Bytes::from_static(b"pa"), Bytes::from_static(b"ge")].into()), vec![2, 2]),
    ] {
        let mut taken = frames(tracker.begin(&request()), body).await;
        let found: Vec<_> = taken.iter().map(|frame| frame.data_ref().expect("no trailers").len()).collect();
        assert_eq!(found, lengths);
        assert!(held(&connections) >= 4 * KIB);
        let last = taken.pop().expect("there is a last one");
        taken.clear();
        assert!(held(&connections) >= 4 * KIB, "the last one counts");
        drop(last);
        assert_eq!(held(&connections), 0);
    }
    drop(tracker.begin(&request()).answer(HyperResponse::new(ResBody::from("not sent at all"))));
    drop(tracker.begin(&request()));
    assert_eq!(held(&connections), 0);
}

#[tokio::test]
async fn who_does_not_take_all_of_an_answer_is_closed() {
    let connections = connections(9);
    let start = connections.now.load(Ordering::Relaxed);
    let at = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [(never, asks_on), (taking, tracker)] = [1, 2].map(|port| add(&connections, peer(port)));
    let _never_taken = frames(asks_on.begin(&request()), "page").await;
    let taken = frames(tracker.begin(&request()), "page").await;
    at(20);
    drop(taken);
    let _next = frames(tracker.begin(&request()), "page").await;
    // Neither what the socket does nor other answers that are taken help.
    never.has_read();
    never.has_written();
    drop(frames(asks_on.begin(&request()), "page").await);
    at(32);
    assert!(never.slot.is_closing() && !taking.slot.is_closing());
    at(52);
    assert!(taking.slot.is_closing());
}

#[tokio::test]
async fn only_requests_and_answers_that_are_taken_are_activity() {
    let connections = connections(9);
    let start = connections.now.load(Ordering::Relaxed);
    let at = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [(pinging, _), (asking, tracker), (waiting, unanswered)] = [1, 2, 3].map(|port| add(&connections, peer(port)));
    let unanswered = unanswered.begin(&request());
    at(70);
    pinging.has_read();
    pinging.has_written();
    drop(frames(tracker.begin(&request()), "page").await);
    at(77);
    assert!(pinging.slot.is_closing());
    at(140);
    assert!(!asking.slot.is_closing() && !waiting.slot.is_closing());
    drop(unanswered);
    at(148);
    assert!(asking.slot.is_closing() && !waiting.slot.is_closing());
    at(217);
    assert!(waiting.slot.is_closing());
}

#[tokio::test]
async fn a_pong_makes_a_connection_no_younger_and_an_answer_does() {
    let connections = connections(2);
    let [(pinging, _), (asking, tracker)] = [1, 2].map(|port| add(&connections, peer(port)));
    drop(frames(tracker.begin(&request()), "page").await);
    pinging.has_written();
    assert_eq!(connections.room(), Room::Closing(1));
    assert!(pinging.slot.is_closing() && !asking.slot.is_closing());
}

#[tokio::test]
async fn with_32_mib_of_answers_the_longest_waiting_gives_way() {
    const EACH: usize = 28 * KIB;
    let connections = connections(99);
    let page = || "x".repeat(EACH);
    let [(first, oldest), (second, younger)] = [1, 2].map(|port| add(&connections, peer(port)));
    // The first connection's answer was taken and came again, so the second one's is older.
    drop(frames(oldest.begin(&request()), page()).await);
    let _second = frames(younger.begin(&request()), page()).await;
    let mut waiting = Vec::new();
    for _ in 0..1023 {
        waiting.push(frames(oldest.begin(&request()), page()).await);
    }
    assert!(!first.slot.is_closing() && !second.slot.is_closing(), "{}", held(&connections));
    let (third, newest) = add(&connections, peer(3));
    let last = frames(newest.begin(&request()), page()).await;
    assert!(second.slot.is_closing() && !first.slot.is_closing() && !third.slot.is_closing());
    waiting.push(frames(younger.begin(&request()), page()).await);
    assert!(!first.slot.is_closing(), "what is being closed counts no more among these");
    waiting.push(frames(newest.begin(&request()), page()).await);
    assert!(first.slot.is_closing() && !third.slot.is_closing());
    drop((waiting, last, _second));
    assert_eq!(held(&connections), 0);
}

#[tokio::test]
async fn a_request_counts_with_its_head_until_it_is_answered() {
    let connections = connections(9);
    let start = connections.now.load(Ordering::Relaxed);
    let at = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let (connection, tracker) = add(&connections, peer(1));
    let mut long = request();
    long.headers_mut().insert("cookie", "x".repeat(20 * KIB).parse().expect("visible ASCII"));
    let exchanges = [tracker.begin(&request()), tracker.begin(&long)];
    assert!((68 * KIB..69 * KIB).contains(&held(&connections)), "{}", held(&connections));
    // A body has a time of its own.
    at(60);
    assert!(!connection.slot.is_closing());
    let [short, long] = exchanges;
    drop(short);
    let answer = frames(long, "page").await;
    assert!((4 * KIB..5 * KIB).contains(&held(&connections)), "{}", held(&connections));
    at(89);
    assert!(!connection.slot.is_closing(), "the answer's time does not begin with the request");
    at(92);
    assert!(connection.slot.is_closing());
    drop(answer);
    assert_eq!(held(&connections), 0);
}

#[tokio::test]
async fn requests_and_answers_give_way_for_the_same_memory() {
    let connections = connections(9);
    let [(first, asking), (second, answered), (third, newest)] = [1, 2, 3].map(|port| add(&connections, peer(port)));
    let _request = asking.begin(&request());
    let _answer = frames(answered.begin(&request()), "page").await;
    let many: Vec<_> = (0..1365).map(|_| newest.begin(&request())).collect();
    assert!(first.slot.is_closing() && !second.slot.is_closing() && !third.slot.is_closing());
    let _more = newest.begin(&request());
    assert!(second.slot.is_closing() && third.slot.is_closing(), "one was not enough");
    drop(many);
}

/// Where [`peer`] is a trusted proxy.
pub(super) fn behind_proxy() -> Arc<Connections> {
    let mut proxies = TrustedProxies::default();
    proxies.add("192.0.2.1").expect("an address");
    Connections::new(99, IDLE, proxies)
}

/// One that is no trusted proxy there.
pub(super) fn stranger(port: u16) -> conn::SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], port)).into()
}

/// Holds this many requests over this connection, and so 24 KiB each.
pub(super) fn ask(tracker: &Arc<Tracker>, count: usize) -> Vec<Exchange> {
    (0..count).map(|_| tracker.begin(&request())).collect()
}

#[test]
fn proxies_give_way_last_and_few_requests_at_work_never() {
    let connections = behind_proxy();
    let (proxy, of_proxy) = add(&connections, peer(1));
    let strangers = [1, 2, 3, 4].map(|port| add(&connections, stranger(port)));
    let [(working, one), (large, two), (small, three), (other, four)] = &strangers;
    let are_closing =
        || [large, small, other, &proxy, working].map(|connection| u8::from(connection.slot.is_closing()));
    let _work = [1, 2].map(|port| connections.work_for(&stranger(port)));
    let _held = [ask(&of_proxy, 100), ask(one, 4), ask(two, 1200), ask(three, 4)];
    assert_eq!(are_closing(), [0, 0, 0, 0, 0]);
    let _other = ask(four, 100);
    assert_eq!(are_closing(), [1, 0, 0, 0, 0], "the oldest; no work protects so many requests");
    let _of_proxy = ask(&of_proxy, 1158);
    assert_eq!(are_closing(), [1, 1, 0, 0, 0]);
    let _more = ask(&of_proxy, 4);
    assert_eq!(are_closing(), [1, 1, 1, 0, 0]);
    let _rest = ask(&of_proxy, 100);
    assert_eq!(are_closing(), [1, 1, 1, 1, 0], "a few requests of which one is being worked on stay");
    let _many = ask(one, TOO_MANY);
    assert_eq!(are_closing(), [1, 1, 1, 1, 1]);
    assert_eq!(held(&connections), 0);
}

/// A client that takes no byte of an answer has it due for ever, and could keep all its connections by a request a second.
#[test]
fn whoever_keeps_an_answer_due_gives_way_before_others() {
    let connections = behind_proxy();
    let (proxy, of_proxy) = add(&connections, peer(1));
    let (small, of_small) = add(&connections, stranger(1));
    let keep = |port| {
        let (connection, tracker) = add(&connections, stranger(port));
        let requests = ask(&tracker, 19);
        drop(connections.work_for(&stranger(port)));
        (connection, requests)
    };
    let keeping: Vec<_> = (10..75).map(keep).collect();
    let _innocent = [ask(&of_proxy, 1), ask(&of_small, 1)];
    let _more: Vec<_> = (75..110).map(keep).collect();
    assert!(!proxy.slot.is_closing() && !small.slot.is_closing());
    assert!(keeping.iter().filter(|(connection, _)| connection.slot.is_closing()).count() >= 29);
    assert!(held(&connections) <= 32 * KIB * KIB);
}

#[tokio::test]
async fn a_body_that_all_answers_share_counts_little() {
    let connections = connections(9);
    let (_connection, tracker) = add(&connections, peer(1));
    let shared = Bytes::from("x".repeat(160 * KIB));
    let own = "x".repeat(30 * KIB);
    for (body, counts) in [(ResBody::Once(shared), 36), (own.into(), 34)] {
        let _waiting = frames(tracker.begin(&request()), body).await;
        assert_eq!(held(&connections) / KIB, counts);
    }
}

#[tokio::test]
async fn a_proxy_that_takes_other_answers_is_not_closed() {
    let connections = behind_proxy();
    let start = connections.now.load(Ordering::Relaxed);
    let at = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let (proxy, tracker) = add(&connections, peer(1));
    let _never_taken = frames(tracker.begin(&request()), "page").await;
    for seconds in [20, 40, 60] {
        at(seconds);
        drop(frames(tracker.begin(&request()), "page").await);
    }
    at(90);
    assert!(!proxy.slot.is_closing());
    at(92);
    assert!(proxy.slot.is_closing());
}
