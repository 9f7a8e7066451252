//! HTTP/2 connections that are being closed to free memory, but still hold it.

use super::http2::{TOO_MANY_REQUESTS, add, begin_requests, behind_proxy, client, held_bytes};
use super::*;

fn closing_bytes(connections: &Connections) -> usize {
    connections.closing_bytes.load(Ordering::Relaxed)
}

#[test]
fn memory_of_closing_connections_counts_until_dropped() {
    let connections = behind_proxy();
    let (_proxy, of_proxy) = add(&connections, peer(1));
    let [(first, one), (second, two), (third, three)] = [1, 2, 3].map(|port| add(&connections, client(port)));
    let mut of_first = begin_requests(&one, TOO_MANY_REQUESTS);
    assert!(first.slot.is_closing() && held_bytes(&connections) == 0);
    assert!(!three.must_refuse_request(), "the limit applies to open connections");
    let of_second = begin_requests(&two, TOO_MANY_REQUESTS);
    assert!(second.slot.is_closing() && held_bytes(&connections) == 0);
    assert!(three.must_refuse_request(), "{} bytes are still in use", closing_bytes(&connections));
    assert!(!of_proxy.must_refuse_request());
    assert!(!third.slot.is_closing());
    let [of_third, of_fourth] =
        [3, 4].map(|port| begin_requests(&add(&connections, client(port)).1, TOO_MANY_REQUESTS));
    assert!(of_proxy.must_refuse_request(), "twice as much memory is too much for a proxy, too");
    drop((of_third, of_fourth));
    assert!(!of_proxy.must_refuse_request() && three.must_refuse_request());
    // New requests on a connection that is being closed count as closing, too.
    let before = closing_bytes(&connections);
    of_first.extend(begin_requests(&one, 1));
    assert!(held_bytes(&connections) == 0 && closing_bytes(&connections) > before);
    drop(of_first);
    assert!(!three.must_refuse_request());
    drop(of_second);
    assert_eq!(closing_bytes(&connections), 0);
}

#[test]
fn memory_of_requests_in_progress_refuses_clients_too() {
    let connections = behind_proxy();
    let (proxy, of_proxy) = add(&connections, peer(1));
    let (_client, of_client) = add(&connections, client(1));
    let work = connections.begin_work(&peer(1));
    let requests = begin_requests(&of_proxy, 2 * TOO_MANY_REQUESTS);
    assert!(!proxy.slot.is_closing() && of_client.must_refuse_request());
    drop(requests);
    assert!(!of_client.must_refuse_request());
    drop(work);
}
