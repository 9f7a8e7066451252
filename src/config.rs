//! The settings: the meaning, the unit and the danger of each stand in the comment of its field, and the documents take them from
//! there (`meanings.rs`). Their defaults are in `defaults.rs`.
//!
//! Durations are texts such as `30m`, `12h`, `14d`. Names in the environment: `SEALJAR_SESSION__IDLE` is `session.idle`.

mod defaults;
pub(crate) mod error;
pub(crate) mod layers;
pub(crate) mod listen;
pub(crate) mod meanings;
mod parse;
mod parts;
mod places;
pub(crate) mod reload;
mod section;
pub(crate) mod settings;
pub(crate) mod span;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::http::tls::TlsVersion;
use listen::{Listen, UnixMode};
use section::section;
use span::Span;

section! {
    /// Every setting.
    Config {
        /// Address of the database for accounts and revocations: `sqlite://` and a path, or for several nodes
        /// `postgres://USER@HOST:PORT/DATABASE`. A relative path counts from the working directory. A network file system is not
        /// supported. Losing the database loses the accounts and ends all sessions.
        store: String,
        postgres: Postgres,
        http: Http,
        tls: Tls,
        cookie: Cookie,
        keys: Keys,
        node: Node,
        session: Session,
        revocation: Revocation,
        password: PasswordCost,
        throttle: Throttle,
        log: Log,
    }
}

section! {
    /// The share of a PostgreSQL server that one node may use.
    Postgres {
        /// Maximum number of connections to PostgreSQL for sign-ins, at least 1. Five more connections are for sign-outs and for
        /// following them. PostgreSQL's own `max_connections` must be enough for all nodes.
        max_connections: u32,
        /// Longest time that PostgreSQL may work on one statement or wait for a lock; from 1s to less than 5s.
        statement_timeout: Span,
        /// Longest time that a new connection to PostgreSQL may take; from 1s to less than 5s.
        connect_timeout: Span,
    }
}

section! {
    /// The listeners and their requests.
    Http {
        /// Address of the public listener: `ADDRESS:PORT`, `unix:PATH` or `systemd:NAME`. Anything but a loopback address needs
        /// `http.public_origins`, and TLS, here or in a proxy.
        listen: Listen,
        /// Address of the listener for `/healthz`, `/readyz`, `/metrics` and their own `/openapi.json`, written likewise. It
        /// never speaks TLS. Keep it private: these routes ask for no credentials.
        admin_listen: Listen,
        /// Permissions of the Unix sockets that Sealjar makes, in octal. If `http.trusted_proxies` lists `unix`, a process that
        /// may write to the public socket can say where requests come from.
        unix_mode: UnixMode,
        /// Origins under which browsers reach the public routes: `https://`, or `http://` on `localhost`, `127.0.0.1` and
        /// `[::1]`. None: those three at the port of `http.listen`. A request for another host is refused. If a browser sends no
        /// `Sec-Fetch-Site`, the pages of each origin may send requests to the others.
        public_origins: Vec<String>,
        /// Proxies whose `X-Forwarded-*` and `X-Original-*` fields are believed: addresses, networks such as `10.0.0.0/8`, or
        /// `unix` for every client of a Unix socket. List only a proxy that overwrites these fields: it can say for which host,
        /// path and method a request is made, and, with `X-Forwarded-For`, whose failed sign-in it was.
        trusted_proxies: Vec<String>,
        /// Names (`host:port`) under which proxies address `/auth/verify`, besides the public origins. None: `localhost`,
        /// `127.0.0.1`, `[::1]` and the address of `http.listen`, at its port.
        verify_authorities: Vec<String>,
        /// Maximum size of a request's body in bytes, at least 2048.
        max_body_bytes: u32,
        /// Time in which a request's body must arrive, at least 1s. After it, the answer is 408 and the connection is closed.
        body_timeout: Span,
        /// Maximum number of open connections of each listener, at least 1. At the limit, the connections that have waited
        /// longest, for a request to be complete or an answer to be taken, are closed for new ones. Those of
        /// `http.trusted_proxies` are closed only if no other connection waits, and none is closed whose request is being worked
        /// on. HTTP/2 connections are closed, those with the oldest request or answer first, if requests and answers take more
        /// than 32 MiB. New requests over HTTP/2 are answered with 503 while more than 64 MiB are in use, those of
        /// `http.trusted_proxies` while more than 128 MiB are (SECURITY.md, the table of bounds). The limit of open files
        /// (`LimitNOFILE=`, `ulimit -n`) must allow as many for both listeners and 64 more; with a lower limit there are fewer
        /// connections, and the log says so.
        max_connections: u32,
        /// Time in which a client must send a request's head, and for which an idle connection is kept; at least 1s. An HTTP/2
        /// connection is idle without a request or an answer under way, whatever else comes over it. A proxy that keeps
        /// connections for longer finds some of them closed.
        idle_timeout: Span,
        /// Time after the signal to stop for which `/readyz` answers 503 before new connections are refused.
        shutdown_delay: Span,
        /// Time that requests under way then have to finish. Idle connections are closed at once, those of HTTP/2 after a
        /// second.
        shutdown_timeout: Span,
    }
}

section! {
    /// TLS of the public listener.
    Tls {
        /// PEM file with the certificate, and after it the intermediate ones. It is read again when it changes. None: the public
        /// listener speaks no TLS.
        certificate: PathBuf,
        /// PEM file with the certificate's private key. Anybody who can read it can pose as this server.
        private_key: PathBuf,
        /// Makes a certificate at the start, for trying out. No browser trusts it.
        self_signed: bool,
        /// Oldest version of TLS that is spoken: `1.2` or `1.3`.
        min_version: TlsVersion,
    }
}

section! {
    /// The session cookie.
    Cookie {
        /// Domain, such as `example.com`, whose hosts share one session. Every host below it is sent the cookie and can plant
        /// one. None: each host has its own sessions. A change ends the sessions.
        domain: String,
        /// Cookies without `Secure`, for development on loopback with clients that drop those over plain HTTP. Anybody who sees
        /// the traffic has the session.
        plain_http: bool,
    }
}

section! {
    /// The sealing keys.
    Keys {
        /// Directory of the keys. Anybody who can read it can make sessions for everybody. It must not be writable by its group
        /// or by others, unless it is mounted read-only.
        dir: PathBuf,
        /// Time from the publication of a key by `keys rotate` until it begins to seal, at most 3650d. It must be long enough
        /// for every server to read the key.
        activate_after: Span,
        /// Age of the latest activation at which a new key is made, and the keys that no live session can need are removed. `0s`
        /// for never, at most 3650d. It is checked once a minute. The server must be able to write the key directory.
        rotate_every: Span,
    }
}

section! {
    /// This server among others.
    Node {
        /// Name of this server in `keys status` and `keys rotate --wait`, at most 64 visible ASCII characters. None: the host's
        /// name.
        name: String,
    }
}

section! {
    /// Lifetimes of sessions.
    Session {
        /// Time after which an unused session ends, at least 10s. The longer it is, the longer a forgotten or stolen cookie
        /// lives, and the longer the list of revocations is.
        idle: Span,
        /// Time after which a session ends, however much it is used; between the idle time and 3650d. A change counts for new
        /// sessions only, and never beyond the `max_lifetime_secs` of the key that seals.
        absolute: Span,
        /// The same as `session.idle`, for sessions whose user asked to be remembered.
        remembered_idle: Span,
        /// The same as `session.absolute`, for these sessions. Retired keys are kept for the longer of the two absolute times.
        remembered_absolute: Span,
    }
}

section! {
    /// Sessions while the database cannot be read.
    Revocation {
        /// Time for which sessions begin and are accepted after the database could last be read; from 1s to 3650d.
        max_staleness: Span,
        /// Behaviour after that time. `refuse` answers 503. `allow` goes on, but no session begins: sessions ended by another
        /// process live on here until the database can be read again, and every revocation is kept to the session's absolute
        /// deadline.
        when_stale: StaleChoice,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StaleChoice {
    Refuse,
    Allow,
}

section! {
    /// The cost of hashing passwords.
    PasswordCost {
        /// Argon2id's memory for one password, in KiB; from 7168 to 262144.
        memory_kib: u32,
        /// Argon2id's passes over it. Less than 2 at 19456 KiB is weaker than OWASP's recommendation.
        passes: u32,
        /// Argon2id's lanes, at most 16. They are computed one after the other.
        lanes: u32,
        /// Number of threads that check passwords, each with its own memory. 0 for one per core, or as many as the memory budget
        /// allows.
        threads: u32,
        /// Memory of all these threads together, in KiB. The part that their own memory leaves is for stored hashes that ask for
        /// more. A hash that asks for more than there is cannot be checked.
        memory_budget_kib: u32,
        /// Number of sign-ins that may wait for a thread in each of two lanes, at least 1: one lane is for strangers to their
        /// account, the other, which comes first, for everybody else. Further ones are answered with 503.
        queue: u32,
    }
}

section! {
    /// Limits of failed sign-ins.
    Throttle {
        /// Number of wrong passwords at once from one client's network (an IPv4 address or an IPv6 /64), whatever the account. 0
        /// for no limit.
        network_burst: u32,
        /// Time after which one more is allowed; from 1s to 3650d.
        network_interval: Span,
        /// The same number for one account from one network. 0 lets a network guess up to its own limit.
        account_and_network_burst: u32,
        /// Time after which one more is allowed; from 1s to 3650d.
        account_and_network_interval: Span,
        /// The same number for one account from all networks from which it was not signed in to before. 0 lets many networks
        /// together guess without end.
        account_burst: u32,
        /// Time after which one more is allowed; from 1s to 3650d.
        account_interval: Span,
    }
}

section! {
    /// The log.
    Log {
        /// Format of the log: `text`, `json`, or `auto`, which is text on a terminal and JSON elsewhere. Logs go to standard
        /// error; `NO_COLOR` is heeded.
        format: LogFormat,
        /// Lowest level that is logged, or targets with levels, such as `sealjar=debug,salvo_core=warn`. No level logs a
        /// password, a key or a token.
        level: String,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}
