//! HTTP/2: responses that the client does not read, connections that only send PING frames, and the limits of streams, header
//! fields and memory.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tokio::time::Instant;

use super::frames::{DATA, END_STREAM, HEADERS, Http2, MAX_CONCURRENT_STREAMS, PING, RST_STREAM, WINDOW_UPDATE};
use super::many::{peak_kib, raise_open_file_limit, resident_kib};
use super::{MAX_CONNECTIONS, PROXY, RESPONSE_TIMEOUT, home_with};
use crate::harness::{Home, Response, client, wait_until};

/// Maximum number of streams per connection of a client that is not a trusted proxy.
const MAX_STREAMS: u32 = 12;
/// Time within which the test expects a connection with unread responses to be closed. The server closes it after 30 s.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Appends the bytes that have arrived to `received`, without waiting. Returns whether the server has closed the connection. The
/// flow-control window is not enlarged, so no more of a response body arrives.
pub(super) fn is_closed_after_reading(http2: &mut Http2, received: &mut Vec<u8>) -> bool {
    let stream = &mut http2.peer.stream;
    stream.set_nonblocking(true).expect("sets the mode");
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => received.extend_from_slice(&bytes[..count]),
            outcome => return !outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        }
    }
}

/// Returns kind, flags and stream of each frame that was received.
pub(super) fn frames(mut received: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut frames = Vec::new();
    while let [high, middle, low, kind, flags, a, b, c, d, rest @ ..] = received {
        let length = usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).expect("24 bits");
        frames.push((*kind, *flags, u32::from_be_bytes([*a, *b, *c, *d])));
        received = rest.get(length..).unwrap_or_default();
    }
    frames
}

/// Returns the number of response heads that were received, and the number of those without a body.
fn count_heads(received: &[u8]) -> (usize, usize) {
    let heads: Vec<_> = frames(received).into_iter().filter(|(kind, ..)| *kind == HEADERS).collect();
    (heads.len(), heads.iter().filter(|(_, flags, _)| flags & END_STREAM != 0).count())
}

#[tokio::test]
async fn unread_responses_are_limited_and_their_connections_closed() {
    const CONNECTIONS: usize = 300;
    let home = Home::new();
    let server = home.start();
    // This client reads its responses, and then sends no more requests.
    let mut well_behaved = Http2::connect(&server.public, 65_535);
    for (method, path) in [("GET", "/auth/login"), ("HEAD", "/auth/login"), ("GET", "/auth/status")] {
        let stream = well_behaved.request(method, path).expect("sends");
        well_behaved.receive_until(|frame| frame.ends_stream() && frame.stream == stream);
    }
    let before = resident_kib(&server);
    let path = format!("/auth/login?rd=/{}", "%26".repeat(128));
    let mut attackers: Vec<_> = (0..CONNECTIONS).map(|_| (Http2::connect(&server.public, 0), Vec::new())).collect();
    for (attacker, _) in &mut attackers {
        for _ in 0..MAX_STREAMS {
            attacker.request("GET", &path).expect("sends");
        }
    }
    let started = Instant::now();
    let mut peak = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while !attackers.is_empty() {
        ticks.tick().await;
        assert!(started.elapsed() < CLOSE_TIMEOUT, "{} connections are still open", attackers.len());
        attackers.retain_mut(|(attacker, received)| {
            // The attacker sends PINGs, so its connection is active, but it reads no response body.
            let is_open = attacker.ping().is_ok() && !is_closed_after_reading(attacker, received);
            // If all requests of a connection were refused because of memory, no response waits on it.
            is_open && count_heads(received).1 < MAX_STREAMS as usize
        });
        peak = peak.max(resident_kib(&server).saturating_sub(before));
    }
    println!("{CONNECTIONS} connections took {peak} KiB, and were closed within {:?}", started.elapsed());
    assert!(peak <= 64 * 1024, "{peak} KiB");
    well_behaved.ping().expect("the connection is open");
    well_behaved.receive_until(|frame| frame.kind == PING);
}

#[tokio::test]
async fn a_connection_that_only_pings_is_closed() {
    let home = home_with(MAX_CONNECTIONS, &["http.idle_timeout=1s"]);
    let server = home.start();
    let mut pinging = Http2::connect(&server.public, 65_535);
    let started = Instant::now();
    let mut pongs = 0;
    while pinging.ping().is_ok() {
        match pinging.receive() {
            Ok(frame) => pongs += usize::from(frame.kind == PING),
            Err(_) => break,
        }
        assert!(started.elapsed() < RESPONSE_TIMEOUT, "the connection is still open");
    }
    assert!(pongs > 0, "PINGs were answered until the connection was closed");
}

#[tokio::test]
async fn an_http_2_connection_in_use_outlives_the_idle_timeout() {
    let idle = Duration::from_secs(1);
    let home = home_with(MAX_CONNECTIONS, &["http.idle_timeout=1s"]);
    let server = home.start();
    let started = Instant::now();
    let mut last_used = started;
    let mut active = Http2::connect(&server.public, 65_535);
    while started.elapsed() < idle * 4 {
        let sent_at = Instant::now();
        if active.get_style().is_ok() {
            last_used = sent_at;
        } else {
            // A loaded machine may have paused this test for longer than the timeout. Then it was right to close the connection.
            assert!(last_used.elapsed() >= idle, "the connection was closed although it was used");
            last_used = Instant::now();
            active = Http2::connect(&server.public, 65_535);
        }
    }
}

#[tokio::test]
async fn a_client_has_12_streams_and_a_trusted_proxy_100() {
    /// Error code REFUSED_STREAM.
    const REFUSED: [u8; 4] = 7_u32.to_be_bytes();
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut untrusted = Http2::connect(&server.public, 0);
    let mut proxy = Http2::connect_from(PROXY, &server.public, 0);
    for (client, streams) in [(&mut untrusted, MAX_STREAMS), (&mut proxy, 100)] {
        assert_eq!(client.setting(MAX_CONCURRENT_STREAMS), Some(streams));
        // Additional flow-control window for bodies that no handler reads. Each connection starts with 65,535 bytes.
        let window = client.receive_until(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0).payload;
        assert_eq!(window, (streams * 16 * 1024 - 65_535).to_be_bytes());
        for _ in 0..streams {
            client.request("GET", "/auth/login").expect("sends");
        }
        for _ in 0..streams {
            client.receive_until(|frame| frame.kind == HEADERS);
        }
        let one_more = client.request("GET", "/auth/login").expect("sends");
        let refused = client.receive_until(|frame| frame.stream == one_more);
        assert_eq!((refused.kind, &refused.payload[..]), (RST_STREAM, &REFUSED[..]));
    }
}

#[tokio::test]
async fn more_than_100_header_fields_are_431_over_http_2_too() {
    let home = Home::new();
    let server = home.start();
    let http2 = reqwest::Client::builder().http2_prior_knowledge().timeout(RESPONSE_TIMEOUT).build().expect("a client");
    // The client library adds one field, and over HTTP/1 the field Host as well.
    for (client, version, max_fields) in
        [(&http2, reqwest::Version::HTTP_2, 99), (client(), reqwest::Version::HTTP_11, 98)]
    {
        for path in ["/auth/status", "/auth/login"] {
            let send = |fields: usize| {
                let request = client.get(server.url(path));
                (0..fields).fold(request, |request, field| request.header(format!("x-{field}"), "y")).send()
            };
            let [allowed, too_many] =
                [send(max_fields).await, send(max_fields + 1).await].map(|response| response.expect("a response"));
            assert_eq!(allowed.version(), version);
            assert_ne!(allowed.status(), 431, "{version:?} {path}");
            assert_eq!(too_many.status(), 431, "{version:?} {path}");
        }
    }
}

#[tokio::test]
async fn cookies_in_separate_fields_count_as_one_field() {
    let home = Home::new();
    let server = home.start();
    let live = server.login("alice").await.cookie();
    let client =
        reqwest::Client::builder().http2_prior_knowledge().timeout(RESPONSE_TIMEOUT).build().expect("a client");
    let send = |others: usize| {
        let request = client.get(server.url("/auth/status"));
        let request = (0..150).fold(request, |request, number| request.header("cookie", format!("planted{number}=x")));
        let request = (0..others).fold(request, |request, field| request.header(format!("x-{field}"), "y"));
        request.header("cookie", &live).send()
    };
    // The client library adds one field, and all cookie fields count as one.
    let [allowed, too_many] = [send(98).await, send(99).await].map(|response| response.expect("a response"));
    assert_eq!(allowed.status(), 200);
    assert_eq!(too_many.status(), 431);
    assert_eq!(too_many.text().await.expect("a body"), "too many header fields: send at most 100\n");
}

#[tokio::test]
async fn a_burst_of_requests_without_bodies_is_refused_or_closed() {
    const CONNECTIONS: usize = 1000;
    // The server counts 24 KiB and the head for each request, and allows 32 MiB in total, or 64 MiB with connections that are
    // being closed.
    const MAX_WAITING: usize = 32 * 1024 / 24;
    const MAX_KIB: usize = 96 * 1024;
    assert!(raise_open_file_limit() > CONNECTIONS + 100, "this machine allows too few open files");
    let home = Home::with_settings(&["http.body_timeout=1h"]);
    let mut server = home.start();
    let mut attackers: Vec<_> = (0..CONNECTIONS).map(|_| Http2::connect(&server.public, 65_535)).collect();
    for attacker in &mut attackers {
        attacker.receive_until(|frame| frame.kind == WINDOW_UPDATE);
    }
    let before = resident_kib(&server);
    for attacker in &mut attackers {
        // The server may have evicted the first connections already.
        let _ = attacker.send_heads(MAX_STREAMS, "POST", "/auth/password");
    }
    let mut attackers: Vec<_> = attackers.into_iter().map(|attacker| (attacker, Vec::new())).collect();
    let mut waiting = 0;
    wait_until("most requests are refused or their connections closed", || {
        attackers.retain_mut(|(attacker, received)| !is_closed_after_reading(attacker, received));
        waiting = attackers.iter().map(|(_, received)| MAX_STREAMS as usize - count_heads(received).0).sum();
        waiting <= MAX_WAITING
    });
    let peak = peak_kib(&server).saturating_sub(before);
    println!("{waiting} requests of {} connections wait, after a peak of {peak} KiB", attackers.len());
    assert!(peak <= MAX_KIB, "{peak} KiB");
    server.wait_for("refused an HTTP/2 request with 503: HTTP/2 requests and responses use too much memory");
    assert!(server.metric("sealjar_http2_requests_refused_total").await >= 1.0);
    assert!(waiting > MAX_WAITING / 2, "{waiting}: more connections were closed than necessary");
    wait_until("a new client is served", || {
        let mut client = Http2::connect(&server.public, 65_535);
        let stream = client.request("GET", "/auth/style.css").expect("sends");
        let head = client.receive_until(|frame| frame.kind == HEADERS && frame.stream == stream);
        !head.ends_stream()
    });
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_silent_http_2_clients() {
    let home = home_with(MAX_CONNECTIONS, &["http.shutdown_timeout=1h", "http.idle_timeout=1h"]);
    let mut server = home.start();
    let mut silent = Http2::connect(&server.public, 65_535);
    let stream = silent.request("GET", "/auth/status").expect("sends");
    silent.receive_until(|frame| frame.ends_stream() && frame.stream == stream);
    let mut without_request = Http2::connect(&server.public, 65_535);
    without_request.receive_until(|frame| frame.kind == WINDOW_UPDATE);
    server.signal("TERM");
    // Neither client acknowledges the PING that follows GOAWAY.
    assert!(silent.peer.is_closed() && without_request.peer.is_closed());
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn after_408_a_silent_http_2_connection_is_closed() {
    let home = home_with(MAX_CONNECTIONS, &["http.body_timeout=1s", "http.idle_timeout=1h"]);
    let server = home.start();
    let mut silent = Http2::connect(&server.public, 65_535);
    let stream = silent.send_head("POST", "/auth/logout").expect("sends");
    silent.receive_until(|frame| frame.kind == HEADERS && frame.stream == stream);
    assert!(silent.peer.is_closed());
}

#[tokio::test]
async fn a_response_without_a_body_has_no_content_length() {
    let home = Home::new();
    let server = home.start();
    let mut http2 = Http2::connect(&server.public, 0);
    let stream = http2.request("HEAD", "/auth/login").expect("sends");
    // The empty DATA frame after the head needs no flow-control window.
    let last = http2.receive_until(|frame| frame.ends_stream() && frame.stream == stream);
    assert_eq!((last.kind, last.payload.len()), (DATA, 0));
    let http2 = reqwest::Client::builder().http2_prior_knowledge().timeout(RESPONSE_TIMEOUT).build().expect("a client");
    let response = Response::of(http2.head(server.url("/auth/login")).send().await.expect("a response")).await;
    assert_eq!((response.status, response.header("content-length"), &*response.body), (200, None, ""));
    let response = Response::of(http2.get(server.url("/auth/login")).send().await.expect("a response")).await;
    assert_eq!(response.header("content-length"), Some(&*response.body.len().to_string()));
}
