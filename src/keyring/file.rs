//! Key files: each key is one file `<kid>.key` in TOML. A new file has mode 0600, or 0640 if the group can read all other keys.
//!
//! ```toml
//! created_at = 2026-11-23T22:00:00Z
//! activates_at = 2026-11-23T22:02:00Z   # absent: published, not scheduled
//! revoked_at = 2026-11-24T08:00:00Z     # absent: not revoked
//! max_lifetime_secs = 7776000           # maximum lifetime of a token that is sealed with this key
//! secret = "43 characters: 32 bytes in base64url without padding"
//! ```
//!
//! Invariants:
//!
//! * A file is written atomically: a reader gets the old file or the new one, never a part.
//! * A file is refused if others can read or write it, or if the group can write it. The group may read it: a file of a
//!   Kubernetes Secret has mode 0440 and is reached through symbolic links.
//! * The owner of a file is the owner of the directory, the user of the process, or root (`permissions.rs`).
//!
//! Files whose name begins with a dot or does not end in `.key` are ignored.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::Access;
use serde::{Deserialize, Serialize};
use toml::value::Datetime;
use zeroize::{Zeroize, Zeroizing};

use super::error::{KeyFileError, MAX_FILE_BYTES, RingError};
use super::key::{Dates, Key};
use super::permissions::TrustedOwners;
use crate::access_denied;
use crate::bounded_file::{BoundedFile, ReadError};
use crate::clock::UnixTime;
use crate::file_owner::Owner;
use crate::id::Kid;
use crate::secret::Secret;

const EXTENSION: &str = "key";
/// Mode bits that are refused: reading and writing by others, writing by the group.
const REFUSED_MODE_BITS: u32 = 0o026;
const GROUP_READ_BIT: u32 = 0o040;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    created_at: Datetime,
    #[serde(skip_serializing_if = "Option::is_none")]
    activates_at: Option<Datetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Datetime>,
    max_lifetime_secs: u64,
    secret: String,
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Parses the text of a key file. The caller must compare the file name with the id of the key.
///
/// # Errors
/// [`KeyFileError`] for the first rule that the text breaks.
pub fn parse(text: &str) -> Result<Key, KeyFileError> {
    let fields: Fields = toml::from_str(text).map_err(|error| KeyFileError::Syntax {
        line: error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
        message: without_quoted_text(error.message()),
    })?;
    if fields.max_lifetime_secs == 0 {
        return Err(KeyFileError::NoLifetime);
    }
    let mut secret = Zeroizing::new([0; 33]);
    let length = URL_SAFE_NO_PAD.decode_slice(&fields.secret, secret.as_mut());
    let secret = match (length, secret.first_chunk()) {
        (Ok(32), Some(bytes)) => Secret::from_bytes(*bytes),
        _ => return Err(KeyFileError::SecretLength),
    };
    let dates = Dates {
        created_at: parse_instant("created_at", fields.created_at)?,
        activates_at: fields.activates_at.map(|date| parse_instant("activates_at", date)).transpose()?,
        revoked_at: fields.revoked_at.map(|date| parse_instant("revoked_at", date)).transpose()?,
        max_lifetime: Duration::from_secs(fields.max_lifetime_secs),
    };
    Ok(Key::new(secret, dates))
}

/// Removes the text that a message of the parser quotes from the file. The quoted text may be the secret, if the secret was
/// written in a wrong field.
fn without_quoted_text(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((before, expected)) => {
            let problem = before.split(['`', '"']).next().unwrap_or_default().trim_end();
            format!("{problem}, expected {expected}")
        }
        None => message.lines().next().unwrap_or_default().to_owned(),
    }
}

/// Returns the text of a key file.
pub fn render(key: &Key) -> Zeroizing<String> {
    let date = |instant: UnixTime| instant.to_string().parse::<Datetime>().expect("an instant prints as RFC 3339");
    let fields = Fields {
        created_at: date(key.dates.created_at),
        activates_at: key.dates.activates_at.map(date),
        revoked_at: key.dates.revoked_at.map(date),
        max_lifetime_secs: key.dates.max_lifetime.as_secs(),
        secret: URL_SAFE_NO_PAD.encode(key.secret.expose()),
    };
    let body = Zeroizing::new(toml::to_string(&fields).expect("five plain fields are always valid TOML"));
    Zeroizing::new(format!(
        "# A sealjar key. Anyone who can read this file can create sessions for any user.\n{}",
        *body
    ))
}

/// Reads every key file of a directory. An error in one file fails the whole read.
pub(super) fn read_all(directory: &Path) -> Result<Vec<Key>, RingError> {
    let files = read_each(directory)?.into_iter();
    files.map(|(path, key)| key.map_err(|reason| RingError::KeyFile { path, reason })).collect()
}

/// Path of a key file, and the result of reading it.
pub(crate) type KeyFile = (PathBuf, Result<Key, KeyFileError>);

/// Reads every key file of a directory. Each file has its own result.
///
/// # Errors
/// [`RingError::Directory`] if the directory cannot be read.
pub(crate) fn read_each(directory: &Path) -> Result<Vec<KeyFile>, RingError> {
    let failed = |source| RingError::Directory {
        directory: directory.to_owned(),
        source: access_denied::explain(directory, Access::READ_OK | Access::EXEC_OK, source),
    };
    let owners = TrustedOwners::of(directory).map_err(failed)?;
    let paths = paths(directory).map_err(failed)?.into_iter();
    Ok(paths.map(|path| (path.clone(), read_explained(&path, owners))).collect())
}

/// Returns the paths of the key files in a directory.
fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Reads a key file. If the access is denied, the error contains the owner and the mode of the file.
fn read_explained(path: &Path, owners: TrustedOwners) -> Result<Key, KeyFileError> {
    read(path, owners).map_err(|error| match error {
        KeyFileError::Io(error) => KeyFileError::Io(access_denied::explain(path, Access::READ_OK, error)),
        error => error,
    })
}

fn read(path: &Path, owners: TrustedOwners) -> Result<Key, KeyFileError> {
    let file = BoundedFile::open(path, MAX_FILE_BYTES)?;
    owners.check(path, file.metadata())?;
    let mode = file.metadata().permissions().mode() & 0o777;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if mode & REFUSED_MODE_BITS != 0 {
        return Err(KeyFileError::TooPermissive { mode, path: path.to_owned() });
    }
    let text = file.read()?;
    let key = parse(str::from_utf8(&text).map_err(|_| KeyFileError::NotText)?)?;
    let expected = key.kid();
    if name != file_name(expected) { Err(KeyFileError::WrongName { expected }) } else { Ok(key) }
}

impl From<ReadError> for KeyFileError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::NotRegular => Self::NotAFile,
            ReadError::TooLong { .. } => Self::TooLong,
            ReadError::NotUtf8(_) => Self::NotText,
            #[cfg(feature = "server")]
            ReadError::TooSlow { .. } => unreachable!("only a pipe is too slow, and this is a regular file"),
        }
    }
}

/// Writes the file of a key atomically and durably. After an error, the old file is unchanged, unless only the last `sync_all`
/// failed.
pub(super) fn write(directory: &Path, key: &Key, owner: Owner) -> io::Result<()> {
    // With `tempfile_in`, the error would contain this path, which may be below /proc/self/fd.
    let open = |path: &Path| File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = tempfile::Builder::new().prefix(".writing-").suffix(".tmp").make_in(directory, open)?;
    owner.give(file.as_file())?;
    let mode = if is_group_readable(directory)? { 0o640 } else { 0o600 };
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(render(key).as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(directory.join(file_name(key.kid()))).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// Whether the group can read every existing key file. This is the case if root writes the keys and the group of the server
/// reads them.
fn is_group_readable(directory: &Path) -> io::Result<bool> {
    let modes: io::Result<Vec<_>> = paths(directory)?.iter().map(|path| Ok(fs::metadata(path)?.mode())).collect();
    let modes = modes?;
    Ok(!modes.is_empty() && modes.iter().all(|mode| mode & GROUP_READ_BIT != 0))
}

/// Removes the file of a key.
pub(super) fn remove(directory: &Path, kid: Kid) -> io::Result<()> {
    fs::remove_file(directory.join(file_name(kid)))?;
    File::open(directory)?.sync_all()
}

pub(crate) fn file_name(kid: Kid) -> String {
    format!("{kid}.{EXTENSION}")
}

fn parse_instant(field: &'static str, date: Datetime) -> Result<UnixTime, KeyFileError> {
    UnixTime::parse_rfc3339(&date.to_string()).ok_or(KeyFileError::NotAnInstant { field })
}
