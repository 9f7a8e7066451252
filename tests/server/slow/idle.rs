//! The idle timeout: idle connections are closed, and connections that are used are not.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tokio::time::Instant;

use super::{MAX_CONNECTIONS, Peer, home_with};

/// Value of `http.idle_timeout` in these tests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends these bytes repeatedly until the server closes the connection.
fn until_closed(mut peer: Peer, trickled: &[u8]) {
    let started = Instant::now();
    peer.stream.set_read_timeout(Some(IDLE_TIMEOUT / 10)).expect("sets the option");
    loop {
        let outcome = peer.stream.read(&mut [0; 512]);
        let is_open = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if !is_open || peer.send(trickled).is_err() {
            assert!(matches!(outcome, Ok(0) | Err(_)), "the server must not send a response");
            return;
        }
        assert!(started.elapsed() < super::RESPONSE_TIMEOUT, "the connection is still open");
    }
}

#[tokio::test]
async fn a_connection_without_a_whole_request_ends_when_idle() {
    let home = home_with(MAX_CONNECTIONS, &["http.idle_timeout=1s"]);
    let server = home.start();
    // `started` is before the last use of each connection. If less than the timeout has elapsed since `started`, it is too early
    // to close a connection.
    let started = Instant::now();
    let [silent, trickling, mut used, mut next] = [(); 4].map(|()| Peer::connect(&server.public));
    let admin = Peer::connect(&server.admin);
    assert!(used.request() && next.request());
    next.send(b"GET / HTTP/1.1\r\n").expect("sends");
    std::thread::scope(|scope| {
        let peers = [(silent, b"".as_slice()), (trickling, b"G"), (used, b""), (next, b"X: y\r\n"), (admin, b"")];
        for (peer, bytes) in peers {
            scope.spawn(move || {
                until_closed(peer, bytes);
                assert!(started.elapsed() >= IDLE_TIMEOUT, "closed before the timeout: {:?}", started.elapsed());
            });
        }
    });
}

#[tokio::test]
async fn a_connection_in_use_outlives_the_idle_timeout() {
    let home = home_with(MAX_CONNECTIONS, &["http.idle_timeout=1s"]);
    let server = home.start();
    let started = Instant::now();
    let mut last_used = started;
    let mut peer = Peer::connect(&server.public);
    while started.elapsed() < IDLE_TIMEOUT * 4 {
        let sent_at = Instant::now();
        if peer.request() {
            last_used = sent_at;
        } else {
            // A loaded machine may have paused this test for longer than the timeout. Then it was right to close the connection.
            assert!(last_used.elapsed() >= IDLE_TIMEOUT, "the connection was closed although it was used");
            last_used = Instant::now();
            peer = Peer::connect(&server.public);
        }
    }
}
