//! Test that every log statement has a sampler, or a reason why an unauthenticated client cannot cause it.
//!
//! An unauthenticated client sends requests without a session, or replays tokens. Code that handles requests logs with
//! `sampled!`. All other log statements are in the table below. The test fails for a new one, so that its author considers
//! which clients can cause it.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Reason why a line needs no `sampled!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The line is written once per process, or once for each action of the operator.
    Operator,
    /// A background task writes the line when a state changes, and not again while the state lasts.
    Background,
    /// The line is an audit event about a session that began, changed or ended. There is at most one for each correct password.
    Session,
    /// The line is an audit event after the hashing of a password. Wrong passwords are rate-limited.
    Password,
    /// The code before the line calls its own [`LogSampler`].
    ///
    /// [`LogSampler`]: ../src/log_sampler.rs
    Sampled,
    /// The line is written for each request, if the operator has enabled it.
    OptIn,
}
use Cause::{Background, Operator, OptIn, Password, Sampled, Session};

/// Log lines that are not written with `sampled!`: the file, the beginning of the message, and the reason.
const UNSAMPLED: &[(&str, &str, Cause)] = &[
    ("audit.rs", "signed in", Session),
    ("audit.rs", "entered the password again", Session),
    ("audit.rs", "changed the password", Session),
    ("audit.rs", "a password did not start a session", Password),
    ("audit.rs", "signing out", Session),
    ("audit.rs", "signing out everywhere", Session),
    ("audit.rs", "ended a session", Session),
    ("audit.rs", "a session was ended", Session),
    ("audit.rs", "all sessions of an account were ended", Session),
    ("audit.rs", "every session was ended", Operator),
    ("audit.rs", "every session of a key was ended", Operator),
    ("audit.rs", "a key was published", Operator),
    ("audit.rs", "a key was activated", Operator),
    ("audit.rs", "a key was revoked", Operator),
    ("audit.rs", "a key was removed", Operator),
    ("audit.rs", "a command changed something", Operator),
    (
        "account/password/checker.rs",
        "cannot lower the priority of the password threads; they run at normal priority",
        Operator,
    ),
    ("cli/serve.rs", "the server ended with an error", Operator),
    ("cli/serve.rs", "there is no account, so no user can log in yet", Operator),
    ("cli/serve.rs", "the password file of PostgreSQL is not used", Operator),
    ("cli/serve.rs", "Landlock cannot be applied", Operator),
    ("config/settings.rs", "DEVELOPMENT MODE", Operator),
    ("config/settings.rs", "no proxy is trusted", Operator),
    ("config/settings.rs", "http.trusted_proxies has a network that is too large", Operator),
    ("config/settings.rs", "copy detection is off for these sessions", Operator),
    ("embed/jar.rs", "ended a session whose cookie is used in two places", Session),
    ("embed/jar.rs", "requests that change something did not end in time", Operator),
    ("embed/settings.rs", "the clock was set", Background),
    ("embed/revocations.rs", "the database did not close in time", Operator),
    ("http/access.rs", "answered", OptIn),
    ("http/proxy_hints.rs", "a proxy that is not trusted", Sampled),
    ("http/proxy_hints.rs", "a client sent X-Forwarded", Sampled),
    ("http/proxy_hints.rs", "a trusted proxy did not send the method", Sampled),
    ("http/tls.rs", "the certificate files can be read again", Background),
    ("http/tls.rs", "cannot reload the certificate", Background),
    ("http/tls.rs", "using a new self-signed TLS certificate", Operator),
    ("http/tls.rs", "loaded the TLS certificate", Operator),
    ("http/tls.rs", "the TLS certificate has expired", Operator),
    ("http/tls.rs", "every user of this machine can read the private key", Operator),
    ("http/tls.rs", "the certificate chain is in the wrong order: some clients refuse it", Operator),
    ("sync/log_reader.rs", "the store was rolled back", Background),
    ("sync/log_reader.rs", "the store is no longer rolled back", Background),
    ("sync/committer.rs", "cannot commit logouts to the database", Background),
    ("sync/committer.rs", "logouts are committed to the database again", Background),
    ("sync/follower.rs", "the revocation log can be read again", Background),
    ("sync/follower.rs", "cannot read the revocation log", Background),
    (
        "sync/follower.rs",
        "the revocation list is stale: the database could not be read for revocation.max_staleness",
        Background,
    ),
    ("sync/follower.rs", "the revocation list is up to date again", Background),
    ("sync/follower.rs", "the clock was set", Background),
    ("sync/follower.rs", "cannot record session lifetimes", Background),
    ("sync/follower.rs", "cannot prune the revocation list", Background),
    ("sync/follower.rs", "pruned the revocation list", Background),
    ("server.rs", "hardening of the process", Operator),
    ("server.rs", "listening", Operator),
    ("server.rs", "stopping: /readyz answers 503", Operator),
    ("server.rs", "stopping: new connections are refused", Operator),
    ("server.rs", "stopping immediately", Operator),
    ("server.rs", "requests that change something did not end in time", Operator),
    ("server.rs", "the database did not close in time", Operator),
    ("server.rs", "stopped", Operator),
    ("server/acceptor.rs", "cannot accept a connection", Sampled),
    ("server/acceptor.rs", "the connection limit is reached; closing", Sampled),
    ("server/acceptor.rs", "the connection limit is reached, and every connection", Sampled),
    ("server/descriptors.rs", "the limit of open files is too low", Operator),
    ("server/listener.rs", "systemd passed a socket", Operator),
    ("server/listener.rs", "cannot remove the socket file", Operator),
    ("server/log_queue/writer.rs", "log lines were dropped", Background),
    ("server/log_queue/writer.rs", "log lines of libraries were omitted", Background),
    ("server/reload.rs", "the configuration came through a pipe", Operator),
    ("server/reload.rs", "SIGHUP: reading keys", Operator),
    ("server/reload.rs", "the configuration can be used again", Operator),
    ("server/reload.rs", "the configuration cannot be used", Operator),
    ("server/reload.rs", "the configuration changed", Operator),
    ("server/reload.rs", "the self-signed certificate does not contain", Operator),
    ("server/reload.rs", "{name} changed; it takes effect at the next start", Operator),
    ("server/report.rs", "cannot report to the store", Background),
    ("server/report.rs", "reporting to the store again", Background),
    ("server/report.rs", "cannot delete the report of this node from the store", Operator),
    ("server/ring.rs", "the key ring changed", Operator),
    ("server/ring.rs", "published a new key by schedule", Background),
    ("server/ring.rs", "scheduled rotation failed", Background),
    ("server/supervisor.rs", "cannot send the state of the server to systemd", Operator),
    ("store/postgres.rs", "the tables must be migrated", Operator),
    ("store/postgres/notifications.rs", "cannot listen for notifications", Background),
    ("sync/key_directory.rs", "the key ring can be read again", Background),
    ("sync/key_directory.rs", "the key ring cannot be read", Background),
];

/// Macros that write a log line without a sampler.
const MACROS: &[&str] = &["error!(", "warn!(", "info!(", "debug!(", "trace!(", "event!("];

/// Returns the source files without their unit tests, with their paths relative to `src`.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let name = path.strip_prefix(&root).expect("a path below src").to_str().expect("text").to_owned();
                let text = fs::read_to_string(&path).expect("a source");
                let text = text.split("\n#[cfg(test)]\nmod tests {").next().expect("at least one part").to_owned();
                sources.push((name, text));
            }
        }
    }
    assert!(sources.len() > 100, "only {} were found", sources.len());
    sources
}

/// Returns the arguments of each call in a source that writes a log line without a sampler.
fn unsampled(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut calls = Vec::new();
    for name in MACROS {
        for (start, _) in code.match_indices(name) {
            let prefix = code[..start].rsplit(|char: char| !(char.is_alphanumeric() || "_:".contains(char))).next();
            // Skips `sampled_event!(`, which ends with `event!(`.
            if !["", "tracing::"].contains(&prefix.expect("at least one part")) {
                continue;
            }
            calls.push(arguments(&code[start + name.len()..]).to_owned());
        }
    }
    calls
}

/// Returns the text before the closing parenthesis of a call.
fn arguments(call: &str) -> &str {
    let mut depth = 1;
    let mut is_in_string = false;
    for (index, char) in call.char_indices() {
        match char {
            '"' if !call[..index].ends_with('\\') => is_in_string = !is_in_string,
            '(' if !is_in_string => depth += 1,
            ')' if !is_in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &call[..index];
        }
    }
    panic!("no closing parenthesis: {call}");
}

#[test]
fn every_line_without_a_sampler_has_a_reason() {
    let mut used = BTreeSet::new();
    let mut unlisted = Vec::new();
    for (file, source) in sources() {
        // This file defines `sampled!` with other macros.
        if file == "log_sampler.rs" {
            continue;
        }
        for call in unsampled(&source).iter().filter(|call| !call.contains("$name")) {
            let matches = |index: &usize| {
                let (listed_file, message, _) = UNSAMPLED[*index];
                listed_file == file && call.contains(&format!("\"{message}"))
            };
            // The longest match, because one message may begin with another message.
            match (0..UNSAMPLED.len()).filter(matches).max_by_key(|index| UNSAMPLED[*index].1.len()) {
                Some(index) => drop(used.insert(index)),
                None => unlisted.push(format!("src/{file}: {call}")),
            }
        }
    }
    assert!(
        unlisted.is_empty(),
        "log lines without a sampler: if an unauthenticated client can cause them, write them with sampled!; otherwise, add them \
         with a reason to tests/log_lines.rs:\n{}",
        unlisted.join("\n")
    );
    let unused: Vec<_> =
        (0..UNSAMPLED.len()).filter(|index| !used.contains(index)).map(|index| UNSAMPLED[index]).collect();
    assert!(unused.is_empty(), "these lines are no longer written: {unused:?}");
}

#[test]
fn a_line_with_the_reason_sampled_calls_a_sampler() {
    for (file, message, _) in UNSAMPLED.iter().filter(|(_, _, cause)| *cause == Sampled) {
        let (_, source) = sources().into_iter().find(|(name, _)| name == file).expect("the source");
        let (before, _) = source.split_once(&format!("\"{message}")).expect("the line");
        let lines: Vec<&str> = before.lines().rev().take(5).collect();
        assert!(lines.iter().any(|line| line.contains(".take(")), "src/{file}: {message}");
    }
}

#[test]
fn the_server_does_not_write_to_standard_error_directly() {
    for (file, source) in sources() {
        // Commands other than `serve` print their result and then end.
        if file.starts_with("cli/") && file != "cli/serve.rs" || file == "cli.rs" {
            continue;
        }
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for (number, line) in code.enumerate() {
            let writes = ["eprintln!", "eprint!", "errln!", "println!", "print!", "outln!", "dbg!"]
                .iter()
                .any(|name| line.contains(name));
            assert!(!writes, "src/{file}, about line {}: {line}", number + 1);
        }
    }
}

#[test]
fn finds_a_new_line_without_a_sampler() {
    let count = |source: &str| unsampled(source).len();
    assert_eq!(count("fn f() { tracing::warn!(%error, \"new\"); }"), 1);
    assert_eq!(count("use tracing::warn;\nfn f() { warn!(\"new\"); }"), 1);
    assert_eq!(count("fn f() { event!(\"new\", \"new\", sub); }"), 1);
    assert_eq!(count("fn f() { sampled!(WARN, \"new\"); sampled_event!(\"new\", \"new\", sub); }"), 0);
    assert_eq!(count("// tracing::warn!(\"in a comment\");"), 0);
}
