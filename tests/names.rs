//! Test that the name of every test has at most 60 characters, so that a list of tests is readable.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

const MAX_LENGTH: usize = 60;

#[test]
fn names_of_tests_have_at_most_60_characters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["benches", "examples", "fuzz/fuzz_targets", "src", "tests"] {
        collect(&root.join(directory), &mut files);
    }
    let mut count = 0;
    let mut too_long = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let is_python = file.extension().is_some_and(|extension| extension == "py");
        let names = if is_python { python_tests(&text) } else { rust_tests(&text) };
        count += names.len();
        let file = file.strip_prefix(root).expect("a path below the root").display();
        too_long.extend(names.iter().filter(|name| name.len() > MAX_LENGTH).map(|name| format!("{file}: {name}")));
    }
    assert!(count > 1000, "only {count} tests were found");
    assert!(too_long.is_empty(), "{} names are too long:\n{}", too_long.len(), too_long.join("\n"));
}

#[test]
fn finds_tests_with_every_attribute() {
    let attributes =
        ["#[test]", "#[tokio::test]", "#[tokio::test(flavor = \"multi_thread\")]", "#[test]\n    #[ignore]"];
    for attribute in attributes {
        assert_eq!(rust_tests(&format!("{attribute}\n    async fn a_name<T>() {{}}\nfn helper() {{}}")), ["a_name"]);
    }
    assert_eq!(
        python_tests("def test_a_name(site):\n    async def test_other(): ...\ndef helper(): ..."),
        ["test_a_name", "test_other"]
    );
}

/// Adds all source files in a directory and its subdirectories to `files`.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            files.push(path);
        }
    }
}

/// Returns the names of the functions with a test attribute.
fn rust_tests(text: &str) -> Vec<&str> {
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

/// Returns the names of the functions that begin with `test_`.
fn python_tests(text: &str) -> Vec<&str> {
    let functions = text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("def "));
    functions.map(name).filter(|name| name.starts_with("test_")).collect()
}

/// Returns the identifier at the beginning of a text.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
