//! Asks the server at `http.admin_listen` for `/readyz`, for `ready` and `doctor`.
//!
//! One request in plain HTTP/1.0 needs no client library. The question ends after [`TIMEOUT`], and reads at most
//! [`MAX_ANSWER_BYTES`]: the address can belong to another program.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::listen::Listen;

/// For the whole exchange, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(2);
/// An answer of the server has a few hundred bytes.
const MAX_ANSWER_BYTES: u64 = 16 << 10;

/// Answer of a Sealjar server to `GET /readyz`.
#[derive(Debug)]
pub(super) struct Readiness {
    pub(super) is_ready: bool,
    /// The JSON object.
    pub(super) body: Value,
}

impl Readiness {
    /// Asks the server.
    pub(super) async fn ask(listen: &Listen) -> Result<Self, AskError> {
        let exchange = async {
            match listen {
                Listen::Address(address) if address.port() == 0 => Err(AskError::AnyPort),
                Listen::Systemd(_) => Err(AskError::OfSystemd),
                Listen::Address(address) => exchange(TcpStream::connect(here(*address)).await?).await,
                Listen::Unix(path) => exchange(UnixStream::connect(path).await?).await,
            }
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(AskError::Timeout))
    }

    /// Returns the reasons why the server is not ready.
    pub(super) fn reasons(&self) -> Vec<&str> {
        self.texts("reasons")
    }

    /// Returns the problems that do not prevent verification.
    pub(super) fn degraded(&self) -> Vec<&str> {
        self.texts("degraded")
    }

    /// Returns what to do if the server is not ready.
    pub(super) fn remedy(&self) -> &'static str {
        let reasons = self.reasons();
        if reasons.contains(&"stopping") {
            "the server was told to stop; start it again if it is needed"
        } else if reasons.contains(&"no key opens tokens") {
            "sealjar keys list, and sealjar keys rotate --activate-in 0s"
        } else {
            "the server's log says why it cannot follow the store"
        }
    }

    /// Parses an answer. Another program also answers 200 and sends JSON, so status and body must agree.
    fn parse(answer: &[u8]) -> Option<Self> {
        let text = str::from_utf8(answer).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let (protocol, rest) = head.split_once(' ')?;
        let status = rest.get(..3)?;
        let body: Value = serde_json::from_str(body).ok()?;
        let is_ready = match (status, body["status"].as_str()?) {
            ("200", "ready") => true,
            ("503", "not ready") => false,
            _ => return None,
        };
        protocol.starts_with("HTTP/1.").then_some(Self { is_ready, body })
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        self.body[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// Reason why no Sealjar server answers.
#[derive(Debug)]
pub(super) enum AskError {
    /// The setting has port 0.
    AnyPort,
    /// The setting is the name of a socket of systemd.
    OfSystemd,
    /// Nothing listens at the address.
    Nobody(io::Error),
    /// The connection failed in another way.
    Connection(io::Error),
    Timeout,
    /// The answer is not one of a Sealjar server.
    Foreign,
}

impl AskError {
    /// Returns what to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::AnyPort => "name the address in the server's log line \"listening\" with --admin-listen",
            Self::OfSystemd => "name the address in the socket unit, such as ListenStream=, with --admin-listen",
            Self::Nobody(_) => {
                "start the server; if it runs, name its admin listener with --admin-listen or http.admin_listen, as for `sealjar serve`"
            }
            Self::Connection(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "run it as the user of the server, who may use the socket"
            }
            Self::Timeout | Self::Connection(_) | Self::Foreign => {
                "look at the server's log; if another program listens there, set http.admin_listen"
            }
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyPort => f.write_str("its port is 0, so the server chose one when it started"),
            Self::OfSystemd => f.write_str("the socket unit of systemd has the address"),
            Self::Nobody(error) | Self::Connection(error) => error.fmt(f),
            Self::Timeout => write!(f, "no answer within {} s", TIMEOUT.as_secs()),
            Self::Foreign => f.write_str("the answer is not that of the admin listener of a Sealjar server"),
        }
    }
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Nobody(error),
            _ => Self::Connection(error),
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Readiness, AskError> {
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    Readiness::parse(&answer).ok_or(AskError::Foreign)
}

/// Returns where a listener on every address can be reached from this machine.
fn here(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081"),
            ("10.0.0.4:8081", "10.0.0.4:8081"),
            ("[2001:db8::1]:8081", "[2001:db8::1]:8081"),
        ] {
            let listen: SocketAddr = listen.parse().expect("an address");
            assert_eq!(here(listen).to_string(), asked);
        }
    }

    #[test]
    fn only_an_answer_of_sealjar_says_whether_it_is_ready() {
        let ready = r#"{"status":"ready","reasons":[],"degraded":[]}"#;
        let not_ready = r#"{"status":"not ready","reasons":["stopping"]}"#;
        for (head, body, expected) in [
            ("HTTP/1.0 200 OK", ready, Some(true)),
            ("HTTP/1.1 200 OK", ready, Some(true)),
            ("HTTP/1.0 503 Service Unavailable", not_ready, Some(false)),
            ("HTTP/1.0 200 OK", not_ready, None),
            ("HTTP/1.0 503 Service Unavailable", ready, None),
            ("HTTP/1.0 404 Not Found", ready, None),
            ("HTTP/1.0 200 OK", r#"{"status":"UP"}"#, None),
            ("HTTP/1.0 200 OK", "<!doctype html>", None),
            ("HTTP/1.0 200 OK", "", None),
            ("HTTP/1.0 2", ready, None),
            ("SSH-2.0-other 200", ready, None),
        ] {
            let answer = format!("{head}\r\nContent-Type: application/json\r\n\r\n{body}\n");
            let found = Readiness::parse(answer.as_bytes()).map(|readiness| readiness.is_ready);
            assert_eq!(found, expected, "{head} {body}");
        }
        assert!(Readiness::parse(b"HTTP/1.0 200 OK\r\n\r\n\xff").is_none());
    }
}
