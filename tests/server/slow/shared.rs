//! Connections of HTTP/2 of a trusted proxy, which all its visitors share.

use super::frames::{DATA, END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM, WINDOW_UPDATE, frame};
use super::http2::{frames, is_closed_after};
use super::{PLACES, PROXY, home_with};
use crate::harness::until;

/// Waits for so many answers in all, over connections that stay; which request each is for, by its connection and stream.
fn until_answered(number: u32, connections: &mut [(Http2, Vec<u8>)]) -> Vec<(usize, u32)> {
    let mut answered = Vec::new();
    until("so many are answered", || {
        answered.clear();
        for (index, (connection, received)) in connections.iter_mut().enumerate() {
            assert!(!is_closed_after(connection, received));
            for (kind, _, stream) in frames(received) {
                assert_ne!(kind, GOAWAY);
                answered.extend((kind == HEADERS).then_some((index, stream)));
            }
        }
        answered.len() == number as usize
    });
    answered
}

#[tokio::test]
async fn missing_bodies_of_the_busiest_visitor_give_way() {
    const MOST_WAITING: u32 = 128;
    const OF_ATTACKER: u32 = 190;
    const DISPLACED: u32 = OF_ATTACKER + 1 - MOST_WAITING;
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.2", "http.body_timeout=1h"]);
    let mut server = home.start();
    let mut connections = [(); 2].map(|()| (Http2::connect_from(PROXY, &server.public, 65_535), Vec::new()));
    let slow = connections[0].0.announce_of("192.0.2.2", "POST", "/auth/logout");
    for number in 0..OF_ATTACKER {
        let (connection, _) = &mut connections[number as usize % 2];
        connection.announce_of("192.0.2.1", "POST", "/auth/logout");
    }
    let displaced = until_answered(DISPLACED, &mut connections);
    assert!(!displaced.contains(&(0, slow)), "it is the oldest, and the other visitor's only one");
    assert_eq!(server.metric("sealjar_body_waits_displaced_total").await, f64::from(DISPLACED));
    server.wait_for("refused a request of a trusted proxy with 408: too many requests wait for their bodies");
    connections[0].0.peer.send(frame(DATA, END_STREAM, slow, b"")).expect("sends");
    assert!(until_answered(DISPLACED + 1, &mut connections).contains(&(0, slow)));
}

#[tokio::test]
async fn after_408_a_proxys_connection_stays() {
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.2", "http.body_timeout=1s"]);
    let server = home.start();
    let mut proxy = Http2::connect_from(PROXY, &server.public, 65_535);
    let late = proxy.announce_of("192.0.2.1", "POST", "/auth/logout");
    proxy.until(|frame| frame.kind == RST_STREAM && frame.stream == late);
    assert_stays(&mut proxy);
}

/// That it stays, by a request that is answered.
fn assert_stays(proxy: &mut Http2) {
    let next = proxy.ask("GET", "/auth/status").expect("it is open");
    let answer = proxy.until(|frame| frame.kind == GOAWAY || frame.stream == next);
    assert_eq!(answer.kind, HEADERS, "no word of leaving");
}

#[tokio::test]
async fn bodies_after_the_answer_do_not_end_a_proxys_connection() {
    // h2 closes a stranger's connection after 1024, and knows the last 50 that it has reset.
    const REQUESTS: u32 = 1200;
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut proxy = Http2::connect_from(PROXY, &server.public, 65_535);
    // For the bodies of all answers.
    proxy.peer.send(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes())).expect("sends");
    let mut answered = Vec::new();
    let paths = ["/nowhere", "/auth/status", "/auth/verify/-", "/auth/logout/"];
    for path in paths.into_iter().cycle().take(REQUESTS as usize) {
        let stream = proxy.announce_of("192.0.2.1", "POST", path);
        proxy.until(|frame| frame.kind == RST_STREAM && frame.stream == stream);
        answered.push(stream);
    }
    for stream in answered {
        proxy.peer.send(frame(DATA, 0, stream, b"late")).expect("it is open");
    }
    assert_stays(&mut proxy);
}

#[tokio::test]
async fn requests_given_up_at_once_do_not_end_a_proxys_connection() {
    const REQUESTS: u32 = 90;
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut proxy = Http2::connect_from(PROXY, &server.public, 65_535);
    proxy.give_up_many(REQUESTS, "GET", "/auth/status").expect("sends");
    assert_stays(&mut proxy);
}
