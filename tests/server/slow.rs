//! Slow and heavy clients: whoever holds connections, by whatever kind of slowness, keeps nobody else out.

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
use crate::harness::{Home, PASSWORD, Server, Session, client, until};
use crate::keys::unknown::with_unknown_key;
use crate::protocol::raw;

/// Places for connections in most of these tests.
const PLACES: usize = 8;
/// Less than a held connection would take to end by itself (75 s), and more than a loaded machine needs.
const AT_ONCE: Duration = Duration::from_secs(30);

fn home_with(places: usize, settings: &[&str]) -> Home {
    let places = format!("http.max_connections={places}");
    // Tests read which files it has open.
    Home::with_settings(&[&[places.as_str(), "process.dumpable=true"], settings].concat())
}

/// A connection and what to send over it.
struct Peer {
    stream: TcpStream,
    head: String,
}

impl Peer {
    fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).expect("connects"), address)
    }

    /// From another address of this machine.
    fn connect_from(source: Ipv4Addr, address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("binds");
        socket.connect(&address.parse::<SocketAddr>().expect("an address").into()).expect("connects");
        Self::over(TcpStream::from(socket), address)
    }

    fn over(stream: TcpStream, address: &str) -> Self {
        stream.set_read_timeout(Some(AT_ONCE)).expect("sets");
        Self { stream, head: head(address) }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads until these bytes have come.
    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let (mut read, mut byte) = (Vec::new(), [0]);
        while !read.ends_with(end) {
            self.stream.read_exact(&mut byte)?;
            read.push(byte[0]);
        }
        Ok(read)
    }

    /// Sends a whole request; whether it is answered.
    fn ask(&mut self) -> bool {
        let request = format!("{}\r\n", self.head);
        self.send(request).and_then(|()| self.until(b"\r\n\r\n")).is_ok_and(|head| head.starts_with(b"HTTP/1.1 200 "))
    }

    /// Whether the server has closed it, or does so within a while.
    fn is_closed(&mut self) -> bool {
        match self.stream.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// What a request begins with.
fn head(address: &str) -> String {
    format!("HEAD /auth/style.css HTTP/1.1\r\nHost: {address}\r\n")
}

/// A newcomer that is answered, and stays.
fn newcomer(address: &str) -> Peer {
    let mut peer = Peer::connect(address);
    let started = Instant::now();
    assert!(peer.ask(), "a newcomer was not answered within {:?}", started.elapsed());
    peer
}

/// How many sockets the server has.
fn sockets(server: &Server<'_>) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
    // One that is closed meanwhile has no name any more.
    let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

/// A connection that the server has taken in: the kernel may hand two that are made at once over in the other order.
fn taken_in(server: &Server<'_>) -> Peer {
    let before = sockets(server);
    let peer = Peer::connect(&server.public);
    until("it is taken in", || sockets(server) > before);
    peer
}

/// What to send at first, the end of what then comes, a little more to send, the rest, the end of what comes for it.
type Holding<'a> = [&'a [u8]; 5];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";

#[tokio::test]
async fn held_connections_of_every_kind_give_way_oldest_first() {
    let home = home_with(PLACES, &[]);
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
    let kinds: [(&str, Holding<'_>); 5] = [
        ("silent", [b"", b"", b"", &whole, end]),
        ("idle after an answer", [&whole, end, b"", &whole, end]),
        ("trickling a head", [&slow_head, b"", b"a", b": b\r\n\r\n", end]),
        ("trickling a body", [post.as_bytes(), b"", b"{", b"  }", b"{\"signed_out\":true}\n"]),
        ("idle in HTTP/2", [PREFACE, SETTINGS_ACK, b"", PING, b"pingpong"]),
    ];
    for (kind, [first, end, more, rest, last]) in kinds {
        until("those before are gone", || sockets(&server) <= before);
        let mut held: Vec<_> = (0..PLACES)
            .map(|_| {
                let mut peer = taken_in(&server);
                peer.send(first).and_then(|()| peer.until(end)).expect("a place");
                peer
            })
            .collect();
        // A trickle does not make them younger.
        for peer in &mut held[..2] {
            peer.send(more).expect("sends");
        }
        let _newcomers = [newcomer(&server.public), newcomer(&server.public)];
        assert!(held[..2].iter_mut().all(Peer::is_closed), "{kind}: the first two give way");
        for peer in &mut held[2..] {
            peer.send([more, rest].concat())
                .and_then(|()| peer.until(last))
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
    }
}

#[tokio::test]
async fn an_answered_client_stays_longer_than_a_newer_silent_one() {
    let home = home_with(PLACES, &[]);
    let server = home.start();
    let mut held: Vec<_> = (0..PLACES).map(|_| taken_in(&server)).collect();
    assert!(held[PLACES - 1].ask() && held[0].ask());
    let _newcomers: Vec<_> = (0..PLACES - 2).map(|_| newcomer(&server.public)).collect();
    assert!(held[1..PLACES - 1].iter_mut().all(Peer::is_closed));
    assert!(held[0].ask() && held[PLACES - 1].ask());
}

#[tokio::test]
async fn the_admin_listener_is_held_open_likewise_and_has_no_proxies() {
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.0/8"]);
    let server = home.start();
    let _held: Vec<_> = (0..PLACES).map(|_| Peer::connect(&server.admin)).collect();
    let health = client().get(format!("http://{}/healthz", server.admin)).timeout(AT_ONCE).send().await;
    assert_eq!(health.expect("a response").status(), 200);
}

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn a_proxys_connection_gives_way_only_if_all_are_of_proxies() {
    let home = home_with(PLACES, &["http.trusted_proxies=127.0.0.2"]);
    let server = home.start();
    let mut proxies: Vec<_> = (0..PLACES / 2).map(|_| Peer::connect_from(PROXY, &server.public)).collect();
    let mut others: Vec<_> = (0..PLACES / 2).map(|_| Peer::connect(&server.public)).collect();
    let newcomers: Vec<_> = (0..PLACES).map(|_| newcomer(&server.public)).collect();
    assert!(others.iter_mut().all(Peer::is_closed), "these give way");
    assert!(proxies.iter_mut().all(Peer::ask), "these do not");
    proxies.extend((0..PLACES / 2).map(|_| Peer::connect_from(PROXY, &server.public)));
    assert!(proxies.iter_mut().all(Peer::ask), "a proxy takes the places of others");
    drop(newcomers);
    let _newcomer = newcomer(&server.public);
    assert_eq!(proxies.iter_mut().filter_map(|proxy| proxy.ask().then_some(())).count(), PLACES - 1);
}

type SignIn = tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>;

/// Signs in, and passes over what the log says of it.
async fn signed_in(server: &mut Server<'_>) -> Session {
    let session = server.login("alice").await;
    server.wait_for("checking a password");
    session
}

/// Signs in again, in the place of a session whose end the store must write. If its database is locked, that takes until it is not,
/// or 5 s.
fn sign_in(server: &mut Server<'_>, client: &reqwest::Client, replaced: &Session) -> SignIn {
    let body = Server::login_body("alice", PASSWORD);
    let request = client.post(server.url("/auth/login")).header("cookie", replaced.cookie()).json(&body);
    let sign_in = tokio::spawn(request.send());
    server.wait_for("checking a password");
    sign_in
}

async fn assert_signed_in(sign_in: SignIn) {
    let response = sign_in.await.expect("it ran").expect("a response");
    assert_eq!(response.status(), 200);
    assert!(Session::of(response.headers()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_under_way_stays_however_many_come_after_it() {
    let home = home_with(3, &[]);
    let mut server = home.start();
    let mut tables = database::open(&home, "sealjar.db").await;
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    for client in [client(), &http_2] {
        let replaced = signed_in(&mut server).await;
        database::run(&mut tables, "BEGIN IMMEDIATE").await;
        let sign_in = sign_in(&mut server, client, &replaced);
        let mut held = [Peer::connect(&server.public), Peer::connect(&server.public)];
        let newcomers: Vec<_> = (0..6).map(|_| newcomer(&server.public)).collect();
        assert!(held.iter_mut().all(Peer::is_closed));
        assert!(!sign_in.is_finished(), "it ended too early to prove anything");
        drop(newcomers);
        database::run(&mut tables, "ROLLBACK").await;
        assert_signed_in(sign_in).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_waits_for_sign_ins_and_takes_no_answer_away() {
    let home = home_with(2, &[]);
    let mut server = home.start();
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let replaced = [signed_in(&mut server).await, signed_in(&mut server).await];
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "BEGIN IMMEDIATE").await;
    let sign_ins = [sign_in(&mut server, client(), &replaced[0]), sign_in(&mut server, &http_2, &replaced[1])];
    let address = server.public.clone();
    let waiting = std::thread::spawn(move || newcomer(&address));
    server.wait_for("so new ones wait");
    assert!(!waiting.is_finished());
    database::run(&mut tables, "ROLLBACK").await;
    for sign_in in sign_ins {
        assert_signed_in(sign_in).await;
    }
    waiting.join().expect("it was let in after them");
}

#[tokio::test]
async fn sign_outs_with_made_up_keys_keep_no_places() {
    const ROUNDS: usize = 10;
    let home = home_with(PLACES, &[]);
    let cookie = with_unknown_key(&home.start().login("alice").await).cookie();
    // Another, to which the client that signed in has no connection.
    let server = home.start();
    let host = &server.public;
    let head = format!("POST /auth/logout HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: 2\r\n");
    let before = sockets(&server);
    let gives_way = || {
        until("those before are gone", || sockets(&server) <= before);
        // The store was asked just now, so all others wait for a second.
        assert!(raw(host, format!("{head}\r\n{{}}").as_bytes()).starts_with("HTTP/1.1 200 "));
        until("it is gone", || sockets(&server) <= before);
        let mut held: Vec<_> = (0..PLACES).map(|_| taken_in(&server)).collect();
        for peer in &mut held {
            peer.send(format!("{head}Expect: 100-continue\r\n\r\n")).expect("sends");
        }
        // By then the key ring was read again, and their handlers wait for the bodies.
        for peer in &mut held {
            peer.until(b"HTTP/1.1 100 Continue\r\n\r\n").expect("the body is wanted");
            peer.send("{}").expect("sends");
        }
        // Other requests take their time, and so the bodies were read.
        for _ in 0..20 {
            raw(&server.admin, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        }
        newcomer(host);
        let mut answer = Vec::new();
        let _ = held[0].stream.read_to_end(&mut answer);
        answer.is_empty()
    };
    // On a loaded machine the second may be over before the newcomer is there.
    assert!((0..ROUNDS).any(|_| gives_way()), "the first of them was answered, and its place was kept until then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_room() {
    let home = home_with(2, &["http.shutdown_timeout=1s"]);
    let mut server = home.start();
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let replaced = [signed_in(&mut server).await, signed_in(&mut server).await];
    let mut tables = database::open(&home, "sealjar.db").await;
    database::run(&mut tables, "BEGIN IMMEDIATE").await;
    let _sign_ins = [sign_in(&mut server, client(), &replaced[0]), sign_in(&mut server, &http_2, &replaced[1])];
    let mut waiting = Peer::connect(&server.public);
    server.wait_for("so new ones wait");
    server.signal("TERM");
    server.wait_for("stopping");
    database::run(&mut tables, "ROLLBACK").await;
    assert_eq!(server.exit_code(), Some(0));
    assert!(waiting.is_closed());
}
