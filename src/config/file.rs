//! The configuration file, which may be a pipe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bounded_file::{self, MAX_BYTES, ReadError, pipe};

/// Maximum time for a configuration that comes through a pipe.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Source of the file layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    /// A file that may change while the process runs.
    Followed(PathBuf),
    /// A pipe, as in `--config <(…)`: it can be read once.
    Pipe(PathBuf),
}

impl ConfigFile {
    pub(super) fn at(path: PathBuf) -> Self {
        if pipe::is_pipe(&path) { Self::Pipe(path) } else { Self::Followed(path) }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Followed(path) | Self::Pipe(path) => path,
        }
    }

    pub(super) fn read(&self) -> Result<String, ReadError> {
        let bytes = match self {
            Self::Followed(path) => bounded_file::read(path, MAX_BYTES)?,
            Self::Pipe(path) => pipe::read(path, MAX_BYTES, PIPE_TIMEOUT)?,
        };
        Ok(str::from_utf8(&bytes)?.to_owned())
    }
}
