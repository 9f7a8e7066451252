//! Client of the admin listener: requests `/readyz` at `http.admin_listen`, for the commands `ready` and `doctor`.
//!
//! One request in plain HTTP/1.0 needs no client library. Another program can listen at the address. So the exchange ends after
//! [`TIMEOUT`], and at most [`MAX_RESPONSE_BYTES`] are read.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::config::listen::Listen;

/// Maximum duration of the exchange, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum length of the response, in bytes. A response of Sealjar has a few hundred bytes.
const MAX_RESPONSE_BYTES: u64 = 16 << 10;

/// Response of a Sealjar server to `GET /readyz`.
#[derive(Debug)]
pub(super) struct Readiness {
    pub(super) is_ready: bool,
    /// JSON object of the response body.
    pub(super) body: Value,
}

impl Readiness {
    /// Sends the request to the server at `listen`, and parses the response.
    pub(super) async fn request(listen: &Listen) -> Result<Self, RequestError> {
        let exchange = async {
            match listen {
                Listen::Address(address) if address.port() == 0 => Err(RequestError::AnyPort),
                Listen::Systemd(_) => Err(RequestError::SystemdSocket),
                Listen::Address(address) => exchange(TcpStream::connect(reachable(*address)).await?).await,
                Listen::Unix(path) => exchange(UnixStream::connect(path).await?).await,
            }
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(RequestError::Timeout))
    }

    /// Returns the reasons why the server is not ready.
    pub(super) fn reasons(&self) -> Vec<&str> {
        self.texts("reasons")
    }

    /// Returns the problems that do not prevent verification.
    pub(super) fn degraded(&self) -> Vec<&str> {
        self.texts("degraded")
    }

    /// Returns the remedy if the server is not ready.
    pub(super) fn remedy(&self) -> &'static str {
        let reasons = self.reasons();
        if reasons.contains(&"stopping") {
            "the server is shutting down; start it again if it is needed"
        } else if reasons.contains(&"no key opens tokens") {
            "list the keys: sealjar keys list; create one that is active now: sealjar keys rotate --activate-in 0s"
        } else {
            "see in the server's log why it cannot read the store"
        }
    }

    /// Parses a response. Another program can also send 200 with JSON, so status and body must agree.
    fn parse(response: &[u8]) -> Option<Self> {
        let text = str::from_utf8(response).ok()?;
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

/// Error for a request without a response of a Sealjar server.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The port in the setting is 0, so the server chose a port when it started.
    AnyPort,
    /// The setting names a systemd socket, so its address is only in the socket unit.
    SystemdSocket,
    /// Nothing listens at the address.
    NotListening(io::Error),
    /// The connection failed for another reason.
    Connection(io::Error),
    /// The exchange took longer than [`TIMEOUT`].
    Timeout,
    /// The response does not come from a Sealjar server.
    NotSealjar,
}

impl RequestError {
    /// Returns the remedy for this error.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::AnyPort => "name the address in the server's log line \"listening\" with --admin-listen",
            Self::SystemdSocket => "name the address in the socket unit, such as ListenStream=, with --admin-listen",
            Self::NotListening(_) => {
                "start the server; if it runs, name its admin listener with --admin-listen or http.admin_listen, as for `sealjar serve`"
            }
            Self::Connection(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "run it as the server's user, which may use the socket"
            }
            Self::Timeout | Self::Connection(_) | Self::NotSealjar => {
                "check the server's log; if another program listens there, change http.admin_listen"
            }
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyPort => f.write_str("its port is 0, so the server chose a port when it started"),
            Self::SystemdSocket => f.write_str("its address is in a socket unit of systemd"),
            Self::NotListening(error) | Self::Connection(error) => error.fmt(f),
            Self::Timeout => write!(f, "no response within {} s", TIMEOUT.as_secs()),
            Self::NotSealjar => f.write_str("the response does not come from the admin listener of a Sealjar server"),
        }
    }
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::NotListening(error),
            _ => Self::Connection(error),
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Readiness, RequestError> {
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response).await?;
    Readiness::parse(&response).ok_or(RequestError::NotSealjar)
}

/// Returns the address for a connection from this machine: loopback if the listener accepts connections on every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
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
    fn connects_over_loopback_to_a_listener_on_every_address() {
        for (listen, expected) in [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081"),
            ("10.0.0.4:8081", "10.0.0.4:8081"),
            ("[2001:db8::1]:8081", "[2001:db8::1]:8081"),
        ] {
            let listen: SocketAddr = listen.parse().expect("an address");
            assert_eq!(reachable(listen).to_string(), expected);
        }
    }

    #[test]
    fn accepts_only_a_response_of_sealjar() {
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
            let response = format!("{head}\r\nContent-Type: application/json\r\n\r\n{body}\n");
            let found = Readiness::parse(response.as_bytes()).map(|readiness| readiness.is_ready);
            assert_eq!(found, expected, "{head} {body}");
        }
        assert!(Readiness::parse(b"HTTP/1.0 200 OK\r\n\r\n\xff").is_none());
    }
}
