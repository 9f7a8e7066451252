//! `sealjar ready`: a health check for a platform that runs a command, such as `HEALTHCHECK` of a Dockerfile.
//!
//! It runs every few seconds, so it reads one setting and asks one question. It opens neither keys nor store. Errors in other
//! settings do not matter: a running server keeps the last good configuration, too.

use std::process::ExitCode;

use clap::Args;

use super::admin_listener::{AskError, Readiness};
use super::arguments::AdminListener;
use super::error::CliError;
use super::output::{outln, visible};
use crate::config::listen::Listen;

#[derive(Args, Debug)]
pub(super) struct Ready {
    #[command(flatten)]
    pub(super) listener: AdminListener,
}

impl Ready {
    /// The only setting that is read.
    pub(super) const SETTING: &str = "http.admin_listen";

    /// Asks the server, and prints in one line what it says.
    pub(super) async fn run(self, listen: &Listen) -> Result<ExitCode, CliError> {
        let readiness = Readiness::ask(listen).await.map_err(|error| no_answer(listen, &error))?;
        outln!("{}", line(&readiness));
        if readiness.is_ready {
            return Ok(ExitCode::SUCCESS);
        }
        let failure = CliError::failed(format!("the server at {listen} is not ready"));
        Err(failure.hint(readiness.remedy()))
    }
}

fn no_answer(listen: &Listen, error: &AskError) -> CliError {
    CliError::failed(format!("no server answers at {listen}: {error}")).hint(error.remedy())
}

/// Returns the state, with the reasons. Another program may answer at the address, so a terminal acts on nothing of it.
fn line(readiness: &Readiness) -> String {
    let state = if readiness.is_ready { "ready" } else { "not ready" };
    let mut line = state.to_owned();
    for (place, reason) in readiness.reasons().into_iter().enumerate() {
        line.extend([if place == 0 { ": " } else { ", " }, reason]);
    }
    for degraded in readiness.degraded() {
        line.extend(["; degraded: ", degraded]);
    }
    visible(&line)
}
