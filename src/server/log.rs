//! The log: how its lines look is settled at the start, which are written may change.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

pub(crate) use super::log_queue::EXIT_TARGET;
use super::log_queue::{Format, LogQueue, writer};
use crate::account::password::checker::THREAD_NAME;
use crate::clock::Now;
use crate::config::LogFormat;
use crate::config::settings::Settings;
use crate::log_sampler::{LogSampler, sampled};

/// How long the end of the process waits for the last lines to be written.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("its thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    #[error(transparent)]
    Init(#[from] TryInitError),
}

/// The log of the process.
#[derive(Debug)]
pub(crate) struct Log {
    targets: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Begins to log to standard error. Panics are logged, too.
    pub(crate) fn start(settings: &Settings) -> Result<(Self, Drain), LogError> {
        let format = format(settings);
        let queue = LogQueue::start(format)?;
        let layer = layer(format, queue.clone());
        let (filter, targets) = reload::Layer::new(targets(settings));
        let libraries = Libraries { queue: queue.clone(), samplers: Mutex::default() };
        // For all layers and not for one: what a filter of one layer disables can take the next line with it.
        tracing_subscriber::registry().with(filter).with(libraries).with(layer).try_init()?;
        std::panic::set_hook(Box::new(log_panic));
        Ok((Self { targets }, Drain(queue)))
    }

    /// From now on these are the lines that are written.
    pub(super) fn follow(&self, settings: &Settings) {
        self.targets.reload(targets(settings)).expect("the process logs to this until its end");
    }
}

/// Waits, when it is dropped, until what was logged is written; but not for long.
#[derive(Debug)]
pub(crate) struct Drain(LogQueue);

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.drain(DRAIN_TIMEOUT);
    }
}

/// Writes what is logged meanwhile to standard error, as the log of a server with these settings has it. Each line is written before
/// this returns, and errors are ignored.
pub(crate) fn write_at_once(settings: &Settings, log: impl FnOnce()) {
    let layer = layer(format(settings), io::stderr);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(targets(settings)).with(layer), log);
}

fn format(settings: &Settings) -> Format {
    match settings.log_format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
        LogFormat::Auto if io::stderr().is_terminal() => Format::Text,
        LogFormat::Auto => Format::Json,
    }
}

/// Returns what formats lines for standard error.
fn layer<S, W>(format: Format, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // An error of writing would be written to standard error too, which panics.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    match format {
        // Of the spans around a line one says it all: the request's.
        Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        Format::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            layer.with_ansi(colours).boxed()
        }
    }
}

/// Lines that are written: those that the settings name, those that tell of others that were dropped, and why the server
/// ends.
fn targets(settings: &Settings) -> Targets {
    let targets = settings.log_targets.clone().with_target(writer::TARGET, LevelFilter::WARN);
    targets.with_target(EXIT_TARGET, LevelFilter::ERROR)
}

/// Lines of libraries, which know no sampler: of each place in their code ten a second are let through. Below level `info` all
/// are: who asks for these wants all.
struct Libraries {
    queue: LogQueue,
    /// Bounded by the number of places in the code.
    samplers: Mutex<HashMap<Identifier, LogSampler>>,
}

impl<S: Subscriber> Layer<S> for Libraries {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || is_ours(metadata.target()) {
            return true;
        }
        let mut samplers = self.samplers.lock().unwrap_or_else(PoisonError::into_inner);
        let sampler = samplers.entry(metadata.callsite()).or_insert_with(LogSampler::a_second);
        let taken = sampler.take(Now::read().boot);
        drop(samplers);
        if let Some(left_out @ 1..) = taken {
            self.queue.count_sampled(left_out);
        }
        taken.is_some()
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix("sealjar").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Logs a panic, where the standard library would write to standard error itself.
fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = thread.name();
    // Slicing a text at a wrong place, for example, quotes the text.
    let may_quote_password = thread.is_some_and(|name| name.starts_with(THREAD_NAME));
    let error = if may_quote_password { Some("not shown: it may quote a password") } else { info.payload_as_str() };
    sampled!(ERROR, error, location, thread, backtrace, "a thread panicked");
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};

    use super::*;

    /// Returns the text of what is logged meanwhile, by a subscriber like that of the process.
    fn logged(act: impl FnOnce()) -> String {
        let queue = LogQueue::default();
        let libraries = Libraries { queue: queue.clone(), samplers: Mutex::default() };
        let layer = fmt::layer().with_ansi(false).with_writer(queue.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(libraries).with(layer), act);
        queue.text()
    }

    #[test]
    fn of_a_line_of_a_library_ten_a_second_are_written() {
        let text = logged(|| {
            for number in 0..1_000 {
                tracing::event!(target: "h2::proto", Level::WARN, number, "one place");
                tracing::event!(target: "h2::proto", Level::DEBUG, number, "asked for");
                tracing::event!(target: "sealjar::http", Level::WARN, number, "our own line");
            }
            tracing::event!(target: "h2::proto", Level::WARN, "another place");
        });
        let count = |what: &str| text.matches(what).count();
        assert!((10..1_000).contains(&count("one place")), "{}", count("one place"));
        assert_eq!([count("another place"), count("asked for"), count("our own line")], [1, 1_000, 1_000]);
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let before = take_hook();
        set_hook(Box::new(log_panic));
        let text = logged(|| assert!(catch_unwind(|| panic!("a panic\nof two lines")).is_err()));
        set_hook(before);
        let line = text.lines().find(|line| line.contains("a thread panicked")).expect("it is logged");
        assert!(line.contains(r"a panic\nof two lines") && line.contains("src/server/log.rs"), "{line}");
    }

    #[test]
    fn a_panic_of_a_password_thread_is_logged_without_its_text() {
        let before = take_hook();
        set_hook(Box::new(log_panic));
        let text = logged(|| {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let panics = move || tracing::dispatcher::with_default(&dispatch, || panic!("inside of hunter2"));
            let thread = std::thread::Builder::new().name(format!("{THREAD_NAME}0")).spawn(panics).expect("it starts");
            assert!(thread.join().is_err());
        });
        set_hook(before);
        assert!(text.contains("a thread panicked") && text.contains("src/server/log.rs"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
