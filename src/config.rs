//! The settings: what each means, its unit, its default, and what is dangerous about it.
//!
//! Durations are texts such as `30m`, `12h`, `14d`. Names in the environment: `SEALJAR_SESSION__IDLE` is `session.idle`.

pub(crate) mod error;
pub(crate) mod layers;
pub(crate) mod listen;
mod parse;
mod parts;
pub(crate) mod reload;
pub(crate) mod settings;
pub(crate) mod span;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::tls::TlsVersion;
use crate::session::Lifetimes;
use listen::{Listen, UnixMode};
use span::Span;

/// The longest name of a node, in characters; no host's is longer.
const MAX_NODE_NAME: usize = 64;

/// Every setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Accounts and revocations: `sqlite://PATH`, or `postgres://USER@HOST/DATABASE` for several nodes. Losing it loses the
    /// accounts; sessions signed out before stay signed out, because a new store refuses all sessions of the old one.
    pub(crate) store: String,
    pub(crate) postgres: Postgres,
    pub(crate) http: Http,
    pub(crate) tls: Tls,
    pub(crate) cookie: Cookie,
    pub(crate) keys: Keys,
    pub(crate) node: Node,
    pub(crate) session: Session,
    pub(crate) revocation: Revocation,
    pub(crate) password: PasswordCost,
    pub(crate) throttle: Throttle,
    pub(crate) log: Log,
}

/// How much of a PostgreSQL server one node may use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    /// Connections for sign-ins at most. Five more are for sign-outs and for following them.
    pub(crate) max_connections: u32,
    /// How long the server may work on one statement, or wait for a lock.
    pub(crate) statement_timeout: Span,
    /// How long a new connection may take.
    pub(crate) connect_timeout: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Where the public routes listen: `ADDRESS:PORT`, `unix:PATH`, or `systemd:NAME`. In the clear, if the settings of `tls` are
    /// not given: then put a proxy with TLS in front of anything but loopback.
    pub(crate) listen: Listen,
    /// Where `/healthz`, `/readyz` and `/metrics` listen, likewise, and never with TLS. Keep it private: it asks nobody who they are.
    pub(crate) admin_listen: Listen,
    /// The permissions of Unix sockets, in octal. Whoever may write to the public one and is listed as a trusted proxy (`unix`) can
    /// say where requests come from.
    pub(crate) unix_mode: UnixMode,
    /// The origins under which browsers reach the public routes, such as `https://app.example.com`. A request for another
    /// host is refused. Empty: the loopback addresses at the port of `http.listen`.
    pub(crate) public_origins: Vec<String>,
    /// Proxies, as addresses or networks such as `10.0.0.0/8`, or `unix` for all that come by a Unix socket, whose `X-Forwarded-*` and `X-Original-*` fields are believed. Only
    /// list what overwrites these fields: whoever is listed can say for which host and by which method a request is made.
    pub(crate) trusted_proxies: Vec<String>,
    /// Under which `host:port` proxies address `/auth/verify`, besides the public origins. Empty: the loopback names and
    /// addresses, and the address of `http.listen`, at its port.
    pub(crate) verify_authorities: Vec<String>,
    /// The largest request body, in bytes.
    pub(crate) max_body_bytes: u32,
    /// How long a request's body may take to arrive.
    pub(crate) body_timeout: Span,
    /// Open connections at most. For another one, those that have waited longest are closed, but neither those of
    /// `http.trusted_proxies` nor those whose request is being worked on.
    pub(crate) max_connections: u32,
    /// How long a client may take to send a request's head; idle connections are kept for as long.
    pub(crate) idle_timeout: Span,
    /// After the signal to stop, how long to answer `/readyz` with 503 before new connections are refused.
    pub(crate) shutdown_delay: Span,
    /// How long requests under way may then take.
    pub(crate) shutdown_timeout: Span,
}

/// TLS on the public listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// A PEM file with the certificate and the intermediate ones after it; empty: no TLS. Read again when it changes.
    pub(crate) certificate: PathBuf,
    /// A PEM file with its private key. Whoever can read it can pose as this server.
    pub(crate) private_key: PathBuf,
    /// For trying out: a certificate made at the start, which no browser trusts.
    pub(crate) self_signed: bool,
    /// The oldest version that is spoken, `1.2` or `1.3`.
    pub(crate) min_version: TlsVersion,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cookie {
    /// A domain whose hosts share one session; empty: each host has its own. Every host below it is sent the cookie, and any of
    /// them can plant one.
    pub(crate) domain: String,
    /// Development only: cookies without Secure, for clients that drop those over plain HTTP. Whoever sees the traffic can take
    /// the session.
    pub(crate) plain_http: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    /// The key ring's directory. Whoever can read it can make sessions for anybody.
    pub(crate) dir: PathBuf,
    /// How long after its publication a key from `keys rotate` begins to seal: long enough for every node to read it.
    pub(crate) activate_after: Span,
    /// Make a new key whenever the latest is this old; `0s` for never. Needs a writable key directory.
    pub(crate) rotate_every: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// How this server is called in what `keys status` and `keys rotate --wait` say; empty: by the host's name.
    pub(crate) name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    /// A session unused for this long is over. A stolen cookie is good for as long as the thief keeps using it, up to
    /// `session.absolute`.
    pub(crate) idle: Span,
    /// A session older than this is over. Raising it has no effect on sessions that exist, and none beyond the
    /// `max_lifetime_secs` of the active key.
    pub(crate) absolute: Span,
    /// The same two for sessions whose user asked to be remembered.
    pub(crate) remembered_idle: Span,
    pub(crate) remembered_absolute: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    /// How long sessions are accepted after the store could last be read.
    pub(crate) max_staleness: Span,
    /// What happens then: `refuse` answers 503; `allow` goes on, so that sessions revoked elsewhere may live on here.
    pub(crate) when_stale: StaleChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StaleChoice {
    Refuse,
    Allow,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordCost {
    /// Argon2id's memory for one password, in KiB.
    pub(crate) memory_kib: u32,
    /// Argon2id's passes over it.
    pub(crate) passes: u32,
    /// Argon2id's lanes.
    pub(crate) lanes: u32,
    /// Threads that hash; 0 for one per core, or as many as the memory budget allows. Each has its own memory.
    pub(crate) threads: u32,
    /// What all threads may use together, in KiB. What their own memory leaves of it is for stored hashes that ask for more.
    pub(crate) memory_budget_kib: u32,
    /// Sign-ins that may wait for a thread: so many of strangers to their account, and so many of others. Further ones get 503.
    pub(crate) queue: u32,
}

/// Failed sign-ins: so many at once (0 for no limit), and one more each interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Throttle {
    /// From one client's network, whatever the account: an IPv4 address or an IPv6 /64.
    pub(crate) network_burst: u32,
    pub(crate) network_interval: Span,
    /// For one account from one network.
    pub(crate) account_and_network_burst: u32,
    pub(crate) account_and_network_interval: Span,
    /// For one account from all networks from which it was not signed in to before.
    pub(crate) account_burst: u32,
    pub(crate) account_interval: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// `auto` (text on a terminal, else JSON), `text` or `json`. Logs go to standard error.
    pub(crate) format: LogFormat,
    /// The least level, or targets with levels: `info`, `sealjar=debug,salvo_core=warn`.
    pub(crate) level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let minutes = |count: u64| Span(Duration::from_secs(60 * count));
        let Lifetimes { ordinary, remembered } = Lifetimes::default();
        Self {
            store: "sqlite://sealjar.db".to_owned(),
            postgres: Postgres {
                max_connections: 8,
                statement_timeout: Span(Duration::from_secs(3)),
                connect_timeout: Span(Duration::from_secs(3)),
            },
            http: Http {
                listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 8080))),
                admin_listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 8081))),
                unix_mode: UnixMode(0o660),
                public_origins: Vec::new(),
                trusted_proxies: Vec::new(),
                verify_authorities: Vec::new(),
                max_body_bytes: 16 * 1024,
                body_timeout: Span(Duration::from_secs(20)),
                max_connections: 10_000,
                idle_timeout: Span(Duration::from_secs(75)),
                shutdown_delay: Span(Duration::ZERO),
                shutdown_timeout: Span(Duration::from_secs(20)),
            },
            tls: Tls {
                certificate: PathBuf::new(),
                private_key: PathBuf::new(),
                self_signed: false,
                min_version: TlsVersion::V1_2,
            },
            cookie: Cookie { domain: String::new(), plain_http: false },
            keys: Keys { dir: PathBuf::from("keys"), activate_after: minutes(2), rotate_every: Span(Duration::ZERO) },
            node: Node { name: String::new() },
            session: Session {
                idle: Span(ordinary.idle),
                absolute: Span(ordinary.absolute),
                remembered_idle: Span(remembered.idle),
                remembered_absolute: Span(remembered.absolute),
            },
            revocation: Revocation { max_staleness: Span(Duration::from_secs(10)), when_stale: StaleChoice::Refuse },
            password: PasswordCost {
                memory_kib: 19_456,
                passes: 2,
                lanes: 1,
                threads: 0,
                memory_budget_kib: 256 * 1024,
                queue: 16,
            },
            throttle: Throttle {
                network_burst: 100,
                network_interval: Span(Duration::from_secs(6)),
                account_and_network_burst: 10,
                account_and_network_interval: minutes(1),
                account_burst: 100,
                account_interval: minutes(1),
            },
            log: Log { format: LogFormat::Auto, level: "info,salvo_core=warn".to_owned() },
        }
    }
}
