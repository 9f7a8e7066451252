//! Every line of the log has a sampler, or a reason why a stranger cannot cause it.
//!
//! A stranger is whoever sends requests without a session, or replays tokens. Code that answers requests logs with `sampled!`. All
//! other lines stand in the table below: a new one fails this test until its author has thought about who can cause it.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Why a line needs no sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Written once in the life of a process, or once for each act of the operator.
    Operator,
    /// Written by a task in the background when something changes, and not again while it stays so.
    Background,
    /// An audit event for which a session was begun, changed or newly ended, so there is at most one for each right password.
    Session,
    /// An audit event for which a password was hashed; wrong ones are throttled.
    Password,
    /// Counted by a [`LogSampler`] of its own beside it.
    ///
    /// [`LogSampler`]: ../src/log_sampler.rs
    Sampled,
    /// One for each request, for those who turn it on.
    Asked,
}
use Cause::{Asked, Background, Operator, Password, Sampled, Session};

/// Lines that are not written by `sampled!`: the file, the beginning of the message, and why.
const UNSAMPLED: &[(&str, &str, Cause)] = &[
    ("audit.rs", "signed in", Session),
    ("audit.rs", "gave the password again", Session),
    ("audit.rs", "changed the password", Session),
    ("audit.rs", "a password led to no session", Password),
    ("audit.rs", "signing out", Session),
    ("audit.rs", "signing out everywhere", Session),
    ("audit.rs", "ended a session", Session),
    ("audit.rs", "a session was ended", Session),
    ("audit.rs", "all sessions of an account were ended", Session),
    ("audit.rs", "every session was ended", Operator),
    ("audit.rs", "every session of a key was ended", Operator),
    ("audit.rs", "there is a new key", Operator),
    ("audit.rs", "another key seals", Operator),
    ("audit.rs", "a key was revoked", Operator),
    ("audit.rs", "a key is gone", Operator),
    ("audit.rs", "a command changed something", Operator),
    ("account/password/checker.rs", "password threads run at ordinary priority", Operator),
    ("cli/serve.rs", "the server ended with an error", Operator),
    ("cli/serve.rs", "nobody can sign in yet", Operator),
    ("cli/serve.rs", "the password file of PostgreSQL is not used", Operator),
    ("cli/serve.rs", "Landlock cannot be applied", Operator),
    ("config/settings.rs", "DEVELOPMENT MODE", Operator),
    ("config/settings.rs", "no proxy is trusted", Operator),
    ("config/settings.rs", "http.trusted_proxies trusts everybody", Operator),
    ("config/settings.rs", "copy detection is off for these sessions", Operator),
    ("embed/jar.rs", "ended a session whose cookie is used in two places", Session),
    ("embed/jar.rs", "requests that change something did not end in time", Operator),
    ("embed/settings.rs", "the clock was set", Background),
    ("embed/revocations.rs", "the database did not close in time", Operator),
    ("http/access.rs", "answered", Asked),
    ("http/proxy_hints.rs", "a proxy that is not trusted", Sampled),
    ("http/proxy_hints.rs", "a client sent X-Forwarded", Sampled),
    ("http/proxy_hints.rs", "a trusted proxy did not say the method", Sampled),
    ("http/tls.rs", "the certificate can be read again", Background),
    ("http/tls.rs", "the certificate cannot be read again", Background),
    ("http/tls.rs", "TLS with a certificate made just now", Operator),
    ("http/tls.rs", "there is a certificate for TLS", Operator),
    ("http/tls.rs", "the certificate has expired", Operator),
    ("http/tls.rs", "everybody on this machine can read the private key", Operator),
    ("http/tls.rs", "the chain of certificates is out of order; some clients refuse it", Operator),
    ("sync/log_reader.rs", "the store lacks what was in it", Background),
    ("sync/log_reader.rs", "the store lacks nothing any more", Background),
    ("sync/committer.rs", "sign-outs are in force here but not in the store", Background),
    ("sync/committer.rs", "the store takes sign-outs again", Background),
    ("sync/follower.rs", "following the store again", Background),
    ("sync/follower.rs", "cannot follow the store", Background),
    ("sync/follower.rs", "the store could not be read for revocation.max_staleness", Background),
    ("sync/follower.rs", "the revocation list is up to date again", Background),
    ("sync/follower.rs", "the clock was set", Background),
    ("sync/follower.rs", "cannot record what is sealed here", Background),
    ("sync/follower.rs", "nothing is pruned", Background),
    ("sync/follower.rs", "pruned the revocation list", Background),
    ("server.rs", "hardening of the process", Operator),
    ("server.rs", "listening", Operator),
    ("server.rs", "stopping: /readyz answers 503", Operator),
    ("server.rs", "stopping: new connections are refused", Operator),
    ("server.rs", "stopping at once", Operator),
    ("server.rs", "requests that change something did not end in time", Operator),
    ("server.rs", "the database did not close in time", Operator),
    ("server.rs", "stopped", Operator),
    ("server/admission.rs", "cannot accept a connection", Sampled),
    ("server/admission.rs", "as many connections are open as there may be", Sampled),
    ("server/admission.rs", "all connections are being worked for", Sampled),
    ("server/descriptors.rs", "the limit of open files is too low", Operator),
    ("server/listener.rs", "systemd passed on a socket", Operator),
    ("server/listener.rs", "the socket's file cannot be removed", Operator),
    ("server/log_queue/writer.rs", "log lines were dropped", Background),
    ("server/log_queue/writer.rs", "lines of libraries were left out", Background),
    ("server/reload.rs", "the configuration came through a pipe", Operator),
    ("server/reload.rs", "hangup: reading keys", Operator),
    ("server/reload.rs", "the configuration can be used again", Operator),
    ("server/reload.rs", "the configuration cannot be used", Operator),
    ("server/reload.rs", "the configuration changed", Operator),
    ("server/reload.rs", "the certificate that was made at the start", Operator),
    ("server/reload.rs", "{name} changed; it takes effect at the next start", Operator),
    ("server/report.rs", "cannot report to the store", Background),
    ("server/report.rs", "reporting to the store again", Background),
    ("server/report.rs", "the store cannot be told that this node stops", Operator),
    ("server/ring.rs", "the key ring changed", Operator),
    ("server/ring.rs", "published a new key by schedule", Background),
    ("server/ring.rs", "scheduled rotation failed", Background),
    ("server/supervisor.rs", "systemd could not be told", Operator),
    ("store/postgres.rs", "the tables are to be brought up to date", Operator),
    ("store/postgres/notifications.rs", "not listening for notices", Background),
    ("sync/key_directory.rs", "the key ring can be read again", Background),
    ("sync/key_directory.rs", "the key ring cannot be read", Background),
];

/// What writes a line of the log without asking a sampler.
const MACROS: &[&str] = &["error!(", "warn!(", "info!(", "debug!(", "trace!(", "event!("];

/// The sources, by their paths below `src`, without what only tests of themselves have.
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
                let name = path.strip_prefix(&root).expect("below it").to_str().expect("text").to_owned();
                let text = fs::read_to_string(&path).expect("a source");
                let text = text.split("\n#[cfg(test)]\nmod tests {").next().expect("there is a first").to_owned();
                sources.push((name, text));
            }
        }
    }
    assert!(sources.len() > 100, "only {} were found", sources.len());
    sources
}

/// The lines that a source writes by other means than a sampler: the text of each call up to its end.
fn unsampled(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut calls = Vec::new();
    for name in MACROS {
        for (at, _) in code.match_indices(name) {
            let before = code[..at].rsplit(|char: char| !(char.is_alphanumeric() || "_:".contains(char))).next();
            // `sampled_event!(` ends like `event!(`.
            if !["", "tracing::"].contains(&before.expect("there is a last")) {
                continue;
            }
            calls.push(arguments(&code[at + name.len()..]).to_owned());
        }
    }
    calls
}

/// What stands before the parenthesis that closes.
fn arguments(call: &str) -> &str {
    let mut depth = 1;
    let mut in_text = false;
    for (at, char) in call.char_indices() {
        match char {
            '"' if !call[..at].ends_with('\\') => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &call[..at];
        }
    }
    panic!("it does not end: {call}");
}

#[test]
fn every_line_without_a_sampler_has_a_reason() {
    let mut seen = BTreeSet::new();
    let mut new = Vec::new();
    for (file, source) in sources() {
        // The two macros are made of others here.
        if file == "log_sampler.rs" {
            continue;
        }
        for call in unsampled(&source).iter().filter(|call| !call.contains("$name")) {
            let is_it = |place: &usize| {
                let (of, message, _) = UNSAMPLED[*place];
                of == file && call.contains(&format!("\"{message}"))
            };
            // The longest, because one may begin as another.
            match (0..UNSAMPLED.len()).filter(is_it).max_by_key(|place| UNSAMPLED[*place].1.len()) {
                Some(place) => drop(seen.insert(place)),
                None => new.push(format!("src/{file}: {call}")),
            }
        }
    }
    assert!(
        new.is_empty(),
        "who can cause these lines? If a stranger can, write them with sampled!, else say why not in tests/log_lines.rs:\n{}",
        new.join("\n")
    );
    let gone: Vec<_> =
        (0..UNSAMPLED.len()).filter(|place| !seen.contains(place)).map(|place| UNSAMPLED[place]).collect();
    assert!(gone.is_empty(), "these lines are not written any more: {gone:?}");
}

#[test]
fn a_line_that_its_reason_says_is_sampled_asks_a_sampler() {
    for (file, message, _) in UNSAMPLED.iter().filter(|(_, _, cause)| *cause == Sampled) {
        let (_, source) = sources().into_iter().find(|(name, _)| name == file).expect("the source");
        let (before, _) = source.split_once(&format!("\"{message}")).expect("the line");
        let lines: Vec<&str> = before.lines().rev().take(5).collect();
        assert!(lines.iter().any(|line| line.contains(".take(")), "src/{file}: {message}");
    }
}

#[test]
fn nothing_that_serves_writes_to_standard_error_itself() {
    for (file, source) in sources() {
        // Commands other than `serve` end when they have said what there is to say.
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
fn a_new_line_without_a_sampler_is_found() {
    let found = |source: &str| unsampled(source).len();
    assert_eq!(found("fn f() { tracing::warn!(%error, \"new\"); }"), 1);
    assert_eq!(found("use tracing::warn;\nfn f() { warn!(\"new\"); }"), 1);
    assert_eq!(found("fn f() { event!(\"new\", \"new\", sub); }"), 1);
    assert_eq!(found("fn f() { sampled!(WARN, \"new\"); sampled_event!(\"new\", \"new\", sub); }"), 0);
    assert_eq!(found("// tracing::warn!(\"told of\");"), 0);
}
