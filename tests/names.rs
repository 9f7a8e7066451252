//! The name of a test is a sentence, and short enough to be read in a list: at most 60 characters.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST: usize = 60;

#[test]
fn names_of_tests_have_at_most_60_characters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["benches", "examples", "fuzz/fuzz_targets", "src", "tests"] {
        collect(&root.join(directory), &mut files);
    }
    let mut found = 0;
    let mut long = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let names = if file.extension().is_some_and(|kind| kind == "py") { python(&text) } else { rust(&text) };
        found += names.len();
        let file = file.strip_prefix(root).expect("below it").display();
        long.extend(names.iter().filter(|name| name.len() > LONGEST).map(|name| format!("{file}: {name}")));
    }
    assert!(found > 1000, "only {found} were found");
    assert!(long.is_empty(), "{} names are too long:\n{}", long.len(), long.join("\n"));
}

#[test]
fn finds_every_kind_of_test() {
    let attributes =
        ["#[test]", "#[tokio::test]", "#[tokio::test(flavor = \"multi_thread\")]", "#[test]\n    #[ignore]"];
    for attribute in attributes {
        assert_eq!(rust(&format!("{attribute}\n    async fn a_name<T>() {{}}\nfn helper() {{}}")), ["a_name"]);
    }
    assert_eq!(
        python("def test_a_name(site):\n    async def test_other(): ...\ndef helper(): ..."),
        ["test_a_name", "test_other"]
    );
}

/// All sources in a directory and below it.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "py") {
            files.push(path);
        }
    }
}

/// Names of functions that follow a test's attribute.
fn rust(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((before, rest)) = line.split_once("fn ")
            && ["", "async ", "pub ", "pub async "].contains(&before)
        {
            names.extend(is_test.then(|| name(rest)));
            is_test = false;
        }
    }
    names
}

fn python(text: &str) -> Vec<&str> {
    let functions = text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("def "));
    functions.map(name).filter(|name| name.starts_with("test_")).collect()
}

/// The identifier that a text begins with.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
