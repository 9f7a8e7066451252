//! `sealjar ready`: a health check for a platform that runs a command, such as `HEALTHCHECK` of a Dockerfile.
//!
//! It runs every few seconds, so it reads one setting and sends one request (`admin_listener.rs`). It opens neither keys nor
//! store. Errors in other settings do not matter: a running server also keeps the last valid configuration.

use std::process::ExitCode;

use clap::Args;

use super::admin_listener::{Readiness, RequestError};
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
    /// Name of the only setting that the command reads.
    pub(super) const SETTING: &str = "http.admin_listen";

    /// Requests the readiness of the server, and prints it in one line.
    pub(super) async fn run(self, listen: &Listen) -> Result<ExitCode, CliError> {
        let readiness = Readiness::request(listen).await.map_err(|error| no_response(listen, &error))?;
        outln!("{}", line(&readiness));
        if readiness.is_ready {
            return Ok(ExitCode::SUCCESS);
        }
        let failure = CliError::failed(format!("the server at {listen} is not ready"));
        Err(failure.hint(readiness.remedy()))
    }
}

fn no_response(listen: &Listen, error: &RequestError) -> CliError {
    CliError::failed(format!("no server responds at {listen}: {error}")).hint(error.remedy())
}

/// Returns the state with its reasons. The response may come from another program, so control characters are escaped.
fn line(readiness: &Readiness) -> String {
    let state = if readiness.is_ready { "ready" } else { "not ready" };
    let mut line = state.to_owned();
    for (index, reason) in readiness.reasons().into_iter().enumerate() {
        line.extend([if index == 0 { ": " } else { ", " }, reason]);
    }
    for degraded in readiness.degraded() {
        line.extend(["; degraded: ", degraded]);
    }
    visible(&line)
}
