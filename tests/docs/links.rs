//! Every link leads to a file and a heading, every path and test that is named exists, and every page is in an index.

use std::collections::BTreeSet;
use std::path::Path;

use super::{ROOT, documents, fences, read, spans};

/// The directories whose files documents name by their paths.
const PLACES: [&str; 8] = ["benches/", "deploy/", "docs/", "examples/", "fuzz/", "keys/", "src/", "tests/"];

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let mut followed = 0;
    for (path, text) in documents() {
        let (_, prose) = fences(&text);
        let links = prose.split("](").skip(1).map(|rest| rest.split_once(')').expect("it ends").0);
        let images = prose.split("<img src=\"").skip(1).map(|rest| rest.split_once('"').expect("it ends").0);
        for link in links.chain(images).filter(|link| !link.starts_with("https://")) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(Path::new(ROOT).join(&target).exists(), "{}: {link} leads nowhere", path.display());
            if let Some(heading) = heading {
                assert!(anchors(&read(&target)).contains(heading), "{}: {link}: no such heading", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 200, "only {followed} were found");
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
fn every_page_of_docs_is_in_the_index_above_it() {
    let documents = documents();
    let mut indexed = 0;
    for path in
        documents.keys().filter(|path| path.starts_with("docs") && path.as_path() != Path::new("docs/README.md"))
    {
        // The index is the README of the page's directory, or of the one above.
        let above = path.ancestors().skip(if path.ends_with("README.md") { 2 } else { 1 });
        let index = above.map(|directory| directory.join("README.md")).find(|index| documents.contains_key(index));
        let index = index.expect("docs/ has one");
        let link = path.strip_prefix(index.parent().expect("a directory")).expect("below it").display().to_string();
        assert!(documents[&index].contains(&format!("]({link})")), "{} lacks a link to {link}", index.display());
        indexed += 1;
    }
    assert!(indexed > 25, "only {indexed} were found");
}

#[test]
fn every_path_and_test_that_is_named_exists() {
    let mut paths = 0;
    let mut tests = 0;
    for (document, text) in documents() {
        let (_, prose) = fences(&text);
        for span in spans(&prose) {
            let (path, test) = span.split_once("::").map_or((&*span, None), |(path, test)| (path, Some(test)));
            if !PLACES.iter().any(|place| path.starts_with(place)) || path.contains(['*', '<', '…', ' ']) {
                continue;
            }
            for file in expanded(path) {
                assert!(Path::new(ROOT).join(&file).exists(), "{}: there is no {file}", document.display());
                paths += 1;
            }
            let Some(test) = test.filter(|_| path.starts_with("tests/")) else { continue };
            assert!(is_test(&read(path), path, test), "{}: {path} has no test {test}", document.display());
            tests += 1;
        }
    }
    assert!(paths > 200 && tests > 80, "only {paths} paths and {tests} tests were found");
}

/// The paths that a path with one `{a,b}` stands for.
fn expanded(path: &str) -> Vec<String> {
    let alternatives = path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
    match alternatives {
        Some((head, (names, tail))) => names.split(',').map(|name| format!("{head}{name}{tail}")).collect(),
        None => vec![path.to_owned()],
    }
}

/// Whether a source has a function of this name that is run as a test.
pub(crate) fn is_test(source: &str, file: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    if file.ends_with(".py") {
        return name.starts_with("test_") && lines.iter().any(|line| line.starts_with(&format!("def {name}(")));
    }
    let head = format!("fn {name}(");
    let found = lines.iter().position(|line| line.starts_with(&head) || line.starts_with(&format!("async {head}")));
    let attribute = |line: &&&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    found.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| attribute(&line))
    })
}

#[test]
fn a_helper_is_not_taken_for_a_test() {
    assert!(is_test("#[test]\nfn holds() {}", "a.rs", "holds"));
    assert!(!is_test("fn helper() {}", "a.rs", "helper"));
    assert!(!is_test("def helper():", "a.py", "helper"));
    assert_eq!(expanded("src/{a,b}.rs"), ["src/a.rs", "src/b.rs"]);
}
