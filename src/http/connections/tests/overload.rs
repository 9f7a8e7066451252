//! HTTP/2 connections that are being closed to free memory, but still hold it.

use super::http2::{TOO_MANY_REQUESTS, add, begin_requests, behind_proxy, client, held_bytes};
use super::*;

fn closing_bytes(connections: &Connections) -> usize {
    connections.closing_bytes.load(Ordering::Relaxed)
}

#[test]
fn memory_of_closing_connections_counts_until_dropped() {
    let connections = behind_proxy();
    let (_proxy, proxy_tracker) = add(&connections, peer(1));
    let [(first, first_tracker), (second, second_tracker), (third, third_tracker)] =
        [1, 2, 3].map(|port| add(&connections, client(port)));
    let mut first_requests = begin_requests(&first_tracker, TOO_MANY_REQUESTS);
    assert!(first.slot.is_closing() && held_bytes(&connections) == 0);
    assert!(
        !third_tracker.must_refuse_request(),
        "the total memory is above the limit of evictions, but not above the limit of refusals"
    );
    let second_requests = begin_requests(&second_tracker, TOO_MANY_REQUESTS);
    assert!(second.slot.is_closing() && held_bytes(&connections) == 0);
    assert!(third_tracker.must_refuse_request(), "{} bytes are still in use", closing_bytes(&connections));
    assert!(!proxy_tracker.must_refuse_request());
    assert!(!third.slot.is_closing());
    let [third_requests, fourth_requests] =
        [3, 4].map(|port| begin_requests(&add(&connections, client(port)).1, TOO_MANY_REQUESTS));
    assert!(proxy_tracker.must_refuse_request(), "twice as much memory is too much for a proxy, too");
    drop((third_requests, fourth_requests));
    assert!(!proxy_tracker.must_refuse_request() && third_tracker.must_refuse_request());
    // New requests on a connection that is being closed count as closing, too.
    let before = closing_bytes(&connections);
    first_requests.extend(begin_requests(&first_tracker, 1));
    assert!(held_bytes(&connections) == 0 && closing_bytes(&connections) > before);
    drop(first_requests);
    assert!(!third_tracker.must_refuse_request());
    drop(second_requests);
    assert_eq!(closing_bytes(&connections), 0);
}

#[test]
fn memory_of_requests_in_progress_refuses_clients_too() {
    let connections = behind_proxy();
    let (proxy, proxy_tracker) = add(&connections, peer(1));
    let (_client, client_tracker) = add(&connections, client(1));
    let work = connections.begin_work(&peer(1));
    let requests = begin_requests(&proxy_tracker, 2 * TOO_MANY_REQUESTS);
    assert!(!proxy.slot.is_closing() && client_tracker.must_refuse_request());
    drop(requests);
    assert!(!client_tracker.must_refuse_request());
    drop(work);
}
