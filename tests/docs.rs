//! What the guide says exists: links lead somewhere, commands, flags and settings are there, examples of the configuration are
//! taken, and troubleshooting has every reason of an answer, every kind of degradation, and every warning and error of the log.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The documents for those who run it or change it, by their paths in the repository.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut paths = vec!["README.md".into(), "SECURITY.md".into(), "CONTRIBUTING.md".into(), "keys/README.md".into()];
    collect("docs", "md", &mut paths);
    collect("deploy", "md", &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).expect("a document");
        (path, text)
    };
    let documents: BTreeMap<_, _> = paths.into_iter().map(read).collect();
    assert!(documents.len() > 12, "they were found");
    documents
}

fn collect(directory: &str, extension: &str, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(Path::new(ROOT).join(directory)).expect("a directory") {
        let path = entry.expect("an entry").path();
        let named = path.strip_prefix(ROOT).expect("below it");
        if path.is_dir() {
            collect(named.to_str().expect("text"), extension, paths);
        } else if path.extension().is_some_and(|found| found == extension) {
            paths.push(named.to_owned());
        }
    }
}

fn sealjar(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sealjar")).args(arguments).output().expect("the binary runs");
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.success(), String::from_utf8(text).expect("text"))
}

/// The fenced blocks of a document, each with its language, and the rest of it.
fn fences(text: &str) -> (Vec<(&str, String)>, String) {
    let (mut blocks, mut prose, mut open) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                blocks.push((language, String::new()));
            }
            None if open => {
                let block = &mut blocks.last_mut().expect("one is open").1;
                block.push_str(line);
                block.push('\n');
            }
            None => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(!open, "a block does not end");
    (blocks, prose)
}

/// What stands between single backticks, also over the end of a line.
fn spans(prose: &str) -> Vec<String> {
    let paragraphs = prose.split("\n\n").flat_map(|paragraph| paragraph.split("\n|").collect::<Vec<_>>());
    paragraphs
        .flat_map(|text| {
            text.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (_, prose) = fences(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|char| char.is_alphanumeric() || " -_".contains(*char))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let documents = documents();
    let mut followed = 0;
    for (path, text) in &documents {
        let (_, prose) = fences(text);
        for link in prose.split("](").skip(1).map(|rest| rest.split_once(')').expect("it ends").0) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = Path::new(ROOT).join(path).parent().expect("a directory").join(file);
            let target = if file.is_empty() { Path::new(ROOT).join(path) } else { target };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if let Some(heading) = heading {
                let text = fs::read_to_string(&target).expect("a document");
                assert!(anchors(&text).contains(heading), "{}: {link}: no such heading", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 40, "only {followed} were found");
    let index = &documents[Path::new("docs/README.md")];
    for path in documents.keys().filter(|path| path.starts_with("docs") && !path.ends_with("README.md")) {
        // A page is in the index of its own directory, or in that of all pages.
        let is_in = |index: &str, name: &Path| index.contains(&format!("]({})", name.display()));
        let directory = path.parent().expect("it is in a directory");
        let own = documents.get(&directory.join("README.md"));
        let name = path.strip_prefix("docs").expect("it is below docs");
        let is_listed =
            is_in(index, name) || own.is_some_and(|own| is_in(own, Path::new(path.file_name().expect("a name"))));
        assert!(is_listed, "docs/README.md lacks {}", name.display());
    }
}

#[test]
fn every_command_that_is_named_exists_with_its_flags() {
    let mut helps = BTreeMap::new();
    let mut checked = 0;
    for (path, text) in documents() {
        let (blocks, prose) = fences(&text);
        let shell = blocks.iter().filter(|(language, _)| ["sh", "console"].contains(language));
        let lines: Vec<String> = shell.flat_map(|(_, block)| commands(block)).chain(spans(&prose)).collect();
        for line in lines.iter().filter_map(|line| line.strip_prefix("sealjar ")) {
            check(line, &mut helps).unwrap_or_else(|reason| panic!("{}: sealjar {line}: {reason}", path.display()));
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} were found");
    for wrong in
        ["key list", "keys turn", "keys rotate --wait --force", "--sort serve", "users add alice --role=x --rolle y"]
    {
        assert!(check(wrong, &mut helps).is_err(), "{wrong}");
    }
}

/// The commands of a block that begin with our name, each as one line without comments.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let parts = joined.lines().flat_map(|line| line.split(['|', ';', '&', '(']).collect::<Vec<_>>());
    let bare = parts.map(|part| part.split(" #").next().expect("there is a first").trim().trim_start_matches("$ "));
    bare.filter(|part| part.starts_with("sealjar ")).map(|part| part.replace(['"', '\'', ')'], "")).collect()
}

/// Whether these words are a command, as far as they name one, and their flags are flags of it.
fn check(line: &str, helps: &mut BTreeMap<String, (bool, String)>) -> Result<(), String> {
    const VALUED: [&str; 4] = ["--config", "--keys", "--store", "--set"];
    let (mut command, mut flags, mut words) = (Vec::new(), Vec::new(), line.split_whitespace());
    let groups = ["keys", "users", "store"];
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            flags.push(word.split('=').next().expect("there is a first"));
            if VALUED.contains(&word) {
                let value = words.next();
                if let (true, Some((setting, _))) = (word == "--set", value.unwrap_or_default().split_once('=')) {
                    exists(setting)?;
                }
            }
        } else if command.is_empty() || command.len() == 1 && groups.contains(&command[0]) {
            if !word.starts_with(|char: char| char.is_ascii_lowercase()) {
                break;
            }
            command.push(word);
        }
    }
    let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    let (known, help) = helps.entry(command.join(" ")).or_insert_with(|| match arguments[..] {
        ["help", ..] => (true, String::new()),
        _ => sealjar(&arguments),
    });
    if !*known {
        return Err(format!("no such command: {help}"));
    }
    match flags.iter().find(|flag| !help.split([' ', '\n', ',']).any(|word| word == **flag)) {
        Some(flag) => Err(format!("no flag {flag}")),
        None => Ok(()),
    }
}

fn exists(setting: &str) -> Result<(), String> {
    let known = settings();
    if known.contains(setting) { Ok(()) } else { Err(format!("no setting {setting}")) }
}

/// Every setting, as `sealjar config` names them.
fn settings() -> BTreeSet<String> {
    let (_, config) = sealjar(&["config"]);
    config.lines().map(|line| line.split_once(" = ").expect("a setting and its value").0.to_owned()).collect()
}

#[test]
fn every_setting_that_is_named_exists() {
    let known = settings();
    let sections: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    // Some of the doctor's checks are called as settings are.
    let mut doctor = Vec::new();
    collect("src", "rs", &mut doctor);
    doctor.retain(|path| path.to_str().expect("text").contains("doctor"));
    let read = |path| fs::read_to_string(Path::new(ROOT).join(path)).expect("a source");
    let checks: String = doctor.into_iter().map(read).collect();
    let mut checked = 0;
    for (path, text) in documents() {
        let (_, prose) = fences(&text);
        for span in spans(&prose) {
            let name = span.split(" = ").next().expect("there is a first").trim_start_matches("--set ");
            let name = name.split('=').next().expect("there is a first");
            let Some((section, rest)) = name.split_once('.') else { continue };
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if sections.contains(section) && plain(rest) && !["rs", "py"].contains(&rest) {
                assert!(
                    known.contains(name) || checks.contains(&format!("\"{name}\"")),
                    "{}: there is no setting {name}",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "only {checked} were found");
}

#[test]
fn every_example_of_the_configuration_is_taken() {
    let mut taken = 0;
    for (path, text) in documents() {
        for (_, block) in fences(&text).0.iter().filter(|(language, _)| *language == "toml") {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(block.as_bytes()).expect("written");
            let (good, said) = sealjar(&["--config", file.path().to_str().expect("text"), "config"]);
            assert!(good, "{}: {block}{said}", path.display());
            taken += 1;
        }
    }
    assert!(taken >= 4, "only {taken} were found");
}

#[test]
fn troubleshooting_has_every_reason_of_an_answer() {
    let (_, description) = sealjar(&["openapi"]);
    let description: Value = serde_json::from_str(&description).expect("JSON");
    let listed = description["components"]["schemas"]["Reason"]["enum"].as_array().expect("all of them");
    let reasons: BTreeSet<&str> = listed.iter().map(|reason| reason.as_str().expect("text")).collect();
    assert!(reasons.len() > 25, "only {reasons:?}");
    for document in ["docs/troubleshooting.md", "README.md"] {
        let text = fs::read_to_string(Path::new(ROOT).join(document)).expect("a document");
        let internal = if document == "README.md" { "error" } else { "" };
        for reason in reasons.iter().filter(|reason| **reason != internal) {
            assert!(text.contains(&format!("`{reason}`")), "{document} lacks {reason}");
        }
    }
}

#[test]
fn troubleshooting_has_every_kind_of_degradation() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).expect("a file");
    let source = read("src/http/health.rs");
    let guide = read("docs/troubleshooting.md");
    let (_, kinds) = source.split_once("fn name(self)").expect("the short names");
    let (names, sentences) = kinds.split_once("fn found(self").expect("the sentences");
    let arms = |text: &str| -> BTreeMap<String, String> {
        // Constants are not at the start of a line.
        let arms = text.split("\n            Self::").skip(1).filter_map(|arm| arm.split_once(" => "));
        arms.map(|(kind, rest)| (kind.to_owned(), rest.to_owned())).collect()
    };
    let names = arms(names);
    let sentences = arms(sentences);
    let (_, table) = guide.split_once("\n| short name (`what`) |").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("it ends");
    let rows: BTreeMap<&str, &str> = table.lines().filter_map(row_of).collect();
    assert_eq!(rows.len(), names.len(), "one row a kind: {rows:?}");
    for (kind, rest) in &names {
        let name = rest.split('"').nth(1).expect("a text");
        let sentence = rows.get(name).unwrap_or_else(|| panic!("docs/troubleshooting.md lacks {name}"));
        let arm = sentences.get(kind).unwrap_or_else(|| panic!("{kind} has no sentence"));
        assert!(arm.contains(&format!("\"{sentence}")), "{name}: /readyz does not say {sentence:?}");
        let metrics = read("docs/reference/metrics.md");
        assert!(metrics.contains(&format!("`{name}`")), "docs/reference/metrics.md lacks {name}");
        let alert = format!("| SealjarDegraded (`what=\"{name}\"`) |");
        assert!(read("deploy/monitoring/README.md").contains(&alert), "deploy/monitoring/README.md lacks {name}");
    }
}

/// The first two cells of a row, which are code.
fn row_of(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
    Some((name, rest.split_once('`')?.0))
}

#[test]
fn troubleshooting_has_every_warning_and_error_of_the_log() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).expect("the document");
    let rows: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|row| row.0).collect();
    let mut sources = Vec::new();
    collect("src", "rs", &mut sources);
    let read = |path: PathBuf| (fs::read_to_string(Path::new(ROOT).join(&path)).expect("a source"), path);
    let sources: Vec<_> = sources.into_iter().map(read).collect();
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
    assert!(found.len() > 30, "only {} were found", found.len());
    let (_, table) = text.split_once("\n## By the line in the log\n").expect("the table");
    let (table, _) = table.split_once("\n## ").expect("it ends");
    for row in table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|row| row.0) {
        assert!(found.iter().any(|message| message.starts_with(row)), "no line of the log is {row:?}");
    }
}

/// The text of a call of a logging macro: its last literal.
fn message(call: &str) -> &str {
    let mut last = "";
    let mut rest = call;
    loop {
        let (quote, end) = (rest.find('"'), rest.find(';'));
        match quote {
            Some(at) if end.is_none_or(|end| at < end) => {
                let (literal, after) = rest[at + 1..].split_once('"').expect("it ends");
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
