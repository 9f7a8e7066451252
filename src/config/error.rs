//! Errors of the configuration. Each error names the file, or the setting and the source of its invalid value.

use std::fmt;
use std::path::PathBuf;

use super::meanings;

/// Error for a configuration that cannot be used.
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
    /// Returns a hint that tells the operator how to correct the error.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::File { .. } => {
                "correct the file, or its path in --config or SEALJAR_CONFIG; `sealjar config --explain` explains all settings".to_owned()
            }
            Self::ValueFile { variable, .. } => format!(
                "{variable} must be the path of a regular file that this user can read; the file contains only the value, in UTF-8, with at most 64 KiB"
            ),
            Self::TwoVariables { variables: [value, file], .. } => {
                format!("unset {value} if the value is in the file, or {file} if it is not")
            }
            Self::Unknown { from: Source::Env(name), .. } if name == "SEALJAR_CONFIG_FILE" => {
                "SEALJAR_CONFIG names the configuration file".to_owned()
            }
            Self::Unknown { setting, from: Source::Env(_) } => {
                let (setting, suffix) =
                    setting.strip_suffix("_file").map_or((setting.as_str(), ""), |setting| (setting, "_FILE"));
                let variable = |setting: String| setting.replace('.', "__").to_ascii_uppercase();
                meanings::hint_for_unknown(setting, |setting| format!("SEALJAR_{}{suffix}", variable(setting)))
            }
            Self::Unknown { setting, .. } => meanings::hint_for_unknown(setting, |setting| setting),
            Self::BadValue { setting, .. } => format!("`sealjar config --explain {setting}` explains the setting"),
        }
    }
}

/// Function that creates the error for a setting and a reason.
pub(super) type ErrorFor<'b> = &'b dyn Fn(&str, &str) -> ConfigError;

/// Replaces the terms of Rust in a message of serde by plain words.
pub(super) fn without_rust_terms(message: &str) -> String {
    message
        .replace("expected u32", "expected a whole number from 0 to 4294967295")
        .replace("unknown variant ", "unknown value ")
}

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The default.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A file that an environment variable names. It may contain a secret, or may be a different file than the operator
    /// intended.
    EnvFile { variable: String, path: PathBuf },
    /// A flag on the command line.
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
