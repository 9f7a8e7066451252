//! HTTP/2: answers that nobody takes, and connections that look alive.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tokio::time::Instant;

use super::frames::{DATA, END_STREAM, HEADERS, Http2, MAX_CONCURRENT_STREAMS, PING, RST_STREAM, WINDOW_UPDATE};
use super::many::{open_files, peak_kib, resident_kib};
use super::{AT_ONCE, PLACES, PROXY, home_with};
use crate::harness::{Answer, Home, client, until};

/// A stranger's, on one connection.
const STREAMS: u32 = 12;
/// By when a connection must be closed whose answers are not taken (after 30 s).
const GONE: Duration = Duration::from_secs(60);

/// Whether the server has closed it; takes what is there into `received`, and nothing of an answer's body.
pub(super) fn is_closed_after(http2: &mut Http2, received: &mut Vec<u8>) -> bool {
    let stream = &mut http2.peer.stream;
    stream.set_nonblocking(true).expect("sets");
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => received.extend_from_slice(&bytes[..count]),
            outcome => return !outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        }
    }
}

/// Kind, flags and stream of each frame that was received.
pub(super) fn frames(mut received: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut frames = Vec::new();
    while let [high, middle, low, kind, flags, a, b, c, d, rest @ ..] = received {
        let length = usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).expect("24 bits");
        frames.push((*kind, *flags, u32::from_be_bytes([*a, *b, *c, *d])));
        received = rest.get(length..).unwrap_or_default();
    }
    frames
}

/// Number of answers whose heads were received, and of these, number of those without a body.
fn heads(received: &[u8]) -> (usize, usize) {
    let heads: Vec<_> = frames(received).into_iter().filter(|(kind, ..)| *kind == HEADERS).collect();
    (heads.len(), heads.iter().filter(|(_, flags, _)| flags & END_STREAM != 0).count())
}

#[tokio::test]
async fn answers_that_nobody_takes_are_few_and_their_connections_end() {
    const CONNECTIONS: usize = 300;
    let home = Home::new();
    let server = home.start();
    // It takes its answers, of each kind, and asks nothing more.
    let mut good = Http2::connect(&server.public, 65_535);
    for (method, path) in [("GET", "/auth/login"), ("HEAD", "/auth/login"), ("GET", "/auth/status")] {
        let stream = good.ask(method, path).expect("sends");
        good.until(|frame| frame.ends_stream() && frame.stream == stream);
    }
    let before = resident_kib(&server);
    let path = format!("/auth/login?rd=/{}", "%26".repeat(128));
    let mut attackers: Vec<_> = (0..CONNECTIONS).map(|_| (Http2::connect(&server.public, 0), Vec::new())).collect();
    for (attacker, _) in &mut attackers {
        for _ in 0..STREAMS {
            attacker.ask("GET", &path).expect("sends");
        }
    }
    let started = Instant::now();
    let mut most = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while !attackers.is_empty() {
        ticks.tick().await;
        assert!(started.elapsed() < GONE, "{} are open still", attackers.len());
        attackers.retain_mut(|(attacker, received)| {
            // Whoever answers a PING is not dead, and still takes nothing.
            let is_open = attacker.ping().is_ok() && !is_closed_after(attacker, received);
            // Where all requests were refused for want of memory, no answer waits.
            is_open && heads(received).1 < STREAMS as usize
        });
        most = most.max(resident_kib(&server).saturating_sub(before));
    }
    println!("{CONNECTIONS} connections took {most} KiB, and were closed within {:?}", started.elapsed());
    assert!(most <= 64 * 1024, "{most} KiB");
    good.ping().expect("it is open");
    good.until(|frame| frame.kind == PING);
}

#[tokio::test]
async fn a_connection_that_only_pings_is_closed() {
    let home = home_with(PLACES, &["http.idle_timeout=1s"]);
    let server = home.start();
    let mut pinging = Http2::connect(&server.public, 65_535);
    let started = Instant::now();
    let mut pongs = 0;
    while pinging.ping().is_ok() {
        match pinging.receive() {
            Ok(frame) => pongs += usize::from(frame.kind == PING),
            Err(_) => break,
        }
        assert!(started.elapsed() < AT_ONCE, "it is open still");
    }
    assert!(pongs > 0, "it was served until then");
}

#[tokio::test]
async fn a_connection_of_http_2_that_asks_outlives_the_idle_time() {
    let idle = Duration::from_secs(1);
    let home = home_with(PLACES, &["http.idle_timeout=1s"]);
    let server = home.start();
    let started = Instant::now();
    let mut used = started;
    let mut asking = Http2::connect(&server.public, 65_535);
    while started.elapsed() < idle * 4 {
        let asked = Instant::now();
        if asking.get_style().is_ok() {
            used = asked;
        } else {
            // As over HTTP/1.1: the machine may have stood still for as long.
            assert!(used.elapsed() >= idle, "it was closed although it was used");
            used = Instant::now();
            asking = Http2::connect(&server.public, 65_535);
        }
    }
}

#[tokio::test]
async fn a_stranger_has_12_streams_and_a_trusted_proxy_100() {
    const REFUSED: [u8; 4] = 7_u32.to_be_bytes();
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut stranger = Http2::connect(&server.public, 0);
    let mut proxy = Http2::connect_from(PROXY, &server.public, 0);
    for (client, streams) in [(&mut stranger, STREAMS), (&mut proxy, 100)] {
        assert_eq!(client.setting(MAX_CONCURRENT_STREAMS), Some(streams));
        // What a connection may send of bodies that nobody reads, beyond the 65,535 bytes that each begins with.
        let window = client.until(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0).payload;
        assert_eq!(window, (streams * 16 * 1024 - 65_535).to_be_bytes());
        for _ in 0..streams {
            client.ask("GET", "/auth/login").expect("sends");
        }
        for _ in 0..streams {
            client.until(|frame| frame.kind == HEADERS);
        }
        let one_more = client.ask("GET", "/auth/login").expect("sends");
        let refused = client.until(|frame| frame.stream == one_more);
        assert_eq!((refused.kind, &refused.payload[..]), (RST_STREAM, &REFUSED[..]));
    }
}

#[tokio::test]
async fn more_than_100_header_fields_are_431_over_http_2_too() {
    let home = Home::new();
    let server = home.start();
    let http2 = reqwest::Client::builder().http2_prior_knowledge().timeout(AT_ONCE).build().expect("a client");
    // The client adds one itself; HTTP/1 has the field Host as well.
    for (client, version, more) in [(&http2, reqwest::Version::HTTP_2, 99), (client(), reqwest::Version::HTTP_11, 98)] {
        for path in ["/auth/status", "/auth/login"] {
            let ask = |fields: usize| {
                let request = client.get(server.url(path));
                (0..fields).fold(request, |request, field| request.header(format!("x-{field}"), "y")).send()
            };
            let [most, too_many] = [ask(more).await, ask(more + 1).await].map(|answer| answer.expect("an answer"));
            assert_eq!(most.version(), version);
            assert_ne!(most.status(), 431, "{version:?} {path}");
            assert_eq!(too_many.status(), 431, "{version:?} {path}");
        }
    }
}

#[tokio::test]
async fn cookies_in_fields_of_their_own_count_as_one() {
    let home = Home::new();
    let server = home.start();
    let live = server.login("alice").await.cookie();
    let client = reqwest::Client::builder().http2_prior_knowledge().timeout(AT_ONCE).build().expect("a client");
    let ask = |others: usize| {
        let request = client.get(server.url("/auth/status"));
        let request = (0..150).fold(request, |request, number| request.header("cookie", format!("planted{number}=x")));
        let request = (0..others).fold(request, |request, field| request.header(format!("x-{field}"), "y"));
        request.header("cookie", &live).send()
    };
    // The client adds one field, and the cookies are another.
    let [most, too_many] = [ask(98).await, ask(99).await].map(|answer| answer.expect("an answer"));
    assert_eq!(most.status(), 200);
    assert_eq!(too_many.status(), 431);
    assert_eq!(too_many.text().await.expect("a body"), "too many header fields: send at most 100\n");
}

#[tokio::test]
async fn a_burst_without_bodies_is_refused_or_closed() {
    const CONNECTIONS: usize = 1000;
    // A request counts 24 KiB and its head, and all 32 MiB. With those that are being closed, 64 MiB.
    const MOST_WAITING: usize = 32 * 1024 / 24;
    const MOST_KIB: usize = 96 * 1024;
    assert!(open_files() > CONNECTIONS + 100, "this machine allows too few open files");
    let home = Home::with_settings(&["http.body_timeout=1h"]);
    let mut server = home.start();
    let mut attackers: Vec<_> = (0..CONNECTIONS).map(|_| Http2::connect(&server.public, 65_535)).collect();
    for attacker in &mut attackers {
        attacker.until(|frame| frame.kind == WINDOW_UPDATE);
    }
    let before = resident_kib(&server);
    for attacker in &mut attackers {
        // The first may be closed for others by now.
        let _ = attacker.announce_many(STREAMS, "POST", "/auth/password");
    }
    let mut attackers: Vec<_> = attackers.into_iter().map(|attacker| (attacker, Vec::new())).collect();
    let mut waiting = 0;
    until("most are refused or closed", || {
        attackers.retain_mut(|(attacker, received)| !is_closed_after(attacker, received));
        waiting = attackers.iter().map(|(_, received)| STREAMS as usize - heads(received).0).sum();
        waiting <= MOST_WAITING
    });
    let most = peak_kib(&server).saturating_sub(before);
    println!("{waiting} requests of {} connections wait, after a peak of {most} KiB", attackers.len());
    assert!(most <= MOST_KIB, "{most} KiB");
    server.wait_for("refused an HTTP/2 request with 503: HTTP/2 requests and responses use too much memory");
    assert!(server.metric("sealjar_http2_requests_refused_total").await >= 1.0);
    assert!(waiting > MOST_WAITING / 2, "{waiting}: no more are closed than need be");
    until("a newcomer is served", || {
        let mut newcomer = Http2::connect(&server.public, 65_535);
        let stream = newcomer.ask("GET", "/auth/style.css").expect("sends");
        let head = newcomer.until(|frame| frame.kind == HEADERS && frame.stream == stream);
        !head.ends_stream()
    });
}

#[tokio::test]
async fn a_stop_waits_for_no_http_2_client_that_is_silent() {
    let home = home_with(PLACES, &["http.shutdown_timeout=1h", "http.idle_timeout=1h"]);
    let mut server = home.start();
    let mut silent = Http2::connect(&server.public, 65_535);
    let stream = silent.ask("GET", "/auth/status").expect("sends");
    silent.until(|frame| frame.ends_stream() && frame.stream == stream);
    let mut asked_nothing = Http2::connect(&server.public, 65_535);
    asked_nothing.until(|frame| frame.kind == WINDOW_UPDATE);
    server.signal("TERM");
    // Neither answers the PING that follows GOAWAY.
    assert!(silent.peer.is_closed() && asked_nothing.peer.is_closed());
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn after_408_a_silent_http_2_connection_is_closed() {
    let home = home_with(PLACES, &["http.body_timeout=1s", "http.idle_timeout=1h"]);
    let server = home.start();
    let mut silent = Http2::connect(&server.public, 65_535);
    let stream = silent.announce("POST", "/auth/logout").expect("sends");
    silent.until(|frame| frame.kind == HEADERS && frame.stream == stream);
    assert!(silent.peer.is_closed());
}

#[tokio::test]
async fn an_answer_without_a_body_says_nothing_of_a_length() {
    let home = Home::new();
    let server = home.start();
    let mut http2 = Http2::connect(&server.public, 0);
    let stream = http2.ask("HEAD", "/auth/login").expect("sends");
    // What waits behind the head needs no window.
    let last = http2.until(|frame| frame.ends_stream() && frame.stream == stream);
    assert_eq!((last.kind, last.payload.len()), (DATA, 0));
    let http2 = reqwest::Client::builder().http2_prior_knowledge().timeout(AT_ONCE).build().expect("a client");
    let answer = Answer::of(http2.head(server.url("/auth/login")).send().await.expect("an answer")).await;
    assert_eq!((answer.status, answer.header("content-length"), &*answer.body), (200, None, ""));
    let answer = Answer::of(http2.get(server.url("/auth/login")).send().await.expect("an answer")).await;
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
}
