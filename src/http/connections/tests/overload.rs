//! HTTP/2 connections that are being closed for their memory, and hold it still.

use super::http2::{TOO_MANY, add, ask, behind_proxy, held, stranger};
use super::*;

fn closing(connections: &Connections) -> usize {
    connections.closing_bytes.load(Ordering::Relaxed)
}

#[test]
fn what_is_being_closed_counts_until_it_is_dropped() {
    let connections = behind_proxy();
    let (_proxy, of_proxy) = add(&connections, peer(1));
    let [(first, one), (second, two), (third, three)] = [1, 2, 3].map(|port| add(&connections, stranger(port)));
    let mut of_first = ask(&one, TOO_MANY);
    assert!(first.slot.is_closing() && held(&connections) == 0);
    assert!(!three.refuses_request(), "the limit holds for what is open");
    let of_second = ask(&two, TOO_MANY);
    assert!(second.slot.is_closing() && held(&connections) == 0);
    assert!(three.refuses_request(), "{} bytes are there still", closing(&connections));
    assert!(!of_proxy.refuses_request());
    assert!(!third.slot.is_closing());
    let [of_third, of_fourth] = [3, 4].map(|port| ask(&add(&connections, stranger(port)).1, TOO_MANY));
    assert!(of_proxy.refuses_request(), "twice as much is too much for a proxy, too");
    drop((of_third, of_fourth));
    assert!(!of_proxy.refuses_request() && three.refuses_request());
    // What such a connection still asks counts there, too.
    let before = closing(&connections);
    of_first.extend(ask(&one, 1));
    assert!(held(&connections) == 0 && closing(&connections) > before);
    drop(of_first);
    assert!(!three.refuses_request());
    drop(of_second);
    assert_eq!(closing(&connections), 0);
}

#[test]
fn work_that_holds_too_much_refuses_strangers_too() {
    let connections = behind_proxy();
    let (proxy, of_proxy) = add(&connections, peer(1));
    let (_stranger, of_stranger) = add(&connections, stranger(1));
    let work = connections.work_for(&peer(1));
    let requests = ask(&of_proxy, 2 * TOO_MANY);
    assert!(!proxy.slot.is_closing() && of_stranger.refuses_request());
    drop(requests);
    assert!(!of_stranger.refuses_request());
    drop(work);
}
