//! Detection of replaced database files: the open files are no longer the files at their paths. The files are the database, its
//! write-ahead log and the index of the log ([SQLite: temporary files](https://www.sqlite.org/tempfiles.html)).
//!
//! SQLite continues to write to a file that was removed or replaced, because the kernel keeps the file until it is closed.
//! Such commits are lost at the next start. Also, this server does not read what commands write to the new file. So device
//! and inode of each file are recorded after the first commit, and compared before and after each later commit, and before
//! each read. (They are not recorded when the file is opened, because on overlayfs a file may get another inode with its
//! first change.)
//!
//! The log and its index keep their inodes while a connection is open, and the pools always keep a connection open. A file
//! whose contents are overwritten or truncated in place also keeps its inode. This is not detected.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Access;

use crate::access_denied;
use crate::store::error::StoreError;

/// Files of an open database: the database, its write-ahead log, and the index of the log.
#[derive(Debug)]
pub(super) struct Files {
    paths: [PathBuf; 3],
    /// Identities of the files after the first commit. Empty before it.
    known: OnceLock<Identities>,
    /// Whether the last check found that a file was replaced or is missing.
    is_replaced: AtomicBool,
}

/// Device and inode of each file, or `None` if it does not exist.
type Identities = [Option<(u64, u64)>; 3];

impl Files {
    /// Returns the files of the database at this path. If the path is a symbolic link, SQLite creates the other files next to
    /// the target.
    pub(super) fn of(database: &Path) -> Result<Self, StoreError> {
        let failed = |source: std::io::Error| StoreError::Open { path: database.to_owned(), source: source.into() };
        let real = database.canonicalize().map_err(failed)?;
        let with_suffix = |suffix: &str| {
            let mut path = real.clone().into_os_string();
            path.push(suffix);
            path.into()
        };
        let paths = [database.to_owned(), with_suffix("-wal"), with_suffix("-shm")];
        Ok(Self { paths, known: OnceLock::new(), is_replaced: AtomicBool::new(false) })
    }

    /// Returns the path of the database.
    pub(super) fn database(&self) -> &Path {
        let [database, _, _] = &self.paths;
        database
    }

    /// Returns whether there is a write-ahead log.
    pub(super) fn have_log(&self) -> bool {
        let [_, log, _] = &self.paths;
        log.exists()
    }

    /// Returns whether the last check found that a file was replaced or is missing.
    #[cfg(feature = "server")]
    pub(super) fn are_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Relaxed)
    }

    /// Fails if a commit would go to files that are no longer at their paths.
    pub(super) async fn check_for_commit(&self) -> Result<(), StoreError> {
        match self.known.get() {
            Some(known) => self.record_check(self.identities().await == *known),
            None => Ok(()),
        }
    }

    /// Records the files after the first commit, and compares them after each later commit.
    pub(super) async fn check_committed(&self) -> Result<(), StoreError> {
        let found = self.identities().await;
        self.record_check(found == *self.known.get_or_init(|| found))
    }

    /// Fails if there is another file at one of the paths, because commands write to that file, and this server would not
    /// read their changes. If files were only removed, the check passes, because there is no other file to which a command
    /// can have written.
    pub(super) async fn check_for_reading(&self) -> Result<(), StoreError> {
        let Some(known) = self.known.get() else {
            return Ok(());
        };
        let found = self.identities().await;
        let outcome = self.record_check(found == *known);
        let has_other_file = found.iter().zip(known).any(|(found, known)| found.is_some() && found != known);
        if has_other_file { outcome } else { Ok(()) }
    }

    /// Records the result of a check. Returns an error if the files are not the same.
    fn record_check(&self, is_same: bool) -> Result<(), StoreError> {
        let [database, ..] = &self.paths;
        self.is_replaced.store(!is_same, Ordering::Relaxed);
        if is_same { Ok(()) } else { Err(StoreError::Replaced(database.clone())) }
    }

    /// Returns the identities of the files that are now at the paths.
    async fn identities(&self) -> Identities {
        let paths = self.paths.clone();
        let read = move || paths.each_ref().map(|path| identity(path));
        tokio::task::spawn_blocking(read).await.expect("`identity` returns `None` for an error, and does not panic")
    }
}

/// Returns whether there is a database at this path.
///
/// # Errors
/// - [`StoreError::Open`] if the file or its log cannot be inspected.
/// - [`StoreError::NotAFile`] if the path is a directory, a pipe or a device.
/// - [`StoreError::LogWithoutDatabase`] if there is a write-ahead log but no database: the database was moved or removed,
///   perhaps while a server was running, and a new database would use that log.
pub(super) fn is_there(database: &Path) -> Result<bool, StoreError> {
    let open_error = |source: io::Error| StoreError::Open {
        path: database.to_owned(),
        source: access_denied::explain(database, Access::READ_OK, source).into(),
    };
    let metadata = |path: &Path| match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(open_error(error)),
    };
    if let Some(metadata) = metadata(database)? {
        // SQLite would wait for a pipe without a time limit.
        return if metadata.is_file() { Ok(true) } else { Err(StoreError::NotAFile(database.to_owned())) };
    }
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    if metadata(Path::new(&log))?.is_some() {
        Err(StoreError::LogWithoutDatabase(database.to_owned()))
    } else {
        Ok(false)
    }
}

/// Returns device and inode of the file at this path, or `None` if there is no file or they cannot be read.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
