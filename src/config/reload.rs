//! A configuration that was read while the server runs, held against the one in force: what of it takes effect at once, and what
//! waits for the next start.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;
use super::error::ConfigError;
use super::layers::{Layers, build, leaves};
use super::settings::Settings;

/// What takes effect at once: settings, or whole groups of them. Everything else is given to parts that are made once, or, as
/// the lifetimes of sessions, is on record in the store before it counts.
pub(crate) const AT_ONCE: [&str; 17] = [
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
pub(crate) const GROUP_AT_ONCE: &str = "throttle.";

/// Every setting's value by dotted name, in one spelling.
pub(crate) type Values = BTreeMap<String, Value>;

/// A new configuration as far as it takes effect at once.
pub(crate) struct Change {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    /// The settings that differ from those in force until now.
    pub(crate) applied: Vec<String>,
    /// Those that do, and wait for the next start.
    pub(crate) waiting: Vec<String>,
}

impl Config {
    /// Every setting's value.
    pub(crate) fn values(&self) -> Values {
        let table = Table::try_from(self).expect("settings are plain tables of plain values");
        leaves(table).into_iter().collect()
    }

    /// Returns what of `new` can take the place of this one, which is in force. Both together must keep the rules that each keeps.
    pub(crate) fn changed_to(&self, new: &Config, layers: &Layers) -> Result<Change, ConfigError> {
        let (mut values, new) = (self.values(), new.values());
        let (applied, waiting): (Vec<_>, Vec<_>) = new
            .iter()
            .filter(|(name, value)| values[*name] != **value)
            .partition(|(name, _)| takes_effect_at_once(name));
        values.extend(applied.iter().map(|(name, value)| ((*name).clone(), (*value).clone())));
        let config = build(values.iter()).expect("each value is that of a configuration that was read");
        let settings = config.parse(layers)?;
        let names = |settings: Vec<(&String, &Value)>| settings.into_iter().map(|(name, _)| name.clone()).collect();
        Ok(Change { config, settings, applied: names(applied), waiting: names(waiting) })
    }
}

fn takes_effect_at_once(setting: &str) -> bool {
    setting.starts_with(GROUP_AT_ONCE) || AT_ONCE.contains(&setting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Flag;
    use crate::config::origins::Origins;

    fn read(settings: &[(&str, &str)]) -> (Layers, Config) {
        let flag = |(setting, text): &(&str, &str)| Flag {
            flag: "--set".to_owned(),
            setting: (*setting).to_owned(),
            text: (*text).to_owned(),
        };
        Origins::new(None, Vec::new(), settings.iter().map(flag).collect()).read().expect("well formed")
    }

    #[test]
    fn every_setting_that_takes_effect_at_once_is_one() {
        let values = Config::default().values();
        assert!(AT_ONCE.iter().all(|setting| values.contains_key(*setting)));
        assert!(values.keys().any(|setting| setting.starts_with(GROUP_AT_ONCE)));
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
        let Change { config, applied, waiting, .. } = old.changed_to(&new, &layers).expect("fits");
        assert_eq!(
            (applied, waiting),
            (vec!["log.level".to_owned(), "throttle.network_burst".to_owned()], vec!["session.absolute".to_owned()])
        );
        assert_eq!((config.throttle.network_burst, config.log.level.as_str()), (7, "debug"));
        assert_eq!(config.session.absolute, old.session.absolute, "not before the next start");
    }

    #[test]
    fn refuses_what_does_not_fit_the_settings_that_wait() {
        let (_, old) = read(&[("http.listen", "0.0.0.0:1"), ("http.public_origins", "https://a.example")]);
        let (layers, new) = read(&[]);
        assert!(new.parse(&layers).is_ok(), "a good one by itself");
        let error = old.changed_to(&new, &layers).err().expect("listens beyond loopback until the next start");
        assert!(error.to_string().contains("http.public_origins"), "{error}");
    }
}
