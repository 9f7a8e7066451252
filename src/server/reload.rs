//! Reloads the configuration: on SIGHUP, and when the content of its file changes.
//!
//! * The file is read twice a second. Its content is compared, not its modification time, and no file system events are used.
//! * A change is applied when two reads in a row, 0.3 s apart, have the same result. This is necessary because a file that is
//!   being written is empty at first, and an empty file is a valid configuration.
//! * All layers of the configuration are combined and checked, as at the start. If a check fails, nothing changes.
//! * All settings that can change without a restart take effect together. Each other changed setting is named in a log line.
//! * A configuration from a pipe can be read only once, so it is never reloaded.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;

use super::log::Log;
use crate::clock::Now;
use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::reload::{Change, Values};
use crate::config::settings::Settings;
use crate::config::sources::ConfigSources;
use crate::http::app::AppHandle;
use crate::http::tls::Source;
use crate::server::app;

/// Interval between two reads.
const REREAD_INTERVAL: Duration = Duration::from_millis(500);
/// Time after which a changed configuration is read again. It is applied if both reads have the same result.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// Task that reads the configuration again and applies changes.
pub(super) struct Reload {
    app_handle: AppHandle,
    /// Settings in force.
    settings: Arc<ArcSwap<Settings>>,
    /// Configuration from which the settings in force were parsed.
    config: Arc<Config>,
    sources: Arc<ConfigSources>,
    log: Log,
    /// Actual port of the public listener, or `None` if it is a Unix socket.
    port: Option<u16>,
    /// Result of the last read. It may come from a file that was only partly written.
    last_read: Option<Result<Values, String>>,
    /// Values of the last valid configuration that was read, including those that wait for a restart.
    last_valid: Values,
    /// Error that was logged for the last read, or `None` if the configuration was valid.
    last_error: Option<String>,
}

/// Reason for a read of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The interval has passed.
    Timer,
    /// The process received SIGHUP.
    Hangup,
}

impl Reload {
    pub(super) fn new(
        app_handle: AppHandle,
        settings: Arc<ArcSwap<Settings>>,
        config: Config,
        sources: ConfigSources,
        log: Log,
        port: Option<u16>,
    ) -> Self {
        let last_valid = config.values();
        let config = Arc::new(config);
        Self {
            app_handle,
            settings,
            config,
            sources: Arc::new(sources),
            log,
            port,
            last_read: None,
            last_valid,
            last_error: None,
        }
    }

    /// Runs the task, without end.
    pub(super) async fn run(mut self, mut hangups: Signal) {
        let sources = self.sources.clone();
        let is_followed = sources.is_followed();
        let is_pipe = sources.is_pipe();
        if is_pipe {
            tracing::info!(
                "the configuration came through a pipe and is not read again, not even on SIGHUP; to reload changes, use a \
                 file with --config"
            );
        }
        let mut delay = REREAD_INTERVAL;
        loop {
            tokio::select! {
                _ = hangups.recv() => {
                    let app = self.app_handle.load_full();
                    app.key_directory.request_read();
                    app.tls.iter().for_each(|tls| tls.request_reread());
                    if is_pipe {
                        tracing::info!("SIGHUP: reading keys and certificate again");
                    } else {
                        tracing::info!("SIGHUP: reading keys, certificate and configuration again");
                        delay = self.read(Cause::Hangup).await;
                    }
                }
                () = tokio::time::sleep(delay), if is_followed => delay = self.read(Cause::Timer).await,
            }
        }
    }

    /// Reads the configuration, and applies it if it is valid and settled. Returns the delay until the next read.
    async fn read(&mut self, cause: Cause) -> Duration {
        let sources = self.sources.clone();
        let config = self.config.clone();
        let read_and_check = move || -> Result<(Values, Change), ConfigError> {
            let (layers, new) = sources.read()?;
            new.parse(&layers)?;
            Ok((new.values(), config.change_to(&new, &layers)?))
        };
        let result =
            tokio::task::spawn_blocking(read_and_check).await.expect("reading the configuration does not panic");
        let current = Some(result.as_ref().map(|(values, _)| values.clone()).map_err(ToString::to_string));
        // A changed file may be only partly written. So a change is applied when two reads in a row agree. SIGHUP applies it
        // immediately.
        let is_settled = self.last_read == current;
        self.last_read = current;
        if cause == Cause::Timer && !is_settled {
            return SETTLE_TIME;
        }
        let reloads = self.app_handle.load().reloads.clone();
        match result {
            Ok((values, change)) => {
                let is_valid_again = self.last_error.take().is_some();
                // Nothing is done if the values are the same as before, except after SIGHUP or after an error.
                if is_valid_again || cause == Cause::Hangup || values != self.last_valid {
                    reloads.record_success(Now::read().wall);
                    if is_valid_again {
                        tracing::info!("the configuration can be used again");
                    }
                    self.apply(values, change);
                }
            }
            Err(error) => {
                reloads.record_failure();
                let message = error.to_string();
                // The same error is logged only once, except after SIGHUP.
                if cause == Cause::Hangup || self.last_error.as_ref() != Some(&message) {
                    tracing::error!(
                        error = message,
                        hint = error.hint(),
                        "the configuration cannot be used; the old one stays in force"
                    );
                    self.last_error = Some(message);
                }
            }
        }
        REREAD_INTERVAL
    }

    /// Applies a valid configuration. Nothing here can fail, so either all changes take effect or none.
    fn apply(&mut self, values: Values, change: Change) {
        let Change { config, settings, applied, needs_restart } = change;
        if !applied.is_empty() {
            let app = self.app_handle.load_full();
            app.throttle.set_limits(settings.throttle);
            app.connections.set_trusted_proxies(settings.trusted_proxies.clone());
            app.sessions.detect_copies(settings.copy_detection);
            self.app_handle.replace(app::with_settings(&app, &settings, self.port));
            self.log.set_levels(&settings);
            settings.warn_of_dangers();
            self.settings.store(Arc::new(settings));
            self.config = Arc::new(config);
            tracing::info!(settings = applied.join(" "), "the configuration changed");
        }
        let is_self_signed = matches!(self.settings.load().certificate, Some(Source::SelfSigned(_)));
        if is_self_signed && applied.iter().any(|name| name == "http.public_origins") {
            tracing::warn!(
                "the self-signed certificate does not contain the new hosts; restart the server to create a new one"
            );
        }
        // Each setting that waits for a restart is logged once, and not at every reload.
        for name in needs_restart.iter().filter(|name| values[*name] != self.last_valid[*name]) {
            tracing::warn!(setting = name, "{name} changed; it takes effect at the next start");
        }
        self.last_valid = values;
    }
}
