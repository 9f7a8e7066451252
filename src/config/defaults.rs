//! The default of every setting.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::listen::{Listen, UnixMode};
use super::log_level;
use super::size::Size;
use super::span::Span;
use super::{
    Config, Cookie, Http, Keys, Log, LogFormat, Node, Pages, PasswordCost, Postgres, Process, Revocation, Session,
    StaleChoice, Throttle, Tls,
};
use crate::http::pages::language::Language;
use crate::http::tls::TlsVersion;
use crate::network::ClientForm;
use crate::session::{Lifetimes, copy_detection};

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
                admin_authorities: Vec::new(),
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
            pages: Pages {
                home: "/".to_owned(),
                title: String::new(),
                logo: PathBuf::new(),
                language: Language::English,
            },
            keys: Keys { dir: PathBuf::from("keys"), activate_after: minutes(2), rotate_every: Span(Duration::ZERO) },
            node: Node { name: String::new() },
            session: Session {
                idle: Span(ordinary.idle),
                absolute: Span(ordinary.absolute),
                remembered_idle: Span(remembered.idle),
                remembered_absolute: Span(remembered.absolute),
                copy_detection: true,
                copy_detection_memory: Size(copy_detection::DEFAULT_MEMORY_BYTES as u64),
            },
            revocation: Revocation { max_staleness: Span(Duration::from_secs(10)), when_stale: StaleChoice::Refuse },
            password: PasswordCost {
                memory_kib: 19_456,
                passes: 2,
                lanes: 1,
                threads: 0,
                memory_budget_kib: 256 * 1024,
                queue: 64,
            },
            throttle: Throttle {
                network_burst: 100,
                network_interval: Span(Duration::from_secs(6)),
                account_and_network_burst: 10,
                account_and_network_interval: minutes(1),
                account_burst: 100,
                account_interval: minutes(1),
                success_burst: 60,
                success_interval: minutes(1),
            },
            log: Log { format: LogFormat::Auto, level: log_level::DEFAULT.to_owned(), client: ClientForm::Network },
            process: Process { dumpable: false, landlock: true },
        }
    }
}
