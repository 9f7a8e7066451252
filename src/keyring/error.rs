//! Errors of loading a key ring.

use std::io;
use std::path::PathBuf;

use crate::access_denied::shell_path;
use crate::id::Kid;

/// Maximum length of a key file. It is about 250 bytes; this leaves room for comments.
pub(crate) const MAX_FILE_BYTES: u64 = 4096;

/// Reason why a key ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The directory cannot be read.
    #[error("cannot read the key directory {}: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Others can put keys into the directory.
    #[error(
        "the key directory {} has mode {mode:04o}, so others could put keys there; run: chmod go-w {}",
        directory.display(), shell_path(directory)
    )]
    OpenDirectory {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory holds no key.
    #[error("there is no key in {}", directory.display())]
    Empty {
        /// The directory.
        directory: PathBuf,
    },
    /// A key file is refused, and with it the ring.
    #[error("key file {}: {reason}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: KeyFileError,
    },
}

/// Reason why a key file is refused. The text of the file is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A directory, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// Its mode lets others read or change it.
    #[error("its mode is {mode:04o}, so others could read or change the key; run: chmod 600 {}", shell_path(path))]
    TooOpen {
        /// The permission bits.
        mode: u32,
        /// The file.
        path: PathBuf,
    },
    /// Its owner is neither the directory's owner, nor this process's user, nor root.
    #[error(
        "it belongs to the user with the id {uid}, who could change the key; if the key is yours, give it to the directory's owner: \
         chown {trusted} {}",
        shell_path(path)
    )]
    StrangeOwner {
        /// The owner.
        uid: u32,
        /// The directory's owner.
        trusted: u32,
        /// The file.
        path: PathBuf,
    },
    /// A link to a file that others could replace.
    #[error(
        "it is a link into {}, which has mode {mode:04o}, so others could replace the key; run: chmod go-w {}",
        directory.display(), shell_path(directory)
    )]
    OpenDirectory {
        /// The directory that holds the file.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A link to a file that the owner of its directory could replace.
    #[error(
        "it is a link into {}, which belongs to the user with the id {uid}, who could replace the key; \
         if it is meant to hold keys, give it to the key directory's owner: chown {trusted} {}",
        directory.display(), shell_path(directory)
    )]
    StrangeDirectory {
        /// The directory that holds the file.
        directory: PathBuf,
        /// Its owner.
        uid: u32,
        /// The owner of the key directory.
        trusted: u32,
    },
    /// Longer than `MAX_FILE_BYTES`.
    #[error("longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// Not TOML, or not these fields.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// The message of the parser.
        message: String,
    },
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// `max_lifetime_secs` is 0.
    #[error("max_lifetime_secs is 0, so every session would be over at once; it must be at least 1")]
    NoLifetime,
    /// A date without time or offset.
    #[error("{field} is not a date with time and offset, such as 2026-11-23T22:00:00Z")]
    NotAnInstant {
        /// The field.
        field: &'static str,
    },
    /// The secret does not decode to 32 bytes.
    #[error("secret is not 32 bytes in base64url without padding (43 characters)")]
    SecretLength,
    /// Its name is not the id of its key: it was copied, renamed or changed.
    #[error("its secret belongs to {expected}.key: the file is a copy, was renamed, or its secret was changed")]
    WrongName {
        /// The id of the key in the file.
        expected: Kid,
    },
}
