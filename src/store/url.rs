//! Where the store is: `sqlite://PATH`, or `postgres://…` with what PostgreSQL's own clients write there.

use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// A store's address.
#[derive(Debug, Clone)]
pub(crate) enum StoreUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// How well others are kept from what is said on the way to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It does not leave this machine.
    Here,
    /// TLS, and the server must prove its name.
    Proven,
    /// TLS with whoever answers.
    Unproven,
    /// It may be in the clear.
    Open,
}

impl StoreUrl {
    /// Parses an address. A path without a leading slash is relative to the working directory. What a PostgreSQL address leaves
    /// out is taken from `PGHOST`, `PGPASSWORD` and the like, and from `.pgpass`.
    ///
    /// A server on another machine is spoken to over TLS, and must prove its name, unless `sslmode` says otherwise.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow "it"; never with the address itself, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return match path {
                "" => Err("it lacks the path after sqlite://".to_owned()),
                path if path.contains(['?', '#']) => Err("it must be sqlite:// and a path alone".to_owned()),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it must be sqlite:// and the path of a file, or postgres://USER@HOST/DATABASE".to_owned());
        }
        let options: PgConnectOptions =
            url.parse().map_err(|error: sqlx::Error| format!("it cannot be read: {}", bare(&error)))?;
        let says = url.contains("sslmode=") || url.contains("ssl-mode=") || std::env::var_os("PGSSLMODE").is_some();
        let options = if is_near(&options) || says { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
        Ok(Self::Postgres(Box::new(options.application_name("sealjar"))))
    }

    /// How it is spoken to.
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::Sqlite(_) => Way::Here,
            Self::Postgres(options) if is_near(options) => Way::Here,
            Self::Postgres(options) => match options.get_ssl_mode() {
                PgSslMode::VerifyFull => Way::Proven,
                PgSslMode::VerifyCa | PgSslMode::Require => Way::Unproven,
                PgSslMode::Prefer | PgSslMode::Allow | PgSslMode::Disable => Way::Open,
            },
        }
    }

    /// The store in this file.
    pub(crate) const fn file(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

fn is_near(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]")
}

/// What sqlx has to say, without its "error with configuration" in front, as often as that is there.
fn bare(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Configuration(source)) => bare(&**source),
        _ => error.to_string(),
    }
}

/// The address without its password, for people to read.
pub(crate) fn without_password(url: &str) -> String {
    const HIDDEN: &str = "***";
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, query) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{HIDDEN}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let (path, parameters) = query.split_once('?').map_or((query, None), |(path, parameters)| (path, Some(parameters)));
    let Some(parameters) = parameters else {
        return format!("{scheme}://{authority}{path}");
    };
    let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        // Whatever is spelled otherwise than plainly may decode to it.
        Some((name, _)) if name == "password" || name.contains('%') => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    });
    format!("{scheme}://{authority}{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_a_password_wherever_it_stands() {
        for (url, shown) in [
            ("sqlite://a/b.db", "sqlite://a/b.db"),
            ("postgres://sealjar@db/sealjar", "postgres://sealjar@db/sealjar"),
            (
                "postgres://sealjar:p:a@ss@db:5432/sealjar?sslmode=disable",
                "postgres://sealjar:***@db:5432/sealjar?sslmode=disable",
            ),
            ("postgres://db?user=a&password=secret&port=1", "postgres://db?user=a&password=***&port=1"),
            ("postgres://db?%70assword=secret", "postgres://db?%70assword=***"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn another_machine_must_prove_its_name_unless_told_otherwise() {
        let mode = |url: &str| match StoreUrl::parse(url) {
            Ok(StoreUrl::Postgres(options)) => {
                (format!("{:?}", options.get_ssl_mode()), StoreUrl::Postgres(options).way())
            }
            other => panic!("{other:?}"),
        };
        for (url, expected, way) in [
            ("postgres://sealjar@db.example/sealjar", "VerifyFull", Way::Proven),
            ("postgres://sealjar@db.example/sealjar?sslmode=require", "Require", Way::Unproven),
            ("postgres://sealjar@db.example/sealjar?sslmode=prefer", "Prefer", Way::Open),
            ("postgres://sealjar@db.example/sealjar?sslmode=disable", "Disable", Way::Open),
            ("postgresql://sealjar@127.0.0.1/sealjar", "Prefer", Way::Here),
            ("postgres:///sealjar?host=/run/postgresql", "Prefer", Way::Here),
        ] {
            assert_eq!(mode(url), (expected.to_owned(), way), "{url}");
        }
    }

    #[test]
    fn says_what_is_wrong_without_the_address() {
        for url in [
            "mysql://a:secret@b/c",
            "sqlite://",
            "sqlite://a?secret",
            "postgres://a:secret@b:port/c",
            "postgres://a:secret@b/c?sslmode=secret2",
        ] {
            let reason = StoreUrl::parse(url).expect_err(url);
            assert!(reason.starts_with("it ") && !reason.contains("a:secret"), "{reason}");
        }
    }
}
