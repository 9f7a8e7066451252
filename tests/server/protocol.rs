//! HTTP on the wire: hosts, header fields, HTTP/2 and limits. Raw bytes are used for requests that a client library does not
//! send.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Home, Response, Server, Session, text};

/// Sends bytes, and returns everything that the server sends until it closes the connection.
pub(crate) fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    text(&response)
}

/// Sends bytes, and reads the response up to the status code. Returns the connection and the part that was read.
fn send_and_read_status(address: &str, request: &[u8]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(request).expect("sends");
    let mut response = [0; "HTTP/1.1 200 ".len()];
    stream.read_exact(&mut response).expect("a response");
    (stream, text(&response))
}

/// Sends a request with these header lines, and returns the status code.
fn status_of(server: &Server<'_>, headers: &[&[u8]]) -> u16 {
    let lines = headers.iter().flat_map(|line| [line, b"\r\n".as_slice()].concat()).collect::<Vec<u8>>();
    let request = [b"GET /auth/status HTTP/1.1\r\nConnection: close\r\n".as_slice(), &lines, b"\r\n"].concat();
    let response = raw(&server.public, &request);
    response.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {response:?}"))
}

/// Returns the `Host` line of the server.
fn host(server: &Server<'_>) -> Vec<u8> {
    format!("Host: {}", server.public).into_bytes()
}

/// Returns the `Cookie` line with a session.
fn cookie(session: &Session) -> Vec<u8> {
    format!("Cookie: {}", session.cookie()).into_bytes()
}

#[tokio::test]
async fn a_request_names_exactly_one_host_that_is_served() {
    let home = Home::new();
    let server = home.start();
    let host_line = host(&server);
    let session = cookie(&server.login("alice").await);
    let port = server.public.rsplit_once(':').expect("a port").1;
    let localhost = format!("hOST: LocalHost:{port}").into_bytes();
    let cases: [(&[&[u8]], u16); 7] = [
        (&[&host_line, &session], 200),
        (&[&localhost, &session], 401),
        (&[&session], 400),
        (&[&host_line, &host_line, &session], 400),
        (&[b"Host: evil.example", &session], 421),
        (&[b"Host: ", &session], 421),
        (&[b"Host: 127.0.0.1", &session], 421),
    ];
    for (headers, status) in cases {
        assert_eq!(status_of(&server, headers), status, "{}", text(&headers.concat()));
    }
}

/// A proxy that copies the request target of a client may send a whole URL. If the server accepted the URL, that proxy
/// would treat one of the server's pages as the response to its verification request.
#[tokio::test]
async fn a_target_that_is_a_whole_url_is_refused() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await.cookie();
    for (target, host) in [
        (format!("http://{}/auth/login", server.public), server.public.as_str()),
        (format!("http://{}/auth/verify/-", server.public), &server.public),
        (format!("HTTP://{}/auth/status?x=y", server.public), &server.public),
        (format!("http://{}/nothing", server.public), &server.public),
        ("http://evil.example/auth/status".to_owned(), &server.public),
        ("http://evil.example/auth/status".to_owned(), "evil.example"),
    ] {
        for method in ["GET", "POST"] {
            let head =
                format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nCookie: {session}\r\nContent-Length: 0\r\n");
            let response = raw(&server.public, format!("{head}Connection: close\r\n\r\n").as_bytes());
            assert!(
                response.starts_with("HTTP/1.1 400 ") && response.contains("\"authority\""),
                "{method} {target}: {response}"
            );
        }
    }
}

#[tokio::test]
async fn finds_the_session_among_other_cookies_in_any_fields() {
    let home = Home::new();
    let server = home.start();
    let host_line = host(&server);
    let session = server.login("alice").await;
    let our_cookie = session.cookie().into_bytes();
    let other_cookies = "a=0123456789; ".repeat(600).into_bytes();
    let cases: [Vec<Vec<u8>>; 6] = [
        vec![[b"Cookie: ".as_slice(), &our_cookie].concat()],
        vec![[b"Cookie: x=\xff\xfe; ".as_slice(), &our_cookie, b";y=\x80"].concat()],
        vec![b"Cookie: a=1".to_vec(), [b"cookie: ".as_slice(), &our_cookie].concat(), b"Cookie: b=2".to_vec()],
        vec![[b"Cookie: ".as_slice(), &other_cookies, &our_cookie, b"; ", &other_cookies].concat()],
        vec![[b"Cookie: __Host-sealjar=bad; ".as_slice(), &our_cookie].concat()],
        vec![b"Cookie: __Host-sealjar=".to_vec(), [b"Cookie: ;;; ".as_slice(), &our_cookie].concat()],
    ];
    for lines in cases {
        let headers: Vec<&[u8]> = [host_line.as_slice()].into_iter().chain(lines.iter().map(Vec::as_slice)).collect();
        assert_eq!(status_of(&server, &headers), 200, "{:.120}", text(&lines.concat()));
    }
    let encoded = session.cookie().replace("__Host", "__%48ost");
    assert_eq!(status_of(&server, &[&host_line, format!("Cookie: {encoded}").as_bytes()]), 401);
}

#[tokio::test]
async fn speaks_cleartext_http_2_with_cookies_split_over_fields() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let request = client.get(server.url("/auth/status")).header("cookie", "a=1").header("cookie", session.cookie());
    let response = request.header("cookie", "b=2").send().await.expect("a response");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(Response::of(response).await.verdict(), "200");
    let response = client.post(server.url("/auth/logout")).header("cookie", session.cookie()).send().await;
    assert_eq!(response.expect("a response").status(), 200);
    assert_eq!(server.status(&session).await, "401 revoked");
}

#[tokio::test]
async fn refuses_a_head_or_body_over_its_limit_and_keeps_serving() {
    let home = Home::new();
    let server = home.start();
    let host_line = host(&server);
    let huge = [b"X: ".as_slice(), &vec![b'x'; 100_000]].concat();
    assert_eq!(status_of(&server, &[&host_line, &huge]), 431);
    let many: Vec<&[u8]> =
        std::iter::once(host_line.as_slice()).chain(std::iter::repeat_n(b"X: y".as_slice(), 200)).collect();
    assert_eq!(status_of(&server, &many), 431);
    let chunk = format!("{:x}\r\n{}\r\n", 40_000, "x".repeat(40_000));
    let chunked = format!(
        "POST /auth/login HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
        server.public
    );
    assert!(raw(&server.public, chunked.as_bytes()).starts_with("HTTP/1.1 413 "));
    let announced = chunked.replace("Transfer-Encoding: chunked", "Content-Length: 999999999999");
    assert_eq!(send_and_read_status(&server.public, announced.as_bytes()).1, "HTTP/1.1 413 ");
    let session = server.login("alice").await;
    assert_eq!(server.status(&session).await, "200");
}

/// With `Expect: 100-continue`, a client need not send its body after a final response ([RFC 9110 section 10.1.1]). The server
/// closes the connection, because otherwise it would read the next request as the body.
///
/// [RFC 9110 section 10.1.1]: https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
#[tokio::test]
async fn a_response_instead_of_100_continue_closes_the_connection() {
    let home = Home::new();
    let server = home.start();
    for (request, status) in [
        ("POST /nothing", "404"),
        ("POST /auth/status/", "404"),
        ("POST /auth/status", "405"),
        ("DELETE /auth/login", "405"),
        ("GET /auth/status", "401"),
        ("GET /protected", "401"),
        ("POST /auth/verify/-", "401"),
        ("GET http://127.0.0.1/auth/status", "400"),
        ("GET /auth/login", "200"),
    ] {
        let head = format!("{request} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\n", server.public);
        let response = raw(&server.public, format!("{head}Content-Length: 9\r\n\r\n").as_bytes());
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {response}");
        assert!(response.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{request}: {response}");
    }
}

#[tokio::test]
async fn a_body_that_no_handler_reads_leaves_the_connection_open() {
    let home = Home::new();
    let server = home.start();
    for request in ["POST /nothing", "POST /auth/status", "GET /auth/status", "POST /auth/verify/-", "GET /auth/login"]
    {
        let head = format!("{request} HTTP/1.1\r\nHost: {}\r\nContent-Length: 9\r\n\r\nsome body", server.public);
        let last = format!("GET /auth/style.css HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.public);
        let response = raw(&server.public, format!("{head}{last}").as_bytes());
        assert!(response.contains("HTTP/1.1 200 OK"), "{request}: {response}");
    }
}

/// If the connection were closed while a client still sends its body, the client could lose the response, and a proxy would
/// respond with 502.
#[tokio::test]
async fn a_refused_request_may_send_the_rest_of_its_body() {
    let home = Home::new();
    let server = home.start();
    let host_line = format!("Host: {}", server.public);
    let json = "Content-Type: application/json";
    let style_request = format!("GET /auth/style.css HTTP/1.1\r\n{host_line}\r\nConnection: close\r\n\r\n");
    let check = |request: &str, fields: &[&str], sent: &str, rest: &str, status: &str| {
        let head = format!("{request} HTTP/1.1\r\n{}\r\n\r\n{sent}", fields.join("\r\n"));
        let (mut stream, response) = send_and_read_status(&server.public, head.as_bytes());
        assert_eq!(response, format!("HTTP/1.1 {status} "), "{request} {fields:?}");
        stream.write_all(format!("{rest}{style_request}").as_bytes()).expect("sends the rest");
        let mut responses = String::new();
        stream.read_to_string(&mut responses).expect("responses");
        assert!(responses.contains("\r\ncontent-type: text/css"), "{request} {fields:?}: {responses}");
    };
    for (request, fields, length, status) in [
        ("POST /nothing", &[host_line.as_str()] as &[&str], 100_000, "404"),
        ("POST /nothing", &[&host_line, "Expect: something-else"], 100_000, "404"),
        ("POST /auth/login", &[&host_line, json], 100_000, "413"),
        ("GET /auth/login", &[&host_line], 100_000, "413"),
        ("POST /auth/login", &["Host: evil.example", json], 100_000, "421"),
        ("POST /auth/logout", &[&host_line, "Sec-Fetch-Site: cross-site"], 9, "403"),
        ("POST /auth/login", &[&host_line, "Content-Type: text/plain"], 9, "415"),
        ("GET /auth/login", &[&host_line], 9, "200"),
    ] {
        let content_length = format!("Content-Length: {length}");
        let fields = [fields, &[&content_length]].concat();
        check(request, &fields, "", &"x".repeat(length), status);
    }
    let half = format!("9c40\r\n{}\r\n", "x".repeat(40_000));
    let fields = [&host_line, json, "Transfer-Encoding: chunked"];
    let rest = format!("{half}0\r\n\r\n");
    check("POST /auth/login", &fields, &half, &rest, "413");

    // A client that waited for 100 Continue, and got it, may send the rest of its body, too.
    let fields = [&fields[..], &["Expect: 100-continue"]].concat().join("\r\n");
    let head = format!("POST /auth/login HTTP/1.1\r\n{fields}\r\n\r\n");
    let (mut stream, interim) = send_and_read_status(&server.public, head.as_bytes());
    stream.write_all(half.as_bytes()).expect("sends");
    let mut response = [0; "Continue\r\n\r\nHTTP/1.1 413 ".len()];
    stream.read_exact(&mut response).expect("a response");
    assert_eq!(interim + &text(&response), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 ");
    stream.write_all(format!("{rest}{style_request}").as_bytes()).expect("sends the rest");
    let mut responses = String::new();
    stream.read_to_string(&mut responses).expect("responses");
    assert!(responses.contains("\r\ncontent-type: text/css"), "{responses}");
}
