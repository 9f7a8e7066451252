//! Address of the store: `sqlite://PATH`, or a `postgres://…` address in the format of PostgreSQL's own clients ([connection
//! URIs](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS)).
//!
//! Invariant: an address may contain a password, so no message contains a part of the address that may be a password.

use std::borrow::Cow;
use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Address of a store.
#[derive(Debug, Clone)]
pub(crate) enum StoreUrl {
    /// Path of an SQLite file.
    Sqlite(PathBuf),
    /// Connection options for a database of a PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// Protection of the connection to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The connection does not leave this machine.
    Local,
    /// The connection uses TLS, and the certificate must contain the server's name.
    VerifiedTls,
    /// The connection uses TLS, but the certificate is not checked for the server's name.
    UnverifiedTls,
    /// The connection may be unencrypted.
    Unencrypted,
}

impl StoreUrl {
    /// Parses an address. A path without a leading slash is relative to the working directory. Missing parts of a PostgreSQL
    /// address are taken from `PGHOST`, `PGPASSWORD` and similar variables, and from `.pgpass`.
    ///
    /// Connections to another machine use TLS, and the certificate must contain the server's name, unless `sslmode` sets
    /// another mode.
    ///
    /// # Errors
    /// The reason why the address is invalid, as a clause that begins with "it". It never contains the address, which may
    /// contain a password.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return match path {
                "" => Err("it lacks the path after sqlite://".to_owned()),
                path if path.contains(['?', '#']) => Err("it must be sqlite:// and a path, without ? and #".to_owned()),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it must be sqlite:// and the path of a file, or postgres://USER@HOST/DATABASE".to_owned());
        }
        let parts = Parts::of(url);
        parts.check()?;
        let options: PgConnectOptions =
            without_empty_host(url).parse().map_err(|error: sqlx::Error| parse_error(&error))?;
        let is_mode = |(name, _)| ["sslmode", "ssl-mode"].contains(&name);
        let has_mode = parts.parameters().any(is_mode) || std::env::var_os("PGSSLMODE").is_some();
        let options = if is_local(&options) || has_mode { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
        Ok(Self::Postgres(Box::new(options.application_name("sealjar"))))
    }

    /// Returns the protection of connections to this store.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Sqlite(_) => Transport::Local,
            Self::Postgres(options) if is_local(options) => Transport::Local,
            Self::Postgres(options) => match options.get_ssl_mode() {
                PgSslMode::VerifyFull => Transport::VerifiedTls,
                PgSslMode::VerifyCa | PgSslMode::Require => Transport::UnverifiedTls,
                PgSslMode::Prefer | PgSslMode::Allow | PgSslMode::Disable => Transport::Unencrypted,
            },
        }
    }

    /// Returns the address of the SQLite store in this file.
    pub(crate) const fn file(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

/// Returns whether the server is on this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]")
}

/// The parts of `SCHEME://AUTHORITY/PATH?QUERY` ([RFC 3986 section
/// 3](https://datatracker.ietf.org/doc/html/rfc3986#section-3)), with the delimiters in front of path and query.
struct Parts<'u> {
    scheme: &'u str,
    authority: &'u str,
    path: &'u str,
    query: &'u str,
}

impl<'u> Parts<'u> {
    /// Splits an address into its parts, without decoding them.
    fn of(url: &'u str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        Self { scheme, authority, path, query }
    }

    /// Returns the user and password in front of the host, without the `@`.
    fn user_info(&self) -> Option<&'u str> {
        self.authority.rsplit_once('@').map(|(user_info, _)| user_info)
    }

    /// Returns the names and values of the query's parameters, without decoding them.
    fn parameters(&self) -> impl Iterator<Item = (&'u str, &'u str)> + use<'u> {
        let pairs = self.query.strip_prefix('?').unwrap_or_default().split('&');
        pairs
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
    }

    /// Refuses an address in which a part of the password could be parsed as the host, the database or a parameter. Such a
    /// part would appear in messages, and the connection would go to another server. The reasons for the other checks: sqlx
    /// removes line breaks and tabs, and it logs unknown parameters with their values at each connection.
    fn check(&self) -> Result<(), String> {
        let Parts { authority, path, query, .. } = self;
        let parts = [*authority, *path, *query];
        if parts.iter().any(|part| part.contains(char::is_control)) {
            return Err("it has a line break or another control character; it must be one line".to_owned());
        }
        let is_path_plain = !path.trim_start_matches('/').contains(['@', '/']);
        if !is_path_plain || query.contains('@') || parts.iter().any(|part| part.contains('#')) {
            return Err("in a user, a password and a database, some characters must be percent-encoded: \
                        %23 for #, %2F for /, %3F for ?, %40 for @, %25 for %"
                .to_owned());
        }
        let is_known = |name: &str| PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']'));
        if self.parameters().all(|(name, _)| is_known(name)) {
            return Ok(());
        }
        // The message does not contain the parameter's name, because it may be a part of a password.
        Err(format!("it has an unknown parameter; the known parameters are {}", PARAMETERS.join(", ")))
    }
}

/// Parameters of an address that sqlx uses.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Moves user and password into the query if the address has no host. PostgreSQL's own clients accept such an address, but
/// sqlx does not. An example is `postgres://alice@/db?host=/run/postgresql`.
fn without_empty_host(url: &str) -> Cow<'_, str> {
    let Parts { scheme, authority, path, query } = Parts::of(url);
    let Some(user_info) = authority.strip_suffix('@') else {
        return Cow::Borrowed(url);
    };
    // In a query, `&` begins the next parameter and `+` is a space.
    let escaped = |text: &str| text.replace('&', "%26").replace('+', "%2B");
    let (user, password) =
        user_info.split_once(':').map_or((user_info, None), |(user, password)| (user, Some(password)));
    let password = password.map(|password| format!("&password={}", escaped(password))).unwrap_or_default();
    let separator = if query.is_empty() { '?' } else { '&' };
    Cow::Owned(format!("{scheme}://{path}{query}{separator}user={}{password}", escaped(user)))
}

/// Returns the message of an error of sqlx without its prefix "error with configuration", which may be repeated.
fn parse_error(error: &sqlx::Error) -> String {
    const SSL_MODES: &str = "disable, allow, prefer, require, verify-ca or verify-full";
    let mut error: &(dyn std::error::Error + 'static) = error;
    while let Some(sqlx::Error::Configuration(source)) = error.downcast_ref::<sqlx::Error>() {
        error = &**source;
    }
    let reason = error.to_string();
    if reason.contains("ssl_mode") {
        return format!("its sslmode must be {SSL_MODES}");
    }
    format!("it cannot be parsed: {reason}")
}

/// Returns the address for messages, without its password. If it is not clear where the password ends, only the scheme is
/// returned.
pub(crate) fn without_password(url: &str) -> String {
    const HIDDEN: &str = "***";
    if url.starts_with("sqlite://") || !url.contains("://") {
        return url.to_owned();
    }
    let parts = Parts::of(url);
    let Parts { scheme, path, .. } = parts;
    if parts.check().is_err() {
        return format!("{scheme}://{HIDDEN}");
    }
    let authority = match parts.user_info() {
        Some(user_info) => match user_info.split_once(':') {
            Some((name, _)) => format!("{name}:{HIDDEN}{}", &parts.authority[user_info.len()..]),
            None => parts.authority.to_owned(),
        },
        // Without an `@`, the text after a colon may be a password, unless it is a port.
        None => match parts.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{host}:{HIDDEN}")
            }
            _ => parts.authority.to_owned(),
        },
    };
    if parts.query.is_empty() {
        return format!("{scheme}://{authority}{path}");
    }
    let shown =
        parts.parameters().map(|(name, value)| format!("{name}={}", if name == "password" { HIDDEN } else { value }));
    format!("{scheme}://{authority}{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_a_password_in_every_part_of_an_address() {
        for (url, shown) in [
            ("sqlite://a/b.db", "sqlite://a/b.db"),
            ("postgres://sealjar@db/sealjar", "postgres://sealjar@db/sealjar"),
            (
                "postgres://sealjar:p:a@ss@db:5432/sealjar?sslmode=disable",
                "postgres://sealjar:***@db:5432/sealjar?sslmode=disable",
            ),
            ("postgres://sealjar:se#cret@db/sealjar", "postgres://***"),
            ("postgres://sealjar:12/secret@db/sealjar", "postgres://***"),
            ("postgres://sealjar:12?secret@db/sealjar", "postgres://***"),
            ("postgres://sealjar:secret", "postgres://sealjar:***"),
            ("postgres://[::1]:5432/sealjar", "postgres://[::1]:5432/sealjar"),
            ("postgres://[::1]/sealjar", "postgres://[::1]/sealjar"),
            ("postgres://sealjar:secret@/db?host=/run/postgresql", "postgres://sealjar:***@/db?host=/run/postgresql"),
            ("postgres://db?user=a&password=secret&port=1", "postgres://db?user=a&password=***&port=1"),
            ("postgres://db?%70assword=secret", "postgres://***"),
            ("postgres://db?user=a&password=se&cret", "postgres://***"),
            ("postgres://db?sslpassword=secret", "postgres://***"),
            ("postgres://db?PASSWORD=secret", "postgres://***"),
            ("postgres://db?\tpassword=secret", "postgres://***"),
            ("postgres://a:pa@ss?secret@db/c", "postgres://***"),
            ("postgres://a:pa@ss/x?secret@db/c", "postgres://***"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn connections_to_another_machine_check_its_name_by_default() {
        let mode = |url: &str| match StoreUrl::parse(url) {
            Ok(StoreUrl::Postgres(options)) => {
                (format!("{:?}", options.get_ssl_mode()), StoreUrl::Postgres(options).transport())
            }
            other => panic!("{other:?}"),
        };
        for (url, expected, transport) in [
            ("postgres://sealjar@db.example/sealjar", "VerifyFull", Transport::VerifiedTls),
            ("postgres://sealjar:sslmode=x@db.example/sealjar", "VerifyFull", Transport::VerifiedTls),
            ("postgres://sealjar@db.example/sealjar?application_name=sslmode=x", "VerifyFull", Transport::VerifiedTls),
            ("postgres://sealjar@db.example/sealjar?sslmode=require", "Require", Transport::UnverifiedTls),
            ("postgres://sealjar@db.example/sealjar?sslmode=prefer", "Prefer", Transport::Unencrypted),
            ("postgres://sealjar@db.example/sealjar?sslmode=disable", "Disable", Transport::Unencrypted),
            ("postgresql://sealjar@127.0.0.1/sealjar", "Prefer", Transport::Local),
            ("postgres:///sealjar?host=/run/postgresql", "Prefer", Transport::Local),
        ] {
            assert_eq!(mode(url), (expected.to_owned(), transport), "{url}");
        }
    }

    #[test]
    fn refuses_delimiters_that_may_belong_to_a_password() {
        for url in [
            "postgres://a:p#w@h/c",
            "postgres://a:12#w@h/c",
            "postgres://a:p/w@h/c",
            "postgres://a:12/w@h/c",
            "postgres://a:1@2/w@h/c",
            "postgres://a:p?w@h/c",
            "postgres://a:12?w@h/c",
            "postgres://a:p@w?w@h/c",
            "postgres://a:p@w/x?w@h/c",
            "postgres://a@h/c#",
            "postgres://a@h/b/c",
        ] {
            let reason = StoreUrl::parse(url).expect_err(url);
            assert!(reason.contains("%23 for #"), "{url}: {reason}");
        }
        for url in
            ["postgres://a:p%23%2F%3F%40%25w@h/c", "postgres://a:p@w@h/c", "postgres://a:p:[w@h:1/c?sslmode=disable"]
        {
            assert!(StoreUrl::parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn refuses_parts_that_sqlx_would_remove_or_log() {
        for (url, expected) in [
            ("postgres://a:secret@h/c?sslpassword=secret", "parameter"),
            ("postgres://a@h/c?user=b&amp;sslmode=verify-full", "parameter"),
            ("postgres://a@h/c?password=x&secret", "parameter"),
            ("postgres://a@h/c?connect_timeout=5", "parameter"),
            ("postgres://a:sec\tret@h/c", "control character"),
            ("postgres://a:secret@h/c\n", "control character"),
        ] {
            let reason = StoreUrl::parse(url).expect_err(url);
            assert!(reason.contains(expected) && !reason.contains("secret"), "{url}: {reason}");
        }
        assert!(StoreUrl::parse("postgres://a@h/c?options[search_path]=b&statement-cache-capacity=0").is_ok());
    }

    #[test]
    fn accepts_an_empty_host_as_other_clients_do() {
        for (url, user) in [
            ("postgres://alice@/c?host=/run/postgresql", "alice"),
            ("postgres://alice:p+w&host=x@/c?host=/run/postgresql", "alice"),
            ("postgres://a%26b@/c?host=/run/postgresql", "a&b"),
            ("postgres://a+b&c@/c?host=/run/postgresql", "a+b&c"),
        ] {
            let Ok(StoreUrl::Postgres(options)) = StoreUrl::parse(url) else { panic!("{url}") };
            let socket = options.get_socket().map(|socket| socket.display().to_string());
            assert_eq!((options.get_username(), socket.as_deref()), (user, Some("/run/postgresql")), "{url}");
            assert_eq!(options.get_database(), Some("c"), "{url}");
        }
    }

    #[test]
    fn errors_do_not_contain_the_address() {
        for url in [
            "mysql://a:secret@b/c",
            "sqlite://",
            "sqlite://a?secret",
            "postgres://a:secret@b:port/c",
            "postgres://a:secret@b/c?sslmode=verify_full",
        ] {
            let reason = StoreUrl::parse(url).expect_err(url);
            assert!(reason.starts_with("it") && !reason.contains("secret"), "{reason}");
        }
    }
}
