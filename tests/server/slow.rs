//! Slow and heavy clients. A client that holds connections open must not prevent other clients from being served.

mod bodies;
mod frames;
mod http2;
mod idle;
mod many;
mod shared;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::database;
use crate::harness::{Home, PASSWORD, Server, Session, client, wait_until};
use crate::keys::unknown::with_unknown_key;
use crate::protocol::raw;

/// Connection limit in most of these tests.
const MAX_CONNECTIONS: usize = 8;
/// Maximum time for a response. It is less than the idle timeout of a held connection (75 s), and more than a loaded machine
/// needs.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates a home with a connection limit.
fn home_with(max_connections: usize, settings: &[&str]) -> Home {
    let max_connections = format!("http.max_connections={max_connections}");
    // Tests list the open files of the process. Without root, that is possible only if the process is dumpable.
    Home::with_settings(&[&[max_connections.as_str(), "process.dumpable=true"], settings].concat())
}

/// Client end of a connection.
struct Peer {
    stream: TcpStream,
    /// Head of a request, without the empty line that ends it.
    head: String,
}

impl Peer {
    fn connect(address: &str) -> Self {
        Self::new(TcpStream::connect(address).expect("connects"), address)
    }

    /// Connects from another loopback address.
    fn connect_from(source: Ipv4Addr, address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("binds");
        socket.connect(&address.parse::<SocketAddr>().expect("an address").into()).expect("connects");
        Self::new(TcpStream::from(socket), address)
    }

    fn new(stream: TcpStream, address: &str) -> Self {
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT)).expect("sets the timeout");
        Self { stream, head: head(address) }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads up to and including these bytes.
    fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(end) {
            self.stream.read_exact(&mut byte)?;
            read.push(byte[0]);
        }
        Ok(read)
    }

    /// Sends a complete request. Returns whether the response is 200.
    fn request(&mut self) -> bool {
        let request = format!("{}\r\n", self.head);
        self.send(request)
            .and_then(|()| self.read_until(b"\r\n\r\n"))
            .is_ok_and(|head| head.starts_with(b"HTTP/1.1 200 "))
    }

    /// Returns whether the server closes the connection within [`RESPONSE_TIMEOUT`].
    fn is_closed(&mut self) -> bool {
        match self.stream.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// Returns the head of a request, without the empty line that ends it.
fn head(address: &str) -> String {
    format!("HEAD /auth/style.css HTTP/1.1\r\nHost: {address}\r\n")
}

/// Opens a new connection, asserts that it gets a response, and keeps it open.
fn new_client(address: &str) -> Peer {
    let mut peer = Peer::connect(address);
    let started = Instant::now();
    assert!(peer.request(), "a new client got no response within {:?}", started.elapsed());
    peer
}

/// Returns the number of open sockets of the server.
fn sockets(server: &Server<'_>) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the process runs");
    // A file that was closed in the meantime has no link.
    let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

/// Opens a connection, and waits until the server has accepted it. This makes the order of connections known, because the kernel
/// may deliver two simultaneous connections in either order.
fn accepted_connection(server: &Server<'_>) -> Peer {
    let before = sockets(server);
    let peer = Peer::connect(&server.public);
    wait_until("the connection is accepted", || sockets(server) > before);
    peer
}

/// Bytes of a slow client: the first part of a request, the end of the response to it, one more byte, the rest of the request,
/// and the end of the response to the whole request.
type SlowRequest<'a> = [&'a [u8]; 5];

/// Connection preface of a client, with an empty SETTINGS frame (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Acknowledgement of the client's SETTINGS frame.
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
/// PING frame of a client.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";

#[tokio::test]
async fn idle_and_slow_connections_are_evicted_oldest_first() {
    let home = home_with(MAX_CONNECTIONS, &[]);
    let server = home.start();
    let before = sockets(&server);
    let head = head(&server.public).into_bytes();
    let whole = [&head[..], b"\r\n"].concat();
    let slow_head = [&head[..], b"X-"].concat();
    let post = format!(
        "POST /auth/logout HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n",
        server.public
    );
    let end: &[u8] = b"\r\n\r\n";
    let cases: [(&str, SlowRequest<'_>); 5] = [
        ("silent", [b"", b"", b"", &whole, end]),
        ("idle after a response", [&whole, end, b"", &whole, end]),
        ("trickling a head", [&slow_head, b"", b"a", b": b\r\n\r\n", end]),
        ("trickling a body", [post.as_bytes(), b"", b"{", b"  }", b"{\"signed_out\":true}\n"]),
        ("idle in HTTP/2", [PREFACE, SETTINGS_ACK, b"", PING, b"pingpong"]),
    ];
    for (case, [first, end, more, rest, last]) in cases {
        wait_until("the connections of the previous case are closed", || sockets(&server) <= before);
        let mut held: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let mut peer = accepted_connection(&server);
                peer.send(first).and_then(|()| peer.read_until(end)).expect("a connection");
                peer
            })
            .collect();
        // Another byte does not count as activity.
        for peer in &mut held[..2] {
            peer.send(more).expect("sends");
        }
        let _new_clients = [new_client(&server.public), new_client(&server.public)];
        assert!(held[..2].iter_mut().all(Peer::is_closed), "{case}: the two oldest are evicted");
        for peer in &mut held[2..] {
            peer.send([more, rest].concat())
                .and_then(|()| peer.read_until(last))
                .unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
}

#[tokio::test]
async fn an_active_client_is_kept_over_a_newer_silent_one() {
    let home = home_with(MAX_CONNECTIONS, &[]);
    let server = home.start();
    let mut held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| accepted_connection(&server)).collect();
    assert!(held[MAX_CONNECTIONS - 1].request() && held[0].request());
    let _new_clients: Vec<_> = (0..MAX_CONNECTIONS - 2).map(|_| new_client(&server.public)).collect();
    assert!(held[1..MAX_CONNECTIONS - 1].iter_mut().all(Peer::is_closed));
    assert!(held[0].request() && held[MAX_CONNECTIONS - 1].request());
}

#[tokio::test]
async fn the_admin_listener_evicts_idle_connections_of_any_address() {
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.0/8"]);
    let server = home.start();
    let _held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| Peer::connect(&server.admin)).collect();
    let health = client().get(format!("http://{}/healthz", server.admin)).timeout(RESPONSE_TIMEOUT).send().await;
    assert_eq!(health.expect("a response").status(), 200);
}

/// Address of the trusted proxy.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn proxy_connections_are_evicted_only_if_there_are_no_others() {
    let home = home_with(MAX_CONNECTIONS, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut proxies: Vec<_> = (0..MAX_CONNECTIONS / 2).map(|_| Peer::connect_from(PROXY, &server.public)).collect();
    let mut others: Vec<_> = (0..MAX_CONNECTIONS / 2).map(|_| Peer::connect(&server.public)).collect();
    let new_clients: Vec<_> = (0..MAX_CONNECTIONS).map(|_| new_client(&server.public)).collect();
    assert!(others.iter_mut().all(Peer::is_closed), "connections of other clients are evicted");
    assert!(proxies.iter_mut().all(Peer::request), "connections of the proxy are kept");
    proxies.extend((0..MAX_CONNECTIONS / 2).map(|_| Peer::connect_from(PROXY, &server.public)));
    assert!(proxies.iter_mut().all(Peer::request), "a new connection of the proxy evicts one of another client");
    drop(new_clients);
    let _new_client = new_client(&server.public);
    assert_eq!(proxies.iter_mut().filter_map(|proxy| proxy.request().then_some(())).count(), MAX_CONNECTIONS - 1);
}

/// Pending response to a login.
type Login = tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>;

/// Logs in, and skips the log line about the password check.
async fn log_in(server: &mut Server<'_>) -> Session {
    let session = server.login("alice").await;
    server.wait_for("checking a password");
    session
}

/// Starts a login that replaces a session. The store must write the end of the old session. While the database is locked, the
/// login waits, for at most 5 s.
fn start_login(server: &mut Server<'_>, client: &reqwest::Client, replaced: &Session) -> Login {
    let body = Server::login_body("alice", PASSWORD);
    let request = client.post(server.url("/auth/login")).header("cookie", replaced.cookie()).json(&body);
    let login = tokio::spawn(request.send());
    server.wait_for("checking a password");
    login
}

/// Waits for the response to a login, which must set a session.
async fn assert_logged_in(login: Login) {
    let response = login.await.expect("the task finishes").expect("a response");
    assert_eq!(response.status(), 200);
    assert!(Session::of(response.headers()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_in_progress_is_never_evicted() {
    let home = home_with(3, &[]);
    let mut server = home.start();
    let mut tables = database::open(&home, "sealjar.db").await;
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    for client in [client(), &http_2] {
        let replaced = log_in(&mut server).await;
        database::run(&mut tables, "BEGIN IMMEDIATE").await;
        let login = start_login(&mut server, client, &replaced);
        let mut held = [Peer::connect(&server.public), Peer::connect(&server.public)];
        let new_clients: Vec<_> = (0..6).map(|_| new_client(&server.public)).collect();
        assert!(held.iter_mut().all(Peer::is_closed));
        assert!(!login.is_finished(), "the login must still be in progress");
        drop(new_clients);
        database::run(&mut tables, "ROLLBACK").await;
        assert_logged_in(login).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_waits_until_a_login_is_finished() {
    let home = home_with(2, &[]);
    let mut server = home.start();
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let replaced = [log_in(&mut server).await, log_in(&mut server).await];
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "BEGIN IMMEDIATE").await;
    let logins = [start_login(&mut server, client(), &replaced[0]), start_login(&mut server, &http_2, &replaced[1])];
    let address = server.public.clone();
    let waiting = std::thread::spawn(move || new_client(&address));
    server.wait_for("new connections wait");
    assert!(!waiting.is_finished());
    database::run(&mut tables, "ROLLBACK").await;
    for login in logins {
        assert_logged_in(login).await;
    }
    waiting.join().expect("accepted after the logins");
}

#[tokio::test]
async fn logouts_with_unknown_keys_do_not_keep_their_connections() {
    const ROUNDS: usize = 10;
    let home = home_with(MAX_CONNECTIONS, &[]);
    let cookie = with_unknown_key(&home.start().login("alice").await).cookie();
    // Another server, to which the client that logged in has no open connection.
    let server = home.start();
    let host = &server.public;
    let head = format!("POST /auth/logout HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: 2\r\n");
    let before = sockets(&server);
    // Returns whether the first of the held connections was evicted without a response.
    let is_evicted = || {
        wait_until("earlier connections are closed", || sockets(&server) <= before);
        // This request queries the store, so all later requests wait for a second.
        assert!(raw(host, format!("{head}\r\n{{}}").as_bytes()).starts_with("HTTP/1.1 200 "));
        wait_until("the connection is closed", || sockets(&server) <= before);
        let mut held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| accepted_connection(&server)).collect();
        for peer in &mut held {
            peer.send(format!("{head}Expect: 100-continue\r\n\r\n")).expect("sends");
        }
        // When 100 Continue arrives, the server has read the key ring again, and the handler waits for the body.
        for peer in &mut held {
            peer.read_until(b"HTTP/1.1 100 Continue\r\n\r\n").expect("100 Continue");
            peer.send("{}").expect("sends");
        }
        // These requests serve as a delay, during which the server reads the bodies.
        for _ in 0..20 {
            raw(&server.admin, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        }
        new_client(host);
        let mut response = Vec::new();
        let _ = held[0].stream.read_to_end(&mut response);
        response.is_empty()
    };
    // On a loaded machine, the second may be over before the new client connects. Then the request gets a response, and the test
    // needs another round.
    assert!((0..ROUNDS).any(|_| is_evicted()), "the waiting requests kept their connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_a_free_connection_slot() {
    let home = home_with(2, &["http.shutdown_timeout=1s"]);
    let mut server = home.start();
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let replaced = [log_in(&mut server).await, log_in(&mut server).await];
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "BEGIN IMMEDIATE").await;
    let _logins = [start_login(&mut server, client(), &replaced[0]), start_login(&mut server, &http_2, &replaced[1])];
    let mut waiting = Peer::connect(&server.public);
    server.wait_for("new connections wait");
    server.signal("TERM");
    server.wait_for("stopping");
    database::run(&mut tables, "ROLLBACK").await;
    assert_eq!(server.exit_code(), Some(0));
    assert!(waiting.is_closed());
}
