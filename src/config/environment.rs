//! Settings in environment variables: `SEALJAR_HTTP__LISTEN` has the value of `http.listen`, and `SEALJAR_HTTP__LISTEN_FILE` the path
//! of a file with the value, as Docker and Kubernetes mount secrets.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::error::{ConfigError, Source};
use crate::bounded_file::{self, ReadError};

/// Beginning of the variables that are settings.
pub(crate) const ENV_PREFIX: &str = "SEALJAR_";
/// The configuration file, if no flag names it.
pub(super) const CONFIG: &str = "SEALJAR_CONFIG";
/// End of the variables that name a file with the value.
const FILE_SUFFIX: &str = "_FILE";
/// Maximum length of such a file.
const MAX_BYTES: u64 = 64 * 1024;

/// The value of a setting as a text, and its source.
pub(super) struct Assignment {
    pub(super) setting: String,
    pub(super) text: Zeroizing<String>,
    pub(super) source: Source,
}

/// Returns what the variables set, in the order of their names. Variables of others and those of Kubernetes are left out.
pub(super) fn assignments(
    environment: &[(String, String)],
    is_setting: impl Fn(&str) -> bool,
) -> Vec<Result<Assignment, ConfigError>> {
    let is_ours = |name: &str| name.starts_with(ENV_PREFIX) && name != CONFIG && !is_service_link(name);
    let mut own: Vec<_> = environment.iter().filter(|(name, _)| is_ours(name)).collect();
    own.sort();
    let is_set = |name: &str| own.iter().any(|(other, _)| other == name);
    let assignment = |(name, value): &&(String, String)| {
        let setting = setting(name);
        // A setting whose own name ends like that is not read from a file.
        let without_suffix = name.strip_suffix(FILE_SUFFIX).filter(|_| !is_setting(&setting));
        match without_suffix.map(|plain| (plain, self::setting(plain))) {
            Some((plain, setting)) if is_setting(&setting) => {
                read(setting, name, value, is_set(plain).then_some(plain))
            }
            _ => Ok(Assignment { setting, text: Zeroizing::new(value.clone()), source: Source::Env(name.clone()) }),
        }
    };
    own.iter().map(assignment).collect()
}

/// Returns whether a variable names a file with the value of a setting, which may change while the process runs.
pub(super) fn may_name_file(name: &str) -> bool {
    name.starts_with(ENV_PREFIX) && name.ends_with(FILE_SUFFIX)
}

/// Returns whether a variable has the value of this setting, or names a file with it.
pub(super) fn may_set(name: &str, to_set: &str) -> bool {
    let is_of_setting = |name: &str| name.starts_with(ENV_PREFIX) && setting(name) == to_set;
    is_of_setting(name) || name.strip_suffix(FILE_SUFFIX).is_some_and(is_of_setting)
}

/// Returns the setting of a variable. It may be one that does not exist.
fn setting(variable: &str) -> String {
    variable[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".")
}

/// Reads the file that a variable names. `other` is the variable that has the value itself, if it is set too.
fn read(setting: String, variable: &str, path: &str, other: Option<&str>) -> Result<Assignment, ConfigError> {
    let source = Source::EnvFile { variable: variable.to_owned(), path: PathBuf::from(path) };
    if let Some(other) = other {
        return Err(ConfigError::TwoVariables { setting, variables: [other.to_owned(), variable.to_owned()] });
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
    let bytes = bounded_file::read(&PathBuf::from(path), MAX_BYTES).map_err(failed)?;
    let text = str::from_utf8(&bytes).map_err(|error| failed(error.into()))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Assignment { text: Zeroizing::new(line.to_owned()), setting, source })
}

/// Returns whether Kubernetes sets this variable for a Service: in every pod, for each Service of the namespace
/// ([service links](https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)). A Service called
/// `sealjar` or `sealjar-admin` makes some that begin like ours. None of ours has two underscores in a row and such an end.
fn is_service_link(name: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_of_port = |rest: &str| {
        let (port, rest) = rest.split_once('_').unwrap_or_default();
        let protocol = rest.split('_').next().unwrap_or_default();
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && PROTOCOLS.contains(&protocol)
    };
    let ends = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    !name.contains("__")
        && (ends.iter().any(|end| name.ends_with(end))
            || name.contains("_SERVICE_PORT_")
            || name.match_indices("_PORT_").any(|(at, found)| is_of_port(&name[at + found.len()..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Returns what the variables set: the setting and its text, or the message.
    fn set(pairs: &[(&str, &str)]) -> Vec<Result<(String, String), String>> {
        let known = Config::default().values();
        let found = assignments(&env(pairs), |name| known.contains_key(name));
        let read = |found: Assignment| (found.setting, found.text.to_string());
        found.into_iter().map(|found| found.map(read).map_err(|error| error.to_string())).collect()
    }

    fn variable(setting: &str) -> String {
        format!("{ENV_PREFIX}{}", setting.replace('.', "__").to_ascii_uppercase())
    }

    #[test]
    fn service_links_of_kubernetes_are_no_settings() {
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
            assert_eq!(set(&[(name, "tcp://10.0.0.1:80")]), [], "{name}");
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
            assert_eq!(set(&[(name, "x")]).len(), 1, "{name}");
        }
    }

    #[test]
    fn no_setting_is_taken_for_something_else() {
        let known = Config::default().values();
        for setting in known.keys() {
            assert_eq!(set(&[(&variable(setting), "x")]), [Ok((setting.clone(), "x".to_owned()))]);
            assert!(!setting.ends_with("_file"), "{setting}: its variable would look like that of a file");
            let file = format!("{}{FILE_SUFFIX}", variable(setting));
            let message = set(&[(&file, "/no/such/file")]).remove(0).expect_err("there is no file");
            assert!(
                message.contains(setting) && message.contains(&file) && message.contains("/no/such/file"),
                "{message}"
            );
            let message = set(&[(&file, "")]).remove(0).expect_err("no file is named");
            assert!(message.contains(&file) && message.contains("path of a file"), "{message}");
        }
    }

    #[test]
    fn a_file_has_the_value_and_at_most_one_final_newline() {
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
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(set(&[("SEALJAR_STORE_FILE", file)]), [Ok(("store".to_owned(), text.to_owned()))]);
        }
        let largest = "x".repeat(MAX_BYTES as usize);
        std::fs::write(&path, &largest).expect("writes");
        assert_eq!(set(&[("SEALJAR_STORE_FILE", file)]), [Ok(("store".to_owned(), largest.clone()))]);
        for (bytes, reason) in [(format!("{largest}y").into_bytes(), "65536 bytes"), (vec![0xff], "UTF-8")] {
            std::fs::write(&path, &bytes).expect("writes");
            let message = set(&[("SEALJAR_STORE_FILE", file)]).remove(0).expect_err("refused");
            let is_named = message.contains("SEALJAR_STORE_FILE") && message.contains(file);
            assert!(is_named && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn refuses_a_value_and_a_file_for_one_setting() {
        let both = [("SEALJAR_STORE", "sqlite://a"), ("SEALJAR_STORE_FILE", "/no/such/file")];
        let message = set(&both).remove(1).expect_err("refused");
        assert_eq!(message, "setting store: both SEALJAR_STORE and SEALJAR_STORE_FILE are set");
    }
}
