//! Reading the configuration again: on SIGHUP, and when its file says something else.
//!
//! The file is read twice a second, and contents are compared, not times or events. What it says counts when it is found twice in
//! a row, 0.3 s apart: a file that is being written is empty at first, and an empty one is a good configuration too. The layers are put
//! one over the other anew, and pass the checks of a start, or nothing changes. What takes effect then does so together; what cannot
//! is named. A configuration that came through a pipe is gone when it was read: it stays as it is until the next start.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;

use super::log::Log;
use crate::clock::Now;
use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::origins::Origins;
use crate::config::reload::{Change, Values};
use crate::config::settings::Settings;
use crate::http::app::AppHandle;
use crate::http::tls::Source;
use crate::server::app;

const REREAD_EVERY: Duration = Duration::from_millis(500);
/// Time for which a change must stay as it is before it counts.
const SETTLED_AFTER: Duration = Duration::from_millis(300);

/// Keeps the settings in force like those that are written down.
pub(super) struct Reload {
    live: AppHandle,
    settings: Arc<ArcSwap<Settings>>,
    /// The configuration of these settings.
    config: Arc<Config>,
    origins: Arc<Origins>,
    log: Log,
    /// That is really listened on, if it is one.
    port: Option<u16>,
    /// What was found when they were last read, which may be half of what is being written.
    found: Option<Result<Values, String>>,
    /// As they were last read and could be used.
    seen: Values,
    /// Why they could not be used when they were last read.
    complaint: Option<String>,
}

/// Why the configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Time,
    Hangup,
}

impl Reload {
    pub(super) fn new(
        live: AppHandle,
        settings: Arc<ArcSwap<Settings>>,
        config: Config,
        origins: Origins,
        log: Log,
        port: Option<u16>,
    ) -> Self {
        let seen = config.values();
        let config = Arc::new(config);
        Self { live, settings, config, origins: Arc::new(origins), log, port, found: None, seen, complaint: None }
    }

    /// Follows, for ever.
    pub(super) async fn run(mut self, mut hangups: Signal) {
        let origins = self.origins.clone();
        let is_followed = origins.is_followed();
        let is_pipe = origins.is_pipe();
        if is_pipe {
            tracing::info!(
                "the configuration came through a pipe and is not read again, nor on a hangup; to have it followed, name a file \
                 with --config"
            );
        }
        let mut pause = REREAD_EVERY;
        loop {
            tokio::select! {
                _ = hangups.recv() => {
                    let app = self.live.hold();
                    app.key_directory.ask();
                    app.tls.iter().for_each(|tls| tls.ask());
                    if is_pipe {
                        tracing::info!("hangup: reading keys and certificate again");
                    } else {
                        tracing::info!("hangup: reading keys, certificate and configuration again");
                        pause = self.read(Cause::Hangup).await;
                    }
                }
                () = tokio::time::sleep(pause), if is_followed => pause = self.read(Cause::Time).await,
            }
        }
    }

    /// Returns the time until the next read.
    async fn read(&mut self, cause: Cause) -> Duration {
        let (origins, config) = (self.origins.clone(), self.config.clone());
        let read = move || -> Result<(Values, Change), ConfigError> {
            let (layers, new) = origins.read()?;
            new.parse(&layers)?;
            Ok((new.values(), config.changed_to(&new, &layers)?))
        };
        let read = tokio::task::spawn_blocking(read).await.expect("reading returns its errors and does not panic");
        let found = Some(read.as_ref().map(|(values, _)| values.clone()).map_err(ToString::to_string));
        let is_settled = self.found == found;
        self.found = found;
        if cause == Cause::Time && !is_settled {
            return SETTLED_AFTER;
        }
        let reloads = self.live.load().reloads.clone();
        match read {
            Ok((values, change)) => {
                let is_mended = self.complaint.take().is_some();
                if is_mended || cause == Cause::Hangup || values != self.seen {
                    reloads.succeeded(Now::read().wall);
                    if is_mended {
                        tracing::info!("the configuration can be used again");
                    }
                    self.adopt(values, change);
                }
            }
            Err(error) => {
                reloads.failed();
                let message = error.to_string();
                if cause == Cause::Hangup || self.complaint.as_ref() != Some(&message) {
                    tracing::error!(
                        error = message,
                        hint = error.hint(),
                        "the configuration cannot be used; the old one stays in force"
                    );
                    self.complaint = Some(message);
                }
            }
        }
        REREAD_EVERY
    }

    /// Nothing here can fail, so that all takes effect or nothing.
    fn adopt(&mut self, values: Values, change: Change) {
        let Change { config, settings, applied, waiting } = change;
        if !applied.is_empty() {
            let app = self.live.hold();
            app.throttle.limit_to(settings.throttle);
            app.connections.trust(settings.trusted_proxies.clone());
            app.sessions.detect_copies(settings.copy_detection);
            self.live.replace(app::with_settings(&app, &settings, self.port));
            self.log.follow(&settings);
            settings.warn_of_dangers();
            self.settings.store(Arc::new(settings));
            self.config = Arc::new(config);
            tracing::info!(settings = applied.join(" "), "the configuration changed");
        }
        let is_self_signed = matches!(self.settings.load().certificate, Some(Source::SelfSigned(_)));
        if is_self_signed && applied.iter().any(|name| name == "http.public_origins") {
            tracing::warn!(
                "the certificate that was made at the start does not name the new hosts; it does after the next one"
            );
        }
        for name in waiting.iter().filter(|name| values[*name] != self.seen[*name]) {
            tracing::warn!(setting = name, "{name} changed; it takes effect at the next start");
        }
        self.seen = values;
    }
}
