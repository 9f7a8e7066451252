//! The declarations of all settings, and their documentation.
//!
//! The comment of a field is the only documentation of the setting: its meaning, unit, bounds and dangers. `meanings.rs` collects
//! these comments for `docs/reference/settings.md`, the manual page and `sealjar config --explain`. They are plain text, because
//! links do not work in all of these.
//!
//! A value passes through these modules: `sources.rs` names the sources (file, environment, flags), `layers.rs` reads them and
//! decides which one takes precedence, and `parse.rs` checks the result and makes [`settings::Settings`]. `reload.rs` compares
//! two configurations while the server runs. The defaults are in `defaults.rs`.

pub(crate) mod breadth;
mod defaults;
mod derived;
mod endpoints;
pub(crate) mod environment;
pub(crate) mod error;
mod example;
mod file;
pub(crate) mod layers;
pub(crate) mod listen;
pub(crate) mod log_level;
pub(crate) mod meanings;
mod pages;
mod parse;
pub(crate) mod reload;
mod section;
pub(crate) mod settings;
pub(crate) mod size;
pub(crate) mod sources;
pub(crate) mod span;
mod suggestions;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::http::pages::language::Language;
use crate::http::tls::TlsVersion;
use crate::network::ClientForm;
use listen::{Listen, UnixMode};
use section::section;
use size::Size;
use span::Span;

section! {
    /// The database. This setting is at the top level of the file, before any section.
    Config {
        /// Address of the database for accounts and revocations. For SQLite it is `sqlite://` and a path; a relative path starts
        /// at the working directory. For PostgreSQL, which several servers can share, it is `postgres://USER@HOST:PORT/DATABASE`.
        /// An SQLite file must be on a local disk, not on a network file system. If the database is lost, all accounts are lost
        /// and all sessions end.
        store: String,
        postgres: Postgres,
        http: Http,
        tls: Tls,
        cookie: Cookie,
        pages: Pages,
        keys: Keys,
        node: Node,
        session: Session,
        revocation: Revocation,
        password: PasswordCost,
        throttle: Throttle,
        log: Log,
        process: Process,
    }
}

section! {
    /// Connections to PostgreSQL. SQLite does not use these settings.
    Postgres {
        /// Maximum number of connections of this server to PostgreSQL for reading accounts at logins, at least 1. The server
        /// opens up to five more: three for writing, and two for following the revocations of other servers. PostgreSQL's own
        /// `max_connections` must be high enough for all servers together.
        max_connections: u32,
        /// Maximum time that PostgreSQL may spend on one statement, including waits for locks. From 1s to less than 5s.
        statement_timeout: Span,
        /// Maximum time for opening a connection to PostgreSQL. From 1s to less than 5s.
        connect_timeout: Span,
    }
}

section! {
    /// The two listeners, and limits for connections and requests.
    Http {
        /// Address of the public listener: `ADDRESS:PORT`, `unix:PATH` for a Unix socket, or `systemd:NAME` for a socket that
        /// systemd opened. An address other than loopback requires `http.public_origins`. It also needs TLS, in Sealjar or in a
        /// proxy.
        listen: Listen,
        /// Address of the admin listener, written like `http.listen`. It serves `/healthz`, `/readyz`, `/metrics` and a
        /// description of these routes. It never uses TLS and requires no credentials, so only monitoring and load balancers
        /// should be able to reach it.
        admin_listen: Listen,
        /// File permissions, in octal, of the Unix sockets that Sealjar creates. If `unix` is in `http.trusted_proxies`, every
        /// process that can write to the public socket counts as a trusted proxy.
        unix_mode: UnixMode,
        /// Origins under which browsers reach the public routes, such as `https://app.example.com`. They are written as browsers
        /// send them: without a path or a slash at the end, and with an international name in ASCII. `http://` is possible only
        /// for `localhost`, names below it such as `app.localhost`, `127.0.0.1` and `[::1]`. If it is empty, `localhost`,
        /// `127.0.0.1` and `[::1]` are served at the port of `http.listen`. Requests for other hosts are refused with 421. Pages
        /// of one origin can send requests to the others if the browser does not send `Sec-Fetch-Site`.
        public_origins: Vec<String>,
        /// Proxies whose `X-Forwarded-*` and `X-Original-*` fields are trusted: addresses, networks such as `10.0.0.0/8`, or
        /// `unix` for every client of a Unix socket. List only proxies that overwrite these fields in each request. A trusted
        /// proxy decides for which host, path and method a request is checked. With `X-Forwarded-For` it also decides for which
        /// client a failed login is counted. Behind a proxy that is not listed, the method is not known, and a session is renewed
        /// only in the last third of its idle timeout.
        trusted_proxies: Vec<String>,
        /// Additional names (`HOST:PORT`) under which proxies send requests to `/auth/verify`. The public origins are always
        /// accepted there. If it is empty, Sealjar accepts `localhost`, `127.0.0.1`, `[::1]` and the address of `http.listen`,
        /// each at its port.
        verify_authorities: Vec<String>,
        /// Additional names under which clients send requests to the admin listener: `HOST` for every port, or `HOST:PORT`. IP
        /// addresses, `localhost`, names below it and names without a dot, such as `sealjar`, are always accepted. Requests under
        /// other names are refused with 421, because a web page can make its own name point to this machine (DNS rebinding).
        admin_authorities: Vec<String>,
        /// Maximum size of a request body in bytes, at least 2048. A larger body is refused with 413.
        max_body_bytes: u32,
        /// Maximum time for a request body to arrive, at least 1s. After that, the answer is 408. The connection is then closed,
        /// unless it is an HTTP/2 connection of a trusted proxy.
        body_timeout: Span,
        /// Maximum number of open connections of each listener, at least 1. At the limit, the server closes the connections that
        /// have waited longest, so that it can accept new ones. Connections of trusted proxies are closed last, and a connection
        /// whose request is being processed is not closed. A request that waits for its body or for a key is not being processed,
        /// so its connection may be closed. HTTP/2 requests and responses also have a memory limit; `docs/security/limits.md` has
        /// the details. The operating system's limit of open files (`LimitNOFILE=`, `ulimit -n`) must be at least twice this
        /// number plus 64. If it is lower, the server uses fewer connections and logs a warning.
        max_connections: u32,
        /// Maximum time for a client to send the head of a request, and maximum time that an idle connection stays open. At least
        /// 1s. An HTTP/2 connection is idle if no request or response is in progress. A proxy must close its idle connections
        /// earlier than this. Otherwise some of its requests fail.
        idle_timeout: Span,
        /// Time between the signal to stop and the start of the shutdown. `/readyz` answers 503 during this time, and new
        /// connections are still accepted. Set it to more than a load balancer needs to notice the 503.
        shutdown_delay: Span,
        /// Maximum time for open requests to finish at a shutdown. After that, their connections are closed. Idle connections are
        /// closed at once, or after one second with HTTP/2.
        shutdown_timeout: Span,
    }
}

section! {
    /// TLS of the public listener.
    Tls {
        /// PEM file with the certificate, followed by the intermediate certificates. The server reads it again when it changes.
        /// If it is not set, the public listener does not use TLS.
        certificate: PathBuf,
        /// PEM file with the private key of the certificate. The server reads it again when it changes. Anybody who can read it
        /// can impersonate this server.
        private_key: PathBuf,
        /// Creates a self-signed certificate at the start, to try out TLS. No browser trusts it.
        self_signed: bool,
        /// Oldest version of TLS that is accepted: `1.2` or `1.3`.
        min_version: TlsVersion,
    }
}

section! {
    /// The session cookie.
    Cookie {
        /// Domain, such as `example.com`, whose hosts share one session. Browsers send the cookie to every host below it, and
        /// every host below it can set the cookie. It requires `http.public_origins`, each on a host of the domain. If it is not
        /// set, each host has its own sessions. A change ends all sessions.
        domain: String,
        /// Sends cookies without `Secure`, for development on loopback with clients that drop `Secure` cookies over plain HTTP.
        /// It cannot be combined with TLS, with `cookie.domain`, or with an origin other than loopback. Anybody who can read the
        /// traffic can take over the session.
        plain_http: bool,
    }
}

section! {
    /// The pages of the server: login, session, change of the password, errors.
    Pages {
        /// Page that the browser opens after a login without a return URL. It is a path such as `/` on the host of the login, or
        /// a URL with a path, such as `https://app.example.com/`. Below `/auth/`, only `/auth/status` is possible. The pages have
        /// a link to it. Without a proxy in front, `/` leads to the page of the session.
        home: String,
        /// Name of the service in the heading and the title of every page, at most 64 characters. If it is not set, the name of
        /// the host is used.
        title: String,
        /// Image file that every page shows above its heading: SVG, PNG, JPEG or WebP, at most 256 KiB. The server reads it at
        /// the start and serves it itself. If it is not set, the pages show no logo. A file that cannot be used stops the start.
        logo: PathBuf,
        /// Language of the pages. The only one at present is `en`.
        language: Language,
    }
}

section! {
    /// The keys that encrypt and decrypt sessions.
    Keys {
        /// Directory of the key files. Anybody who can read it can create a session for any account. It must not be writable for
        /// its group or for others, unless it is mounted read-only.
        dir: PathBuf,
        /// Time from the publication of a new key until it encrypts sessions, at most 3650d. It must be long enough for every
        /// server to read the new key.
        activate_after: Span,
        /// Time from the activation of one key to the activation of the next. The server creates each key early enough. It then
        /// also removes the keys that no session can need. `0s` disables this; the maximum is 3650d. The server checks once a
        /// minute. It must be able to write to the key directory.
        rotate_every: Span,
    }
}

section! {
    /// The name of this server, if there are several.
    Node {
        /// Name of this server in `sealjar keys status` and `sealjar keys rotate --wait`: at most 64 visible ASCII characters. If
        /// it is not set, the name of the host is used.
        name: String,
    }
}

section! {
    /// Lifetimes of sessions.
    Session {
        /// Time after which an unused session ends, at least 10s. It counts from the last renewal, so a session can end up to
        /// five minutes earlier after its last use. Behind a proxy that is not trusted, that is up to two thirds of this time. A
        /// longer time makes a forgotten or stolen cookie useful for longer. It also makes the revocation list longer. With less
        /// than 18m, there is no copy detection.
        idle: Span,
        /// Time after which a session ends even if it is in use. From `session.idle` to 3650d. A change applies to new sessions
        /// only. A session never lives longer than `max_lifetime_secs` of the key that encrypts it.
        absolute: Span,
        /// Same as `session.idle`, for remembered sessions: those of users who selected "Keep me signed in".
        remembered_idle: Span,
        /// Same as `session.absolute`, for remembered sessions. Retired keys are kept for the longer of the two absolute times.
        remembered_absolute: Span,
        /// Ends a session whose cookie is used in two places. A copied cookie is noticed if its holder and the owner both keep
        /// using it; `docs/concepts.md` says what is noticed and what is not. It is off for sessions whose idle timeout is less
        /// than 18m, or not less than their absolute timeout. If clients share one cookie on purpose, such as the workers of a
        /// test, set it to `false`.
        copy_detection: bool,
        /// Maximum memory for copy detection, such as `64MiB` or `1GiB`. From 1MiB to 64GiB. 64 MiB are enough for 700,000
        /// sessions that are in use at the same time. With more sessions, copies are noticed later or not at all; no session ends
        /// for lack of memory.
        copy_detection_memory: Size,
    }
}

section! {
    /// Behaviour while the database cannot be read.
    Revocation {
        /// Maximum age of the revocation list for accepting and creating sessions: the time since the last successful read of the
        /// database. From 1s to 3650d.
        max_staleness: Span,
        /// Behaviour if the revocation list is older than `revocation.max_staleness`. `refuse` fails closed: the answer is 503.
        /// `allow` fails open: existing sessions are accepted, but no new session is created. With `allow`, a session that
        /// another process ended is accepted here until the database can be read again. `allow` also makes the revocation list
        /// longer, because every entry is kept until the absolute deadline of its session.
        when_stale: StaleChoice,
    }
}

/// Value of `revocation.when_stale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StaleChoice {
    Refuse,
    Allow,
}

section! {
    /// The cost of hashing passwords with Argon2id. `sealjar users calibrate` proposes values for a machine.
    PasswordCost {
        /// Memory for one hash in KiB, from 7168 to 262144. Memory multiplied by passes must be at most 2097152.
        memory_kib: u32,
        /// Number of passes over the memory. Less than 2 passes with 19456 KiB is weaker than OWASP recommends.
        passes: u32,
        /// Number of lanes, from 1 to 16. The lanes of one hash are computed one after the other.
        lanes: u32,
        /// Number of threads that check passwords. Each uses memory while it computes a hash, and the memory is freed after a
        /// minute without a hash. `0` means one per core, or fewer if `password.memory_budget_kib` is too small for that.
        threads: u32,
        /// Memory for all these threads together, in KiB. It must be at least `password.memory_kib` for each thread. The rest is
        /// for stored hashes that need more memory than `password.memory_kib`. A stored hash cannot be checked if its additional
        /// memory is more than this rest.
        memory_budget_kib: u32,
        /// Maximum length of each of the two queues in front of the threads, at least 1. One queue is for clients that are known
        /// to the account (`docs/passwords.md`), and is served first. The other is for all other clients. If a queue is full, the
        /// answer is 503.
        queue: u32,
    }
}

section! {
    /// Rate limits for passwords. A burst is the number of attempts that are allowed at once. An interval is the time after which
    /// one more is allowed. `docs/passwords.md` explains the limits.
    Throttle {
        /// Burst of wrong passwords for one client network (an IPv4 address or an IPv6 /64), for all accounts together. An IPv6
        /// /48 has ten times the burst, and a tenth of the interval. `0` disables this limit.
        network_burst: u32,
        /// Interval for one client network, from 1s to 3650d.
        network_interval: Span,
        /// Burst of wrong passwords for one account from one client network, or from one client with a token of the account. `0`
        /// disables this limit: one network can then guess as often as its own limit allows.
        account_and_network_burst: u32,
        /// Interval for one account from one client network, from 1s to 3650d.
        account_and_network_interval: Span,
        /// Burst of wrong passwords for one account from all client networks that are not known to it. `0` disables this limit:
        /// many networks together can then guess without a limit.
        account_burst: u32,
        /// Interval for one account from all client networks that are not known to it, from 1s to 3650d.
        account_interval: Span,
        /// Burst of correct passwords for one account from one client network. An IPv6 /48 has ten times the burst, and a tenth
        /// of the interval. `0` disables this limit: one account can then make the revocation list grow without limit.
        success_burst: u32,
        /// Interval of correct passwords for one account from one client network, from 1s to 3650d.
        success_interval: Span,
    }
}

section! {
    /// The log, which goes to standard error.
    Log {
        /// Format of the log: `text`, `json`, or `auto` for text on a terminal and JSON elsewhere. If the environment variable
        /// `NO_COLOR` is set, text has no colours.
        format: LogFormat,
        /// Lowest level that is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`. Levels of single targets can follow,
        /// as in `info,sealjar::access=debug`. A list of targets alone is added to the default. Unknown levels and unknown
        /// targets are refused. `off` and `error` hide audit events. The variable `RUST_LOG` is not read. No level logs a
        /// password, a key or a token.
        level: String,
        /// Form in which the log shows clients. `network` shows only the IPv4 /24 or IPv6 /48 network, which many people can
        /// share. `full` shows the whole address, which Fail2Ban needs. In many countries an address is personal data: select
        /// `full` only if you need it, and delete old log files.
        client: ClientForm,
    }
}

section! {
    /// Restrictions of the process, and protection of its memory.
    Process {
        /// Allows core dumps, and debuggers of the same user (`PR_SET_DUMPABLE`, see prctl(2)). Both show keys and passwords. Use
        /// it for debugging only. It applies to every command. With `false`, only root can read `/proc/PID/fd` and similar files.
        dumpable: bool,
        /// Limits the server with Landlock, if the kernel has it. The server can then write only to the directories of the SQLite
        /// database, of the keys and of its Unix sockets, and can execute no program. Reading is not limited. If such a directory
        /// is replaced by another one, restart the server.
        landlock: bool,
    }
}

/// Value of `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}
