//! Why a configuration cannot be used, and which layer the value at fault came from.

use std::fmt;
use std::path::PathBuf;

use super::meanings;

/// A configuration that cannot be used. Each message names the setting and where its value came from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("setting {setting}: cannot read the file {} that {variable} names: {reason}", path.display())]
    ValueFile { setting: String, variable: String, path: PathBuf, reason: String },
    #[error("setting {setting}: both {} and {} are set", variables[0], variables[1])]
    TwoVariables { setting: String, variables: [String; 2] },
    #[error("unknown setting {setting} ({from})")]
    Unknown { setting: String, from: Source },
    #[error("setting {setting} ({from}): {reason}")]
    BadValue { setting: String, from: Source, reason: String },
}

impl ConfigError {
    /// Returns what to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::File { .. } => {
                "correct the file, or its path in --config or SEALJAR_CONFIG; `sealjar config --explain` explains all settings".to_owned()
            }
            Self::ValueFile { variable, .. } => format!(
                "{variable} has the path of a file with the value alone: a regular file in UTF-8 of at most 64 KiB that this user can read"
            ),
            Self::TwoVariables { variables: [value, file], .. } => {
                format!("unset {value} if the value is in the file, or {file} if it is not")
            }
            Self::Unknown { from: Source::Env(name), .. } if name == "SEALJAR_CONFIG_FILE" => {
                "SEALJAR_CONFIG names the configuration file".to_owned()
            }
            Self::Unknown { setting, from: Source::Env(_) } => {
                let (setting, end) = setting.strip_suffix("_file").map_or((setting.as_str(), ""), |of| (of, "_FILE"));
                let variable = |setting: String| setting.replace('.', "__").to_ascii_uppercase();
                meanings::hint_for_unknown(setting, |setting| format!("SEALJAR_{}{end}", variable(setting)))
            }
            Self::Unknown { setting, .. } => meanings::hint_for_unknown(setting, |setting| setting),
            Self::BadValue { setting, .. } => format!("`sealjar config --explain {setting}` explains the setting"),
        }
    }
}

/// Makes the error for a setting, given the reason.
pub(super) type Bad<'b> = &'b dyn Fn(&str, &str) -> ConfigError;

/// Returns a message of serde without the terms of Rust.
pub(super) fn in_words(message: &str) -> String {
    message
        .replace("expected u32", "expected a whole number from 0 to 4294967295")
        .replace("unknown variant ", "unknown value ")
}

/// The layer that a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Env(String),
    /// A file that a variable names. It may be a secret, or another file than the operator meant.
    EnvFile {
        variable: String,
        path: PathBuf,
    },
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::EnvFile { variable, path } => write!(f, "file {} of environment {variable}", path.display()),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
