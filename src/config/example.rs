//! An example of a valid value for each setting, for error messages: the default, or another value if the default is empty.

use toml::Value;

use super::Config;

/// Examples for settings that are empty by default. If the setting is a list, the example is a list with this one item.
const EXAMPLES_FOR_EMPTY: [(&str, &str); 10] = [
    ("http.public_origins", "https://app.example.com"),
    ("http.trusted_proxies", "10.0.0.4"),
    ("http.verify_authorities", "sealjar:8080"),
    ("http.admin_authorities", "sealjar.example.com"),
    ("tls.certificate", "/etc/sealjar/tls/fullchain.pem"),
    ("tls.private_key", "/etc/sealjar/tls/key.pem"),
    ("cookie.domain", "example.com"),
    ("pages.title", "Example"),
    ("pages.logo", "/etc/sealjar/logo.svg"),
    ("node.name", "node-1"),
];

/// Returns the example as the text of a variable or a flag.
pub(super) fn text(setting: &str) -> String {
    match value(setting) {
        Some(Value::String(text)) => text,
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// Returns the example as a line of the configuration file, for the section of the setting.
pub(super) fn line(setting: &str) -> String {
    let name = setting.rsplit('.').next().unwrap_or_default();
    value(setting).map_or_else(String::new, |value| format!("{name} = {value}"))
}

/// Returns the example as a TOML value, or `None` if there is no such setting.
fn value(setting: &str) -> Option<Value> {
    let example = || EXAMPLES_FOR_EMPTY.into_iter().find(|(name, _)| *name == setting).map(|(_, text)| text.to_owned());
    match Config::default().values().remove(setting)? {
        Value::String(text) if text.is_empty() => example().map(Value::String),
        Value::Array(items) if items.is_empty() => example().map(|item| Value::Array(vec![Value::String(item)])),
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Flag;
    use crate::config::sources::ConfigSources;

    #[test]
    fn every_setting_has_a_valid_example() {
        let settings = Config::default().values();
        let flag = |setting: &String| Flag { flag: "--set".into(), setting: setting.clone(), text: text(setting) };
        let flags: Vec<Flag> = settings.keys().map(flag).collect();
        assert!(flags.iter().all(|flag| !flag.text.is_empty() && !line(&flag.setting).is_empty()));
        let (layers, config) = ConfigSources::new(None, Vec::new(), flags).read().expect("each example is valid");
        config.parse(&layers).expect("the examples can be combined");
        let lines: Vec<String> =
            settings.keys().filter(|name| name.starts_with("http.")).map(|name| line(name)).collect();
        let table: toml::Table = format!("[http]\n{}", lines.join("\n")).parse().expect("it is TOML");
        assert!(table["http"]["public_origins"].is_array());
    }
}
