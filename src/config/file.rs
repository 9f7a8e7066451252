//! Reads the configuration file, which may be a pipe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bounded_file::{self, MAX_BYTES, ReadError, pipe};

/// Maximum time for reading a configuration from a pipe.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    /// A file that is read again while the server runs.
    Followed(PathBuf),
    /// A pipe, as in `--config <(…)`. It can be read only once.
    Pipe(PathBuf),
}

impl ConfigFile {
    /// Checks whether the file is a pipe.
    pub(super) fn at(path: PathBuf) -> Self {
        if pipe::is_pipe(&path) { Self::Pipe(path) } else { Self::Followed(path) }
    }

    /// Returns the path of the file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Followed(path) | Self::Pipe(path) => path,
        }
    }

    /// Reads the file as text.
    pub(super) fn read(&self) -> Result<String, ReadError> {
        let bytes = match self {
            Self::Followed(path) => bounded_file::read(path, MAX_BYTES)?,
            Self::Pipe(path) => pipe::read(path, MAX_BYTES, PIPE_TIMEOUT)?,
        };
        Ok(str::from_utf8(&bytes)?.to_owned())
    }
}
