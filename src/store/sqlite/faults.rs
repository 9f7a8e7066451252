//! Translation of SQLite errors that an operator can fix: the message contains the file and the cause.
//!
//! SQLite returns extended [result codes](https://www.sqlite.org/rescode.html). Their last byte is the primary code.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use sqlx::migrate::MigrateError;

use crate::access_denied::{self, AccessDenied};
use crate::file_owner::directory_of;
use crate::store::error::StoreError;

const BUSY: u32 = 5;
const READONLY: u32 = 8;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;

/// Replaces an error of SQLite with an error that contains the file and the cause, if the result code determines the cause.
pub(super) fn explain(path: &Path, error: StoreError) -> StoreError {
    let source = match &error {
        StoreError::Open { source, .. } | StoreError::Failed(source) => source,
        StoreError::Migrate(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => source,
        _ => return error,
    };
    let path = path.to_owned();
    match primary_code(source) {
        Some(BUSY) => StoreError::Busy(path),
        Some(CORRUPT) => StoreError::Damaged(path),
        Some(FULL) => StoreError::Full(path),
        Some(NOTADB) => StoreError::NoDatabase(path),
        Some(READONLY) => StoreError::ReadOnly { reason: read_only_reason(&path).unwrap_or_default(), path },
        Some(CANTOPEN) => match read_only_reason(&path) {
            Some(reason) => StoreError::ReadOnly { path, reason },
            None => error,
        },
        _ => error,
    }
}

/// Returns the primary result code of an error, or `None` if SQLite did not return the error.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Returns the reason why the database, its directory or a file of its log is not writable, as a text that begins with a
/// colon. Returns `None` if there is no such reason.
fn read_only_reason(path: &Path) -> Option<String> {
    let sqlite_files = [("-wal", "its log "), ("-shm", "the index of its log ")].map(|(suffix, label)| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        (name.into(), label)
    });
    let paths = [(path.to_owned(), ""), (directory_of(path).to_owned(), "its directory ")];
    paths.into_iter().chain(sqlite_files).find_map(|(path, label): (std::path::PathBuf, _)| {
        match access(&path, Access::WRITE_OK) {
            Err(Errno::ROFS) => Some(": its file system is mounted read-only".to_owned()),
            Err(denied @ Errno::ACCESS) => {
                let explained = access_denied::explain(&path, Access::WRITE_OK, io::Error::from(denied));
                Some(match AccessDenied::find_in(&explained) {
                    Some(denied) => format!(": {}; {}", denied.description, denied.remedy),
                    None => format!(": {label}{} is not writable for this user", path.display()),
                })
            }
            _ => None,
        }
    })
}
