//! Whether listeners, public origins and trusted proxies fit each other.

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

/// nginx keeps an idle connection to us for so long if nobody tells it otherwise.
const KEPT_BY_PROXIES: Duration = Duration::from_secs(60);

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
            report.warning(CHECK, format!("{origin} is there twice"), format!("name it once in {CHECK}"));
        }
        seen.insert(origin);
    }
    if let Some(local) = origins.iter().find(|origin| !origin.is_secure())
        && origins.iter().any(Origin::is_secure)
    {
        let found = format!("{local} is served beside https origins: pages of this machine may send requests to them");
        report.warning(CHECK, found, format!("take {local} out of {CHECK}"));
    }
    let named: Vec<String> = seen.into_iter().collect();
    let served = if named.is_empty() { "none, so browsers of this machine alone".to_owned() } else { named.join(", ") };
    report.ok_otherwise(CHECK, served);
}

fn check_proxies(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.trusted_proxies";
    if config.lacks_trusted_proxy() {
        let found = "no proxy is trusted, so all visitors count as one: a stranger's failed sign-ins stop everybody's";
        let remedy = "set http.trusted_proxies to the proxy's address, and let it write X-Forwarded-For";
        report.problem(CHECK, found, remedy);
    }
    for text in &config.http.trusted_proxies {
        let remedy = format!("name in {CHECK} the proxies' own addresses");
        match breadth::of(text) {
            None | Some(NetworkBreadth::Narrow) => {}
            Some(NetworkBreadth::Wide) => {
                let found = format!("{text} has strangers' addresses: whoever has one can say who and where it is");
                report.warning(CHECK, found, remedy);
            }
            Some(NetworkBreadth::Global) => {
                let found = format!("{text} trusts everybody to say for which host and client a request is made");
                report.problem(CHECK, found, remedy);
            }
        }
    }
    let mode = config.http.unix_mode.0;
    if config.http.trusted_proxies.iter().any(|text| text == "unix") && mode & OTHERS_WRITE != 0 {
        let found = format!("everybody on this machine may connect to a socket of mode {mode:04o}, and is believed");
        report.problem(CHECK, found, "set http.unix_mode = \"0660\", with the proxy in the group");
    }
    let idle = config.http.idle_timeout;
    if !config.http.trusted_proxies.is_empty() && idle.0 <= KEPT_BY_PROXIES {
        let found =
            format!("idle connections are closed after {idle}; nginx uses one again after {}", Span(KEPT_BY_PROXIES));
        let remedy = "set http.idle_timeout to 75s, or let the proxy keep idle connections for less";
        report.warning("http.idle_timeout", found, remedy);
    }
    let named = config.http.trusted_proxies.join(", ");
    report.ok_otherwise(
        CHECK,
        if named.is_empty() {
            "none; if a proxy is in front, the log of the server names its address".to_owned()
        } else {
            named
        },
    );
}

fn check_listen(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.listen";
    let listen = &config.http.listen;
    let by_tls = config.tls.is_on();
    let to_proxy = "let it listen where the proxy alone can reach it, such as 127.0.0.1:8080";
    match reach(listen) {
        Reach::Machine => report.ok(CHECK, format!("{listen}, for this machine alone")),
        _ if by_tls => report.ok(CHECK, format!("{listen}, with TLS")),
        Reach::Network => report.ok(CHECK, format!("{listen}, in a private network, in the clear")),
        Reach::Unknown => report.ok(CHECK, format!("{listen}, in the clear, wherever the socket unit says")),
        Reach::Everywhere => {
            let found =
                format!("{listen} is every address of this machine, in the clear: who comes past the proxy is let in");
            report.warning(CHECK, found, format!("{to_proxy}; or see that a firewall does this"));
        }
        Reach::Internet => report.problem(CHECK, format!("{listen} is a public address, in the clear"), to_proxy),
    }
    let no_name = listen.ip().is_some_and(|ip| ip.is_unspecified()) && config.http.verify_authorities.is_empty();
    if no_name && !config.http.trusted_proxies.is_empty() {
        let found =
            "a proxy that asks /auth/verify under a name or address of its own for this server is refused (421)";
        let remedy = "set http.verify_authorities to what the proxy calls it, such as sealjar:8080";
        report.warning("http.verify_authorities", found, remedy);
    }
}

fn check_admin_listen(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.admin_listen";
    let listen = &config.http.admin_listen;
    let remedy = "set http.admin_listen to 127.0.0.1:8081, or to an address of a private network";
    match reach(listen) {
        Reach::Machine | Reach::Network => report.ok(CHECK, format!("{listen}, which strangers cannot reach")),
        Reach::Unknown => report.skipped(CHECK, format!("{listen} is where the socket unit says; keep it private")),
        Reach::Everywhere => {
            let found = format!("{listen} is every address of this machine, and asks nobody who they are");
            report.warning(CHECK, found, format!("{remedy}; or see that a firewall keeps strangers out"));
        }
        Reach::Internet => report.problem(CHECK, format!("{listen} is public, and asks nobody who they are"), remedy),
    }
}

/// From where a listener can be reached.
enum Reach {
    Machine,
    Network,
    Everywhere,
    Internet,
    /// Systemd knows.
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
