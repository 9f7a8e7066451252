//! `sealjar completions`: prints the script with which a shell completes commands and options.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Shell that reads the script
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, program: &mut Command) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, program, "sealjar", &mut script);
        output::bytes(&script);
        ExitCode::SUCCESS
    }
}
