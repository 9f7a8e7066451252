//! Reads settings from environment variables.
//!
//! `SEALJAR_HTTP__LISTEN` has the value of `http.listen`. `SEALJAR_HTTP__LISTEN_FILE` has the path of a file that
//! contains the value, because Docker and Kubernetes mount secrets as files.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::error::{ConfigError, Source};
use crate::bounded_file::{self, ReadError};

/// Prefix of the variables that are settings.
pub(crate) const ENV_PREFIX: &str = "SEALJAR_";
/// Variable with the path of the configuration file. A flag takes precedence.
pub(super) const CONFIG_VARIABLE: &str = "SEALJAR_CONFIG";
/// Suffix of the variables that name a file with the value.
const FILE_SUFFIX: &str = "_FILE";
/// Maximum size of a file with a value.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A setting with its value as text, and the source of the value.
pub(super) struct Assignment {
    pub(super) setting: String,
    pub(super) text: Zeroizing<String>,
    pub(super) source: Source,
}

/// Returns the settings in the variables, sorted by the names of the variables. Ignores variables without the prefix,
/// and the variables that Kubernetes sets for services.
pub(super) fn assignments(
    environment: &[(String, String)],
    is_setting: impl Fn(&str) -> bool,
) -> Vec<Result<Assignment, ConfigError>> {
    let has_setting = |name: &str| name.starts_with(ENV_PREFIX) && name != CONFIG_VARIABLE && !is_service_link(name);
    let mut variables: Vec<_> = environment.iter().filter(|(name, _)| has_setting(name)).collect();
    variables.sort();
    let is_set = |name: &str| variables.iter().any(|(other, _)| other == name);
    let assignment = |(name, value): &&(String, String)| {
        let setting = setting(name);
        // If the name of a setting ends with the suffix, its variable has the value and not the path of a file.
        let without_suffix = name.strip_suffix(FILE_SUFFIX).filter(|_| !is_setting(&setting));
        match without_suffix.map(|value_variable| (value_variable, self::setting(value_variable))) {
            Some((value_variable, setting)) if is_setting(&setting) => {
                read_file(setting, name, value, is_set(value_variable).then_some(value_variable))
            }
            _ => Ok(Assignment { setting, text: Zeroizing::new(value.clone()), source: Source::Env(name.clone()) }),
        }
    };
    variables.iter().map(assignment).collect()
}

/// Returns whether a variable may name a file with the value of a setting. Such a file can change while the process runs.
pub(super) fn may_name_file(name: &str) -> bool {
    name.starts_with(ENV_PREFIX) && name.ends_with(FILE_SUFFIX)
}

/// Returns whether a variable has the value of the setting `wanted`, or names a file with it.
pub(super) fn may_set(name: &str, wanted: &str) -> bool {
    let is_of_wanted_setting = |name: &str| name.starts_with(ENV_PREFIX) && setting(name) == wanted;
    is_of_wanted_setting(name) || name.strip_suffix(FILE_SUFFIX).is_some_and(is_of_wanted_setting)
}

/// Converts the name of a variable to the name of a setting. Does not check that the setting exists.
fn setting(variable: &str) -> String {
    variable[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".")
}

/// Reads the file that a variable names. `value_variable` is the name of the variable with the value if that variable is
/// also set, which is an error.
fn read_file(
    setting: String,
    variable: &str,
    path: &str,
    value_variable: Option<&str>,
) -> Result<Assignment, ConfigError> {
    let source = Source::EnvFile { variable: variable.to_owned(), path: PathBuf::from(path) };
    if let Some(value_variable) = value_variable {
        return Err(ConfigError::TwoVariables { setting, variables: [value_variable.to_owned(), variable.to_owned()] });
    }
    if path.is_empty() {
        let reason = "it must be the path of a file; unset the variable, or set it".to_owned();
        return Err(ConfigError::BadValue { setting, from: Source::Env(variable.to_owned()), reason });
    }
    let failed = |error: ReadError| ConfigError::ValueFile {
        setting: setting.clone(),
        variable: variable.to_owned(),
        path: PathBuf::from(path),
        reason: error.to_string(),
    };
    let bytes = bounded_file::read(&PathBuf::from(path), MAX_FILE_BYTES).map_err(failed)?;
    let text = str::from_utf8(&bytes).map_err(|error| failed(error.into()))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Assignment { text: Zeroizing::new(line.to_owned()), setting, source })
}

/// Returns whether Kubernetes sets this variable for a Service. It sets these variables in every pod, for each Service of the
/// namespace (see [service links](https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)).
/// For a Service with the name `sealjar` or `sealjar-admin`, they have the prefix of the settings.
///
/// A variable with two underscores in a row always belongs to a setting in a section. The variables of settings
/// at the top level have names that no service link has.
fn is_service_link(name: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let has_port_and_protocol = |rest: &str| {
        let (port, rest) = rest.split_once('_').unwrap_or_default();
        let protocol = rest.split('_').next().unwrap_or_default();
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && PROTOCOLS.contains(&protocol)
    };
    let endings = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    !name.contains("__")
        && (endings.iter().any(|ending| name.ends_with(ending))
            || name.contains("_SERVICE_PORT_")
            || name
                .match_indices("_PORT_")
                .any(|(index, separator)| has_port_and_protocol(&name[index + separator.len()..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Reads the settings in the variables. Returns the name and the text of each setting, or the error message.
    fn read_settings(pairs: &[(&str, &str)]) -> Vec<Result<(String, String), String>> {
        let known = Config::default().values();
        let results = assignments(&env(pairs), |name| known.contains_key(name));
        let pair = |assignment: Assignment| (assignment.setting, assignment.text.to_string());
        results.into_iter().map(|result| result.map(pair).map_err(|error| error.to_string())).collect()
    }

    fn variable(setting: &str) -> String {
        format!("{ENV_PREFIX}{}", setting.replace('.', "__").to_ascii_uppercase())
    }

    #[test]
    fn ignores_the_service_links_of_kubernetes() {
        for name in [
            "SEALJAR_SERVICE_HOST",
            "SEALJAR_SERVICE_PORT",
            "SEALJAR_SERVICE_PORT_HTTP",
            "SEALJAR_PORT",
            "SEALJAR_PORT_8080_TCP",
            "SEALJAR_PORT_8080_TCP_ADDR",
            "SEALJAR_PORT_8080_SCTP_PROTO",
            "SEALJAR_ADMIN_SERVICE_HOST",
            "SEALJAR_ADMIN_SERVICE_PORT_ADMIN",
            "SEALJAR_ADMIN_PORT",
            "SEALJAR_ADMIN_PORT_53_UDP_PORT",
            "SEALJAR_STORE_PORT_5432_TCP_ADDR",
        ] {
            assert_eq!(read_settings(&[(name, "tcp://10.0.0.1:80")]), [], "{name}");
        }
        for name in [
            "SEALJAR_PORTS",
            "SEALJAR_PORT_TCP",
            "SEALJAR_PORT_80_HTTP",
            "SEALJAR_PORT_x_TCP",
            "SEALJAR_SERVICE",
            "SEALJAR_SERVICE_HOST_NAME",
            "SEALJAR_HTTP__SERVICE_HOST",
            "SEALJAR_HTTP__PORT",
        ] {
            assert_eq!(read_settings(&[(name, "x")]).len(), 1, "{name}");
        }
    }

    #[test]
    fn every_setting_can_be_set_by_its_variable_or_a_file() {
        let known = Config::default().values();
        for setting in known.keys() {
            assert_eq!(read_settings(&[(&variable(setting), "x")]), [Ok((setting.clone(), "x".to_owned()))]);
            assert!(
                !setting.ends_with("_file"),
                "{setting}: its variable would be mistaken for a variable that names a file"
            );
            let file = format!("{}{FILE_SUFFIX}", variable(setting));
            let message = read_settings(&[(&file, "/no/such/file")]).remove(0).expect_err("the file does not exist");
            assert!(
                message.contains(setting) && message.contains(&file) && message.contains("/no/such/file"),
                "{message}"
            );
            let message = read_settings(&[(&file, "")]).remove(0).expect_err("the path is empty");
            assert!(message.contains(&file) && message.contains("path of a file"), "{message}");
        }
    }

    #[test]
    fn one_final_newline_of_a_file_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("value");
        let file = path.to_str().expect("text");
        for (bytes, text) in [
            (&b"sqlite://a"[..], "sqlite://a"),
            (b"sqlite://a\n", "sqlite://a"),
            (b"sqlite://a\r\n", "sqlite://a"),
            (b"sqlite://a\n\n", "sqlite://a\n"),
            (b" a\r", " a\r"),
            (b"", ""),
        ] {
            std::fs::write(&path, bytes).expect("the file is written");
            assert_eq!(read_settings(&[("SEALJAR_STORE_FILE", file)]), [Ok(("store".to_owned(), text.to_owned()))]);
        }
        let largest = "x".repeat(MAX_FILE_BYTES as usize);
        std::fs::write(&path, &largest).expect("the file is written");
        assert_eq!(read_settings(&[("SEALJAR_STORE_FILE", file)]), [Ok(("store".to_owned(), largest.clone()))]);
        for (bytes, reason) in [(format!("{largest}y").into_bytes(), "65536 bytes"), (vec![0xff], "UTF-8")] {
            std::fs::write(&path, &bytes).expect("the file is written");
            let message = read_settings(&[("SEALJAR_STORE_FILE", file)]).remove(0).expect_err("refused");
            let is_named = message.contains("SEALJAR_STORE_FILE") && message.contains(file);
            assert!(is_named && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn refuses_both_a_value_and_a_file_for_one_setting() {
        let both = [("SEALJAR_STORE", "sqlite://a"), ("SEALJAR_STORE_FILE", "/no/such/file")];
        let message = read_settings(&both).remove(1).expect_err("refused");
        assert_eq!(message, "setting store: both SEALJAR_STORE and SEALJAR_STORE_FILE are set");
    }
}
