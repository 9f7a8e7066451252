//! Errors of SQLite that an operator can do something about: each names the file.
//!
//! The [result codes](https://www.sqlite.org/rescode.html) are extended ones. Their last byte is the primary code.

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

/// Replaces an error by one that names the file and the cause, if its code tells the cause.
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
        Some(READONLY) => StoreError::ReadOnly { reason: why_read_only(&path).unwrap_or_default(), path },
        Some(CANTOPEN) => match why_read_only(&path) {
            Some(reason) => StoreError::ReadOnly { path, reason },
            None => error,
        },
        _ => error,
    }
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Returns why the database or the files beside it cannot be written, with a colon before it.
fn why_read_only(path: &Path) -> Option<String> {
    let beside = [("-wal", "its log "), ("-shm", "the index of its log ")].map(|(suffix, what)| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        (name.into(), what)
    });
    let places = [(path.to_owned(), ""), (directory_of(path).to_owned(), "its directory ")];
    places.into_iter().chain(beside).find_map(|(place, what): (std::path::PathBuf, _)| {
        match access(&place, Access::WRITE_OK) {
            Err(Errno::ROFS) => Some(": its file system is mounted read-only".to_owned()),
            Err(denied @ Errno::ACCESS) => {
                let found = access_denied::explain(&place, Access::WRITE_OK, io::Error::from(denied));
                Some(match AccessDenied::of(&found) {
                    Some(denied) => format!(": {}; {}", denied.found, denied.remedy),
                    None => format!(": {what}{} is not writable for this user", place.display()),
                })
            }
            _ => None,
        }
    })
}
