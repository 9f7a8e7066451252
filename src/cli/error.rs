//! Errors of the commands. Gives each error of another module its exit code and a hint that says what to do.

use std::fmt;

use crate::access_denied::AccessDenied;
use crate::config::error::ConfigError;
use crate::config::listen::Listen;
use crate::http::pages::assets::LogoError;
use crate::keyring::RingError;
use crate::keyring::rotate::ChangeError;
use crate::server::error::ServeError;
use crate::store::error::StoreError;

/// Error of a command: its message, a hint that says what to do, and the exit code.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) code: u8,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl CliError {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const IO: u8 = 74;
    pub(super) const CONFIG: u8 = 78;

    pub(super) fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None }
    }

    pub(super) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Self::FAILED, message)
    }

    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, message)
    }

    pub(super) fn io(message: impl fmt::Display) -> Self {
        Self::new(Self::IO, message)
    }

    /// Returns the lines for standard error.
    pub(super) fn text(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}"));
        format!("sealjar: {}{}", self.message, hint.unwrap_or_default())
    }

    pub(super) fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

/// Hint for a wrong key directory.
const NAME_KEYS: &str = "name the directory of the keys with --keys or keys.dir";

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(Self::CONFIG, &error).hint(error.hint())
    }
}

impl From<RingError> for CliError {
    fn from(error: RingError) -> Self {
        let failure = Self::io(&error);
        match error {
            RingError::Empty { .. } => failure.hint(
                "first check whether a server uses these keys: if so, put the files back, because a new key ends every session; otherwise create the first key with: sealjar keys init",
            ),
            RingError::Directory { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                failure.hint(
                    "first check whether a server uses these keys: if so, put the directory back, because a new key ends every session; otherwise create it, and the first key, with: sealjar keys init; or name another directory with --keys",
                )
            }
            RingError::Directory { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => {
                failure.hint(NAME_KEYS)
            }
            _ => failure,
        }
    }
}

impl From<ChangeError> for CliError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Ring(error) => error.into(),
            // The message of this error already contains the remedy.
            ChangeError::Write { ref source, .. } if AccessDenied::find_in(source).is_some() => Self::io(&error),
            ChangeError::CreateDirectory { ref source, .. } if AccessDenied::find_in(source).is_some() => {
                Self::io(&error)
            }
            ChangeError::CreateDirectory { .. } | ChangeError::NotADirectory(_) => Self::io(&error).hint(NAME_KEYS),
            ChangeError::Write { .. } => Self::io(&error).hint(
                "change the keys on a machine where the directory is writable; it can be read-only everywhere else",
            ),
            ChangeError::NotEmpty(_) => Self::failed(&error).hint("add another key with: sealjar keys rotate"),
            ChangeError::NoSuchKey(_) | ChangeError::Revoked(_) => {
                Self::failed(&error).hint("`sealjar keys list` shows the keys")
            }
            ChangeError::OnlyActive(_) => {
                Self::failed(&error).hint("create a replacement in the same step with --replace")
            }
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Connect { .. } => Self::io(&error).hint(
                "the database server must run and the database must exist; docs/nodes.md explains the address and TLS",
            ),
            StoreError::ClocksDiffer { .. } => Self::io(&error).hint("correct the clock that is wrong, and synchronise both with NTP"),
            StoreError::SharedSession => Self::io(&error).hint(
                "set pool_mode = session for this database in the pooler (docs/nodes.md), or name PostgreSQL itself in the store's address",
            ),
            StoreError::Standby(_) => Self::io(&error).hint("name the primary in the store's address"),
            StoreError::MissingPrivilege { ref user, .. } => Self::io(&error).hint(format!(
                "as the owner of this database, run in it: GRANT USAGE, CREATE ON SCHEMA public TO \"{user}\"; change the owner of tables that another user created"
            )),
            StoreError::Migrate(_) => Self::io(&error).hint(
                "the tables are not in the state that Sealjar left: name the database that the servers use, or put back a backup as docs/backup.md says, then run: sealjar store restored",
            ),
            StoreError::ReadOnly { .. } => Self::io(&error).hint(
                "the file and its directory must be writable: run this as the server's user, or mount the file system for writing",
            ),
            StoreError::Full(_) => Self::io(&error).hint("free space on its file system, or raise the quota; then run the command again"),
            StoreError::Busy(_) => {
                Self::io(&error).hint("run the command again; if that does not help, end the process that has the file open: fuser -v FILE")
            }
            StoreError::NotAFile(_) => Self::io(&error).hint("name the file of the database, in the setting store or with --store"),
            StoreError::NoDatabase(_) | StoreError::Foreign(_) => Self::io(&error).hint(
                "name the database that the servers use, in the setting store or with --store; if this is that database, put back a backup as docs/backup.md says, then run: sealjar store restored",
            ),
            StoreError::Damaged(_) => Self::io(&error).hint(
                "stop the server, keep a copy of the file, put back a backup as docs/backup.md says, then run: sealjar store restored",
            ),
            StoreError::Backup(_) => Self::io(&error).hint(
                "to use this backup, which ends every session, run: sealjar store restored",
            ),
            StoreError::TooNew { .. } => Self::io(&error).hint(
                "start the newer version; to go back to this one, put back a backup from before the upgrade, then run: sealjar store restored",
            ),
            StoreError::Unfinished(_) => Self::io(&error)
                .hint("finish it by running the same `sealjar migrate` again; to cancel it, empty this database and continue with the other one"),
            StoreError::Moved(_) => Self::io(&error).hint(
                "name that database as the store; to return to this one in its old state, which ends every session: sealjar store restored",
            ),
            StoreError::CommitTooLate => Self::io(&error).hint(
                "run the command again, which is safe; if the account is then already deleted, end sessions that may remain with: sealjar revoke --everyone",
            ),
            StoreError::WithoutTables(_) => Self::io(&error).hint(
                "name the database that the servers use; in a new one, `sealjar users add NAME` creates the tables and the first account",
            ),
            StoreError::Missing(_) => Self::io(&error)
                .hint("first check whether a server uses this store: if so, put the file back, or a backup as docs/backup.md says, and restart it; otherwise `sealjar users add NAME` creates it and the first account; or name another database with --store"),
            StoreError::NameTaken(_) => Self::failed(&error).hint("choose another name; or change that account with: sealjar users set, sealjar users passwd"),
            StoreError::AddedMeanwhile => Self::failed(&error).hint("nothing was changed; run the command again"),
            StoreError::NoSuchAccount(_) => Self::failed(&error).hint("`sealjar users list` shows the accounts"),
            _ => Self::io(&error),
        }
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Ring(error) => error.into(),
            ServeError::Store(error) => error.into(),
            ServeError::Listen { listen: Listen::Systemd(_), .. } => Self::io(&error).hint(
                "the sockets come from a socket unit; deploy/sealjar.socket is an example; without systemd, set http.listen to an address",
            ),
            ServeError::Listen { setting, ref listen, .. } => {
                let flag = if setting == "http.listen" { "--listen" } else { "--admin-listen" };
                let directory = match listen {
                    Listen::Unix(_) => "the socket's directory must exist, and the server's user must be able to write to it; or ",
                    Listen::Address(_) | Listen::Systemd(_) => "",
                };
                Self::io(&error).hint(format!("{directory}choose another address with {flag}, such as 127.0.0.1:9000"))
            }
            ServeError::Logo(_) => Self::io(&error).hint(LogoError::REMEDY),
            ServeError::Tls(ref tls) => {
                let remedy = tls.remedy();
                Self::io(&error).hint(remedy)
            }
            ServeError::NotFlushed => {
                Self::io(&error).hint("when the store is available again, end these sessions with: sealjar revoke --everyone")
            }
            ServeError::System(_) => Self::io(&error),
        }
    }
}
