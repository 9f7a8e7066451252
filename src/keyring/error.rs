//! Errors from loading a key ring.
//!
//! Invariant: an error never contains text of a key file, because that may be the secret.

use std::io;
use std::path::PathBuf;

use crate::access_denied::shell_path;
use crate::id::Kid;

/// Maximum length of a key file. A generated key file has about 250 bytes; the rest is for comments.
pub(crate) const MAX_FILE_BYTES: u64 = 4096;

/// Reason why a key ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The directory cannot be read.
    #[error("cannot read the key directory {}: {source}", directory.display())]
    Directory {
        /// Key directory.
        directory: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The group or others can add keys to the directory.
    #[error(
        "the key directory {} has mode {mode:04o}, so others could put keys there; run: chmod go-w {}",
        directory.display(), shell_path(directory)
    )]
    WritableDirectory {
        /// Key directory.
        directory: PathBuf,
        /// Permission bits of the directory.
        mode: u32,
    },
    /// The directory contains no key file.
    #[error("there is no key in {}", directory.display())]
    Empty {
        /// Key directory.
        directory: PathBuf,
    },
    /// A key file is refused, and so the whole ring is refused.
    #[error("key file {}: {reason}", path.display())]
    KeyFile {
        /// Path of the key file.
        path: PathBuf,
        /// Reason for the refusal.
        reason: KeyFileError,
    },
}

/// Reason why a key file is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The path is a directory, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// The mode of the file allows others to read it, or the group or others to change it.
    #[error("its mode is {mode:04o}, so others could read or change the key; run: chmod 600 {}", shell_path(path))]
    TooPermissive {
        /// Permission bits of the file.
        mode: u32,
        /// Path of the file.
        path: PathBuf,
    },
    /// The owner of the file is neither the owner of the directory, nor the user of this process, nor root.
    #[error(
        "it belongs to the user with the id {uid}, who could change the key; if the key is yours, give it to the directory's owner: \
         chown {trusted} {}",
        shell_path(path)
    )]
    UntrustedOwner {
        /// User id of the owner of the file.
        uid: u32,
        /// User id of the owner of the directory.
        trusted: u32,
        /// Path of the file.
        path: PathBuf,
    },
    /// The path is a link to a file that the group or others could replace.
    #[error(
        "it is a link into {}, which has mode {mode:04o}, so others could replace the key; run: chmod go-w {}",
        directory.display(), shell_path(directory)
    )]
    WritableDirectory {
        /// Directory that contains the file.
        directory: PathBuf,
        /// Permission bits of the directory.
        mode: u32,
    },
    /// The path is a link to a file in the directory of an untrusted owner, who could replace the file.
    #[error(
        "it is a link into {}, which belongs to the user with the id {uid}, who could replace the key; \
         if it is meant to hold keys, give it to the key directory's owner: chown {trusted} {}",
        directory.display(), shell_path(directory)
    )]
    UntrustedDirectoryOwner {
        /// Directory that contains the file.
        directory: PathBuf,
        /// User id of the owner of that directory.
        uid: u32,
        /// User id of the owner of the key directory.
        trusted: u32,
    },
    /// The file is longer than `MAX_FILE_BYTES`.
    #[error("longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// The file is not TOML, or has other fields than a key file.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line number, starting at 1.
        line: usize,
        /// Message of the TOML parser, without quotations from the file.
        message: String,
    },
    /// The file is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// `max_lifetime_secs` is 0.
    #[error("max_lifetime_secs is 0, so every session would expire immediately; it must be at least 1")]
    NoLifetime,
    /// A date has no time or no offset, or is outside the supported range.
    #[error("{field} is not a date with time and offset, such as 2026-11-23T22:00:00Z")]
    NotAnInstant {
        /// Name of the field.
        field: &'static str,
    },
    /// The secret does not decode to 32 bytes.
    #[error("secret is not 32 bytes in base64url without padding (43 characters)")]
    SecretLength,
    /// The file name is not the id of the key: the file was copied, renamed or changed.
    #[error("its secret belongs to {expected}.key: the file is a copy, was renamed, or its secret was changed")]
    WrongName {
        /// Id of the key in the file.
        expected: Kid,
    },
}
