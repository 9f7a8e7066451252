//! Notifications to systemd ([sd_notify](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)). The tests create
//! the socket that systemd would create.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::harness::{Home, WAIT_TIMEOUT, client};

/// Receiver of the notifications, in the role of systemd.
struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Supervisor {
    fn new(home: &Home) -> Self {
        let path = home.path("notify");
        let socket = UnixDatagram::bind(&path).expect("binds");
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time that is not zero");
        Self { socket, path }
    }

    /// Returns the lines of the next message.
    fn next(&self) -> Vec<String> {
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message).expect("a message before the timeout");
        String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned).collect()
    }

    fn has_another(&self) -> bool {
        self.socket.set_nonblocking(true).expect("a socket can be non-blocking");
        self.socket.recv(&mut [0; 1024]).is_ok()
    }
}

#[tokio::test]
async fn systemd_is_notified_when_serving_and_when_stopping() {
    let home = Home::new();
    let supervisor = Supervisor::new(&home);
    let mut server = home.start_with(&[], &[("NOTIFY_SOCKET", supervisor.path.as_os_str())]);
    assert_eq!(supervisor.next(), ["READY=1", "STATUS=serving"]);
    // Both listeners respond immediately after the notification.
    let ready = client().get(format!("http://{}/readyz", server.admin)).send().await.expect("a response");
    assert_eq!(ready.status(), 200);
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
    server.signal("TERM");
    assert_eq!(supervisor.next(), ["STOPPING=1", "STATUS=finishing requests in progress"]);
    assert_eq!(server.exit_code(), Some(0));
    assert!(!supervisor.has_another(), "no watchdog messages without WATCHDOG_USEC");
}

#[test]
fn systemd_is_not_notified_by_a_server_that_cannot_start() {
    let home = Home::new();
    let supervisor = Supervisor::new(&home);
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = home.command(&["serve", "--listen", &address]);
    let output = command.env("NOTIFY_SOCKET", &supervisor.path).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(74));
    assert!(!supervisor.has_another());
}

#[tokio::test]
async fn the_watchdog_is_notified_regularly_even_while_stopping() {
    let home = Home::with_settings(&["http.shutdown_delay=1h"]);
    let supervisor = Supervisor::new(&home);
    let variables = [("NOTIFY_SOCKET", supervisor.path.as_os_str()), ("WATCHDOG_USEC", "20000".as_ref())];
    let mut server = home.start_with(&[], &variables);
    assert_eq!(supervisor.next(), ["READY=1", "STATUS=serving"]);
    for _ in 0..3 {
        assert_eq!(supervisor.next(), ["WATCHDOG=1"]);
    }
    server.signal("TERM");
    let stopping = std::iter::repeat_with(|| supervisor.next()).find(|message| message[0] != "WATCHDOG=1");
    assert_eq!(stopping.expect("an endless iterator")[0], "STOPPING=1");
    for _ in 0..3 {
        assert_eq!(supervisor.next(), ["WATCHDOG=1"]);
    }
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn a_watchdog_for_another_process_is_ignored() {
    let home = Home::new();
    let supervisor = Supervisor::new(&home);
    let socket = ("NOTIFY_SOCKET", supervisor.path.as_os_str());
    let variables = [socket, ("WATCHDOG_USEC", "1".as_ref()), ("WATCHDOG_PID", "1".as_ref())];
    let mut server = home.start_with(&[], &variables);
    assert_eq!(supervisor.next(), ["READY=1", "STATUS=serving"]);
    server.signal("TERM");
    assert_eq!(supervisor.next()[0], "STOPPING=1");
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn serves_even_if_the_notify_socket_does_not_exist() {
    let home = Home::new();
    let missing = home.path("missing");
    let mut server = home.start_with(&[], &[("NOTIFY_SOCKET", missing.as_os_str())]);
    server.wait_for("cannot send the state of the server to systemd");
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
}
