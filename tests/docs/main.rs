//! Checks the documents against the repository and the program: links, paths, commands, settings, reference pages, the table of
//! modules, the promises, the ASVS table, the form of decisions, and the size that each document may have.
#![allow(missing_docs)]

mod architecture;
mod asvs;
mod commands;
mod decisions;
mod links;
mod reference;
mod security;
mod style;
mod troubleshooting;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the text of every document except the changelog, by its path in the repository.
fn documents() -> BTreeMap<PathBuf, String> {
    const OUTSIDE_DOCS: [&str; 6] =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "keys/README.md", "tests/vectors/README.md"];
    let mut paths: Vec<PathBuf> = OUTSIDE_DOCS.iter().map(PathBuf::from).collect();
    collect("docs", "md", &mut paths);
    collect("deploy", "md", &mut paths);
    let with_text = |path: PathBuf| (path.clone(), read(&path));
    let documents: BTreeMap<_, _> = paths.into_iter().map(with_text).collect();
    assert!(documents.len() > 30, "only {} documents were found", documents.len());
    documents
}

/// Returns the text of a file, given its path in the repository.
fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds the paths of all files with this extension below a directory.
fn collect(directory: &str, extension: &str, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(Path::new(ROOT).join(directory)).expect("the directory can be read") {
        let path = entry.expect("the entry can be read").path();
        let relative = path.strip_prefix(ROOT).expect("the path is below the root");
        if path.is_dir() {
            collect(relative.to_str().expect("the path is UTF-8"), extension, paths);
        } else if path.extension().is_some_and(|found| found == extension) {
            paths.push(relative.to_owned());
        }
    }
}

/// Runs a command of the program. Returns whether it succeeded, and its output.
fn sealjar(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sealjar")).args(arguments).output().expect("the binary runs");
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.success(), String::from_utf8(text).expect("the output is UTF-8"))
}

/// Splits a document into its fenced blocks, each with its language, and the text outside of them.
fn fences(text: &str) -> (Vec<(&str, String)>, String) {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut prose = String::new();
    let mut open = false;
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                blocks.push((language, String::new()));
            }
            None if open => {
                let block = &mut blocks.last_mut().expect("a block is open").1;
                block.push_str(line);
                block.push('\n');
            }
            None => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(!open, "a fenced block is not closed");
    (blocks, prose)
}

/// Returns the texts between single backticks. A text may continue on the next line.
fn spans(prose: &str) -> Vec<String> {
    let paragraphs = prose.split("\n\n").flat_map(|paragraph| paragraph.split("\n|").collect::<Vec<_>>());
    paragraphs
        .flat_map(|text| {
            text.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}
