//! The log of the process: its format, its levels and its sampling.
//!
//! The format is fixed at the start. A reload of the configuration can change the levels. Lines are written through the
//! bounded queue in `log_queue.rs`, so that a slow reader of standard error delays no request.

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
use crate::account::password::checker::THREAD_NAME_PREFIX;
use crate::clock::Now;
use crate::config::LogFormat;
use crate::config::settings::Settings;
use crate::log_sampler::{LogSampler, sampled};

/// Maximum time that the end of the process waits until the last lines are written.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Error if the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("cannot start the thread of the log: {0}")]
    Thread(#[from] io::Error),
    #[error(transparent)]
    Init(#[from] TryInitError),
}

/// Handle of the log of the process, to change its levels.
#[derive(Debug)]
pub(crate) struct Log {
    targets: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Starts to log to standard error. Panics are logged, too. The returned guard must be kept until the end of the process.
    pub(crate) fn start(settings: &Settings) -> Result<(Self, DrainGuard), LogError> {
        let format = format(settings);
        let queue = LogQueue::start(format)?;
        let layer = layer(format, queue.clone());
        let (filter, targets) = reload::Layer::new(targets(settings));
        let library_sampler = LibrarySampler { queue: queue.clone(), samplers: Mutex::default() };
        // The filter applies to all layers. A filter of a single layer would not be correct: if it disables a line, the
        // next line can be disabled, too.
        tracing_subscriber::registry().with(filter).with(library_sampler).with(layer).try_init()?;
        std::panic::set_hook(Box::new(log_panic));
        Ok((Self { targets }, DrainGuard(queue)))
    }

    /// Applies the levels of new settings.
    pub(super) fn set_levels(&self, settings: &Settings) {
        self.targets.reload(targets(settings)).expect("the subscriber exists until the process ends");
    }
}

/// Guard that waits, when it is dropped, until all lines are written, for at most [`DRAIN_TIMEOUT`].
#[derive(Debug)]
pub(crate) struct DrainGuard(LogQueue);

impl Drop for DrainGuard {
    fn drop(&mut self) {
        self.0.drain(DRAIN_TIMEOUT);
    }
}

/// Runs `log`, and writes its log lines to standard error in the format of a server with these settings. The lines do
/// not pass through the queue: they are written when this function returns. Errors of writing are ignored.
pub(crate) fn write_synchronously(settings: &Settings, log: impl FnOnce()) {
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

/// Returns the layer that formats lines for standard error.
fn layer<S, W>(format: Format, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // By default, the layer reports a write error with `eprintln!`, which panics if standard error cannot be written.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    match format {
        // Lines contain only the innermost span, which is the span of the request. The list of all spans is omitted.
        Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        Format::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            layer.with_ansi(colours).boxed()
        }
    }
}

/// Returns the filter of the log lines: the levels of the settings. Lines that report dropped lines, and the line with the
/// reason for the exit, always pass.
fn targets(settings: &Settings) -> Targets {
    let targets = settings.log_targets.clone().with_target(writer::TARGET, LevelFilter::WARN);
    targets.with_target(EXIT_TARGET, LevelFilter::ERROR)
}

/// Layer that samples the log lines of libraries, which do not use Sealjar's sampler. It passes ten lines a second for
/// each call site in their code. Lines at level `debug` and `trace` are not sampled, because an operator who turns these
/// levels on wants all lines.
struct LibrarySampler {
    queue: LogQueue,
    /// Samplers by call site. The number of call sites bounds the size of the map.
    samplers: Mutex<HashMap<Identifier, LogSampler>>,
}

impl<S: Subscriber> Layer<S> for LibrarySampler {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || is_own_target(metadata.target()) {
            return true;
        }
        let mut samplers = self.samplers.lock().unwrap_or_else(PoisonError::into_inner);
        let sampler = samplers.entry(metadata.callsite()).or_insert_with(LogSampler::ten_per_second);
        let admitted = sampler.take(Now::read().boot);
        drop(samplers);
        if let Some(left_out @ 1..) = admitted {
            self.queue.count_sampled(left_out);
        }
        admitted.is_some()
    }
}

/// Returns whether the target of a log line belongs to this program, and not to a library.
fn is_own_target(target: &str) -> bool {
    target.strip_prefix("sealjar").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Panic hook that logs a panic. The default hook would write it to standard error directly.
fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = thread.name();
    // The message of a panic can quote a value, for example the string that was sliced at a wrong index.
    let may_quote_password = thread.is_some_and(|name| name.starts_with(THREAD_NAME_PREFIX));
    let error = if may_quote_password { Some("not shown: it may quote a password") } else { info.payload_as_str() };
    sampled!(ERROR, error, location, thread, backtrace, "a thread panicked");
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};

    use super::*;

    /// Runs `act`, and returns the lines that it logs. Uses the same layers as the subscriber of the process.
    fn logged(act: impl FnOnce()) -> String {
        let queue = LogQueue::default();
        let library_sampler = LibrarySampler { queue: queue.clone(), samplers: Mutex::default() };
        let layer = fmt::layer().with_ansi(false).with_writer(queue.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(library_sampler).with(layer), act);
        queue.text()
    }

    #[test]
    fn writes_ten_lines_a_second_of_each_library_call_site() {
        let text = logged(|| {
            for number in 0..1_000 {
                tracing::event!(target: "h2::proto", Level::WARN, number, "one call site");
                tracing::event!(target: "h2::proto", Level::DEBUG, number, "verbose level");
                tracing::event!(target: "sealjar::http", Level::WARN, number, "our own line");
            }
            tracing::event!(target: "h2::proto", Level::WARN, "another call site");
        });
        let count = |message: &str| text.matches(message).count();
        assert!((10..1_000).contains(&count("one call site")), "{}", count("one call site"));
        assert_eq!([count("another call site"), count("verbose level"), count("our own line")], [1, 1_000, 1_000]);
    }

    /// Calls `run` with [`log_panic`] as the panic hook. The hook is that of the process, so one test at a time may replace it.
    fn with_panic_hook<R>(run: impl FnOnce() -> R) -> R {
        static REPLACED: Mutex<()> = Mutex::new(());
        let _guard = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
        let previous_hook = take_hook();
        set_hook(Box::new(log_panic));
        let result = run();
        set_hook(previous_hook);
        result
    }

    #[test]
    fn a_panic_is_logged_as_one_line() {
        let text = with_panic_hook(|| logged(|| assert!(catch_unwind(|| panic!("a panic\nof two lines")).is_err())));
        let line = text.lines().find(|line| line.contains("a thread panicked")).expect("the panic is logged");
        assert!(line.contains(r"a panic\nof two lines") && line.contains("src/server/log.rs"), "{line}");
    }

    #[test]
    fn a_panic_of_a_password_thread_is_logged_without_its_text() {
        let text = with_panic_hook(|| {
            logged(|| {
                let dispatch = tracing::dispatcher::get_default(Clone::clone);
                let panics = move || tracing::dispatcher::with_default(&dispatch, || panic!("inside of hunter2"));
                let thread = std::thread::Builder::new()
                    .name(format!("{THREAD_NAME_PREFIX}0"))
                    .spawn(panics)
                    .expect("the thread starts");
                assert!(thread.join().is_err());
            })
        });
        assert!(text.contains("a thread panicked") && text.contains("src/server/log.rs"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
