//! `sealjar config`: the settings in force, and what they mean.

use std::process::ExitCode;

use clap::Args;

use super::error::CliError;
use super::output::outln;
use crate::config::error::ConfigError;
use crate::config::layers::Layers;
use crate::config::meanings::{self, Section, Setting};

/// Columns of a comment.
const WIDTH: usize = 100;

#[derive(Args, Debug)]
pub(super) struct ShowConfig {
    /// Print the meaning of each setting above its line
    #[arg(long)]
    explain: bool,
    /// Settings such as http.listen, or sections such as http; all if there is none
    #[arg(value_name = "SETTING")]
    names: Vec<String>,
}

impl ShowConfig {
    /// Prints the settings, or only those that are named. A configuration that cannot be used is an error; with `--explain` its
    /// settings are printed before.
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
                || section.settings.iter().any(|Setting { name: of, .. }| of == name)
        };
        match self.names.iter().find(|name| !sections.iter().any(|section| has(section, name))) {
            Some(name) => Err(CliError::usage(format!("unknown setting {name}"))
                .hint(meanings::hint_for_unknown(name, |setting| setting))),
            None => Ok(()),
        }
    }

    /// Returns the lines of the settings that are asked for, with the names of the settings.
    fn lines<'l>(&self, layers: &'l Layers) -> impl Iterator<Item = (&'l str, String)> {
        layers.lines().filter(|(setting, _)| {
            let is_in = |name: &String| setting == name || setting.starts_with(&format!("{name}."));
            self.names.is_empty() || self.names.iter().any(is_in)
        })
    }
}
