//! Clients that disconnect early. Their request is either carried out completely and logged, or not at all, and does not affect
//! later requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Home, PASSWORD, Server, Session, client, text};

/// Password after the change.
const NEW: &str = "another password";

fn body() -> String {
    json!({ "old_password": PASSWORD, "new_password": NEW }).to_string()
}

/// Returns the bytes of a request that changes the password.
fn change_request(server: &Server<'_>, session: &Session) -> Vec<u8> {
    let host = &server.public;
    let cookie = session.cookie();
    let body = body();
    let head = format!("POST /auth/password HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n");
    format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Ends a connection with a reset instead of an orderly close.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("sets the option");
}

/// Returns the `sub` and the generation of every account in the database.
fn generations(home: &Home) -> Vec<(String, u64)> {
    const PROGRAM: &str = "import sqlite3, sys, json
print(json.dumps(sqlite3.connect(sys.argv[1]).execute('SELECT sub, generation FROM account').fetchall()))";
    let output =
        Command::new("python3").args(["-c", PROGRAM]).arg(home.path("sealjar.db")).output().expect("python3 runs");
    serde_json::from_str(&text(&output.stdout)).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// Returns the number of disconnects: 1000 if `SEALJAR_SOAK` is set.
fn disconnect_count() -> usize {
    if std::env::var_os("SEALJAR_SOAK").is_some() { 1_000 } else { 60 }
}

#[tokio::test]
async fn disconnects_neither_block_the_store_nor_lose_an_event() {
    let home = Home::new();
    let names: Vec<String> = (0..disconnect_count()).map(|number| format!("user{number}")).collect();
    names.iter().for_each(|name| home.add_user(name));
    let before = generations(&home);
    let mut server = home.start();
    for (number, name) in names.iter().enumerate() {
        let session = server.login(name).await;
        let mut stream = TcpStream::connect(&server.public).expect("connects");
        stream.write_all(&change_request(&server, &session)).expect("writes");
        // Disconnect later each time. The other requests serve as a delay.
        for _ in 0..number % 30 {
            assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
        }
        reset(stream);
        if number % 10 == 0 {
            let other = server.login("alice").await;
            assert_eq!(server.logout(&other).await, "200", "after {number} disconnects");
        }
    }
    server.signal("TERM");
    let mut logged = server.events_until_exit("password-change");
    assert_eq!(server.exit_code(), Some(0));
    let after = generations(&home);
    let mut changed: Vec<String> =
        before.iter().zip(&after).filter(|(before, after)| before != after).map(|(_, after)| after.0.clone()).collect();
    println!("{} of {} changes were carried out", changed.len(), names.len());
    changed.sort();
    logged.sort();
    assert_eq!(logged, changed, "one event for each change, and no others");
    assert!(changed.len() > names.len() / 2, "a request that was read completely is carried out");
}

#[tokio::test]
async fn a_change_in_progress_survives_a_disconnect_and_a_shutdown() {
    const HASHED: &str = "sealjar_password_hashing_seconds_count";
    let home = Home::new();
    let mut server = home.start_on_faulty_disk();
    let session = server.login("alice").await;
    home.set_disk("hang");
    let before = server.metric(HASHED).await;
    let mut stream = TcpStream::connect(&server.public).expect("connects");
    stream.write_all(&change_request(&server, &session)).expect("writes");
    // The old and the new password were hashed. Only the write to the store remains.
    while server.metric(HASHED).await < before + 2.0 {}
    reset(stream);
    server.signal("TERM");
    server.wait_for("stopping");
    home.set_disk("works");
    assert_eq!(server.events_until_exit("password-change").len(), 1);
    assert_eq!(server.exit_code(), Some(0));
    let server = home.start();
    assert_eq!(server.status(&session).await, "401 revoked");
    let login = client().post(server.url("/auth/login")).json(&Server::login_body("alice", NEW));
    assert_eq!(login.send().await.expect("a response").status(), 200);
}

#[tokio::test]
async fn a_request_without_its_whole_body_changes_nothing() {
    let home = Home::new();
    let mut server = home.start();
    let session = server.login("alice").await;
    let request = change_request(&server, &session);
    let mut stream = TcpStream::connect(&server.public).expect("connects");
    stream.write_all(&request[..request.len() - 1]).expect("writes");
    assert_eq!(server.get("/auth/status", "").await.verdict(), "401 missing");
    reset(stream);
    assert_eq!(server.status(&session).await, "200");
    server.signal("TERM");
    assert_eq!(server.events_until_exit("password-change"), [""; 0]);
    assert_eq!(server.exit_code(), Some(0));
}

#[tokio::test]
async fn a_client_that_stays_connected_gets_its_response() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let mut stream = TcpStream::connect(&server.public).expect("connects");
    stream.write_all(&change_request(&server, &session)).expect("writes");
    let mut response = [0; 12];
    stream.read_exact(&mut response).expect("reads");
    assert_eq!(&response, b"HTTP/1.1 200");
    let view: Value = server.get("/auth/status", &session.cookie()).await.json();
    assert_eq!(view["reason"], "revoked");
}
