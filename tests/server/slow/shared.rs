//! HTTP/2 connections of a trusted proxy, which carry the requests of many clients.

use super::frames::{DATA, END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM, WINDOW_UPDATE, frame};
use super::http2::{frames, is_closed_after_reading};
use super::{MAX_CONNECTIONS, PROXY, home_with};
use crate::harness::wait_until;

/// Waits for `number` responses in total, over connections that must stay open. Returns connection and stream of each response.
fn wait_for_responses(number: u32, connections: &mut [(Http2, Vec<u8>)]) -> Vec<(usize, u32)> {
    let mut responses = Vec::new();
    wait_until("enough responses have arrived", || {
        responses.clear();
        for (index, (connection, received)) in connections.iter_mut().enumerate() {
            assert!(!is_closed_after_reading(connection, received));
            for (kind, _, stream) in frames(received) {
                assert_ne!(kind, GOAWAY);
                responses.extend((kind == HEADERS).then_some((index, stream)));
            }
        }
        responses.len() == number as usize
    });
    responses
}

#[tokio::test]
async fn waiting_requests_of_the_busiest_client_are_rejected_first() {
    const MAX_WAITING: u32 = 128;
    const ATTACKER_REQUESTS: u32 = 190;
    const REJECTED: u32 = ATTACKER_REQUESTS + 1 - MAX_WAITING;
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.2", "http.body_timeout=1h"]);
    let mut server = home.start();
    let mut connections = [(); 2].map(|()| (Http2::connect_from(PROXY, &server.public, 65_535), Vec::new()));
    let slow = connections[0].0.send_forwarded_head("192.0.2.2", "POST", "/auth/logout");
    for number in 0..ATTACKER_REQUESTS {
        let (connection, _) = &mut connections[number as usize % 2];
        connection.send_forwarded_head("192.0.2.1", "POST", "/auth/logout");
    }
    let rejected = wait_for_responses(REJECTED, &mut connections);
    assert!(!rejected.contains(&(0, slow)), "the oldest request is kept: it is the only one of its client");
    assert_eq!(server.metric("sealjar_body_waits_displaced_total").await, f64::from(REJECTED));
    server.wait_for("refused a request of a trusted proxy with 408: too many requests wait for their bodies");
    connections[0].0.peer.send(frame(DATA, END_STREAM, slow, b"")).expect("sends");
    assert!(wait_for_responses(REJECTED + 1, &mut connections).contains(&(0, slow)));
}

#[tokio::test]
async fn after_408_a_proxys_connection_stays_open() {
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.2", "http.body_timeout=1s"]);
    let server = home.start();
    let mut proxy = Http2::connect_from(PROXY, &server.public, 65_535);
    let late = proxy.send_forwarded_head("192.0.2.1", "POST", "/auth/logout");
    proxy.receive_until(|frame| frame.kind == RST_STREAM && frame.stream == late);
    assert_stays_open(&mut proxy);
}

/// Asserts that the connection stays open, by sending one more request.
fn assert_stays_open(proxy: &mut Http2) {
    let next = proxy.request("GET", "/auth/status").expect("the connection is open");
    let response = proxy.receive_until(|frame| frame.kind == GOAWAY || frame.stream == next);
    assert_eq!(response.kind, HEADERS, "the server must not send GOAWAY");
}

#[tokio::test]
async fn late_bodies_do_not_close_a_proxys_connection() {
    // The library h2 closes the connection of a client that is not a trusted proxy after 1024 such frames. h2 keeps a record of
    // the last 50 streams that it has reset.
    const REQUESTS: u32 = 1200;
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut proxy = Http2::connect_from(PROXY, &server.public, 65_535);
    // Enlarge the flow-control window for the bodies of all responses.
    proxy.peer.send(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes())).expect("sends");
    let mut streams = Vec::new();
    let paths = ["/nowhere", "/auth/status", "/auth/verify/-", "/auth/logout/"];
    for path in paths.into_iter().cycle().take(REQUESTS as usize) {
        let stream = proxy.send_forwarded_head("192.0.2.1", "POST", path);
        proxy.receive_until(|frame| frame.kind == RST_STREAM && frame.stream == stream);
        streams.push(stream);
    }
    for stream in streams {
        proxy.peer.send(frame(DATA, 0, stream, b"late")).expect("the connection is open");
    }
    assert_stays_open(&mut proxy);
}

#[tokio::test]
async fn cancelled_requests_do_not_close_a_proxys_connection() {
    const REQUESTS: u32 = 90;
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut proxy = Http2::connect_from(PROXY, &server.public, 65_535);
    proxy.send_cancelled(REQUESTS, "GET", "/auth/status").expect("sends");
    assert_stays_open(&mut proxy);
}
