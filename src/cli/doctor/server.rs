//! The server that runs, if one does: it is asked on its admin listener. One request in plain HTTP/1.0 needs no client library.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::report::{Report, count};
use crate::config::Config;
use crate::config::listen::Listen;
use crate::hardening;

/// For each step: connecting, asking, and each part of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer of ours is a few hundred bytes.
const MAX_ANSWER: u64 = 16 << 10;

pub(super) fn check(config: &Config, report: &mut Report) {
    const CHECK: &str = "server.ready";
    let address = &config.http.admin_listen;
    let answer = match address {
        Listen::Address(address) if address.port() == 0 => {
            return report.skipped(CHECK, "http.admin_listen has no port of its own, so nothing was asked");
        }
        Listen::Systemd(_) => {
            return report.skipped(CHECK, format!("where {address} is, the socket unit says; so nothing was asked"));
        }
        Listen::Address(address) => connect(here(*address)).and_then(ask),
        Listen::Unix(path) => connect_unix(path).and_then(ask),
    };
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            return report.skipped(CHECK, format!("nothing listens at {address}, so no server was asked"));
        }
        Err(error) => {
            let remedy = "see in the server's log; if it is another program's, set http.admin_listen";
            return report.problem(CHECK, format!("{address} was asked and did not answer: {error}"), remedy);
        }
    };
    let texts =
        |name: &str| -> Vec<&str> { body[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let reasons = texts("reasons");
    for degraded in texts("degraded") {
        let found = match status {
            200 => format!("the server at {address} verifies sessions, but {degraded}"),
            _ => format!("of the server at {address}: {degraded}"),
        };
        let remedy = "see \"The server is degraded\" in docs/troubleshooting.md, and the server's log";
        report.problem(CHECK, found, remedy);
    }
    if status != 200 {
        let remedy = if reasons.contains(&"no key opens tokens") {
            "sealjar keys list, and sealjar keys rotate --activate-in 0s"
        } else {
            "see in the server's log why it cannot follow the store"
        };
        let found = format!("the server at {address} is not ready (status {status}): {}", reasons.join(", "));
        report.problem(CHECK, found, remedy);
    }
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let (pending, revocations) = (number("pending") as usize, number("revocations"));
    if pending > 0 {
        let found =
            format!("{} in force in the server at {address}, and not yet in the store", count(pending, "sign-out"));
        report.warning(
            CHECK,
            found,
            "see in the server's log why the store does not take them, and do not stop it now",
        );
    }
    check_hardening(&body, config, report);
    check_rules(&body["misspelt_rules"], number("unreadable_rules"), address, report);
    let staleness = number("staleness_ms");
    report.ok_otherwise(
        CHECK,
        format!("the server at {address} is ready; {revocations} refused, read {staleness} ms ago"),
    );
}

/// The server may be older than its configuration, and the kernel may have refused.
fn check_hardening(body: &Value, config: &Config, report: &mut Report) {
    const CHECK: &str = "server.hardening";
    let address = &config.http.admin_listen;
    let (Some(dumpable), Some(landlock)) = (body["dumpable"].as_bool(), body["landlock"].as_str()) else {
        return report.skipped(CHECK, format!("the server at {address} does not say; it is an older version"));
    };
    let found = format!("the server at {address} has dumpable = {dumpable} and Landlock {landlock}");
    // `process.landlock` tells of a kernel without Landlock.
    let is_possible = landlock != "unsupported" || hardening::kernel_has_landlock();
    let is_unlimited = config.process.landlock && is_possible && !matches!(landlock, "full" | "partial");
    let is_weaker = is_unlimited || (dumpable && !config.process.dumpable);
    if is_weaker {
        report.warning(
            CHECK,
            found,
            "restart the server; if this stays, its log says why Landlock failed: a filter of system calls must allow those of Landlock",
        );
    } else {
        report.ok(CHECK, found);
    }
}

/// A route whose rule is misspelt in a query is wider open than its operator meant. One with a misspelt segment lets nobody in.
fn check_rules(misspelt: &Value, unreadable: u64, address: &Listen, report: &mut Report) {
    const CHECK: &str = "server.rules";
    if unreadable > 0 {
        let found = format!(
            "the server at {address} refused {unreadable} of proxies' questions, because it cannot read their rules"
        );
        report.warning(CHECK, found, "correct the address that the proxy asks; the server's log has its path");
    }
    let counts = misspelt.as_object().into_iter().flatten();
    let texts: Vec<_> =
        counts.filter_map(|(rule, number)| Some(format!("{rule} {} times", number.as_u64()?))).collect();
    if texts.is_empty() {
        return report.ok_otherwise(CHECK, format!("no proxy asked the server at {address} with a misspelt rule"));
    }
    let found = format!(
        "rules in the queries of proxies' questions to the server at {address} are misspelt, or stand beside rules in the path, and are passed over: {}",
        texts.join(", ")
    );
    let remedy = "correct the address that the proxy asks, or write the rules as segments, such as \
                  /auth/verify/role=admin/-, where a misspelt one is refused; visitors' own parameters count too if the \
                  proxy appends them";
    report.warning(CHECK, found, remedy);
}

/// Where a listener on every address can be reached from here.
fn here(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The status, and the body, which must be JSON.
fn ask(mut stream: impl Read + Write) -> io::Result<(u16, Value)> {
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what came is no answer of ours"))
}

fn parse(answer: &[u8]) -> Option<(u16, Value)> {
    let text = str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (protocol, rest) = head.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    protocol.starts_with("HTTP/").then_some((status, serde_json::from_str(body).ok()?))
}
