//! A minimal HTTP/1.1 client for the measuring tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A connection with almost no overhead of its own, so that the measured time is that of the server.
pub(crate) struct Wire {
    stream: TcpStream,
    host: String,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Field lines without `Date` and `X-Request-Id`, in order.
    pub(crate) fields: Vec<String>,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) fn to(host: &str) -> Self {
        Self::try_to(host).expect("connects")
    }

    /// Connects. Returns `None` if the connection fails.
    pub(crate) fn try_to(host: &str) -> Option<Self> {
        let stream = TcpStream::connect(host).ok()?;
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        Some(Self { stream, host: host.to_owned() })
    }

    pub(crate) fn get(&mut self, path: &str, cookie: &str) -> Reply {
        self.send(path, cookie);
        self.receive()
    }

    pub(crate) fn post(&mut self, path: &str, cookie: &str) -> Reply {
        let host = &self.host;
        self.exchange(&format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n"))
    }

    /// Sends a login with `client` as the client's address in `X-Forwarded-For`.
    pub(crate) fn sign_in(&mut self, client: &str, body: &Value) -> Reply {
        let host = &self.host;
        let body = body.to_string();
        self.exchange(&format!(
            "POST /auth/login HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn exchange(&mut self, request: &str) -> Reply {
        self.stream.write_all(request.as_bytes()).expect("sends");
        self.receive()
    }

    /// Sends a request without waiting for the response. [`Self::receive`] receives it.
    pub(crate) fn send(&mut self, path: &str, cookie: &str) {
        let host = &self.host;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("sends");
    }

    pub(crate) fn receive(&mut self) -> Reply {
        let mut response = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let read = match self.stream.read(&mut buffer) {
                // The read can be interrupted, for example if the whole machine was suspended.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.expect("a response"),
            };
            assert!(read > 0, "the server closed the connection");
            response.extend_from_slice(&buffer[..read]);
            if let Some(reply) = Reply::parse(&response) {
                return reply;
            }
        }
    }
}

impl Reply {
    /// Returns the status, and the reason of a refusal: `200`, `401 revoked`.
    pub(crate) fn verdict(&self) -> String {
        if self.status < 400 {
            return self.status.to_string();
        }
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        format!("{} {}", self.status, problem["reason"].as_str().expect("a reason"))
    }

    /// Parses a response. Returns `None` if it is incomplete.
    fn parse(response: &[u8]) -> Option<Self> {
        let text = str::from_utf8(response).expect("the responses of the tests are UTF-8");
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let fields: Vec<String> = lines
            .filter(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"))
            .map(str::to_owned)
            .collect();
        let length = fields.iter().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        (body.len() >= length).then(|| Self { status, fields, body: body.to_owned() })
    }
}
