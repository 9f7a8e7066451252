//! Connections that do nothing are closed, and those that are used are not.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tokio::time::Instant;

use super::{PLACES, Peer, home_with};

const IDLE: Duration = Duration::from_secs(1);

/// Waits until the server closes it, while these bytes are sent again and again.
fn until_closed(mut peer: Peer, trickled: &[u8]) {
    let started = Instant::now();
    peer.stream.set_read_timeout(Some(IDLE / 10)).expect("sets");
    loop {
        let outcome = peer.stream.read(&mut [0; 512]);
        let is_open = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if !is_open || peer.send(trickled).is_err() {
            assert!(matches!(outcome, Ok(0) | Err(_)), "nothing is answered");
            return;
        }
        assert!(started.elapsed() < super::AT_ONCE, "it is open still");
    }
}

#[tokio::test]
async fn a_connection_without_a_whole_request_ends_when_idle() {
    let home = home_with(PLACES, &["http.idle_timeout=1s"]);
    let server = home.start();
    // Before the last use of each, so that none can end sooner after this than the server may end it.
    let started = Instant::now();
    let [silent, trickling, mut used, mut next] = [(); 4].map(|()| Peer::connect(&server.public));
    let admin = Peer::connect(&server.admin);
    assert!(used.ask() && next.ask());
    next.send(b"GET / HTTP/1.1\r\n").expect("sends");
    std::thread::scope(|scope| {
        let all = [(silent, b"".as_slice()), (trickling, b"G"), (used, b""), (next, b"X: y\r\n"), (admin, b"")];
        for (peer, bytes) in all {
            scope.spawn(move || {
                until_closed(peer, bytes);
                assert!(started.elapsed() >= IDLE, "it loses some of that time: {:?}", started.elapsed());
            });
        }
    });
}

#[tokio::test]
async fn a_connection_that_is_used_outlives_the_idle_time() {
    let home = home_with(PLACES, &["http.idle_timeout=1s"]);
    let server = home.start();
    let started = Instant::now();
    let mut used = started;
    let mut peer = Peer::connect(&server.public);
    while started.elapsed() < IDLE * 4 {
        let asked = Instant::now();
        if peer.ask() {
            used = asked;
        } else {
            // The machine may have stood still for as long; then it was right to close it.
            assert!(used.elapsed() >= IDLE, "it was closed although it was used");
            used = Instant::now();
            peer = Peer::connect(&server.public);
        }
    }
}
