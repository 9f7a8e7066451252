//! Where a setting's value comes from: a flag wins over the environment, the environment over the file, the file over the default.
//!
//! The defaults name every setting there is and its type; whatever a layer says beyond them is an error that names it.

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

/// A setting given on the command line: the flag as the user wrote it, the setting, its text.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    pub(crate) flag: String,
    pub(crate) setting: String,
    pub(crate) text: String,
}

/// All settings with their sources, by dotted name.
#[derive(Debug)]
pub(crate) struct Layers {
    settings: BTreeMap<String, (Value, Source)>,
}

impl Layers {
    /// The defaults alone.
    pub(crate) fn defaults() -> Self {
        let defaults = Table::try_from(Config::default()).expect("the defaults are plain tables of plain values");
        let settings = leaves(defaults).into_iter().map(|(name, value)| (name, (value, Source::Default)));
        Self { settings: settings.collect() }
    }

    /// The defaults, with these values in place of some.
    pub(super) fn over(base: &[Flag]) -> Result<Self, ConfigError> {
        let mut layers = Self::defaults();
        for Flag { flag, setting, text } in base {
            layers.set_text(setting, text, Source::Flag(flag.clone()))?;
        }
        Ok(layers)
    }

    /// Puts the other layers over this one. Values that cannot be used are left out; each is an error in the list. A file that
    /// cannot be read is an error of the whole.
    pub(super) fn read(
        mut self,
        file: Option<&ConfigFile>,
        environment: &[(String, String)],
        flags: &[Flag],
    ) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let mut outcomes = Vec::new();
        if let Some(file) = file {
            let source = || Source::File(file.path().to_owned());
            let values = file_values(file)?;
            outcomes.extend(values.into_iter().map(|(name, value)| self.set(&name, value, source())));
        }
        let assignments = environment::assignments(environment, |name| self.settings.contains_key(name));
        for assignment in assignments {
            outcomes.push(
                assignment.and_then(|Assignment { setting, text, source }| self.set_text(&setting, &text, source)),
            );
        }
        for Flag { flag, setting, text } in flags {
            outcomes.push(self.set_text(setting, text, Source::Flag(flag.clone())));
        }
        let errors = outcomes.into_iter().filter_map(Result::err).collect();
        Ok((self, errors))
    }

    /// The configuration that these values make.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        build(self.settings.iter().map(|(name, (value, _))| (name, value)))
            .map_err(|(setting, reason)| self.bad(&setting, &reason))
    }

    /// The configuration that these values make, with the default in place of each value that cannot be read.
    pub(super) fn usable(&mut self, errors: &mut Vec<ConfigError>) -> Config {
        loop {
            let faulty = match build(self.settings.iter().map(|(name, (value, _))| (name, value))) {
                Ok(config) => return config,
                Err((setting, reason)) => {
                    errors.push(self.bad(&setting, &reason));
                    setting
                }
            };
            let default = Self::defaults().settings.remove(&faulty).expect("only settings have values");
            let replaced = self.settings.insert(faulty, default);
            assert!(replaced.is_some_and(|(_, source)| source != Source::Default), "the defaults can be read");
        }
    }

    /// Returns the error for a setting. If its value came from a file that may hold a secret, the reason must not quote it.
    pub(super) fn bad(&self, setting: &str, reason: &str) -> ConfigError {
        const HIDDEN: &str = "its value cannot be used, and is not shown because the file may be a secret";
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

    /// Where a setting's value came from.
    pub(crate) fn source(&self, setting: &str) -> &Source {
        self.settings.get(setting).map_or(&Source::Default, |(_, source)| source)
    }

    /// Returns each setting's name, and its line `name = value  # source`. A password in the store's address is not shown.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().map(|(name, (value, source))| {
            let shown = match value {
                Value::String(text) if name == "store" => Value::String(without_password(text)),
                value => value.clone(),
            };
            (name.as_str(), format!("{name} = {shown}  # {source}"))
        })
    }

    /// Adds one setting of a file. Errors in others do not matter.
    pub(super) fn add_alone(&mut self, file: &ConfigFile, setting: &str) -> Result<(), ConfigError> {
        let value = file_values(file)?.into_iter().find(|(name, _)| name == setting);
        value.map_or(Ok(()), |(name, value)| self.set(&name, value, Source::File(file.path().to_owned())))
    }

    /// Reads a text as the setting's type; a list is separated by commas, and in a file also by lines.
    fn set_text(&mut self, setting: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let bad = |reason: &str| ConfigError::BadValue {
            setting: setting.to_owned(),
            from: source.clone(),
            reason: reason.to_owned(),
        };
        let is_file = matches!(source, Source::EnvFile { .. });
        let value = match self.settings.get(setting).map(|(value, _)| value) {
            Some(Value::Array(_)) => {
                let items = text.split(|end| end == ',' || is_file && end == '\n').map(str::trim);
                let items = items.filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ if is_file && text.contains(char::is_control) => {
                return Err(bad("the file must have the value alone, in one line"));
            }
            Some(Value::Integer(_)) => {
                let reason = || format!("it must be a whole number, such as {}", example::text(setting));
                Value::Integer(text.parse().map_err(|_| bad(&reason()))?)
            }
            Some(Value::Boolean(_)) => Value::Boolean(text.parse().map_err(|_| bad("it must be true or false"))?),
            _ => Value::String(text.to_owned()),
        };
        self.set(setting, value, source)
    }

    fn set(&mut self, setting: &str, value: Value, source: Source) -> Result<(), ConfigError> {
        let Some(held) = self.settings.get_mut(setting) else {
            return Err(ConfigError::Unknown { setting: setting.to_owned(), from: source });
        };
        if !held.0.same_type(&value) {
            let expected = held.0.type_str();
            let found = value.type_str();
            let reason = format!("it must be of type {expected}, not {found}, such as {}", example::line(setting));
            return Err(ConfigError::BadValue { setting: setting.to_owned(), from: source, reason });
        }
        *held = (value, source);
        Ok(())
    }
}

/// The values in the file, by the names of their settings.
fn file_values(file: &ConfigFile) -> Result<Vec<(String, Value)>, ConfigError> {
    let failed = |reason: String| ConfigError::File { path: file.path().to_owned(), reason };
    let text = file.read().map_err(|error| failed(error.to_string()))?;
    let table: Table = text.parse().map_err(|error| failed(in_one_line(&text, &error)))?;
    Ok(leaves(table))
}

/// What is wrong, and where; not the line itself, which may hold a password.
fn in_one_line(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let place = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{place}{}", error.message().replace('\n', "; "))
}

/// Makes a configuration of values. The error is the setting whose value does not fit, and the reason.
pub(super) fn build<'v>(settings: impl Iterator<Item = (&'v String, &'v Value)>) -> Result<Config, (String, String)> {
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
            table = inner.as_table_mut().expect("no setting's name is the beginning of another's");
        }
    }
    serde_path_to_error::deserialize(Value::Table(root)).map_err(
        |error: serde_path_to_error::Error<toml::de::Error>| {
            // The setting, also if one item of its list is at fault.
            let setting = error.path().to_string().split('[').next().unwrap_or_default().to_owned();
            (setting, error::in_words(error.inner().message()))
        },
    )
}

pub(super) fn leaves(table: Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(rest, value)| (format!("{name}.{rest}"), value)));
            }
            value => found.push((name, value)),
        }
    }
    found
}
