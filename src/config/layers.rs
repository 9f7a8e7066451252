//! Where a setting's value comes from: a flag wins over the environment, the environment over the file, the file over the default.
//!
//! The defaults name every setting there is and its type; whatever a layer says beyond them is an error that names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::Config;
use super::error::{ConfigError, Source};
use crate::bounded_file::{self, MAX_BYTES, ReadError, pipe};
use crate::store::url::without_password;

/// Variables of this prefix are settings: `SEALJAR_HTTP__LISTEN` is `http.listen`.
pub(crate) const ENV_PREFIX: &str = "SEALJAR_";
/// The file to read, if no flag says.
const ENV_FILE: &str = "SEALJAR_CONFIG";

/// How long a configuration that comes through a pipe may take.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the layers are read from, to read them again. It may hold secrets, and does not print.
pub(crate) struct Origins {
    file: Option<ConfigFile>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
}

/// Where the file layer is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    /// A file that may change while the process runs.
    Followed(PathBuf),
    /// A pipe, as in `--config <(…)`: it can be read once.
    Pipe(PathBuf),
}

impl ConfigFile {
    fn at(path: PathBuf) -> Self {
        if pipe::is_pipe(&path) { Self::Pipe(path) } else { Self::Followed(path) }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Followed(path) | Self::Pipe(path) => path,
        }
    }

    fn read(&self) -> Result<String, ReadError> {
        let bytes = match self {
            Self::Followed(path) => bounded_file::read(path, MAX_BYTES)?,
            Self::Pipe(path) => pipe::read(path, MAX_BYTES, PIPE_TIMEOUT)?,
        };
        Ok(str::from_utf8(&bytes)?.to_owned())
    }
}

impl Origins {
    /// `file` is the path that a flag gave; it wins over the one in the environment.
    pub(crate) fn new(file: Option<PathBuf>, environment: Vec<(String, String)>, flags: Vec<Flag>) -> Self {
        let named = || environment.iter().find(|(name, path)| name == ENV_FILE && !path.is_empty());
        let from_env = || named().map(|(_, path)| PathBuf::from(path));
        Self { file: file.or_else(from_env).map(ConfigFile::at), environment, flags }
    }

    /// The file layer, if there is one. Nothing else changes while the process runs.
    pub(crate) const fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    /// Reads all layers, and the configuration that they make. Its settings may contradict each other.
    pub(crate) fn read(&self) -> Result<(Layers, Config), ConfigError> {
        let layers = Layers::read(self.file.as_ref(), self.environment.iter().cloned(), &self.flags)?;
        let config = layers.config()?;
        Ok((layers, config))
    }

    /// Reads one setting. All others have their defaults, and errors in them do not matter. The file is read only if nothing else
    /// gives the setting.
    pub(crate) fn read_alone(&self, setting: &str) -> Result<(Layers, Config), ConfigError> {
        let variable = format!("{ENV_PREFIX}{}", setting.to_ascii_uppercase().replace('.', "__"));
        let of_setting = |(name, _): &&(String, String)| name.starts_with(&variable);
        let environment = self.environment.iter().filter(of_setting).cloned();
        let flags: Vec<_> = self.flags.iter().filter(|flag| flag.setting == setting).cloned().collect();
        let mut layers = Layers::read(None, environment, &flags)?;
        if let (Source::Default, Some(file)) = (layers.source(setting), &self.file) {
            layers.add_file(file, |name| name == setting)?;
        }
        let config = layers.config()?;
        Ok((layers, config))
    }
}

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

    /// Puts the layers one over the other.
    pub(crate) fn read(
        file: Option<&ConfigFile>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let mut environment: Vec<_> =
            environment.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        environment.sort();
        let mut layers = Self::defaults();
        if let Some(file) = file {
            layers.add_file(file, |_| true)?;
        }
        for (name, text) in environment.into_iter().filter(|(name, _)| name != ENV_FILE && !is_kubernetes_link(name)) {
            let setting = name[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            layers.set_text(&setting, &text, Source::Env(name))?;
        }
        for Flag { flag, setting, text } in flags {
            layers.set_text(setting, text, Source::Flag(flag.clone()))?;
        }
        Ok(layers)
    }

    /// The configuration that these values make.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        build(self.settings.iter().map(|(name, (value, _))| (name, value))).map_err(|(setting, reason)| {
            let from = self.source(&setting).clone();
            ConfigError::BadValue { setting, from, reason }
        })
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

    /// Adds the settings of a file whose names are wanted.
    fn add_file(&mut self, file: &ConfigFile, is_wanted: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        let path = file.path();
        let failed = |reason: String| ConfigError::File { path: path.to_owned(), reason };
        let text = file.read().map_err(|error| failed(error.to_string()))?;
        let table: Table = text.parse().map_err(|error| failed(in_one_line(&text, &error)))?;
        for (name, value) in leaves(table).into_iter().filter(|(name, _)| is_wanted(name)) {
            self.set(&name, value, Source::File(path.to_owned()))?;
        }
        Ok(())
    }

    /// Reads a text as the setting's type; a list is separated by commas.
    fn set_text(&mut self, setting: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let bad =
            |expected| ConfigError::BadValue { setting: setting.to_owned(), from: source.clone(), reason: expected };
        let value = match self.settings.get(setting).map(|(value, _)| value) {
            Some(Value::Integer(_)) => {
                Value::Integer(text.parse().map_err(|_| bad("it must be a whole number".to_owned()))?)
            }
            Some(Value::Boolean(_)) => {
                Value::Boolean(text.parse().map_err(|_| bad("it must be true or false".to_owned()))?)
            }
            Some(Value::Array(_)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        };
        self.set(setting, value, source)
    }

    fn set(&mut self, setting: &str, value: Value, source: Source) -> Result<(), ConfigError> {
        let Some(held) = self.settings.get_mut(setting) else {
            return Err(ConfigError::Unknown { setting: setting.to_owned(), from: source });
        };
        if !held.0.same_type(&value) {
            let reason = format!("it must be of type {}, not {}", held.0.type_str(), value.type_str());
            return Err(ConfigError::BadValue { setting: setting.to_owned(), from: source, reason });
        }
        *held = (value, source);
        Ok(())
    }
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
            (setting, error.inner().message().to_owned())
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

/// Kubernetes sets `SEALJAR_PORT`, `SEALJAR_SERVICE_HOST` and the like in every pod beside a Service called sealjar.
fn is_kubernetes_link(name: &str) -> bool {
    let rest = &name[ENV_PREFIX.len()..];
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn flag(setting: &str, text: &str) -> Flag {
        Flag { flag: "--set".to_owned(), setting: setting.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn an_empty_variable_names_no_file() {
        let origins = |path| Origins::new(None, env(&[(ENV_FILE, path)]), Vec::new());
        assert_eq!(origins("").file(), None);
        assert_eq!(origins("/a/file").file(), Some(&ConfigFile::Followed("/a/file".into())));
    }

    #[test]
    fn a_value_of_another_type_names_its_setting_and_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sealjar.toml");
        for (text, setting) in [
            ("[http]\ntrusted_proxies = ['10.0.0.1', 1]", "http.trusted_proxies"),
            ("[http]\npublic_origins = [[]]", "http.public_origins"),
            ("[http]\nmax_body_bytes = 'x'", "http.max_body_bytes"),
            ("[session]\nidle = 30", "session.idle"),
        ] {
            std::fs::write(&path, text).expect("a writable directory");
            let read = Layers::read(Some(&ConfigFile::at(path.clone())), [], &[]);
            let error = read.and_then(|layers| layers.config()).expect_err("of another type").to_string();
            let start = format!("setting {setting} (file {}): ", path.display());
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn a_flag_beats_the_environment_then_the_file_then_the_default() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sealjar.toml");
        std::fs::write(&path, "[session]\nidle = \"11m\"\nabsolute = \"2h\"\nremembered_idle = \"3d\"\n")
            .expect("writes");
        let environment = env(&[("SEALJAR_SESSION__IDLE", "12m"), ("SEALJAR_SESSION__ABSOLUTE", "3h")]);
        let layers = Layers::read(Some(&ConfigFile::at(path.clone())), environment, &[flag("session.idle", "13m")])
            .expect("reads");
        let line = |setting: &str| layers.lines().find(|(name, _)| *name == setting).expect("listed").1;
        assert_eq!(line("session.idle"), "session.idle = \"13m\"  # flag --set");
        assert_eq!(line("session.absolute"), "session.absolute = \"3h\"  # environment SEALJAR_SESSION__ABSOLUTE");
        assert_eq!(
            line("session.remembered_idle"),
            format!("session.remembered_idle = \"3d\"  # file {}", path.display())
        );
        assert_eq!(line("session.remembered_absolute"), "session.remembered_absolute = \"90d\"  # default");
    }

    #[test]
    fn names_the_setting_that_is_unknown_or_does_not_fit() {
        let cases = [
            (flag("http.lisen", "x"), "http.lisen"),
            (flag("session", "x"), "session"),
            (flag("session.idle", "soon"), "session.idle"),
            (flag("password.threads", "many"), "password.threads"),
            (flag("revocation.when_stale", "maybe"), "revocation.when_stale"),
            (flag("http.listen", "nowhere"), "http.listen"),
        ];
        for (flag, setting) in cases {
            let outcome = Layers::read(None, [], &[flag]).and_then(|layers| layers.config());
            let message = outcome.expect_err("refused").to_string();
            assert!(message.contains(setting) && message.contains("flag --set"), "{message}");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_unless_kubernetes_made_it() {
        assert!(Layers::read(None, env(&[("SEALJAR_HTP__LISTEN", "x")]), &[]).is_err());
        let links = env(&[("SEALJAR_PORT", "tcp://10.0.0.1:80"), ("SEALJAR_SERVICE_HOST", "10.0.0.1"), ("OTHER", "x")]);
        assert!(Layers::read(None, links, &[]).is_ok());
    }
}
