//! Detects that the files of the database are not those at their paths any more: the database itself, the write-ahead log and its
//! index beside it ([SQLite: temporary files](https://www.sqlite.org/tempfiles.html)).
//!
//! SQLite goes on writing to a file that was removed or replaced: the kernel keeps it until it is closed. Such commits are lost
//! at the next start, and what commands write to the new file is not seen here. So device and inode of each file are recorded
//! after the first commit, and compared before and after each later one, and before each read. (Not when a file is opened: on
//! overlayfs it may get another inode with its first change.)
//!
//! The log and its index keep their inodes as long as some connection is open, and the pools never close their last one. A file
//! whose contents are overwritten or cut off in place keeps its inode, too: that is not detected.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Access;

use crate::access_denied;
use crate::store::error::StoreError;

/// The files of an open database: itself, its log, the log's index.
#[derive(Debug)]
pub(super) struct Files {
    paths: [PathBuf; 3],
    known: OnceLock<Identities>,
    replaced: AtomicBool,
}

/// Device and inode of each file, if it is there.
type Identities = [Option<(u64, u64)>; 3];

impl Files {
    /// The files of the database at this path. SQLite follows links to the database first, and puts the others beside what it
    /// finds.
    pub(super) fn of(database: &Path) -> Result<Self, StoreError> {
        let failed = |source: std::io::Error| StoreError::Open { path: database.to_owned(), source: source.into() };
        let real = database.canonicalize().map_err(failed)?;
        let beside = |suffix: &str| {
            let mut path = real.clone().into_os_string();
            path.push(suffix);
            path.into()
        };
        let paths = [database.to_owned(), beside("-wal"), beside("-shm")];
        Ok(Self { paths, known: OnceLock::new(), replaced: AtomicBool::new(false) })
    }

    /// The path of the database.
    pub(super) fn database(&self) -> &Path {
        let [database, _, _] = &self.paths;
        database
    }

    /// Whether there is a write-ahead log.
    pub(super) fn have_log(&self) -> bool {
        let [_, log, _] = &self.paths;
        log.exists()
    }

    /// Whether the last check found other files, or none.
    #[cfg(feature = "server")]
    pub(super) fn are_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Fails if a commit would go, or has gone, to files that are not at their paths any more.
    pub(super) async fn check_for_commit(&self) -> Result<(), StoreError> {
        match self.known.get() {
            Some(known) => self.note(self.look().await == *known),
            None => Ok(()),
        }
    }

    /// Records the files after the first commit, and compares them after each later one.
    pub(super) async fn check_committed(&self) -> Result<(), StoreError> {
        let found = self.look().await;
        self.note(found == *self.known.get_or_init(|| found))
    }

    /// Fails if there is another file at one of the paths: commands write to that one, and nobody here would hear of it. Files
    /// that were only removed are read on, because no command has written to others.
    pub(super) async fn check_for_reading(&self) -> Result<(), StoreError> {
        let Some(known) = self.known.get() else {
            return Ok(());
        };
        let found = self.look().await;
        let outcome = self.note(found == *known);
        let is_another = found.iter().zip(known).any(|(found, known)| found.is_some() && found != known);
        if is_another { outcome } else { Ok(()) }
    }

    fn note(&self, is_same: bool) -> Result<(), StoreError> {
        let [database, ..] = &self.paths;
        self.replaced.store(!is_same, Ordering::Relaxed);
        if is_same { Ok(()) } else { Err(StoreError::Replaced(database.clone())) }
    }

    async fn look(&self) -> Identities {
        let paths = self.paths.clone();
        let look = move || paths.each_ref().map(|path| identity(path));
        tokio::task::spawn_blocking(look).await.expect("looking returns `None` for an error, and does not panic")
    }
}

/// Whether there is a database at this path.
///
/// # Errors
/// [`StoreError::Open`] if that cannot be seen, which is not the same as that there is none. [`StoreError::NotAFile`] if it is a
/// directory, a pipe or a device. [`StoreError::Left`] if its log is
/// there without it: it was moved or removed, perhaps under a running server, and a new one would take over that log.
pub(super) fn is_there(database: &Path) -> Result<bool, StoreError> {
    let open = |source: io::Error| StoreError::Open {
        path: database.to_owned(),
        source: access_denied::explain(database, Access::READ_OK, source).into(),
    };
    let found = |path: &Path| match std::fs::metadata(path) {
        Ok(facts) => Ok(Some(facts)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(open(error)),
    };
    if let Some(facts) = found(database)? {
        // A pipe would keep SQLite waiting for ever.
        return if facts.is_file() { Ok(true) } else { Err(StoreError::NotAFile(database.to_owned())) };
    }
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    if found(Path::new(&log))?.is_some() { Err(StoreError::Left(database.to_owned())) } else { Ok(false) }
}

/// Device and inode of the file at this path; `None` if there is none, or nobody can tell.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
