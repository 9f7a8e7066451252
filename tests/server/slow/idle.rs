//! Connections that do nothing are closed, and those that are used are not.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tokio::time::Instant;

use super::{PLACES, Peer, home_with};

const IDLE: Duration = Duration::from_secs(1);

/// How long until the server closes it, while these bytes are sent again and again.
fn closed_after(mut peer: Peer, trickled: &[u8]) -> Duration {
    let started = Instant::now();
    peer.stream.set_read_timeout(Some(IDLE / 10)).expect("sets");
    loop {
        let outcome = peer.stream.read(&mut [0; 512]);
        let is_open = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if !is_open || peer.send(trickled).is_err() {
            assert!(matches!(outcome, Ok(0) | Err(_)), "nothing is answered");
            return started.elapsed();
        }
        assert!(started.elapsed() < super::AT_ONCE, "it is open still");
    }
}

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed_after_the_idle_time() {
    let home = home_with(PLACES, &["http.idle_timeout=1s"]);
    let server = home.start();
    let [silent, trickling, mut used, mut next] = [(); 4].map(|()| Peer::connect(&server.public));
    assert!(used.ask() && next.ask());
    next.send(b"GET / HTTP/1.1\r\n").expect("sends");
    let closed: Vec<_> = std::thread::scope(|scope| {
        let all = [(silent, b"".as_slice()), (trickling, b"G"), (used, b""), (next, b"X: y\r\n")];
        let all = all.map(|(peer, bytes)| scope.spawn(|| closed_after(peer, bytes)));
        all.into_iter().map(|thread| thread.join().expect("closed")).collect()
    });
    // Nobody loses any of that time.
    assert!(closed.iter().all(|after| *after > IDLE * 9 / 10), "{closed:?}");
    let admin = Peer::connect(&server.admin);
    assert!(closed_after(admin, b"") > IDLE * 9 / 10);
}

#[tokio::test]
async fn a_connection_that_is_used_outlives_the_idle_time() {
    let home = home_with(PLACES, &["http.idle_timeout=1s"]);
    let server = home.start();
    let mut peer = Peer::connect(&server.public);
    let started = Instant::now();
    while started.elapsed() < IDLE * 4 {
        assert!(peer.ask());
    }
}
