//! Arguments and environment variables that set settings. `config::sources` merges them with the configuration file.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::error::CliError;
use crate::config::environment::ENV_PREFIX;
use crate::config::layers::Flag;

/// Heading of the arguments that every command has, in `--help` and in the manual pages.
const GLOBAL: &str = "Global options";

/// Arguments of every command that set settings.
#[derive(Args, Debug, Default)]
pub(super) struct Settings {
    /// Read settings from this TOML file [env: SEALJAR_CONFIG]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
    /// Directory of the keys (keys.dir)
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR", value_hint = ValueHint::DirPath)]
    keys: Option<String>,
    /// Address of the database, such as sqlite://sealjar.db (store)
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "URL", value_hint = ValueHint::Other)]
    store: Option<String>,
    /// Any setting, such as session.idle=15m; `sealjar config` lists them
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "SETTING=VALUE", value_hint = ValueHint::Other)]
    set: Vec<String>,
}

/// Arguments of `serve` that `doctor` also takes, so that both use the same configuration.
#[derive(Args, Debug)]
pub(super) struct Listeners {
    /// Address of the public listener: ADDRESS:PORT, unix:PATH or systemd:NAME (http.listen)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    admin: AdminListener,
    /// Origin under which browsers reach the server (http.public_origins). The help text is an attribute, because rustdoc refuses
    /// a URL without angle brackets, and the help would show the brackets.
    #[arg(
        long,
        value_name = "ORIGIN",
        help = "Origin under which browsers reach the server, such as https://app.example.com; may be repeated (http.public_origins)",
        long_help = None
    )]
    public_origin: Vec<String>,
    /// Create a self-signed certificate, which no browser trusts, to try out TLS (tls.self_signed)
    #[arg(long)]
    tls_self_signed: bool,
}

/// Argument of the commands that open the admin listener or send a request to it.
#[derive(Args, Debug)]
pub(super) struct AdminListener {
    /// Address of the listener for /healthz, /readyz and /metrics (http.admin_listen)
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

impl Settings {
    /// Returns the settings that the arguments set.
    pub(super) fn flags(&self) -> Result<Vec<Flag>, CliError> {
        let named = [("--keys", "keys.dir", &self.keys), ("--store", "store", &self.store)];
        let mut flags: Vec<Flag> = named
            .into_iter()
            .filter_map(|(flag, setting, text)| Some(self::flag(flag, setting, text.as_ref()?)))
            .collect();
        for assignment in &self.set {
            let (setting, text) = assignment
                .split_once('=')
                .ok_or_else(|| CliError::usage(format!("--set {assignment}: expected SETTING=VALUE")))?;
            flags.push(flag("--set", setting, text));
        }
        Ok(flags)
    }
}

impl Listeners {
    pub(super) fn flags(&self) -> Vec<Flag> {
        let origins = (!self.public_origin.is_empty()).then(|| self.public_origin.join(","));
        [
            ("--listen", "http.listen", self.listen.clone()),
            ("--public-origin", "http.public_origins", origins),
            ("--tls-self-signed", "tls.self_signed", self.tls_self_signed.then(|| "true".to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, setting, text)| Some(flag(name, setting, &text?)))
        .chain(self.admin.flag())
        .collect()
    }
}

impl AdminListener {
    pub(super) fn flag(&self) -> Option<Flag> {
        Some(flag("--admin-listen", "http.admin_listen", self.admin_listen.as_ref()?))
    }
}

/// Returns an error if two flags give one setting different values, because it is unclear which value is meant. The error does
/// not show the values, because one may contain a password.
pub(super) fn check_contradictions(flags: &[Flag]) -> Result<(), CliError> {
    let as_typed = |Flag { flag, setting, .. }: &Flag| match flag.as_str() {
        "--set" => format!("--set {setting}=…"),
        flag => flag.to_owned(),
    };
    for (at, second) in flags.iter().enumerate() {
        let is_other = |first: &&Flag| first.setting == second.setting && first.text != second.text;
        if let Some(first) = flags[..at].iter().find(is_other) {
            let setting = &second.setting;
            let first = as_typed(first);
            let second = as_typed(second);
            let error = CliError::usage(format!("{first} and {second} give {setting} different values"));
            return Err(error.hint("leave out one of them"));
        }
    }
    Ok(())
}

/// Returns the environment variables that may be settings. A variable whose name is not UTF-8 is not a setting, and is ignored. A
/// setting whose value is not UTF-8 is an error.
pub(super) fn environment() -> Result<Vec<(String, String)>, CliError> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(CliError::new(CliError::CONFIG, format!("the value of {name} is not UTF-8"))),
        })
        .collect()
}

pub(super) fn flag(flag: &str, setting: &str, text: &str) -> Flag {
    Flag { flag: flag.to_owned(), setting: setting.to_owned(), text: text.to_owned() }
}
