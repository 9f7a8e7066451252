//! Combines the layers of the configuration. In order of precedence: flags, environment variables, the configuration
//! file, the defaults.
//!
//! The defaults contain every setting with its type. An unknown setting or a value of another type in
//! another layer is an error. The error names the setting and its source.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;
use super::environment::{self, Assignment};
use super::error::{self, ConfigError, Source};
use super::example;
use super::file::ConfigFile;
use crate::store::url::without_password;

/// A setting on the command line: the flag as the user wrote it, the name of the setting, and the text of its value.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    pub(crate) flag: String,
    pub(crate) setting: String,
    pub(crate) text: String,
}

/// The values of all settings with their sources, by dotted name.
#[derive(Debug)]
pub(crate) struct Layers {
    settings: BTreeMap<String, (Value, Source)>,
}

impl Layers {
    /// Returns the defaults without any other layer.
    pub(crate) fn defaults() -> Self {
        let defaults = Table::try_from(Config::default()).expect("the defaults can be represented in TOML");
        let settings = flatten(defaults).into_iter().map(|(name, value)| (name, (value, Source::Default)));
        Self { settings: settings.collect() }
    }

    /// Returns the defaults, with some of them replaced by these values.
    pub(super) fn with_base(base: &[Flag]) -> Result<Self, ConfigError> {
        let mut layers = Self::defaults();
        for Flag { flag, setting, text } in base {
            layers.set_text(setting, text, Source::Flag(flag.clone()))?;
        }
        Ok(layers)
    }

    /// Applies the file, the environment variables and the flags to these values. Invalid values are skipped; the returned
    /// list has an error for each of them. If the file cannot be read, the result is an error.
    pub(super) fn read(
        mut self,
        file: Option<&ConfigFile>,
        environment: &[(String, String)],
        flags: &[Flag],
    ) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let mut results = Vec::new();
        if let Some(file) = file {
            let source = || Source::File(file.path().to_owned());
            let values = file_values(file)?;
            results.extend(values.into_iter().map(|(name, value)| self.set(&name, value, source())));
        }
        let assignments = environment::assignments(environment, |name| self.settings.contains_key(name));
        for assignment in assignments {
            results.push(
                assignment.and_then(|Assignment { setting, text, source }| self.set_text(&setting, &text, source)),
            );
        }
        for Flag { flag, setting, text } in flags {
            results.push(self.set_text(setting, text, Source::Flag(flag.clone())));
        }
        let errors = results.into_iter().filter_map(Result::err).collect();
        Ok((self, errors))
    }

    /// Returns the configuration with these values.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        build_config(self.settings.iter().map(|(name, (value, _))| (name, value)))
            .map_err(|(setting, reason)| self.error_for(&setting, &reason))
    }

    /// Returns the configuration with these values. Replaces each invalid value by its default, and adds an error to
    /// the list.
    pub(super) fn config_or_defaults(&mut self, errors: &mut Vec<ConfigError>) -> Config {
        // `build_config` reports only the first error. After the invalid value is replaced, it is called again.
        loop {
            let invalid_setting = match build_config(self.settings.iter().map(|(name, (value, _))| (name, value))) {
                Ok(config) => return config,
                Err((setting, reason)) => {
                    errors.push(self.error_for(&setting, &reason));
                    setting
                }
            };
            let default =
                Self::defaults().settings.remove(&invalid_setting).expect("there is a default for every setting");
            let replaced = self.settings.insert(invalid_setting, default);
            assert!(replaced.is_some_and(|(_, source)| source != Source::Default), "the defaults are valid");
        }
    }

    /// Returns the error for a setting. If its value came from a file that may contain a secret, and the reason quotes
    /// the value, the reason is replaced.
    pub(super) fn error_for(&self, setting: &str, reason: &str) -> ConfigError {
        const HIDDEN: &str = "its value is invalid, and is not shown because the file may contain a secret";
        let quotes = |text: &str| {
            let reason = reason.to_lowercase();
            let is_in = |text: &str| !text.is_empty() && reason.contains(&text.to_lowercase());
            is_in(text) || is_in(&text.escape_debug().to_string())
        };
        let is_quoted = match self.settings.get(setting) {
            Some((Value::String(text), Source::EnvFile { .. })) => quotes(text),
            Some((Value::Array(items), Source::EnvFile { .. })) => items.iter().filter_map(Value::as_str).any(quotes),
            _ => false,
        };
        let reason = if is_quoted { HIDDEN } else { reason }.to_owned();
        ConfigError::BadValue { setting: setting.to_owned(), from: self.source(setting).clone(), reason }
    }

    /// Returns the source of a setting's value.
    pub(crate) fn source(&self, setting: &str) -> &Source {
        self.settings.get(setting).map_or(&Source::Default, |(_, source)| source)
    }

    /// Returns the name of each setting, and its line `name = value  # source`. The password in the address of the
    /// store is omitted.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().map(|(name, (value, source))| {
            let shown = match value {
                Value::String(text) if name == "store" => Value::String(without_password(text)),
                value => value.clone(),
            };
            (name.as_str(), format!("{name} = {shown}  # {source}"))
        })
    }

    /// Applies one setting of the file, if the file contains it. Errors in the other settings are ignored.
    pub(super) fn add_alone(&mut self, file: &ConfigFile, setting: &str) -> Result<(), ConfigError> {
        let value = file_values(file)?.into_iter().find(|(name, _)| name == setting);
        value.map_or(Ok(()), |(name, value)| self.set(&name, value, Source::File(file.path().to_owned())))
    }

    /// Applies a setting whose value is a text, after converting it to the type of the setting. The items of a list are
    /// separated by commas, and in a file also by newlines.
    fn set_text(&mut self, setting: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let error_for = |reason: &str| ConfigError::BadValue {
            setting: setting.to_owned(),
            from: source.clone(),
            reason: reason.to_owned(),
        };
        let is_file = matches!(source, Source::EnvFile { .. });
        let value = match self.settings.get(setting).map(|(value, _)| value) {
            Some(Value::Array(_)) => {
                let items = text.split(|c| c == ',' || is_file && c == '\n').map(str::trim);
                let items = items.filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ if is_file && text.contains(char::is_control) => {
                return Err(error_for("the file must contain only the value, in one line"));
            }
            Some(Value::Integer(_)) => {
                let reason = || format!("it must be a whole number, such as {}", example::text(setting));
                Value::Integer(text.parse().map_err(|_| error_for(&reason()))?)
            }
            Some(Value::Boolean(_)) => Value::Boolean(text.parse().map_err(|_| error_for("it must be true or false"))?),
            _ => Value::String(text.to_owned()),
        };
        self.set(setting, value, source)
    }

    /// Applies a setting, if it exists and the value has its type.
    fn set(&mut self, setting: &str, value: Value, source: Source) -> Result<(), ConfigError> {
        let Some(current) = self.settings.get_mut(setting) else {
            return Err(ConfigError::Unknown { setting: setting.to_owned(), from: source });
        };
        if !current.0.same_type(&value) {
            let expected = current.0.type_str();
            let actual = value.type_str();
            let reason = format!("it must be of type {expected}, not {actual}, such as {}", example::line(setting));
            return Err(ConfigError::BadValue { setting: setting.to_owned(), from: source, reason });
        }
        *current = (value, source);
        Ok(())
    }
}

/// Reads the file, and returns its settings with their values.
fn file_values(file: &ConfigFile) -> Result<Vec<(String, Value)>, ConfigError> {
    let failed = |reason: String| ConfigError::File { path: file.path().to_owned(), reason };
    let text = file.read().map_err(|error| failed(error.to_string()))?;
    let table: Table = text.parse().map_err(|error| failed(describe_toml_error(&text, &error)))?;
    Ok(flatten(table))
}

/// Describes an error of TOML in one line, with its line number. Does not quote the line of the file, which may contain
/// a password.
fn describe_toml_error(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let location = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{location}{}", error.message().replace('\n', "; "))
}

/// Builds a configuration from values. The error contains the name of the first setting with an invalid value, and the
/// reason.
pub(super) fn build_config<'v>(
    settings: impl Iterator<Item = (&'v String, &'v Value)>,
) -> Result<Config, (String, String)> {
    let mut root = Table::new();
    for (name, value) in settings {
        let mut table = &mut root;
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value.clone());
                break;
            }
            let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table = inner.as_table_mut().expect("no setting has the name of a section");
        }
    }
    serde_path_to_error::deserialize(Value::Table(root)).map_err(
        |error: serde_path_to_error::Error<toml::de::Error>| {
            // If an item of a list is invalid, the path is `setting[index]`.
            let setting = error.path().to_string().split('[').next().unwrap_or_default().to_owned();
            (setting, error::without_rust_terms(error.inner().message()))
        },
    )
}

/// Returns the values in a table with their dotted names.
pub(super) fn flatten(table: Table) -> Vec<(String, Value)> {
    let mut values = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                values.extend(flatten(inner).into_iter().map(|(rest, value)| (format!("{name}.{rest}"), value)));
            }
            value => values.push((name, value)),
        }
    }
    values
}
