//! `sealjar config`: prints the settings in force, and with `--explain` their meaning.

use std::process::ExitCode;

use clap::Args;

use super::error::CliError;
use super::output::outln;
use crate::config::error::ConfigError;
use crate::config::layers::Layers;
use crate::config::meanings::{self, Section, Setting};

/// Maximum width of a comment, in columns.
const WIDTH: usize = 100;

#[derive(Args, Debug)]
pub(super) struct ShowConfig {
    /// Print the meaning of each setting above its line
    #[arg(long)]
    explain: bool,
    /// Settings such as http.listen, or sections such as http; without a name, all settings
    #[arg(value_name = "SETTING")]
    names: Vec<String>,
}

impl ShowConfig {
    /// Prints the settings, or only the named ones. An unusable configuration is an error; with `--explain` the settings are
    /// printed before the error is returned.
    pub(super) fn run(&self, layers: &Layers, usable: Result<(), ConfigError>) -> Result<ExitCode, CliError> {
        self.check_names()?;
        if !self.explain {
            usable?;
            self.lines(layers).for_each(|(_, line)| outln!("{line}"));
            return Ok(ExitCode::SUCCESS);
        }
        let sections = meanings::sections();
        let meaning_of = |name: &str| {
            let mut settings = sections.iter().flat_map(|section| &section.settings);
            settings.find(|setting| setting.name == name).map_or("", |setting| &setting.meaning)
        };
        let explained =
            |(name, line): (&str, String)| format!("{}{line}", meanings::wrapped(meaning_of(name), "# ", WIDTH));
        outln!("{}", self.lines(layers).map(explained).collect::<Vec<_>>().join("\n\n"));
        usable?;
        Ok(ExitCode::SUCCESS)
    }

    fn check_names(&self) -> Result<(), CliError> {
        let sections = meanings::sections();
        let has = |section: &Section, name: &str| {
            !name.is_empty() && section.name == name
                || section.settings.iter().any(|Setting { name: known, .. }| known == name)
        };
        match self.names.iter().find(|name| !sections.iter().any(|section| has(section, name))) {
            Some(name) => Err(CliError::usage(format!("unknown setting {name}"))
                .hint(meanings::hint_for_unknown(name, |setting| setting))),
            None => Ok(()),
        }
    }

    /// Returns name and line of each selected setting.
    fn lines<'l>(&self, layers: &'l Layers) -> impl Iterator<Item = (&'l str, String)> {
        layers.lines().filter(|(setting, _)| {
            let is_in = |name: &String| setting == name || setting.starts_with(&format!("{name}."));
            self.names.is_empty() || self.names.iter().any(is_in)
        })
    }
}
