//! One HTTP connection of the measuring tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A connection that costs next to nothing besides what it measures.
pub(crate) struct Wire {
    stream: TcpStream,
    host: String,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Field lines but for `Date`, in order.
    pub(crate) fields: Vec<String>,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) fn to(host: &str) -> Self {
        Self::try_to(host).expect("connects")
    }

    /// `None` if nobody listens.
    pub(crate) fn try_to(host: &str) -> Option<Self> {
        let stream = TcpStream::connect(host).ok()?;
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        Some(Self { stream, host: host.to_owned() })
    }

    pub(crate) fn get(&mut self, path: &str, cookie: &str) -> Reply {
        self.ask(path, cookie);
        self.receive()
    }

    pub(crate) fn post(&mut self, path: &str, cookie: &str) -> Reply {
        let host = &self.host;
        self.exchange(&format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n"))
    }

    /// A sign-in, which a proxy says came from `client`.
    pub(crate) fn sign_in(&mut self, client: &str, body: &Value) -> Reply {
        let (host, body) = (&self.host, body.to_string());
        self.exchange(&format!(
            "POST /auth/login HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn exchange(&mut self, request: &str) -> Reply {
        self.stream.write_all(request.as_bytes()).expect("sends");
        self.receive()
    }

    /// Sends a question, whose answer is received later.
    pub(crate) fn ask(&mut self, path: &str, cookie: &str) {
        let host = &self.host;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("sends");
    }

    pub(crate) fn receive(&mut self) -> Reply {
        let mut answer = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let read = match self.stream.read(&mut buffer) {
                // As when the whole machine was paused.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.expect("an answer"),
            };
            assert!(read > 0, "the server closed the connection");
            answer.extend_from_slice(&buffer[..read]);
            if let Some(reply) = Reply::parse(&answer) {
                return reply;
            }
        }
    }
}

impl Reply {
    /// `200`, or the status and reason of a refusal.
    pub(crate) fn verdict(&self) -> String {
        if self.status < 400 {
            return self.status.to_string();
        }
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        format!("{} {}", self.status, problem["reason"].as_str().expect("a reason"))
    }

    /// The whole answer, if it is there.
    fn parse(answer: &[u8]) -> Option<Self> {
        let text = str::from_utf8(answer).expect("our answers are text");
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
