//! Why a configuration cannot be used, and which layer the value at fault came from.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used. Each message names the setting and where its value came from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("unknown setting {setting} ({from})")]
    Unknown { setting: String, from: Source },
    #[error("setting {setting} ({from}): {reason}")]
    BadValue { setting: String, from: Source, reason: String },
}

/// Makes the error for a setting, given the reason.
pub(super) type Bad<'b> = &'b dyn Fn(&str, &str) -> ConfigError;

/// The layer that a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Env(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
