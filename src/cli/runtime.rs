//! Tokio runtime and store for the commands that use the store.

use super::error::CliError;
use crate::config::settings::Settings;
use crate::store::Store;
use crate::store::records::EmptyPolicy;

/// Runs the future of a command on a runtime with one thread.
pub(super) fn block_on<T>(task: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::io(format!("cannot start the Tokio runtime: {error}")))?.block_on(task)
}

/// Opens the store, which must exist and have its tables.
pub(super) async fn open_store(settings: &Settings) -> Result<Store, CliError> {
    Ok(Store::open(&settings.store, settings.store_limits, EmptyPolicy::Refused).await?)
}
