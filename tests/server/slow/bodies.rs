//! Request bodies that arrive too slowly, and request heads that are too large.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use salvo::hyper::body::{Body, Bytes, Frame};
use tokio::time::{Instant, Interval};

use super::frames::{self, frame};
use super::{MAX_CONNECTIONS, PREFACE, Peer, RESPONSE_TIMEOUT, home_with, new_client};
use crate::harness::{Home, Response, client, text};
use crate::protocol::raw;

/// Interval between the bytes of a trickling client.
const BYTE_INTERVAL: Duration = Duration::from_millis(50);

/// An endless body that is sent one byte at a time.
struct Trickle(Interval);

impl Body for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.0.poll_tick(cx));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

fn trickle() -> reqwest::Body {
    reqwest::Body::wrap(Trickle(tokio::time::interval(BYTE_INTERVAL)))
}

/// Sends a head, and then its body byte by byte, until the server closes the connection. Returns the response.
fn trickle_raw(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(BYTE_INTERVAL)).expect("sets the option");
    let request = format!("{head}Host: {address}\r\nContent-Length: 2000\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut response = Vec::new();
    let mut chunk = [0; 4096];
    let started = Instant::now();
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return text(&response),
            Ok(count) => response.extend_from_slice(&chunk[..count]),
            // The response is complete, and the server reads no more of the body.
            Err(_) if response.ends_with(b"\n") => return text(&response),
            Err(_) => drop(stream.write_all(b"x")),
        }
        assert!(started.elapsed() < RESPONSE_TIMEOUT, "the server still waits: {}", text(&response));
    }
}

#[tokio::test]
async fn a_body_that_trickles_over_http_1_gets_408_and_a_close() {
    let home = Home::with_settings(&["http.body_timeout=1s"]);
    let server = home.start();
    let trickle = |path: &str| {
        let started = Instant::now();
        let response =
            trickle_raw(&server.public, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"));
        assert!(started.elapsed() >= Duration::from_secs(1), "{path}: {response}");
        assert!(response.starts_with("HTTP/1.1 408 "), "{path}: {response}");
        assert!(
            response.contains("\"reason\":\"slow\"") && response.contains("\r\nconnection: close\r\n"),
            "{path}: {response}"
        );
    };
    std::thread::scope(|scope| {
        for path in ["/auth/login", "/auth/logout", "/auth/logout/all", "/auth/password", "/auth/reauthenticate"] {
            scope.spawn(move || trickle(path));
        }
    });
}

#[tokio::test]
async fn shows_the_login_form_again_if_a_browsers_body_trickles() {
    let home = Home::with_settings(&["http.body_timeout=1s"]);
    let server = home.start();
    let head = "POST /auth/login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n";
    let response = trickle_raw(&server.public, head);
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(
        response.contains("did not arrive in time. Nothing was changed.") && response.contains("name=\"password\""),
        "{response}"
    );
}

#[tokio::test]
async fn the_body_timeout_applies_despite_a_shorter_idle_timeout() {
    let home = Home::with_settings(&["http.idle_timeout=1s", "http.body_timeout=4s"]);
    let server = home.start();
    let response = trickle_raw(&server.public, "POST /auth/login HTTP/1.1\r\nContent-Type: application/json\r\n");
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
}

#[tokio::test]
async fn a_body_that_trickles_gets_408_over_http_2_too() {
    let home = Home::with_settings(&["http.body_timeout=1s"]);
    let server = home.start();
    let client =
        reqwest::Client::builder().http2_prior_knowledge().timeout(RESPONSE_TIMEOUT).build().expect("a client");
    let post = || client.post(server.url("/auth/login")).header("content-type", "application/json");
    let started = Instant::now();
    let response = post().body(trickle()).send().await.expect("a response");
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(Response::of(response).await.verdict(), "408 slow");
    let response = post().body("{").send().await.expect("a response over another connection");
    assert_eq!(Response::of(response).await.verdict(), "400 malformed");
}

#[tokio::test]
async fn after_408_the_server_shuts_down_the_http_2_connection() {
    let home = Home::with_settings(&["http.body_timeout=1s"]);
    let server = home.start();
    let mut peer = Peer::connect(&server.public);
    let head = frames::head("POST", "/auth/logout", &server.public);
    peer.send([PREFACE, &frame(1, 4, 1, &head)].concat()).expect("sends");
    peer.read_until(b"\0\0\x08\x07\0\0\0\0\0").expect("GOAWAY");
    peer.read_until(b"\0\0\x08\x06\0\0\0\0\0")
        .expect("PING, whose acknowledgement shows which requests the client had sent");
    let mut payload = [0; 8];
    peer.stream.read_exact(&mut payload).expect("eight bytes");
    peer.send(frame(6, 1, 0, &payload)).expect("sends");
    assert!(peer.is_closed());
}

#[tokio::test]
async fn heads_over_their_limits_are_refused_and_block_no_client() {
    let home = home_with(MAX_CONNECTIONS, &[]);
    let server = home.start();
    let start = format!("GET /auth/status HTTP/1.1\r\nHost: {}\r\n", server.public);
    let long = format!("{start}X: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("{start}{}\r\n", "X: y\r\n".repeat(101));
    let http_2 =
        reqwest::Client::builder().http2_prior_knowledge().timeout(RESPONSE_TIMEOUT).build().expect("a client");
    for _ in 0..2 * MAX_CONNECTIONS {
        assert!(raw(&server.public, long.as_bytes()).starts_with("HTTP/1.1 431 "));
        assert!(raw(&server.public, many.as_bytes()).starts_with("HTTP/1.1 431 "));
        let response = http_2.get(server.url("/auth/status")).header("x", "x".repeat(40_000)).send().await;
        assert!(response.map_or(true, |response| response.status() == 431));
    }
    let mut held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| Peer::connect(&server.public)).collect();
    for peer in &mut held {
        peer.send(&long[..31_000]).expect("sends");
    }
    new_client(&server.public);
    assert_eq!(
        Response::of(client().get(server.url("/auth/status")).send().await.expect("a response")).await.status,
        401
    );
}
