//! Checks that `docs/troubleshooting.md` has every `reason` of an error response, every type of degradation, and every warning and error of
//! the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::{collect, read, sealjar};

#[test]
fn troubleshooting_has_every_reason_of_an_answer() {
    let (_, description) = sealjar(&["openapi"]);
    let description: Value = serde_json::from_str(&description).expect("JSON");
    let listed =
        description["components"]["schemas"]["Reason"]["enum"].as_array().expect("the schema lists the reasons");
    let reasons: BTreeSet<&str> = listed.iter().map(|reason| reason.as_str().expect("the text is UTF-8")).collect();
    assert!(reasons.len() > 25, "only {reasons:?}");
    let page = read("docs/troubleshooting.md");
    for reason in reasons {
        assert!(page.contains(&format!("`{reason}`")), "docs/troubleshooting.md lacks {reason}");
    }
}

#[test]
fn troubleshooting_has_every_kind_of_degradation() {
    let source = read("src/http/health.rs");
    let guide = read("docs/troubleshooting.md");
    let (_, kinds) = source.split_once("fn name(self)").expect("the source has this function");
    let (names, sentences) = kinds.split_once("fn message(self").expect("the source has this function");
    let arms = |text: &str| -> BTreeMap<String, String> {
        // Constants are not at the start of a line.
        let arms = text.split("\n            Self::").skip(1).filter_map(|arm| arm.split_once(" => "));
        arms.map(|(kind, rest)| (kind.to_owned(), rest.to_owned())).collect()
    };
    let names = arms(names);
    let sentences = arms(sentences);
    let (_, table) = guide.split_once("\n| short name (`what`) |").expect("the page has this table");
    let (table, _) = table.split_once("\n\n").expect("the text continues after this part");
    let rows: BTreeMap<&str, &str> = table.lines().filter_map(row_of).collect();
    assert_eq!(rows.len(), names.len(), "the table has one row per type of degradation: {rows:?}");
    for (kind, rest) in &names {
        let name = rest.split('"').nth(1).expect("the arm has a string");
        let sentence = rows.get(name).unwrap_or_else(|| panic!("docs/troubleshooting.md lacks {name}"));
        let arm = sentences.get(kind).unwrap_or_else(|| panic!("{kind} has no sentence"));
        assert!(arm.contains(&format!("\"{sentence}")), "{name}: /readyz does not say {sentence:?}");
        let metrics = read("docs/reference/metrics.md");
        assert!(metrics.contains(&format!("`{name}`")), "docs/reference/metrics.md lacks {name}");
        let alert = format!("| SealjarDegraded (`what=\"{name}\"`) |");
        assert!(read("deploy/monitoring/README.md").contains(&alert), "deploy/monitoring/README.md lacks {name}");
    }
}

/// Returns the first two cells of a row, which are code.
fn row_of(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
    Some((name, rest.split_once('`')?.0))
}

#[test]
fn troubleshooting_has_every_warning_and_error_of_the_log() {
    let text = read("docs/troubleshooting.md");
    let rows: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|row| row.0).collect();
    let mut sources = Vec::new();
    collect("src", "rs", &mut sources);
    let with_text = |path: PathBuf| (read(&path), path);
    let sources: Vec<_> = sources.into_iter().map(with_text).collect();
    let mut found = Vec::new();
    for (source, path) in &sources {
        for start in ["tracing::warn!(", "tracing::error!(", "sampled!("] {
            for call in source.split(start).skip(1) {
                if start == "sampled!(" && !["WARN,", "ERROR,"].iter().any(|level| call.trim_start().starts_with(level))
                {
                    continue;
                }
                let message = message(call);
                let listed = rows.iter().any(|row| message.starts_with(row));
                assert!(listed, "{}: docs/troubleshooting.md lacks the line {message:?}", path.display());
                found.push(message);
            }
        }
    }
    assert!(found.len() > 30, "only {} log lines were found", found.len());
    let (_, table) = text.split_once("\n## By the line in the log\n").expect("the page has this table");
    let (table, _) = table.split_once("\n## ").expect("the text continues after this part");
    for row in table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|row| row.0) {
        assert!(found.iter().any(|message| message.starts_with(row)), "the program does not log {row:?}");
    }
}

/// Returns the message in a call of a logging macro, which is its last string literal.
fn message(call: &str) -> &str {
    let mut last = "";
    let mut rest = call;
    loop {
        let end = rest.find(';');
        match rest.find('"') {
            Some(at) if end.is_none_or(|end| at < end) => {
                let (literal, after) = rest[at + 1..].split_once('"').expect("the text continues after this part");
                (last, rest) = (literal, after);
            }
            _ => break,
        }
        // The last argument is followed by the end of the call.
        if rest.trim_start_matches([',', ' ', '\n']).starts_with(')') {
            break;
        }
    }
    last
}
