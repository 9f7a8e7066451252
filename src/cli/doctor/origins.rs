//! Checks of listeners, public origins and trusted proxies, and whether they are consistent.

use std::collections::BTreeSet;
use std::time::Duration;

use super::files::OTHERS_WRITE;
use super::report::Report;
use crate::config::Config;
use crate::config::breadth::{self, NetworkBreadth};
use crate::config::listen::Listen;
use crate::config::span::Span;
use crate::network::is_private;
use crate::web::origin::Origin;

/// Default time for which nginx keeps an idle connection to its upstream server.
const PROXY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn check(config: &Config, report: &mut Report) {
    check_origins(config, report);
    check_proxies(config, report);
    check_listen(config, report);
    check_admin_listen(config, report);
}

fn check_origins(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.public_origins";
    let origins: Vec<Origin> = config.http.public_origins.iter().filter_map(|text| Origin::parse(text)).collect();
    let mut seen = BTreeSet::new();
    for origin in origins.iter().map(Origin::to_string) {
        if seen.contains(&origin) {
            report.warning(CHECK, format!("{origin} occurs twice"), format!("name it once in {CHECK}"));
        }
        seen.insert(origin);
    }
    if let Some(local) = origins.iter().find(|origin| !origin.is_secure())
        && origins.iter().any(Origin::is_secure)
    {
        let found = format!(
            "{local} is not https, and other origins are: pages that this machine serves may send requests to them"
        );
        report.warning(CHECK, found, format!("remove {local} from {CHECK}"));
    }
    let named: Vec<String> = seen.into_iter().collect();
    let served = if named.is_empty() {
        "none, so only browsers on this machine can use it".to_owned()
    } else {
        named.join(", ")
    };
    report.ok_otherwise(CHECK, served);
}

fn check_proxies(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.trusted_proxies";
    if config.lacks_trusted_proxy() {
        let found = "no proxy is trusted, so all clients have the address of the proxy: failed logins of one client block the logins of all users";
        let remedy = "set http.trusted_proxies to the proxy's address, and configure the proxy to set X-Forwarded-For";
        report.problem(CHECK, found, remedy);
    }
    for text in &config.http.trusted_proxies {
        let remedy = format!("name only the addresses of the proxies in {CHECK}");
        match breadth::of(text) {
            None | Some(NetworkBreadth::Narrow) => {}
            Some(NetworkBreadth::Wide) => {
                let found = format!(
                    "{text} includes public addresses of other hosts: a client with such an address can forge its address and host"
                );
                report.warning(CHECK, found, remedy);
            }
            Some(NetworkBreadth::Global) => {
                let found = format!("{text} trusts every client: each can forge its address and host");
                report.problem(CHECK, found, remedy);
            }
        }
    }
    let mode = config.http.unix_mode.0;
    if config.http.trusted_proxies.iter().any(|text| text == "unix") && mode & OTHERS_WRITE != 0 {
        let found = format!(
            "every user of this machine can connect to a socket with mode {mode:04o}, and is trusted as a proxy"
        );
        report.problem(CHECK, found, "set http.unix_mode = \"0660\", and add the user of the proxy to the group");
    }
    let idle = config.http.idle_timeout;
    if !config.http.trusted_proxies.is_empty() && idle.0 <= PROXY_IDLE_TIMEOUT {
        let found = format!(
            "idle connections are closed after {idle}; nginx reuses them for up to {}",
            Span(PROXY_IDLE_TIMEOUT)
        );
        let remedy = "set http.idle_timeout to 75s, or let the proxy keep idle connections for less";
        report.warning("http.idle_timeout", found, remedy);
    }
    let named = config.http.trusted_proxies.join(", ");
    report.ok_otherwise(
        CHECK,
        if named.is_empty() { "none; if there is a proxy, the server's log has its address".to_owned() } else { named },
    );
}

fn check_listen(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.listen";
    let listen = &config.http.listen;
    let has_tls = config.tls.is_on();
    let to_proxy = "use an address that only the proxy can reach, such as 127.0.0.1:8080";
    match reach(listen) {
        Reach::Machine => report.ok(CHECK, format!("{listen}, reachable only from this machine")),
        _ if has_tls => report.ok(CHECK, format!("{listen}, with TLS")),
        Reach::Network => report.ok(CHECK, format!("{listen}, in a private network, without TLS")),
        Reach::Unknown => report.ok(CHECK, format!("{listen}, without TLS; the address is in the socket unit")),
        Reach::Everywhere => {
            let found = format!("{listen} is every address of this machine, without TLS: clients can bypass the proxy");
            report.warning(CHECK, found, format!("{to_proxy}; or block other clients with a firewall"));
        }
        Reach::Internet => report.problem(CHECK, format!("{listen} is a public address, without TLS"), to_proxy),
    }
    let no_name = listen.ip().is_some_and(|ip| ip.is_unspecified()) && config.http.verify_authorities.is_empty();
    if no_name && !config.http.trusted_proxies.is_empty() {
        let found = "verify requests are refused (421) if the proxy sends them with another host, such as the name of an upstream";
        let remedy = "set http.verify_authorities to the host that the proxy sends, such as sealjar:8080";
        report.warning("http.verify_authorities", found, remedy);
    }
}

fn check_admin_listen(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.admin_listen";
    let listen = &config.http.admin_listen;
    let remedy = "set http.admin_listen to 127.0.0.1:8081, or to an address of a private network";
    match reach(listen) {
        Reach::Machine | Reach::Network => {
            report.ok(CHECK, format!("{listen}, which is not reachable from the internet"))
        }
        Reach::Unknown => report
            .skipped(CHECK, format!("the address of {listen} is in the socket unit; make sure that it is private")),
        Reach::Everywhere => {
            let found = format!("{listen} is every address of this machine, and needs no authentication");
            report.warning(CHECK, found, format!("{remedy}; or block other clients with a firewall"));
        }
        Reach::Internet => {
            report.problem(CHECK, format!("{listen} is a public address, and needs no authentication"), remedy)
        }
    }
}

/// Scope from which a listener can be reached.
enum Reach {
    /// Only from this machine.
    Machine,
    /// From a private network.
    Network,
    /// Through every address of this machine.
    Everywhere,
    /// From the internet.
    Internet,
    /// Unknown, because the socket unit of systemd has the address.
    Unknown,
}

fn reach(listen: &Listen) -> Reach {
    match listen {
        Listen::Unix(_) => Reach::Machine,
        Listen::Systemd(_) => Reach::Unknown,
        Listen::Address(address) => match address.ip() {
            address if address.is_loopback() => Reach::Machine,
            address if address.is_unspecified() => Reach::Everywhere,
            address if is_private(address) => Reach::Network,
            _ => Reach::Internet,
        },
    }
}
