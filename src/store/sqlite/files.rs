//! Detects that the database file, or the write-ahead log beside it, is not the one at its path any more.
//!
//! SQLite goes on writing to a file that was removed or replaced: the kernel keeps it until it is closed. Such commits are lost at
//! the next start, and what commands write to the new file is not seen here. So device and inode of both files are recorded after
//! the first commit, and compared before and after each later one. (Not when the file is opened: on overlayfs a file may get
//! another inode with its first change.)
//!
//! The write-ahead log keeps its inode as long as some connection is open, and the pools never close their last one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

/// The files of an open database.
#[derive(Debug)]
pub(super) struct Files {
    database: PathBuf,
    write_ahead_log: PathBuf,
    known: OnceLock<Identities>,
    replaced: AtomicBool,
}

/// Device and inode of a file.
type Identity = (u64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identities {
    database: Option<Identity>,
    write_ahead_log: Option<Identity>,
}

impl Files {
    pub(super) fn new(database: &Path) -> Self {
        let write_ahead_log = write_ahead_log(database);
        Self {
            database: database.to_owned(),
            write_ahead_log,
            known: OnceLock::new(),
            replaced: AtomicBool::new(false),
        }
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

    /// Fails if there is another file at either path: commands write to that one, and nobody here would hear of it. Files that were
    /// only removed are read on, because no command has written to others.
    pub(super) async fn check_for_reading(&self) -> Result<(), StoreError> {
        let Some(known) = self.known.get() else {
            return Ok(());
        };
        let found = self.look().await;
        let is_another = |found: Option<Identity>, known| found.is_some() && found != known;
        let outcome = self.note(found == *known);
        if is_another(found.database, known.database) || is_another(found.write_ahead_log, known.write_ahead_log) {
            outcome
        } else {
            Ok(())
        }
    }

    fn note(&self, is_same: bool) -> Result<(), StoreError> {
        self.replaced.store(!is_same, Ordering::Relaxed);
        if is_same { Ok(()) } else { Err(StoreError::Replaced(self.database.clone())) }
    }

    async fn look(&self) -> Identities {
        let database = self.database.clone();
        let write_ahead_log = self.write_ahead_log.clone();
        let look = move || Identities { database: identity(&database), write_ahead_log: identity(&write_ahead_log) };
        tokio::task::spawn_blocking(look).await.expect("looking returns `None` for an error, and does not panic")
    }
}

/// The path of a database's write-ahead log.
pub(super) fn write_ahead_log(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Device and inode of the file at this path; `None` if there is none, or nobody can tell.
fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
