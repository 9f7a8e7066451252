//! `sealjar ready`: output and exit code of the health check, for every state of the server and for other programs on its port.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Output;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Home, WAIT_TIMEOUT, text, wait_until};

const READY: &str = r#"{"status":"ready","reasons":[],"degraded":[]}"#;

/// Returns exit code, standard output and standard error.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn ready(home: &Home, address: &str) -> (Option<i32>, String, String) {
    parts(&home.run(&["ready", "--admin-listen", address]))
}

fn assert_ready(home: &Home, address: &str) {
    assert_eq!(ready(home, address), (Some(0), "ready\n".to_owned(), String::new()));
}

/// Asserts that the command reports no ready server, and that its standard error contains `stderr`.
#[track_caller]
fn assert_not_ready(outcome: (Option<i32>, String, String), stdout: &str, stderr: &str) {
    let (code, out, error) = outcome;
    assert_eq!(code, Some(1), "{out}{error}");
    assert_eq!(out, stdout);
    assert!(error.starts_with("sealjar: ") && error.contains("\nhint: "), "{error}");
    assert!(error.contains(stderr), "{error}");
}

#[test]
fn reports_ready_then_degraded_then_stopping_then_stopped() {
    let home = Home::new();
    let mut server = home.start_with(&["--set", "http.shutdown_delay=10m"], &[]);
    let admin = server.admin.clone();
    assert_ready(&home, &admin);
    fs::remove_file(home.path("sealjar.db")).expect("removed");
    wait_until("the server is ready, but degraded", || {
        let (code, out, error) = ready(&home, &admin);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        out.starts_with("ready; degraded: the database file was replaced") && out.lines().count() == 1
    });
    server.signal("TERM");
    server.wait_for("stopping");
    let (code, out, error) = ready(&home, &admin);
    assert!(out.starts_with("not ready: stopping; degraded: "), "{out}");
    assert_not_ready((code, out.clone(), error), &out, &format!("the server at {admin} is not ready"));
    server.kill();
    assert_not_ready(ready(&home, &admin), "", "start the server");
}

#[test]
fn connects_to_loopback_if_the_server_listens_everywhere() {
    let home = Home::new();
    for (listen, wildcard) in [("0.0.0.0:0", "0.0.0.0"), ("[::]:0", "[::]")] {
        let server = home.start_with(&["--admin-listen", listen], &[]);
        let (_, port) = server.admin.rsplit_once(':').expect("an address");
        assert_ready(&home, &format!("{wildcard}:{port}"));
    }
}

#[test]
fn connects_to_a_unix_socket_and_reports_an_unknown_address() {
    let home = Home::new();
    let socket = format!("unix:{}", home.path("admin.sock").display());
    assert_not_ready(ready(&home, &socket), "", "start the server");
    let server = home.start_with(&["--admin-listen", &socket], &[]);
    assert_ready(&home, &socket);
    drop(server);
    assert_not_ready(ready(&home, "systemd:admin"), "", "the socket unit, such as ListenStream=, with --admin-listen");
    assert_not_ready(ready(&home, "127.0.0.1:0"), "", "its port is 0");
}

#[test]
fn finds_the_address_like_serve_and_ignores_other_settings() {
    let home = Home::new();
    let server = home.start();
    let variable = ("SEALJAR_HTTP__ADMIN_LISTEN", server.admin.as_str());
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = elsewhere.path().join("sealjar.toml");
    let config = file.to_str().expect("a path");
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = home.command(arguments);
        command.current_dir(&elsewhere).envs(variables.iter().copied());
        parts(&command.output().expect("runs"))
    };
    let success = (Some(0), "ready\n".to_owned(), String::new());
    assert_eq!(run(&["ready", "--set", &format!("http.admin_listen={}", server.admin)], &[]), success);
    // As in the container image: the address comes from the environment, although the configuration file is broken.
    fs::write(&file, "[http]\nadmin_listen = ").expect("written");
    assert_eq!(run(&["ready"], &[variable, ("SEALJAR_CONFIG", config)]), success);
    assert_eq!(run(&["ready"], &[variable, ("SEALJAR_SESSION__IDLE", "soon"), ("SEALJAR_NO", "setting")]), success);
    // Other settings are invalid, alone or together.
    let text = format!(
        "store = 1\n[http]\nadmin_listen = \"{}\"\nlisten = \"nowhere\"\n[tls]\ncertificate = \"none.pem\"\n[no]\nsuch = 1\n",
        server.admin
    );
    fs::write(&file, text).expect("written");
    assert_eq!(run(&["ready", "--config", config], &[]), success);
    // The address itself is invalid.
    let (code, _, error) = run(&["ready", "--admin-listen", "nowhere"], &[]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("http.admin_listen"), "{error}");
}

/// Runs `ready` against a listener that sends these bytes to its first client.
fn ready_with_response(home: &Home, response: &[u8]) -> (Option<i32>, String, String) {
    run_with_response(response, |address| ready(home, address))
}

/// Runs a command against a listener that sends these bytes to its first client.
fn run_with_response<T>(response: &[u8], run: impl FnOnce(&str) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("the command connects");
            let _ = stream.read(&mut [0; 1024]);
            // A client that has read enough closes the connection.
            let _ = stream.write_all(response);
        });
        run(&address)
    })
}

#[test]
fn a_response_of_another_program_is_not_ready() {
    let home = Home::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let large = format!("{head}{{\"status\":\"ready\",\"pad\":\"{}\"}}", "x".repeat(64 << 20));
    for response in [
        "",
        "SSH-2.0-other\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!doctype html><title>ready</title>",
        "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"UP\"}",
        "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        &format!("HTTP/1.1 404 Not Found\r\n\r\n{READY}"),
        &format!("HTTP/1.1 503 Service Unavailable\r\n\r\n{READY}"),
        &format!("{head}[{READY}]"),
        &large,
    ] {
        assert_not_ready(ready_with_response(&home, response.as_bytes()), "", "http.admin_listen");
    }
    let response = format!("{head}{}", READY.replace("[]}", r#"["a\nb\u001b[31m"]}"#));
    let (code, out, _) = ready_with_response(&home, response.as_bytes());
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "ready; degraded: a\\u{a}b\\u{1b}[31m\n"),
        "control characters are escaped"
    );
    let output = run_with_response(response.as_bytes(), |address| home.run(&["doctor", "--admin-listen", address]));
    let out = String::from_utf8(output.stdout).expect("text");
    assert!(out.contains("a\\u{a}b\\u{1b}[31m") && !out.contains('\u{1b}'), "{out}");
}

#[test]
fn gives_up_after_2_s_on_a_listener_that_hangs_or_trickles() {
    let home = Home::new();
    let hung = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hung_address = hung.local_addr().expect("an address").to_string();
    let hung_socket = UnixListener::bind(home.path("hung.sock")).expect("a socket");
    let trickling = TcpListener::bind("127.0.0.1:0").expect("a port");
    let trickling_address = trickling.local_addr().expect("an address").to_string();
    let (stop, stopped) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _): (TcpStream, _) = trickling.accept().expect("the command connects");
            while stopped.recv_timeout(Duration::from_millis(200)).is_err() && stream.write_all(b"x").is_ok() {}
        });
        for address in [hung_address, format!("unix:{}", home.path("hung.sock").display()), trickling_address] {
            let started = Instant::now();
            assert_not_ready(ready(&home, &address), "", "no response within 2 s");
            assert!(started.elapsed() < WAIT_TIMEOUT / 4, "{address}");
        }
        let _ = stop.send(());
    });
    drop(hung_socket);
}
