//! The log: how its lines look is settled at the start, which are written may change.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{Config, LogFormat};

/// The log of the process.
#[derive(Debug)]
pub(crate) struct Log {
    targets: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Begins to log to standard error.
    pub(crate) fn start(config: &Config) -> Result<Self, TryInitError> {
        let terminal = std::io::stderr().is_terminal();
        let json = match config.log.format {
            LogFormat::Json => true,
            LogFormat::Text => false,
            LogFormat::Auto => !terminal,
        };
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        let layer = fmt::layer().with_writer(std::io::stderr);
        let layer = if json {
            // Of the spans around a line one says it all: the request's.
            layer.json().flatten_event(true).with_span_list(false).boxed()
        } else {
            layer.with_ansi(colours).boxed()
        };
        let (filter, targets) = reload::Layer::new(config.log_targets());
        tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
        Ok(Self { targets })
    }

    /// From now on these are the lines that are written.
    pub(super) fn follow(&self, config: &Config) {
        self.targets.reload(config.log_targets()).expect("the process logs to this until its end");
    }
}
