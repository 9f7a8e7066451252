//! Parses `log.level`: a level for all targets, and levels for single targets. The target of a log line is the module
//! that logs it.
//!
//! A typing error must not hide errors and audit events. For this reason, an unknown word is never read as a target, an
//! unknown target is refused, and a list without a level for all targets is added to the default.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Default of the setting. A setting without a level for all targets is added to it.
pub(crate) const DEFAULT: &str = "info,salvo_core=warn";

/// Levels with their names, from the fewest lines to the most.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Names of levels in other programs, each with the corresponding level here.
const OTHER_NAMES: [(&str, &str); 13] = [
    ("all", "trace"),
    ("verbose", "debug"),
    ("information", "info"),
    ("notice", "info"),
    ("warning", "warn"),
    ("err", "error"),
    ("severe", "error"),
    ("crit", "error"),
    ("critical", "error"),
    ("fatal", "error"),
    ("none", "off"),
    ("quiet", "off"),
    ("silent", "off"),
];

/// First part of the targets of this program.
const PROGRAM: &str = "sealjar";
/// Second parts of the targets of this program.
const PROGRAM_PARTS: [&str; 12] =
    ["access", "account", "audit", "cli", "config", "embed", "exit", "http", "log", "server", "store", "sync"];
/// First parts of the targets of libraries.
const LIBRARIES: [&str; 7] = ["h2", "hyper_util", "salvo_core", "sqlx", "sqlx_core", "sqlx_postgres", "sqlx_sqlite"];

/// Parses the setting. The error is the reason why it is invalid.
pub(crate) fn parse(text: &str) -> Result<Targets, String> {
    let mut default_level = None;
    let mut target_levels: Vec<(&str, LevelFilter)> = Vec::new();
    for directive in text.split(',').map(str::trim) {
        let Some((target, level)) = directive.split_once('=') else {
            let level = level(directive).ok_or_else(|| not_a_level(directive))?;
            if default_level.replace(level).is_some() {
                return Err(format!("it has two levels for all targets; the second is {directive}"));
            }
            continue;
        };
        let target = target.trim();
        let level_name = level.trim();
        check_target(target)?;
        let level = self::level(level_name).ok_or_else(|| not_a_level(level_name))?;
        if target_levels.iter().any(|(other, _)| *other == target) {
            return Err(format!("it has two levels for {target}"));
        }
        target_levels.push((target, level));
    }
    let base = match default_level {
        Some(level) => Targets::new().with_default(level),
        None => DEFAULT.parse().expect("the default is well-formed"),
    };
    Ok(base.with_targets(target_levels))
}

/// Returns the level with this name.
fn level(name: &str) -> Option<LevelFilter> {
    LEVELS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| level)
}

/// Returns the reason why a word is not a level, with a suggestion.
fn not_a_level(name: &str) -> String {
    const FORM: &str = "the levels are off, error, warn, info, debug and trace; one level is for all targets, and others can be for \
                        single targets, as in info,sealjar::access=debug";
    if name.is_empty() {
        return format!("a level is missing; {FORM}");
    }
    if check_target(name).is_ok() {
        return format!("{name} has no level, such as {name}=debug; {FORM}");
    }
    let known_names = LEVELS.map(|(name, _)| (name, name)).into_iter().chain(OTHER_NAMES);
    let suggestion =
        nearest(name, known_names).map_or_else(String::new, |suggestion| format!(" did you mean {suggestion}?"));
    format!("{name:?} is not a level;{suggestion} {FORM}")
}

/// Checks that the target is known.
fn check_target(target: &str) -> Result<(), String> {
    let mut parts = target.split("::");
    let first = parts.next().unwrap_or_default();
    let is_known = match parts.next() {
        Some(part) if first == PROGRAM => PROGRAM_PARTS.contains(&part),
        _ => first == PROGRAM || LIBRARIES.contains(&first),
    };
    if is_known {
        return Ok(());
    }
    let program_targets = PROGRAM_PARTS.map(|part| format!("{PROGRAM}::{part}"));
    let names = program_targets.iter().map(String::as_str).chain([PROGRAM]).chain(LIBRARIES);
    let suggestion = nearest(target, names.map(|name| (name, name)));
    let suggestion = suggestion.map_or_else(String::new, |suggestion| format!(" did you mean {suggestion}?"));
    Err(format!(
        "there is no log target {target:?};{suggestion} the targets are {PROGRAM}, {PROGRAM}:: with one of {}, and of libraries {}",
        PROGRAM_PARTS.join(", "),
        LIBRARIES.join(", ")
    ))
}

/// Returns the suggestion for the most similar of the known names, if one is similar enough. `known_names` has pairs of
/// a name and its suggestion.
fn nearest<'n>(name: &str, known_names: impl Iterator<Item = (&'n str, &'n str)>) -> Option<&'n str> {
    let name = name.to_ascii_lowercase();
    let distances = known_names.map(|(known, suggestion)| (strsim::osa_distance(known, &name), suggestion));
    let max_distance = (name.len() / 4).clamp(1, 3);
    distances
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, suggestion)| suggestion)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use tracing::Level;

    use super::*;

    #[test]
    fn errors_and_audit_events_are_hidden_only_on_request() {
        for text in [
            "error,sealjar::audit=info",
            "info",
            "WARN,sealjar::audit=info",
            "sealjar::access=debug",
            "sqlx=debug , h2=trace",
            DEFAULT,
            "trace",
        ] {
            let targets = parse(text).expect(text);
            let is_logged = |target, level| targets.would_enable(target, &level);
            assert!(
                is_logged("sealjar::server", Level::ERROR) && is_logged(crate::audit::TARGET, Level::INFO),
                "{text}"
            );
        }
        let off = parse("off").expect("a level");
        assert!(!off.would_enable("sealjar::server", &Level::ERROR));
        let audit_off = parse("sealjar::audit=off").expect("a target of this program");
        assert!(!audit_off.would_enable(crate::audit::TARGET, &Level::INFO));
        assert!(audit_off.would_enable("sealjar::server", &Level::INFO));
        assert!(!audit_off.would_enable("salvo_core::server", &Level::INFO), "other targets keep their default levels");
    }

    #[test]
    fn refuses_unknown_levels_and_suggests_similar_ones() {
        for (text, suggestion) in [
            ("warning", "did you mean warn?"),
            ("verbose", "did you mean debug?"),
            ("Warning", "did you mean warn?"),
            ("inof", "did you mean info?"),
            ("info,warning", "did you mean warn?"),
            ("sealjar=verbose", "did you mean debug?"),
            ("loud", "\"loud\" is not a level"),
            ("3", "\"3\" is not a level"),
            ("", "a level is missing"),
            ("info,", "a level is missing"),
            ("sealjar=", "a level is missing"),
            ("=", "there is no log target \"\""),
            ("=debug", "there is no log target \"\""),
            ("sealjar", "sealjar has no level, such as sealjar=debug"),
            ("sealjarr=debug", "did you mean sealjar?"),
            ("sealjar::audti=debug", "did you mean sealjar::audit?"),
            ("sealjar::nosuch=debug", "there is no log target"),
            ("sealjar:audit=debug", "did you mean sealjar::audit?"),
            ("sealjar::=debug", "there is no log target"),
            ("saljar=off", "did you mean sealjar?"),
            ("salvo-core=warn", "did you mean salvo_core?"),
            ("info,sealjar=debug=er", "\"debug=er\" is not a level"),
            ("loud=er", "there is no log target \"loud\""),
            ("info,warn", "two levels for all targets"),
            ("sealjar=info,sealjar=off", "two levels for sealjar"),
            ("sealjar[request]=debug", "there is no log target"),
        ] {
            let reason = parse(text).expect_err(text);
            assert!(reason.contains(suggestion), "{text}: {reason}");
        }
    }

    /// Adds the second part of the log target of each source file that contains log lines.
    fn add_parts(directory: &Path, parts: &mut BTreeSet<String>) {
        const MACROS: [&str; 6] = ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "sampled!("];
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                add_parts(&path, parts);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source");
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().expect("a split has a first part");
            if MACROS.iter().any(|name| code.contains(name)) {
                let path =
                    path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("the path is below src");
                let part = path.iter().next().and_then(|part| part.to_str()).expect("text");
                parts.insert(part.trim_end_matches(".rs").to_owned());
            }
            let explicit_targets = code.split("\"sealjar::").skip(1).filter_map(|rest| rest.split('"').next());
            parts.extend(explicit_targets.map(str::to_owned));
        }
    }

    #[test]
    fn the_known_parts_are_those_of_the_sources_with_log_lines() {
        let mut parts = BTreeSet::new();
        add_parts(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut parts);
        // This file only defines the macro `sampled`.
        parts.remove("log_sampler");
        parts.retain(|part| !part.is_empty());
        assert_eq!(parts, PROGRAM_PARTS.map(str::to_owned).into());
    }

    #[test]
    fn the_known_libraries_are_dependencies_that_log() {
        let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).expect("a file");
        let is_logging_dependency = |library: &&str| {
            let crates = lock.split("[[package]]").filter(|text| text.contains("\n \"tracing\",\n"));
            crates.filter_map(|text| text.split('"').nth(1)).any(|name| name.replace('-', "_").starts_with(*library))
        };
        assert!(LIBRARIES.iter().all(is_logging_dependency));
    }
}
