//! Backups of an SQLite database. PostgreSQL has its own tools for backups.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::{BACKUP_MARK, StoreError};
use super::sqlite;
use crate::clock::UnixTime;
use crate::file_owner::{Owner, directory_of};

/// Reason why a backup failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} exists, and SQLite would read its content as a part of the copy", .0.display())]
    SqliteFileExists(PathBuf),
    #[error("{} is the name of a file that SQLite creates for the database itself", .0.display())]
    OfDatabase(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Writes a consistent copy of the database at `database` to `path`, which must not exist. The copy appears at `path` when it
/// is complete and on disk. No server accepts the copy before `sealjar store restored`. Dropping the future removes an
/// incomplete copy.
pub(crate) async fn back_up(database: &Path, path: &Path, now: UnixTime) -> Result<(), BackupError> {
    let failed = |source| BackupError::Write { path: path.to_owned(), source };
    if path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let directory = directory_of(path);
    let real_path = directory.canonicalize().map_err(failed)?.join(path.file_name().unwrap_or_default());
    // SQLite follows a symbolic link, and creates its files next to the target of the link.
    if database.canonicalize().is_ok_and(|database| made_by_sqlite(&database).contains(&real_path)) {
        return Err(BackupError::OfDatabase(path.to_owned()));
    }
    if let Some(existing) = made_by_sqlite(path).into_iter().find(|file| file.symlink_metadata().is_ok()) {
        return Err(BackupError::SqliteFileExists(existing));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // SQLite creates a journal next to the copy, so the copy is written in a temporary directory, which is removed as a whole.
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o700));
    let partial = builder.prefix(&format!(".{name}.")).suffix(".partial").tempdir_in(directory);
    let partial_directory = partial.map_err(failed)?;
    // Only the owner of a temporary file can read it.
    let copy = tempfile::NamedTempFile::new_in(&partial_directory).map_err(failed)?;
    if rustix::process::geteuid().is_root() {
        Owner::of_directory(directory).and_then(|owner| owner.give(copy.as_file())).map_err(failed)?;
    }
    let copied = sqlite::Store::back_up(database, copy.path(), &format!("{BACKUP_MARK}{now}")).await;
    copied.map_err(|error| match error {
        StoreError::Full(_) => failed(io::ErrorKind::StorageFull.into()),
        error => error.into(),
    })?;
    copy.as_file().sync_all().map_err(failed)?;
    copy.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(path.to_owned()),
        _ => failed(error.error),
    })?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Returns the paths of the files that SQLite creates [next to a database](https://www.sqlite.org/tempfiles.html) and reads
/// with it.
fn made_by_sqlite(database: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    })
}
