//! `sealjar completions`: what makes a shell complete the commands and their options.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure};

#[derive(Args, Debug)]
pub(super) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sealjar", &mut script);
        std::io::stdout().write_all(&script).map_err(|error| Failure::io(format!("cannot write: {error}")))?;
        Ok(ExitCode::SUCCESS)
    }
}
