//! Sources of the layers of the configuration, to read them again.

use std::path::PathBuf;

use super::Config;
use super::environment;
use super::error::{ConfigError, Source};
use super::file::ConfigFile;
use super::layers::{Flag, Layers};

/// Sources of the layers. They may hold secrets, so this type does not print them.
pub(crate) struct Origins {
    /// Values in place of the defaults.
    base: Vec<Flag>,
    file: Option<ConfigFile>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
}

impl Origins {
    /// `file` is the path that a flag gave; it wins over the one in the environment.
    pub(crate) fn new(file: Option<PathBuf>, environment: Vec<(String, String)>, flags: Vec<Flag>) -> Self {
        let named = || environment.iter().find(|(name, path)| name == environment::CONFIG && !path.is_empty());
        let from_env = || named().map(|(_, path)| PathBuf::from(path));
        Self { base: Vec::new(), file: file.or_else(from_env).map(ConfigFile::at), environment, flags }
    }

    /// Puts these values in place of the defaults.
    pub(crate) fn over(self, base: Vec<Flag>) -> Self {
        Self { base, ..self }
    }

    /// Returns whether the configuration came through a pipe, and is gone.
    pub(crate) const fn is_pipe(&self) -> bool {
        matches!(self.file, Some(ConfigFile::Pipe(_)))
    }

    /// Returns whether a file has a part of the configuration, and can be read again.
    pub(crate) fn is_followed(&self) -> bool {
        let is_file = matches!(self.file, Some(ConfigFile::Followed(_)));
        !self.is_pipe() && (is_file || self.environment.iter().any(|(name, _)| environment::may_name_file(name)))
    }

    /// Reads all layers, and the configuration that they make. Its settings may contradict each other.
    pub(crate) fn read(&self) -> Result<(Layers, Config), ConfigError> {
        let (layers, errors) = self.layers()?;
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        let config = layers.config()?;
        Ok((layers, config))
    }

    /// Reads what can be used. A setting keeps the value of the layer below one that cannot be used, which is among the errors.
    pub(crate) fn read_usable(&self) -> Result<(Layers, Config, Vec<ConfigError>), ConfigError> {
        let (mut layers, mut errors) = self.layers()?;
        let config = layers.usable(&mut errors);
        Ok((layers, config, errors))
    }

    /// Reads one setting. All others have their defaults, and errors in them do not matter. The file is read only if nothing else
    /// gives the setting.
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

    fn layers(&self) -> Result<(Layers, Vec<ConfigError>), ConfigError> {
        Layers::over(&self.base)?.read(self.file.as_ref(), &self.environment, &self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_names_no_file() {
        let environment = |path: &str| vec![(environment::CONFIG.to_owned(), path.to_owned())];
        let origins = |path| Origins::new(None, environment(path), Vec::new());
        assert_eq!(origins("").file, None);
        assert_eq!(origins("/a/file").file, Some(ConfigFile::Followed("/a/file".into())));
    }

    #[test]
    fn a_value_in_a_file_is_followed_without_a_configuration_file() {
        let origins = |name: &str| Origins::new(None, vec![(name.to_owned(), "/a/file".to_owned())], Vec::new());
        assert!(origins("SEALJAR_STORE_FILE").is_followed());
        assert!(!origins("SEALJAR_STORE").is_followed());
    }

    #[test]
    fn values_in_place_of_defaults_give_way_to_every_layer() {
        let flag = |flag: &str, setting: &str, text: &str| Flag {
            flag: flag.to_owned(),
            setting: setting.to_owned(),
            text: text.to_owned(),
        };
        let environment = vec![("SEALJAR_KEYS__DIR".to_owned(), "environment".to_owned())];
        let base = ["store", "keys.dir", "pages.home"].map(|setting| flag("--demo", setting, "sqlite://base")).to_vec();
        let origins = Origins::new(None, environment, vec![flag("--set", "pages.home", "/flag")]).over(base);
        let (layers, config) = origins.read().expect("reads");
        assert_eq!((config.store.as_str(), config.pages.home.as_str()), ("sqlite://base", "/flag"));
        assert_eq!(config.keys.dir.to_str(), Some("environment"));
        assert_eq!(*layers.source("store"), crate::config::error::Source::Flag("--demo".to_owned()));
    }

    #[test]
    fn every_value_that_cannot_be_used_is_named_and_left_out() {
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
        let origins = Origins::new(None, environment, flags);
        let (layers, config, errors) = origins.read_usable().expect("there is no file");
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for setting in ["store", "no.such", "session.idle", "http.listen", "password.queue"] {
            assert!(errors.iter().any(|error| error.contains(setting)), "{setting}: {errors:?}");
        }
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert_eq!(config.session.absolute.to_string(), "3h", "what can be used is");
        assert_eq!(config.session.idle, Config::default().session.idle);
        assert!(config.parse(&layers).is_ok());
        assert!(origins.read().is_err());
    }
}
