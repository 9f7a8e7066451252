//! Errors from changing the key ring.

use std::io;
use std::path::PathBuf;

use crate::id::Kid;
use crate::keyring::error::RingError;

/// Error of a change of the ring.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The current ring cannot be read.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The directory cannot be written.
    #[error("cannot write in the key directory {}: {source}", directory.display())]
    Write {
        /// Key directory.
        directory: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The key directory or one of its parents cannot be created.
    #[error("cannot create the directory {}: {source}", directory.display())]
    CreateDirectory {
        /// Topmost directory that cannot be created.
        directory: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The path of the key directory or of one of its parents is a file or a dangling link.
    #[error("{} is not a directory, so no keys can be there", .0.display())]
    NotADirectory(PathBuf),
    /// The directory for the first key already contains keys.
    #[error("there are keys in {} already", .0.display())]
    NotEmpty(PathBuf),
    /// The ring has no key with that id.
    #[error("there is no key {0} in the ring")]
    NoSuchKey(Kid),
    /// The key to activate is revoked.
    #[error("{0} is revoked: it can never seal again")]
    Revoked(Kid),
    /// After the revocation, no key could seal.
    #[error("{0} is the only key that can seal: without it nobody could sign in")]
    OnlyActive(Kid),
}
