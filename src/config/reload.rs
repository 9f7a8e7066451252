//! Compares a configuration that was read while the server runs with the configuration in force: which changes take
//! effect immediately, and which need a restart.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;
use super::error::ConfigError;
use super::layers::{Layers, build_config, flatten};
use super::settings::Settings;

/// Settings whose changes take effect without a restart. The other settings configure parts of the server that are
/// created once, at the start. The lifetimes of sessions also need a restart: they must be recorded in the store before
/// they take effect.
pub(crate) const RELOADABLE_SETTINGS: [&str; 17] = [
    "http.admin_authorities",
    "http.body_timeout",
    "http.max_body_bytes",
    "http.public_origins",
    "http.shutdown_delay",
    "http.shutdown_timeout",
    "http.trusted_proxies",
    "http.verify_authorities",
    "keys.activate_after",
    "keys.rotate_every",
    "log.client",
    "log.level",
    "pages.home",
    "pages.language",
    "pages.title",
    "session.copy_detection",
    "session.copy_detection_memory",
];
/// Prefix of more settings whose changes take effect without a restart.
pub(crate) const RELOADABLE_GROUP: &str = "throttle.";

/// The values of all settings by dotted name. Equal values have the same text: `30m` and `1800s` are both stored as `30m`.
pub(crate) type Values = BTreeMap<String, Value>;

/// The difference between two configurations, and the configuration with those changes that need no restart.
pub(crate) struct Change {
    /// Configuration with the changes that take effect immediately.
    pub(crate) config: Config,
    /// Parsed form of `config`.
    pub(crate) settings: Settings,
    /// Names of the changed settings that take effect immediately.
    pub(crate) applied: Vec<String>,
    /// Names of the changed settings that need a restart.
    pub(crate) needs_restart: Vec<String>,
}

impl Config {
    /// Returns the values of all settings.
    pub(crate) fn values(&self) -> Values {
        let table = Table::try_from(self).expect("a configuration can be represented in TOML");
        flatten(table).into_iter().collect()
    }

    /// Returns the change from this configuration, which is in force, to `new`. The result must pass all checks: it has
    /// the settings of `new` that take effect immediately, and otherwise the settings of this configuration.
    pub(crate) fn change_to(&self, new: &Config, layers: &Layers) -> Result<Change, ConfigError> {
        let mut values = self.values();
        let new_values = new.values();
        let (applied, needs_restart): (Vec<_>, Vec<_>) = new_values
            .iter()
            .filter(|(name, value)| values[*name] != **value)
            .partition(|(name, _)| takes_effect_immediately(name));
        values.extend(applied.iter().map(|(name, value)| ((*name).clone(), (*value).clone())));
        let config = build_config(values.iter()).expect("each value is from a valid configuration");
        let settings = config.parse(layers)?;
        let names = |settings: Vec<(&String, &Value)>| settings.into_iter().map(|(name, _)| name.clone()).collect();
        Ok(Change { config, settings, applied: names(applied), needs_restart: names(needs_restart) })
    }
}

/// Returns whether a change of this setting takes effect without a restart.
fn takes_effect_immediately(setting: &str) -> bool {
    setting.starts_with(RELOADABLE_GROUP) || RELOADABLE_SETTINGS.contains(&setting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Flag;
    use crate::config::sources::ConfigSources;

    fn read(settings: &[(&str, &str)]) -> (Layers, Config) {
        let flag = |(setting, text): &(&str, &str)| Flag {
            flag: "--set".to_owned(),
            setting: (*setting).to_owned(),
            text: (*text).to_owned(),
        };
        ConfigSources::new(None, Vec::new(), settings.iter().map(flag).collect()).read().expect("well formed")
    }

    #[test]
    fn every_listed_setting_exists() {
        let values = Config::default().values();
        assert!(RELOADABLE_SETTINGS.iter().all(|setting| values.contains_key(*setting)));
        assert!(values.keys().any(|setting| setting.starts_with(RELOADABLE_GROUP)));
    }

    #[test]
    fn separates_immediate_settings_from_those_that_need_a_restart() {
        let (_, old) = read(&[("session.idle", "30m"), ("http.shutdown_delay", "60s")]);
        let (layers, new) = read(&[
            ("session.idle", "1800s"),
            ("session.absolute", "13h"),
            ("http.shutdown_delay", "1m"),
            ("throttle.network_burst", "7"),
            ("log.level", "debug"),
        ]);
        let Change { config, applied, needs_restart, .. } = old.change_to(&new, &layers).expect("the change is valid");
        assert_eq!(
            (applied, needs_restart),
            (vec!["log.level".to_owned(), "throttle.network_burst".to_owned()], vec!["session.absolute".to_owned()])
        );
        assert_eq!((config.throttle.network_burst, config.log.level.as_str()), (7, "debug"));
        assert_eq!(config.session.absolute, old.session.absolute, "this change needs a restart");
    }

    #[test]
    fn refuses_a_change_that_contradicts_the_settings_in_force() {
        let (_, old) = read(&[("http.listen", "0.0.0.0:1"), ("http.public_origins", "https://a.example")]);
        let (layers, new) = read(&[]);
        assert!(new.parse(&layers).is_ok(), "the new configuration is valid");
        let error =
            old.change_to(&new, &layers).err().expect("the server listens on all addresses until the next start");
        assert!(error.to_string().contains("http.public_origins"), "{error}");
    }
}
