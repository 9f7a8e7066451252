//! The sources of the configuration: file, environment and flags. They are stored, so that the configuration can be
//! read again while the server runs.

use std::path::PathBuf;

use super::Config;
use super::environment;
use super::error::{ConfigError, Source};
use super::file::ConfigFile;
use super::layers::{Flag, Layers};

/// The sources of the configuration. They may contain secrets, so this type has no `Debug`.
pub(crate) struct ConfigSources {
    /// Values that replace defaults, for a demo. Every other source takes precedence over them.
    base: Vec<Flag>,
    file: Option<ConfigFile>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
}

impl ConfigSources {
    /// Collects the sources. `file` is the path in the flag `--config`. It takes precedence over the path in the environment.
    pub(crate) fn new(file: Option<PathBuf>, environment: Vec<(String, String)>, flags: Vec<Flag>) -> Self {
        let variable =
            || environment.iter().find(|(name, path)| name == environment::CONFIG_VARIABLE && !path.is_empty());
        let from_env = || variable().map(|(_, path)| PathBuf::from(path));
        Self { base: Vec::new(), file: file.or_else(from_env).map(ConfigFile::at), environment, flags }
    }

    /// Replaces defaults by these values.
    pub(crate) fn with_base(self, base: Vec<Flag>) -> Self {
        Self { base, ..self }
    }

    /// Returns whether the configuration came through a pipe, and so cannot be read again.
    pub(crate) const fn is_pipe(&self) -> bool {
        matches!(self.file, Some(ConfigFile::Pipe(_)))
    }

    /// Returns whether a part of the configuration is in a file that can be read again.
    pub(crate) fn is_followed(&self) -> bool {
        let is_file = matches!(self.file, Some(ConfigFile::Followed(_)));
        !self.is_pipe() && (is_file || self.environment.iter().any(|(name, _)| environment::may_name_file(name)))
    }

    /// Reads all layers, and builds the configuration. Does not check whether its settings contradict each other.
    pub(crate) fn read(&self) -> Result<(Layers, Config), ConfigError> {
        let (layers, errors) = self.layers()?;
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        let config = layers.config()?;
        Ok((layers, config))
    }

    /// Reads all valid values. For each invalid value, the list has an error, and the setting has the value of a
    /// source with lower precedence, or its default.
    pub(crate) fn read_usable(&self) -> Result<(Layers, Config, Vec<ConfigError>), ConfigError> {
        let (mut layers, mut errors) = self.layers()?;
        let config = layers.config_or_defaults(&mut errors);
        Ok((layers, config, errors))
    }

    /// Reads one setting. All other settings have their defaults, and errors in them are ignored. The file is read only if no
    /// other source has the setting.
    pub(crate) fn read_alone(&self, setting: &str) -> Result<(Layers, Config, Vec<ConfigError>), ConfigError> {
        let environment: Vec<_> =
            self.environment.iter().filter(|(name, _)| environment::may_set(name, setting)).cloned().collect();
        let flags: Vec<_> = self.flags.iter().filter(|flag| flag.setting == setting).cloned().collect();
        let (mut layers, errors) = Layers::defaults().read(None, &environment, &flags)?;
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        if let (Source::Default, Some(file)) = (layers.source(setting), &self.file) {
            layers.add_alone(file, setting)?;
        }
        let config = layers.config()?;
        Ok((layers, config, Vec::new()))
    }

    /// Reads all layers. Each invalid value is skipped and has an error in the list.
    fn layers(&self) -> Result<(Layers, Vec<ConfigError>), ConfigError> {
        Layers::with_base(&self.base)?.read(self.file.as_ref(), &self.environment, &self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_names_no_file() {
        let environment = |path: &str| vec![(environment::CONFIG_VARIABLE.to_owned(), path.to_owned())];
        let sources = |path| ConfigSources::new(None, environment(path), Vec::new());
        assert_eq!(sources("").file, None);
        assert_eq!(sources("/a/file").file, Some(ConfigFile::Followed("/a/file".into())));
    }

    #[test]
    fn a_value_in_a_file_is_followed_without_a_configuration_file() {
        let sources = |name: &str| ConfigSources::new(None, vec![(name.to_owned(), "/a/file".to_owned())], Vec::new());
        assert!(sources("SEALJAR_STORE_FILE").is_followed());
        assert!(!sources("SEALJAR_STORE").is_followed());
    }

    #[test]
    fn every_layer_precedes_the_replaced_defaults() {
        let flag = |flag: &str, setting: &str, text: &str| Flag {
            flag: flag.to_owned(),
            setting: setting.to_owned(),
            text: text.to_owned(),
        };
        let environment = vec![("SEALJAR_KEYS__DIR".to_owned(), "environment".to_owned())];
        let base = ["store", "keys.dir", "pages.home"].map(|setting| flag("--demo", setting, "sqlite://base")).to_vec();
        let sources = ConfigSources::new(None, environment, vec![flag("--set", "pages.home", "/flag")]).with_base(base);
        let (layers, config) = sources.read().expect("the configuration is valid");
        assert_eq!((config.store.as_str(), config.pages.home.as_str()), ("sqlite://base", "/flag"));
        assert_eq!(config.keys.dir.to_str(), Some("environment"));
        assert_eq!(*layers.source("store"), crate::config::error::Source::Flag("--demo".to_owned()));
    }

    #[test]
    fn every_invalid_value_is_named_and_ignored() {
        let flag = |setting: &str, text: &str| Flag {
            flag: "--set".to_owned(),
            setting: setting.to_owned(),
            text: text.to_owned(),
        };
        let flags = vec![
            flag("no.such", "x"),
            flag("session.idle", "soon"),
            flag("http.listen", "nowhere"),
            flag("password.queue", "many"),
            flag("session.absolute", "3h"),
        ];
        let environment = vec![("SEALJAR_STORE_FILE".to_owned(), "/no/such/file".to_owned())];
        let sources = ConfigSources::new(None, environment, flags);
        let (layers, config, errors) = sources.read_usable().expect("there is no file to read");
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for setting in ["store", "no.such", "session.idle", "http.listen", "password.queue"] {
            assert!(errors.iter().any(|error| error.contains(setting)), "{setting}: {errors:?}");
        }
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert_eq!(config.session.absolute.to_string(), "3h", "the valid value is used");
        assert_eq!(config.session.idle, Config::default().session.idle);
        assert!(config.parse(&layers).is_ok());
        assert!(sources.read().is_err());
    }
}
